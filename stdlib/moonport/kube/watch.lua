--- Changes of objects as they happen, none lost and none told twice.
--
--     for event in cluster:watch("pods", { labels = "app=web" }) do
--       print(event.type, event.object.metadata.name)   -- ADDED, MODIFIED or DELETED
--     end
--
-- First come the objects that are there, as `ADDED`. Then the stream goes on over everything that
-- ends a connection: the server's own limit, a restart, a proxy, expired credentials. It resumes
-- from the last version seen (bookmarks keep that one fresh). Where the server no longer has what
-- came after it (410 Gone, as an answer or within the stream), the objects are listed anew and the
-- differences told as events; a deletion that was missed has `missed = true` and an object of name,
-- namespace, uid and version alone, since no more is known of it.
--
-- A server that sends nothing for longer than its bookmarks would take is left for a new
-- connection. Between attempts it waits, longer each time.
-- @submodule moonport.kube

local clock = require "moonport.core.clock"
local discovery = require "moonport.kube.discovery"
local errors = require "moonport.errors"
local fault = require "moonport.kube.watch.fault"
local json = require "moonport.json"
local known = require "moonport.kube.watch.known"
local objects = require "moonport.kube.objects"
local options_of = require "moonport.kube.options"
local paths = require "moonport.kube.paths"
local request = require "moonport.kube.request"
local selector = require "moonport.kube.selector"
local status = require "moonport.kube.status"
local stream = require "moonport.kube.stream"
local task = require "moonport.task"

local M = {}

local PAGE = 500              -- objects of a page
local LEAST, MOST = 300, 600  -- seconds after which the server is to end a connection, in order
local SLACK = 30              -- seconds that it may be late
local IDLE = 150              -- seconds without a sign; bookmarks come about every 60
local SHORT = 5               -- seconds; a connection that ends sooner is counted as a failure
local PATIENCE = 30           -- seconds that a running watch bears being refused
local VALUE_MOST = 64 << 20   -- bytes of one event
local EXCERPT = 200           -- bytes of what is wrong that an error shows

local Watch = {}
Watch.__index = Watch
Watch.__name = "moonport.kube.watch"
Watch.__call = function(self) return self:next() end
Watch.__close = function(self) self:close() end
Watch.__tostring = function(self) return self.what end

local CHANGES = { ADDED = true, MODIFIED = true, DELETED = true }

-- ---- requests -----------------------------------------------------------------------------------

local function describe(self, verb)
  return {
    cluster = self.cluster, verb = verb, api_verb = verb, resource = self.resource,
    namespace = self.namespace, name = self.name,
  }
end

-- The request, and how it is sent. A running watch tries again by itself.
local function asked(self, verb, query, options)
  query.labelSelector, query.fieldSelector = self.labels, self.fields
  options.method, options.path = "GET", paths.with_query(self.path, query)
  return options, {
    safe = true, about = describe(self, verb), on_wait = self.on_wait,
    retries = self.established and 0 or self.retries,
  }
end

-- ---- listing ------------------------------------------------------------------------------------

local function begin_listing(self)
  self.comparison = self.known:compare(self)
  self.page = nil
  self.resource_version = nil
end

local function item_kind(list)
  return type(list.kind) == "string" and list.kind:match "^(.+)List$" or nil
end

local function end_listing(self, list)
  self.comparison:finish(self.pending)
  self.comparison = nil
  self.resource_version = list.metadata.resourceVersion
  if self.established then self.relists = self.relists + 1 end
  if self.quiet then
    self.pending = {}
    self.quiet = false
  end
  if self.wants_sync then
    self.pending[#self.pending + 1] = {
      type = "SYNC", relist = self.established, resource_version = self.resource_version,
    }
  end
  self.established = true
end

local function take_page(self, list)
  local kind, api_version = item_kind(list), list.apiVersion
  self.kind, self.api_version = kind, api_version
  for _, object in ipairs(list.items or {}) do
    object.apiVersion = object.apiVersion or api_version
    object.kind = object.kind or kind
    self.comparison:add(object, self.pending)
  end
  if self.quiet then self.pending = {} end
  local rest = list.metadata.continue
  self.page = rest ~= "" and rest or nil
  if not self.page then end_listing(self, list) end
end

local function list_page(self)
  local query = { limit = PAGE, continue = self.page }
  local ok, answer = stream.run(self, request.send, self.cluster,
    asked(self, "list", query, { compressed = self.cluster.compressed }))
  if self.closed then return end
  if ok then
    take_page(self, answer:json())
  elseif self.page and fault.judge(answer) == "expired" then
    begin_listing(self) -- it took so long that its later pages are gone
  else
    self:trouble(answer)
  end
end

-- ---- the stream ---------------------------------------------------------------------------------

local function connect(self)
  local seconds = math.random(LEAST, MOST)
  local answer = stream.connect(self, asked(self, "watch", {
    watch = "true", allowWatchBookmarks = "true", timeoutSeconds = seconds,
    resourceVersion = self.resource_version,
  }, { stream = true, idle_timeout = math.min(self.idle, seconds + SLACK) }))
  if not answer then return end
  self.parser = json.parser { source = "the " .. self.what, max = VALUE_MOST }
  self.established, self.bookmarked = true, false
end

local function disconnect(self)
  stream.disconnect(self)
  self.parser = nil
end

-- An end in order, by the server's time limit, is no failure unless it comes at once.
local function ended(self)
  local short = clock.monotonic() - self.since < SHORT
  disconnect(self)
  self.reconnects = self.reconnects + 1
  if short then
    stream.pause(self, errors.new {
      kind = "kube", code = "closed",
      message = ("the server ended the %s at once"):format(self.what),
    })
  else
    self.failures = 0
  end
end

-- Where bookmarks do not come, a quiet stream is no sign of death: it is given longer next time.
local function learn_from_silence(self, err)
  if errors.is(err, "http", "timeout") and not self.bookmarked then
    self.idle = math.min(self.idle * 2, MOST + SLACK)
  end
end

local function read(self)
  local chunk, at_end = stream.read(self)
  if chunk then
    self.parser:feed(chunk)
  elseif at_end then
    ended(self)
  end
end

local function malformed(self, event, cause)
  local text = cause and tostring(cause) or json.encode(event, { invalid_utf8 = "replace" })
  self:close()
  errors.raise {
    kind = "kube", code = "protocol", cause = cause,
    message = ("the %s sent what is no event: %s"):format(self.what, text:sub(1, EXCERPT)),
  }
end

local function check(self, event)
  local object = type(event) == "table" and event.object
  if type(object) ~= "table" or type(event.type) ~= "string" then return malformed(self, event) end
  if event.type == "ERROR" then return end
  local metadata = object.metadata
  if type(metadata) ~= "table" or type(metadata.resourceVersion) ~= "string"
    or not (CHANGES[event.type] or event.type == "BOOKMARK")
    or (event.type ~= "BOOKMARK" and type(metadata.name) ~= "string") then
    malformed(self, event)
  end
end

-- The next event of the stream that is news; nil when there is none yet.
local function take(self)
  while self.parser do
    local ok, event = pcall(self.parser.next, self.parser)
    if not ok then malformed(self, nil, event) end
    if event == nil then return nil end
    check(self, event)
    if event.type == "ERROR" then
      self:trouble(status.from_status(event.object, describe(self, "watch")))
      return nil
    end
    self.resource_version = event.object.metadata.resourceVersion
    self.progress = true
    if event.type == "BOOKMARK" then
      self.bookmarked = true
    elseif not self.complete or self.known:note(event) then
      return event
    end
  end
end

-- ---- failures -----------------------------------------------------------------------------------

local function give_up(self, err)
  self:close()
  error(err, 0)
end

-- A running watch waits for a server that has just started to know its roles again.
local function bear(self)
  return stream.refused_for(self) < self.patience and self.streamed
end

local function relist(self, err)
  if not self.complete then
    err.hint = "watch without `resource_version`: then what was missed is found by a new list"
    give_up(self, err)
  end
  begin_listing(self)
  -- At once when all was well before; a server that has never what it listed is asked slowly.
  if self.progress then
    self.progress, self.failures = false, 0
  else
    stream.pause(self, err)
  end
end

-- Finds a way on after an error, or raises it. A task that is cancelled while it waits leaves the
-- watch as it is.
function Watch:trouble(err)
  if errors.is(err, "task", "cancelled") then error(err, 0) end
  local streaming = self.response ~= nil
  if streaming then learn_from_silence(self, err) end
  disconnect(self)
  local verdict = fault.judge(err)
  if verdict == "fatal" or (verdict == "refused" and not bear(self)) then
    give_up(self, err)
  elseif verdict == "expired" then
    relist(self, err)
  elseif not self.established and not streaming then
    give_up(self, err)
  else
    if streaming then self.reconnects = self.reconnects + 1 end
    stream.pause(self, err)
  end
end

-- ---- the watch ----------------------------------------------------------------------------------

--- The next event. Waits for it.
-- @treturn ?table {type, object}; nil once the watch is closed
-- @raise {kind="kube"} with "forbidden", "unauthorized", "not_found" and the like where the server
--   refuses for good, "protocol" where it sends what is no event
function Watch:next()
  while not self.closed do
    local event = self.pending[self.given + 1]
    if event then
      self.pending[self.given + 1] = nil
      self.given = self.given + 1
      return event
    end
    self.pending, self.given = {}, 0
    event = take(self)
    if event then return event end
    if self.comparison then
      list_page(self)
    elseif not self.response then
      connect(self)
    else
      read(self)
    end
  end
end

--- Ends the watch, also for a task that waits in it. `<close>` and leaving a `for` do it.
function Watch:close()
  stream.close(self)
  self.parser = nil
end

-- ---- opening ------------------------------------------------------------------------------------

local OPTIONS = {
  name = "name", labels = "any", fields = "any", all_namespaces = "boolean",
  resource_version = "name", initial = "boolean", sync = "boolean", idle = "seconds",
  patience = "seconds",
}

-- The first page is asked for now: what changes from here on is told, also when the loop begins
-- later, and a refusal is raised here.
local function begin_at_once(self)
  begin_listing(self)
  repeat list_page(self) until not self.quiet
end

local function query_of(options)
  local query = selector.add("cluster:watch", options, {})
  if options.name then
    local named = "metadata.name=" .. options.name
    query.fieldSelector = query.fieldSelector and query.fieldSelector .. "," .. named or named
  end
  return query
end

local function open(cluster, found, resource, options)
  local query, namespace = query_of(options), nil
  if not options.all_namespaces then
    namespace = objects.namespace_of(cluster, "cluster:watch", found, options, resource)
  end
  return setmetatable({
    cluster = cluster,
    resource = found, namespace = namespace, name = options.name,
    path = paths.of(found, namespace),
    what = ("watch of `%s`"):format(found.name),
    labels = query.labelSelector,
    fields = query.fieldSelector,
    resource_version = options.resource_version,
    complete = options.resource_version == nil,
    quiet = options.initial == false,
    wants_sync = options.sync,
    idle = options.idle or IDLE,
    patience = options.patience or PATIENCE,
    retries = options.retries,
    on_wait = options.on_wait or cluster.on_wait,
    failures = 0,
    known = known.new(),
    pending = {}, given = 0,
    relists = 0, reconnects = 0,
    closing = task.event(), closed = false,
  }, Watch)
end

--- Watches objects.
-- @function Cluster:watch
-- @tparam string|table resource
-- @tparam[opt] table options `name`, `labels`, `fields`: of which objects; `namespace`,
--   `all_namespaces`; `initial`: false tells only of what happens from now on;
--   `resource_version`: goes on from there without a list, and ends with the code "expired" where
--   that is too long ago; `sync`: true tells by an event `{type="SYNC", resource_version=,
--   relist=}` when a list has been told whole; `idle` (150): seconds without a sign after which a
--   connection counts as dead, bookmarks are signs; `patience` (30): seconds that a running watch
--   bears a 401, 403 or 404, as a server gives them while it starts; `retries` (of the first
--   requests; a running watch has no limit) and `on_wait`: as in all methods
-- @treturn watch an iterator of events `{type=, object=}`; a `for` that is left closes it, so does
--   `<close>`. Has `:next()`, `:close()`, `resource_version`, and the counts `relists` and
--   `reconnects`
-- @raise {kind="kube"}
function M.watch(cluster, resource, options)
  options = options_of.check("cluster:watch", options, OPTIONS)
  if options.timeout or options.subresource then
    options_of.bad("cluster:watch: there is no option `%s`",
      options.timeout and "timeout" or "subresource")
  end
  local self = discovery.with(cluster, resource, function(found)
    local watch = open(cluster, found, resource, options)
    if watch.complete then begin_at_once(watch) end
    return watch
  end)
  return self, nil, nil, self
end

return M
