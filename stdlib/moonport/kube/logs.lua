--- What containers write, read and followed.
--
--     for row in cluster:logs("web-0", { follow = true, tail = 10 }) do print(row.text) end
--     for row in cluster:logs({ labels = "app=web" }, { follow = true }) do
--       print(row.pod, row.text)
--     end
--     for row in cluster:logs("deployments/web", { since = 300 }) do ... end
-- @submodule moonport.kube

local follower = require "moonport.kube.logs.follower"
local instance = require "moonport.kube.logs.instance"
local errors = require "moonport.errors"
local match = require "moonport.kube.match"
local nearest = require "moonport.nearest"
local objects = require "moonport.kube.objects"
local options_of = require "moonport.kube.options"
local paths = require "moonport.kube.paths"
local request = require "moonport.kube.request"

local M = {}

local IDLE = 300      -- seconds without a byte, after which following uses another connection
local STALLED = 120   -- seconds without a byte of what is there

local CALL = "cluster:logs"

-- ---- the iterator -------------------------------------------------------------------------------

local Log = {}
Log.__index = Log
Log.__name = "moonport.kube.log"
Log.__call = function(self) return self.source:next() end
Log.__close = function(self) self:close() end

function Log:next() return self.source:next() end

function Log:close() self.source:close() end

local function iterator(source)
  local log = setmetatable({ source = source }, Log)
  return log, nil, nil, log
end

-- ---- whose logs ---------------------------------------------------------------------------------

local function selector_of(object)
  local selector = object.spec and object.spec.selector
  if type(selector) ~= "table" or next(selector) == nil then
    options_of.bad("%s: a %s selects no pods", CALL, tostring(object.kind))
  end
  return match.text_of(selector)
end

-- A workload, or the pod that it is.
local function of_object(object)
  local namespace = object.metadata.namespace
  if object.kind == "Pod" then return { pod = object.metadata.name, namespace = namespace } end
  return { labels = selector_of(object), namespace = namespace }
end

local function of_text(cluster, text, options)
  local resource, name = text:match "^([^/]+)/([^/]+)$"
  if not resource then return { pod = text } end
  if cluster:find(resource).name == "pods" then return { pod = name } end
  return of_object(cluster:get(resource, name, { namespace = options.namespace }))
end

local SELECTION = {
  labels = "any", fields = "any", namespace = "name", all_namespaces = "boolean",
}

-- {pod=, namespace=} or {labels=, ...}.
local function target_of(cluster, target, options)
  if type(target) == "string" then return of_text(cluster, target, options) end
  if type(target) ~= "table" then
    options_of.bad("%s: whose is a pod's name, `kind/name`, an object or {labels=}, got a %s", CALL,
      type(target))
  end
  if target.kind and target.metadata then return of_object(target) end
  options_of.check(CALL, target, SELECTION)
  if not target.labels and not target.fields then
    options_of.bad("%s: {labels=} or {fields=} says whose", CALL)
  end
  return target
end

-- ---- which containers ---------------------------------------------------------------------------

local function check_container(pod, name)
  local names = instance.containers(pod)
  for _, known in ipairs(names) do
    if known == name then return { name } end
  end
  errors.raise {
    kind = "kube", code = "not_found",
    message = ("pod `%s` has no container `%s`"):format(pod.metadata.name, name),
    hint = nearest.hint(name, names),
  }
end

local function containers_of(pod, options)
  if options.container then return check_container(pod, options.container) end
  if options.all_containers then return instance.containers(pod) end
  local name = instance.default_container(pod)
  if name then return { name } end
  errors.raise {
    kind = "kube", code = "ambiguous",
    message = ("pod `%s` has several containers"):format(pod.metadata.name),
    hint = ("choose with `container`: %s; or all with `all_containers`"):format(
      table.concat(instance.containers(pod), ", ")),
  }
end

-- ---- reading ------------------------------------------------------------------------------------

local function base_of(cluster, namespace, options)
  return {
    cluster = cluster, namespace = namespace, follow = options.follow, previous = options.previous,
    tail = options.tail, since = options.since, since_time = options.since_time,
    timestamps = options.timestamps, on_wait = options.on_wait, retries = options.retries,
    idle = options.idle or (options.follow and IDLE or STALLED),
  }
end

local function one(base, pod, container)
  local copy = { alone = true }
  for name, value in pairs(base) do copy[name] = value end
  copy.pod, copy.uid, copy.container = pod.metadata.name, pod.metadata.uid, container
  copy.namespace = pod.metadata.namespace
  return follower.new(copy)
end

-- One log after another. What has not begun to write yet has a mark in its place.
local Sequence = {}
Sequence.__index = Sequence

function Sequence:next()
  while self.logs[self.at] do
    local log = self.logs[self.at]
    local ok, row = pcall(log.next, log)
    if ok and row then return row end
    if not ok and not errors.is(row, "kube", "bad_request") then error(row, 0) end
    self.at = self.at + 1
    if not ok then
      local reason = row.server_message or row.message
      return { gap = true, reason = reason, text = "[" .. reason .. "]", pod = log.pod,
        container = log.container }
    end
  end
end

function Sequence:close()
  for _, log in ipairs(self.logs) do log:close() end
end

local function in_sequence(base, pods, options)
  local logs = {}
  for _, pod in ipairs(pods) do
    for _, container in ipairs(containers_of(pod, options)) do
      logs[#logs + 1] = one(base, pod, container)
    end
  end
  return setmetatable({ logs = logs, at = 1 }, Sequence)
end

local function of_pod(cluster, base, name, options)
  local pod = cluster:get("pods", name, { namespace = base.namespace, on_wait = options.on_wait })
  local containers = containers_of(pod, options)
  if #containers == 1 then return iterator(one(base, pod, containers[1])) end
  if not options.follow then return iterator(in_sequence(base, { pod }, options)) end
  base.selection = { sync = true, namespace = base.namespace, name = name }
  base.single = true
  base.containers_of = function(found) return containers_of(found, options) end
  return iterator(require("moonport.kube.logs.several").new(base))
end

local function of_selection(cluster, base, target, options)
  local selection = {}
  for name, value in pairs(target) do selection[name] = value end
  selection.namespace = not selection.all_namespaces and base.namespace or nil
  if not options.follow then
    return iterator(in_sequence(base, cluster:list("pods", selection).items, options))
  end
  selection.sync = true
  base.selection = selection
  base.containers_of = function(pod) return containers_of(pod, options) end
  return iterator(require("moonport.kube.logs.several").new(base))
end

-- ---- bytes --------------------------------------------------------------------------------------

local Bytes = {}
Bytes.__index = Bytes

function Bytes:next() return self.response:read() end

function Bytes:close() self.response:close() end

-- The bytes as the server sends them, from one container.
local function raw(cluster, namespace, name, options)
  local pod = cluster:get("pods", name, { namespace = namespace, on_wait = options.on_wait })
  local containers = containers_of(pod, options)
  if #containers > 1 then options_of.bad("%s: `raw` reads one container", CALL) end
  local found = cluster:find "pods"
  local response = request.send(cluster, {
    method = "GET", stream = true, compressed = false,
    idle_timeout = not options.follow and (options.idle or STALLED) or options.idle,
    path = paths.with_query(paths.of(found, namespace, name, "log"), {
      container = containers[1], follow = options.follow, previous = options.previous,
      tailLines = options.tail, sinceSeconds = options.since, sinceTime = options.since_time,
      timestamps = options.timestamps,
    }),
  }, {
    safe = true, on_wait = options.on_wait, retries = options.retries,
    about = { verb = "get", api_verb = "get", resource = found, name = name, namespace = namespace,
      subresource = "log" },
  })
  return iterator(setmetatable({ response = response }, Bytes))
end

-- ---- the call -----------------------------------------------------------------------------------

local OPTIONS = {
  follow = "boolean", container = "name", all_containers = "boolean", previous = "boolean",
  tail = "count", since = "seconds", since_time = "any", timestamps = "boolean", raw = "boolean",
  idle = "seconds",
}

local EXCLUDE = {
  { "follow", "previous" }, { "since", "since_time" }, { "container", "all_containers" },
}

local function read_options(options)
  options = options_of.check(CALL, options, OPTIONS)
  for _, pair in ipairs(EXCLUDE) do
    if options[pair[1]] and options[pair[2]] then
      options_of.bad("%s: `%s` and `%s` exclude each other", CALL, pair[1], pair[2])
    end
  end
  local copy = {}
  for name, value in pairs(options) do copy[name] = value end
  if copy.since then copy.since = math.ceil(copy.since) end
  if math.type(copy.since_time) then
    copy.since_time = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(copy.since_time))
  elseif copy.since_time and not tostring(copy.since_time):find "^%d%d%d%d%-%d%d%-%d%dT" then
    options_of.bad("%s: `since_time` is seconds since 1970 or a time such as "
      .. "2026-11-24T06:00:00Z, got `%s`", CALL, tostring(copy.since_time))
  end
  return copy
end

--- Reads and follows what containers write.
--
-- Following goes on over lost connections, rotation, restarts of the container, and where a
-- StatefulSet makes the pod anew; with `{labels=}` and workloads also over pods that come and go.
-- No line is given twice. Where lines may be missing, or where another container begins, stands a
-- row `{gap=true, reason="container restarted, exit 1"}`. It ends when nothing more can come: the
-- pod has succeeded, failed or was deleted.
-- @function Cluster:logs
-- @tparam string|table whose a pod's name; `"deployments/web"`; a pod or workload as an object; or
--   `{labels=, fields=, namespace=, all_namespaces=}`
-- @tparam[opt] table options `follow`; `container` (the only one, or that of the annotation
--   `kubectl.kubernetes.io/default-container`) or `all_containers`; `tail`: lines; `since`:
--   seconds; `since_time`: seconds since 1970, or RFC 3339; `previous`: of the container before its
--   restart; `timestamps`: true leaves the time in the text; `raw`: true gives the bytes of one
--   container as they come, and marks and resumes nothing; `idle`: seconds without a byte after
--   which another connection is made (300); `namespace`
-- @treturn function iterator of rows `{time=, text=, pod=, container=}`, closed when its `for` is
--   left, by `:close()` and by `<close>`; a line over 1 MiB comes in several rows, all but the last
--   with `partial=true`
-- @raise {kind="kube"}: `"not_found"`; `"ambiguous"` where a pod has several containers;
--   `"bad_request"` where there is no log yet and it is not followed
function M.logs(cluster, whose, options)
  options = read_options(options)
  local target = target_of(cluster, whose, options)
  local namespace = options.namespace or target.namespace
  namespace = objects.namespace_of(cluster, CALL, cluster:find "pods", { namespace = namespace })
  if options.raw then
    if not target.pod then options_of.bad("%s: `raw` reads one container", CALL) end
    return raw(cluster, namespace, target.pod, options)
  end
  local base = base_of(cluster, namespace, options)
  if target.pod then return of_pod(cluster, base, target.pod, options) end
  return of_selection(cluster, base, target, options)
end

return M
