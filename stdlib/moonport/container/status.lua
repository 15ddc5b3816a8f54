--- How a service on Kubernetes is, read from its pods. Pure.
--
-- Of a pod there are four conditions: `Pending`, `Running`, `Finished` (it ended well) and `Error`.
-- @module moonport.container.status

local progress = require "moonport.container.progress"
local trouble = require "moonport.container.trouble"
local workload = require "moonport.container.workload"

local M = {}

local function main_container(pod)
  for _, status in ipairs((pod.status or {}).containerStatuses or {}) do
    if status.name == workload.CONTAINER then return status end
  end
  return ((pod.status or {}).containerStatuses or {})[1] or {}
end

local function restarts_of(pod)
  local count = 0
  for _, status in ipairs((pod.status or {}).containerStatuses or {}) do
    count = count + (status.restartCount or 0)
  end
  return count
end

-- How its container ended last.
local function exit_of(pod)
  local container = main_container(pod)
  local ended = (container.state or {}).terminated or (container.lastState or {}).terminated
  return ended and trouble.exit(ended) or nil
end

local CONDITIONS = { Pending = "Pending", Running = "Running", Succeeded = "Finished",
  Failed = "Error" }

-- What is wrong while a pod runs or waits: {reason, message, hint}.
local function trouble_of(pod)
  local found = trouble.of_pod(pod)
  if found then return found end
  local state = main_container(pod).state or {}
  if state.terminated and state.terminated.exitCode ~= 0 then
    return { reason = state.terminated.reason or "Error" }
  end
end

local function state_of(pod, container, about)
  if pod.metadata.deletionTimestamp then
    return about.want == "stopped" and "stopped" or "restarting", "Terminating"
  end
  local phase = pod.status and pod.status.phase
  if phase == "Succeeded" then return about.registration and "completed" or "exited" end
  if phase == "Failed" then return "failed" end
  local state = container.state or {}
  if state.running then
    -- A pod that was ready and is not any more still runs.
    return (container.started == false) and "starting" or "running"
  elseif (container.restartCount or 0) > 0 or state.terminated then
    return "restarting"
  end
  return "starting"
end

--- How one pod is.
-- @tparam table pod
-- @tparam table about `want`, `registration`
-- @treturn table {state, condition, reason, problem, hint, ready, restarts, exit, since, node, ip,
-- pod}
function M.of_pod(pod, about)
  local container, found = main_container(pod), trouble_of(pod)
  local state, reason = state_of(pod, container, about)
  local status = pod.status or {}
  local condition = CONDITIONS[status.phase] or "Pending"
  -- Kubernetes still says `Running` of a pod that crashes again and again.
  local is_error = found and (found.patience == 0 or found.container)
  if is_error and condition ~= "Finished" then condition = "Error" end
  return {
    state = state, condition = condition,
    reason = reason or found and found.reason or status.reason,
    problem = found and found.message and trouble.describe(found) or nil,
    hint = found and found.hint or nil,
    ready = progress.is_ready(pod), restarts = restarts_of(pod), exit = exit_of(pod),
    since = ((container.state or {}).running or {}).startedAt or status.startTime,
    node = (pod.spec or {}).nodeName, ip = status.podIP, pod = pod.metadata.name,
  }
end

-- What is said of a service whose pods differ: the worst, since that is what there is to see to.
local ORDER = { "failed", "restarting", "starting", "exited", "completed", "running", "stopped" }
local RANK = {}
for rank, state in ipairs(ORDER) do RANK[state] = rank end

local function gone(about)
  if about.want == "stopped" then return { state = "stopped" } end
  return {
    state = "failed", condition = "Error", reason = "Gone",
    problem = "its pod is gone: somebody has deleted it, or its node was drained",
    hint = ("`moonport start %s` makes it again"):format(about.name),
  }
end

--- How a service of one pod is.
-- @tparam ?table pod
-- @tparam table about `name`, `want`, `registration`
-- @treturn table status
function M.of_single(pod, about)
  if not pod then return gone(about) end
  local status = M.of_pod(pod, about)
  if status.state == "failed" and not status.hint then
    status.hint = ("`moonport start %s` makes it again"):format(about.name)
  end
  return status
end

-- What is told of a StatefulSet that somebody else has scaled.
local function tell_scaled(status, asked, wanted)
  status.reason = status.reason or "Scaled"
  status.problem = status.problem
    or ("somebody has set its StatefulSet to %d of %d replicas"):format(asked, wanted)
  status.hint = status.hint
    or ("deploy it again, and it has %d; if %d is meant, set `container.replicas` in the manifest")
      :format(wanted, asked)
end

--- How a service of several pods is.
-- @tparam ?table set the StatefulSet
-- @tparam {pod,...} pods
-- @tparam table about `name`, `want`, `replicas` (of the manifest)
-- @treturn table status; `replicas` is {ready, wanted, asked, pods}: `wanted` by the manifest,
-- `asked` of Kubernetes, which others may have changed
function M.of_set(set, pods, about)
  if not set then return gone(about) end
  local asked = set.spec.replicas or 1
  local wanted = about.want ~= "stopped" and about.replicas or asked
  local worst, ready, restarts, list = nil, 0, 0, {}
  for index, pod in ipairs(pods) do
    local one = M.of_pod(pod, about)
    list[index] = one
    ready, restarts = ready + (one.ready and 1 or 0), restarts + one.restarts
    if not worst or RANK[one.state] < RANK[worst.state] then worst = one end
  end
  local status = {}
  for key, value in pairs(worst or {}) do status[key] = value end
  if asked == 0 then
    status.state = #pods == 0 and "stopped" or status.state
  elseif #pods < asked then
    local worse = RANK[status.state or "running"] < RANK.starting
    status.state = worse and status.state or "starting"
    status.condition = status.condition or "Pending"
  end
  status.replicas = { ready = ready, wanted = wanted, asked = asked, pods = list }
  status.restarts, status.ready = restarts, wanted > 0 and ready >= wanted
  if #pods > 1 then status.pod, status.ip, status.node = nil, nil, nil end
  if asked ~= wanted then tell_scaled(status, asked, wanted) end
  return status
end

return M
