--- What people wait for, as questions to an object. Each takes an object, or nil where there is
-- none, and says true or why not.
-- @module moonport.kube.conditions

local errors = require "moonport.errors"

local M = {}

local function condition_of(object, name)
  local wanted = name:lower()
  for _, condition in ipairs(object.status and object.status.conditions or {}) do
    if type(condition.type) == "string" and condition.type:lower() == wanted then
      return condition
    end
  end
end

-- What a controller wrote before it saw the object's newest form says nothing about it.
local function is_stale(object, observed)
  local generation = object.metadata.generation
  return math.type(observed) ~= nil and math.type(generation) ~= nil and observed < generation
end

local function because(condition)
  local text = ("%s=%s"):format(condition.type, condition.status)
  local parts = {}
  if condition.reason and condition.reason ~= "" then parts[#parts + 1] = condition.reason end
  if condition.message and condition.message ~= "" then parts[#parts + 1] = condition.message end
  if #parts > 0 then text = ("%s (%s)"):format(text, table.concat(parts, ": ")) end
  return text
end

--- Makes a question: does the object have this condition?
-- @tparam string name such as `Available`, in any case
-- @tparam[opt="True"] string status
-- @treturn function
function M.condition(name, status)
  status = (status or "True"):lower()
  return function(object)
    if not object then return false end
    local condition = condition_of(object, name)
    if not condition then return false, "it has no condition " .. name end
    local observed = condition.observedGeneration or object.status.observedGeneration
    if is_stale(object, observed) then return false, "its controller has not seen it yet" end
    return tostring(condition.status):lower() == status, because(condition)
  end
end

-- ---- ready, by kind -----------------------------------------------------------------------------

local is_ready_condition = M.condition "Ready"

local READY = {}

function READY.Pod(object)
  if object.status and object.status.phase == "Failed" then return false, M.describe(object) end
  return is_ready_condition(object)
end

local function number(value, otherwise) return math.type(value) and value or otherwise or 0 end

local function counts(text, have, want)
  if have >= want then return true end
  return false, ("%d of %d %s"):format(have, want, text)
end

local function all_of(...)
  for _, step in ipairs { ... } do
    local ok, why = counts(step[1], step[2], step[3])
    if not ok then return false, why end
  end
  return true
end

local function is_observed(object)
  local observed = object.status and object.status.observedGeneration
  return math.type(observed) ~= nil and not is_stale(object, observed)
end

local UNSEEN = "its controller has not seen it yet"

function READY.Deployment(object)
  if not is_observed(object) then return false, UNSEEN end
  local status, want = object.status, number(object.spec.replicas, 1)
  local ok, why = all_of(
    { "replicas updated", number(status.updatedReplicas), want },
    { "replicas available", number(status.availableReplicas), want })
  if ok and number(status.replicas) > want then return false, "old replicas are still there" end
  return ok, why
end

function READY.ReplicaSet(object)
  if not is_observed(object) then return false, UNSEEN end
  local want = number(object.spec.replicas, 1)
  return counts("replicas available", number(object.status.availableReplicas), want)
end

READY.ReplicationController = READY.ReplicaSet

function READY.StatefulSet(object)
  if not is_observed(object) then return false, UNSEEN end
  local status, want = object.status, number(object.spec.replicas, 1)
  local rolling = object.spec.updateStrategy and object.spec.updateStrategy.rollingUpdate
  local updated = want - number(rolling and rolling.partition)
  return all_of({ "replicas ready", number(status.readyReplicas), want },
    { "replicas updated", status.currentRevision == status.updateRevision and want
      or number(status.updatedReplicas), updated })
end

function READY.DaemonSet(object)
  if not is_observed(object) then return false, UNSEEN end
  local status = object.status
  local want = number(status.desiredNumberScheduled)
  return all_of({ "pods updated", number(status.updatedNumberScheduled), want },
    { "pods available", number(status.numberAvailable), want })
end

function READY.Job(object)
  local failed = condition_of(object, "Failed")
  if failed and failed.status == "True" then
    errors.raise {
      kind = "kube", code = "failed", object = object,
      message = ("job `%s` has failed: %s"):format(object.metadata.name, because(failed)),
    }
  end
  return M.condition("Complete")(object)
end

local function phase(wanted)
  return function(object)
    local is = object.status and object.status.phase
    return is == wanted, "phase " .. tostring(is)
  end
end

READY.PersistentVolumeClaim = phase "Bound"
READY.Namespace = phase "Active"

READY.CustomResourceDefinition = M.condition "Established"
READY.APIService = M.condition "Available"

function READY.Service(object)
  if object.spec.type ~= "LoadBalancer" then return true end
  local balancer = object.status and object.status.loadBalancer
  local has = balancer and balancer.ingress and #balancer.ingress > 0
  return has and true or false, "it has no address yet"
end

--- Is the object ready for use? Goes by its kind: replicas of what has them, completion of a job,
-- the phase of a claim, else its condition `Ready` or `Available`; what has neither is ready when
-- it is there.
-- @tparam ?table object
-- @treturn boolean
-- @treturn ?string why not
-- @raise {kind="kube", code="failed"} for a job that has failed
function M.ready(object)
  if not object then return false end
  if object.metadata.deletionTimestamp then return false, "it is being deleted" end
  if READY[object.kind] then return READY[object.kind](object) end
  for _, name in ipairs { "Ready", "Available" } do
    if condition_of(object, name) then return M.condition(name)(object) end
  end
  return true
end

--- Is the object gone?
-- @tparam ?table object
-- @treturn boolean
function M.deleted(object) return object == nil, "it is still there" end

--- Is the object there?
-- @tparam ?table object
-- @treturn boolean
function M.created(object) return object ~= nil end

-- ---- as kubectl writes them ---------------------------------------------------------------------

local function bad(hint, message, ...)
  errors.raise {
    kind = "argument", code = "invalid", message = message:format(...), hint = hint,
  }
end

-- Follows `.status.loadBalancer.ingress[0].ip`; nil where it leads nowhere.
local function follow(object, steps)
  for _, step in ipairs(steps) do
    if type(object) ~= "table" then return nil end
    object = object[step]
  end
  return object
end

-- The next step of a path and what follows it.
local function step_of(rest)
  local name, after = rest:match "^%.?([^.%[%]]+)(.*)$"
  if not name then name, after = rest:match "^%['([^']+)'%](.*)$" end
  if name then return name, after end
  local index
  index, after = rest:match "^%[(%d+)%](.*)$"
  return index and tonumber(index) + 1, after
end

local function steps_of(text, path)
  local steps = {}
  local rest = path:gsub("^%$?%.?", "", 1)
  while rest ~= "" do
    local step, after = step_of(rest)
    if not step then
      bad("write names and indices, as in {.status.conditions[0].type}",
        "the path in `%s` is not understood at `%s`", text, rest)
    end
    steps[#steps + 1] = step
    rest = after
  end
  return steps
end

local function of_path(text, path, wanted)
  local steps = steps_of(text, path)
  return function(object)
    if not object then return false end
    local value = follow(object, steps)
    if wanted == "" then return value ~= nil, path .. " is not there" end
    return value ~= nil and tostring(value) == wanted, ("%s is %s"):format(path, tostring(value))
  end
end

--- Reads a question as `kubectl wait --for` has them: `condition=Available`,
-- `condition=Ready=false`, `delete`, `create`, `jsonpath={.status.phase}=Running`; and `ready`.
-- @tparam string|function question a function is returned as it is
-- @treturn function
-- @raise {kind="argument"}
function M.read(question)
  if type(question) == "function" then return question end
  local text = tostring(question)
  local name, status = text:match "^condition=([^=]+)=?(.*)$"
  if name then return M.condition(name, status ~= "" and status or nil) end
  local path, wanted = text:match "^jsonpath='?{([^}]*)}'?=?(.*)$"
  if path then return of_path(text, path, wanted) end
  local plain = { delete = M.deleted, deleted = M.deleted, create = M.created, ready = M.ready }
  if plain[text] then return plain[text] end
  return bad("write condition=NAME, condition=NAME=STATUS, jsonpath={.PATH}=VALUE, ready, "
    .. "delete or create, or give a function", "`%s` is nothing to wait for", text)
end

-- ---- for messages -------------------------------------------------------------------------------

local function waiting_containers(object, parts)
  local status = object.status or {}
  for _, list in ipairs { status.initContainerStatuses or {}, status.containerStatuses or {} } do
    for _, container in ipairs(list) do
      local waiting = container.state and container.state.waiting
      if waiting and waiting.reason then
        local text = ("container %s: %s"):format(container.name, waiting.reason)
        parts[#parts + 1] = waiting.message and text .. ": " .. waiting.message or text
      end
    end
  end
end

--- What state an object is in, in a line: its phase and the conditions that do not hold.
-- @tparam ?table object
-- @treturn string
function M.describe(object)
  if not object then return "it does not exist" end
  local parts, status = {}, object.status or {}
  if object.metadata.deletionTimestamp then parts[1] = "being deleted" end
  if status.phase then parts[#parts + 1] = "phase " .. tostring(status.phase) end
  if status.reason then parts[#parts + 1] = tostring(status.reason) end
  if status.message then parts[#parts + 1] = tostring(status.message) end
  waiting_containers(object, parts)
  for _, condition in ipairs(status.conditions or {}) do
    if condition.status ~= "True" then parts[#parts + 1] = because(condition) end
  end
  return #parts > 0 and table.concat(parts, "; ") or "it exists"
end

return M
