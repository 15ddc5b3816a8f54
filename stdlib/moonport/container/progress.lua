--- How far the pods of a deployment are on their way to being ready. Pure: what is there is given.
--
--     view = {
--       set = StatefulSet or nil, pods = { uid -> Pod }, replicas = 3,
--       events = { list of troubles with `object` (uid) },   -- of moonport.container.trouble
--       scaling = { uid -> true },                           -- an autoscaler adds a node for it
--       pulls = { uid -> why its image could not be pulled },
--     }
-- @module moonport.container.progress

local trouble = require "moonport.container.trouble"

local M = {}

local HASH = "controller-revision-hash"

--- True when a pod is ready.
-- @tparam table pod
-- @treturn boolean
function M.is_ready(pod)
  if pod.metadata.deletionTimestamp then return false end
  for _, condition in ipairs((pod.status or {}).conditions or {}) do
    if condition.type == "Ready" then return condition.status == "True" end
  end
  return false
end

--- True when every container of a pod has been started at least once.
-- @tparam table pod
-- @treturn boolean
function M.has_started(pod)
  local statuses = (pod.status or {}).containerStatuses or {}
  for _, status in ipairs(statuses) do
    local state = status.state or {}
    if not (state.running or state.terminated or (status.lastState or {}).terminated) then
      return false
    end
  end
  return #statuses > 0
end

-- The revision that a StatefulSet is to come to; nil until its controller has seen the last change.
local function update_revision(set)
  local status = set.status or {}
  if (status.observedGeneration or 0) < (set.metadata.generation or 1) then return nil end
  return status.updateRevision
end

--- The pods that count: not those of an earlier template, which still have to go.
-- @tparam table view
-- @treturn {pod,...} by name
function M.pods(view)
  local list = {}
  local hash = view.set and update_revision(view.set)
  for _, pod in pairs(view.pods) do
    local labels = pod.metadata.labels or {}
    if not view.set or hash and labels[HASH] == hash then list[#list + 1] = pod end
  end
  table.sort(list, function(a, b) return a.metadata.name < b.metadata.name end)
  return list
end

--- How many pods are ready.
-- @tparam table view
-- @treturn integer
function M.ready_count(view)
  local count = 0
  for _, pod in ipairs(M.pods(view)) do
    if M.is_ready(pod) then count = count + 1 end
  end
  return count
end

--- True when all is as wanted.
-- @tparam table view
-- @treturn boolean
function M.is_done(view)
  if M.ready_count(view) < view.replicas then return false end
  -- Pods of the former template serve until they have gone.
  local count = 0
  for _ in pairs(view.pods) do count = count + 1 end
  return count == view.replicas
end

local function add(list, found, pod)
  if not found then return end
  local copy = {}
  for key, value in pairs(found) do copy[key] = value end
  copy.pod = pod and pod.metadata.name
  copy.key = ("%s %s %s"):format(copy.pod or "", copy.family or copy.reason, copy.container or "")
  list[#list + 1] = copy
end

--- What stands in the way, each with a `key` by which it is known again.
-- @tparam table view
-- @treturn {trouble,...}
function M.troubles(view)
  local list, counted = {}, {}
  for _, pod in ipairs(M.pods(view)) do
    counted[pod.metadata.uid] = pod
    if not M.is_ready(pod) and not pod.metadata.deletionTimestamp then
      local found = trouble.of_pod(pod, view.pulls[pod.metadata.uid])
      if found and found.reason == "Unschedulable" and view.scaling[pod.metadata.uid] then
        found.patience = trouble.SCALING
      end
      add(list, found, pod)
    end
  end
  for _, found in ipairs(view.events) do
    local pod = counted[found.object]
    -- What an event tells of a container that has been started since is over.
    if pod and not M.has_started(pod) and not M.is_ready(pod) then add(list, found, pod) end
    if not found.of_pod and M.ready_count(view) < view.replicas then add(list, found) end
  end
  return list
end

--- Where the pods are, in a few words.
-- @tparam table view
-- @treturn string
function M.describe(view)
  local pods = M.pods(view)
  if view.replicas > 1 then
    return ("%d of %d pods are ready"):format(M.ready_count(view), view.replicas)
  elseif #pods == 0 then
    return "there is no pod yet"
  end
  local pod = pods[1]
  if M.has_started(pod) then return "the pod runs and is not ready yet" end
  if pod.spec.nodeName then
    return ("the pod is being set up on node `%s`"):format(pod.spec.nodeName)
  end
  return "no node has taken the pod yet"
end

return M
