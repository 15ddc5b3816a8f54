--- Waiting until objects are as they should be, without polling.
--
--     cluster:wait("deployments", "web", kube.ready, 120)
--     cluster:wait("pods", { labels = "app=web" }, "condition=Ready", 60)
--     cluster:wait("pods", "job-1", function(pod)
--       return pod and pod.status.phase == "Succeeded"
--     end, { timeout = 600, namespace = "batch" })
-- @submodule moonport.kube

local conditions = require "moonport.kube.conditions"
local errors = require "moonport.errors"
local options_of = require "moonport.kube.options"
local status = require "moonport.kube.status"
local task = require "moonport.task"

local M = {}

local SHOWN = 5 -- objects that an error tells about

local SELECTION = {
  name = "name", labels = "any", fields = "any", namespace = "name", all_namespaces = "boolean",
}

local Waiting = {}
Waiting.__index = Waiting

local function ask(self, object)
  local answer, why = self.question(object)
  if answer then return { object = object, answer = answer } end
  return { object = object, why = why }
end

local function key_of(object)
  return object.metadata.uid or (object.metadata.namespace or "") .. "/" .. object.metadata.name
end

-- The objects are asked about one by one, as they change.
function Waiting:take(event)
  if event.type == "SYNC" then
    self.synced = true
    return
  end
  local key = key_of(event.object)
  local before = self.states[key]
  if event.type == "DELETED" then
    self.states[key] = nil
    self.count = self.count - (before and 1 or 0)
  else
    self.states[key] = ask(self, event.object)
    self.count = self.count + (before and 0 or 1)
  end
end

-- True when it is over: every object meets the question, or there is none and that does.
function Waiting:is_over()
  if not self.synced then return false end
  if self.count == 0 then
    self.nothing = ask(self, nil)
    return self.nothing.answer ~= nil
  end
  for _, state in pairs(self.states) do
    if not state.answer then return false end
  end
  return true
end

local function by_name(a, b)
  local left, right = a.object.metadata, b.object.metadata
  if left.namespace ~= right.namespace then
    return (left.namespace or "") < (right.namespace or "")
  end
  return left.name < right.name
end

function Waiting:sorted()
  local list = {}
  for _, state in pairs(self.states) do list[#list + 1] = state end
  table.sort(list, by_name)
  return list
end

function Waiting:results()
  if self.count == 0 then return self.nothing.answer, nil end
  local list = self:sorted()
  if self.single then return list[1].answer, list[1].object end
  local objects = {}
  for index, state in ipairs(list) do objects[index] = state.object end
  return list[1].answer, objects
end

function Waiting:run()
  for event in self.cluster:watch(self.resource, self.watching) do
    self:take(event)
    if self:is_over() then return self:results() end
  end
end

-- ---- when the time is over ----------------------------------------------------------------------

local function last_seen(self)
  if not self.synced then return "the server has not told of it yet" end
  if self.count == 0 then return self.nothing and self.nothing.why or conditions.describe(nil) end
  local parts, more = {}, 0
  for _, state in ipairs(self:sorted()) do
    local text = state.why or conditions.describe(state.object)
    if self.single then return text end
    if not state.answer and #parts < SHOWN then
      parts[#parts + 1] = ("`%s`: %s"):format(state.object.metadata.name, text)
    elseif not state.answer then
      more = more + 1
    end
  end
  if more > 0 then parts[#parts + 1] = ("and %d more"):format(more) end
  return table.concat(parts, "; ")
end

local function raise_timeout(self, seconds)
  local list = self:sorted()
  errors.raise {
    kind = "kube", code = "timeout", object = list[1] and list[1].object,
    message = ("%s: not %s within %g s: %s"):format(status.subject(self.about), self.wanted,
      seconds, last_seen(self)),
  }
end

local function run_for(self, seconds)
  local outcome
  local ok, err = pcall(task.timeout, seconds, function()
    outcome = table.pack(pcall(self.run, self))
  end)
  if not ok then
    if errors.is(err, "task", "timeout") then raise_timeout(self, seconds) end
    error(err, 0)
  end
  if not outcome[1] then error(outcome[2], 0) end
  return table.unpack(outcome, 2, outcome.n)
end

-- ---- the call -----------------------------------------------------------------------------------

local function selection_of(which, options)
  if type(which) == "string" then which = { name = which } end
  if type(which) ~= "table" then
    options_of.bad("cluster:wait: which objects is a name or a table, got a %s", type(which))
  end
  options_of.check("cluster:wait", which, SELECTION)
  local watching = {
    sync = true, namespace = options.namespace, all_namespaces = options.all_namespaces,
    on_wait = options.on_wait, retries = options.retries,
  }
  for name, value in pairs(which) do watching[name] = value end
  return watching
end

local function options_from(options)
  if type(options) == "number" then options = { timeout = options } end
  return options_of.check("cluster:wait", options, { all_namespaces = "boolean" })
end

--- Waits until an object, or each of several, is as it should be. An object that does not exist yet
-- is waited for.
-- @function Cluster:wait
-- @tparam string|table resource
-- @tparam string|table which a name, or `{labels=, fields=, namespace=, all_namespaces=}`: each of
--   those objects, and at least one
-- @tparam function|string predicate called with the object whenever it changes, and with nil where
--   there is none; what it returns, once that is true, ends the wait; as a second result it may say
--   why not. Or as kubectl has it: `"condition=Available"`, `"condition=Ready=false"`,
--   `"jsonpath={.status.phase}=Running"`, `"delete"`, `"create"`; and `"ready"`
-- @tparam[opt] number|table options seconds (no limit), or `{timeout=, namespace=,
--   all_namespaces=}`
-- @return what the predicate returned
-- @treturn ?table the object, nil where there is none; the list of objects where several were
--   waited for
-- @raise {kind="kube", code="timeout"} with the last state seen, and the `object`
function M.wait(cluster, resource, which, predicate, options)
  options = options_from(options)
  local watching = selection_of(which, options)
  local found = cluster:find(resource)
  local self = setmetatable({
    cluster = cluster, resource = resource, watching = watching,
    single = watching.name ~= nil,
    question = conditions.read(predicate),
    wanted = type(predicate) == "string" and "`" .. predicate .. "`" or "as it was waited for",
    about = {
      resource = found, name = watching.name,
      namespace = found.namespaced and not watching.all_namespaces
        and (watching.namespace or cluster.namespace) or nil,
    },
    states = {}, count = 0, synced = false,
  }, Waiting)
  local seconds = options.timeout or cluster.timeout
  if seconds then return run_for(self, seconds) end
  return self:run()
end

return M
