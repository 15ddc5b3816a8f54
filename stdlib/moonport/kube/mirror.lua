--- A copy of objects that follows the cluster.
--
--     local pods <close> = cluster:mirror("pods", { labels = "app=web" })
--     pods:synced()
--     pods:on(function(event) print(event.type, event.object.metadata.name) end)
--     while #pods:list { labels = { canary = true } } < 3 do pods:changed() end
-- @submodule moonport.kube

local channel = require "moonport.kube.channel"
local core = require "moonport.core.task"
local errors = require "moonport.errors"
local index = require "moonport.kube.index"
local log = require "moonport.log"
local match = require "moonport.kube.match"
local options_of = require "moonport.kube.options"
local task = require "moonport.task"

local M = {}

local WAITING = 1000 -- events that may wait for a handler

--- A copy of objects, kept by a task of its own which belongs to the task that made it, and ends
-- with `close`. Where the server refuses for good, that task fails, and so do these methods.
-- @type Mirror
local Mirror = {}
Mirror.__index = Mirror
Mirror.__name = "moonport.kube.mirror"
Mirror.__close = function(self) self:close() end
Mirror.__tostring = function(self)
  return ("mirror of %s (%d objects)"):format(self.what, self.index.count)
end

local function check(self)
  if self.failure then error(self.failure, 0) end
  if self.closed then
    errors.raise {
      kind = "kube", code = "closed", message = ("the mirror of %s is closed"):format(self.what),
    }
  end
end

-- ---- following ----------------------------------------------------------------------------------

local function wake(self)
  local waiting = self.waiting
  self.waiting = {}
  for _, event in ipairs(waiting) do event:set() end
end

local function apply(self, event)
  if event.type == "SYNC" then
    self.first:set()
    return
  end
  local told = { type = event.type, object = event.object, missed = event.missed }
  if event.type == "DELETED" then
    told.old = self.index:remove(event.object)
    -- Of what was missed, the last that is known says more than its name.
    if event.missed then told.object = told.old or event.object end
  else
    if self.keep then told.object = self.keep(event.object) or event.object end
    told.old = self.index:put(told.object)
  end
  self.changes = self.changes + 1
  wake(self)
  for _, handler in ipairs(self.handlers) do handler.events:push(told) end
end

local function follow(self)
  local ok, err = pcall(function()
    for event in self.watch do apply(self, event) end
  end)
  if not ok and not errors.is(err, "task", "cancelled") then self.failure = err end
  self.first:set()
  wake(self)
  if not ok then error(err, 0) end
end

-- ---- handlers -----------------------------------------------------------------------------------

local function call(self, handler, event)
  if handler.closed then return end
  local ok, err = pcall(handler.fn, event)
  if ok then return end
  if errors.is(err, "task", "cancelled") then error(err, 0) end
  self.failed_calls = self.failed_calls + 1
  log.error("a handler of a mirror failed", {
    mirror = self.what, event = event.type, object = event.object.metadata.name, error = err,
  })
end

local function serve(self, handler)
  for _, object in ipairs(handler.present) do
    call(self, handler, { type = "ADDED", object = object })
  end
  handler.present = nil
  for event in handler.events.pop, handler.events do call(self, handler, event) end
end

-- The task that all others of the mirror are part of.
local function run(self)
  task.spawn(follow, self)
  for handler in self.arrivals.pop, self.arrivals do task.spawn(serve, self, handler) end
end

--- Calls a function with each change: `{type=, object=, old=}`, in order, one at a time, in a task
-- of its own. First come the objects that are there, as `ADDED`. What the function raises is logged
-- and counted (`failed_calls`), and goes no further. A slow function holds up the mirror once 1,000
-- changes wait for it.
-- @tparam function fn
-- @treturn table with `:close()`, after which it is called no more
function Mirror:on(fn)
  check(self)
  local handler = { fn = fn, present = self.index:select {}, events = channel.new(WAITING) }
  -- A list that is replaced rather than changed, since it is being walked through.
  local function others(but)
    local list = {}
    for _, other in ipairs(self.handlers) do
      if other ~= but then list[#list + 1] = other end
    end
    return list
  end
  self.handlers = others()
  self.handlers[#self.handlers + 1] = handler
  self.arrivals:push(handler)
  return {
    close = function()
      self.handlers = others(handler)
      handler.closed = true
      handler.events:close()
    end,
  }
end

-- ---- reading ------------------------------------------------------------------------------------

--- Waits until all objects that were there at the beginning are in.
-- @treturn Mirror itself
-- @raise {kind="kube"} what ended the mirror
function Mirror:synced()
  self.first:wait()
  check(self)
  return self
end

--- Waits for the next change of any object.
-- @treturn integer how many changes there have been
-- @raise {kind="kube"} what ended the mirror
function Mirror:changed()
  check(self)
  local event = task.event()
  self.waiting[#self.waiting + 1] = event
  event:wait()
  check(self)
  return self.changes
end

--- An object.
-- @tparam string name
-- @tparam[opt] string namespace the mirror's own, or else the connection's
-- @treturn ?table the object, not a copy: read it only; nil where there is none
function Mirror:get(name, namespace)
  check(self)
  local found = self.watch.resource
  if not found.namespaced then return self.index:get(name) end
  return self.index:get(name, namespace or self.watch.namespace or self.cluster.namespace)
end

--- Objects, by namespace and name.
-- @tparam[opt] table options `labels` as in `list`, `namespace`
-- @treturn {table,...} not copies: read them only
function Mirror:list(options)
  check(self)
  options = options_of.check("mirror:list", options, { labels = "any" })
  local labels = match.parse("mirror:list", options.labels)
  return self.index:select(labels, options.namespace)
end

--- Goes through objects in a `for`; as they are when it begins.
-- @tparam[opt] table options as for `list`
-- @treturn function
function Mirror:each(options)
  local list, at = self:list(options), 0
  return function()
    at = at + 1
    return list[at]
  end
end

--- How many objects there are.
-- @treturn integer
function Mirror:count()
  check(self)
  return self.index.count
end

--- Ends the mirror and the handlers that still run. `<close>` does it.
function Mirror:close()
  self.closed = true
  self.watch:close()
  self.arrivals:close()
  self.owner:cancel("the mirror was closed")
  self.first:set()
  wake(self)
  -- Not where a handler closes its own mirror: that one cannot wait for itself.
  pcall(self.owner.await, self.owner)
end

--- @section end

local OPTIONS = {
  name = "name", labels = "any", fields = "any", all_namespaces = "boolean", keep = "function",
}

--- Keeps a copy of objects that follows the cluster, over everything that a watch survives.
-- @function Cluster:mirror
-- @tparam string|table resource
-- @tparam[opt] table options `name`, `labels`, `fields`, `namespace`, `all_namespaces`: of which
--   objects; `keep`: a function that is given each object and may leave out of it what is not
--   needed (`metadata.managedFields`), since all of them are held
-- @treturn Mirror for a `<close>` variable
-- @raise {kind="kube"}
function M.mirror(cluster, resource, options)
  options = options_of.check("cluster:mirror", options, OPTIONS)
  local watching = { sync = true }
  for name, value in pairs(options) do
    if name ~= "keep" then watching[name] = value end
  end
  local watch = cluster:watch(resource, watching)
  local self = setmetatable({
    cluster = cluster, watch = watch, what = watch.what, keep = options.keep,
    index = index.new(), changes = 0, failed_calls = 0,
    handlers = {}, arrivals = channel.new(math.huge), waiting = {}, first = task.event(),
  }, Mirror)
  self.owner = core.spawn("p", run, self)
  return self
end

return M
