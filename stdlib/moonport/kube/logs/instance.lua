-- What a pod says of the container whose log is being followed: what to do when its stream ends.

local M = {}

-- Waits of which people should know.
local NOTABLE = {
  CrashLoopBackOff = true, ErrImagePull = true, ImagePullBackOff = true, InvalidImageName = true,
  ErrImageNeverPull = true, CreateContainerConfigError = true, CreateContainerError = true,
  RunContainerError = true,
}

local LISTS = { "containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses" }

-- The status of a container by name; nil before it has one.
function M.status_of(pod, name)
  for _, list in ipairs(LISTS) do
    for _, status in ipairs(pod.status and pod.status[list] or {}) do
      if status.name == name then return status, list end
    end
  end
end

-- "exit 1", "exit 137 (OOMKilled)"
local function exit_text(ended)
  if not ended then return nil end
  local text = "exit " .. tostring(ended.exitCode)
  local reason = ended.reason
  if reason and reason ~= "" and reason ~= "Error" and reason ~= "Completed" then
    text = ("%s (%s)"):format(text, reason)
  end
  return text
end

local function is_finished(pod)
  local phase = pod.status and pod.status.phase
  return phase == "Succeeded" or phase == "Failed"
end

M.is_finished = is_finished

-- Whether the node will start this container again. One that only ran before the others runs once.
local function will_restart(pod, ended, list)
  if is_finished(pod) or pod.metadata.deletionTimestamp then return false end
  if list == "ephemeralContainerStatuses" then return false end
  local policy = pod.spec.restartPolicy or "Always"
  if policy == "Always" and list == "containerStatuses" then return true end
  return policy ~= "Never" and ended.exitCode ~= 0
end

-- Judges by the newest state of the pod, nil where there is none.
--   at: {uid=, container=, id=, restarts=, drained=}: what is being followed; id is nil before its
--   container has run
-- Gives {what=...}:
--   "gone"      the pod
--   "replaced"  the pod, by another of its name; uid=
--   "new"       a container that is not the one followed: id=, restarts=, exit= of the one before
--   "running"   the same still
--   "drain"     it has ended; what is left of its log can be read
--   "wait"      for a change of the pod; note= what people should know, or nil
--   "over"      nothing more will come; reason=
function M.look(at, pod)
  if not pod then return { what = "gone" } end
  if at.uid and pod.metadata.uid ~= at.uid then
    return { what = "replaced", uid = pod.metadata.uid }
  end
  local status, list = M.status_of(pod, at.container)
  local id = status and status.containerID
  local state, last = status and status.state or {}, status and status.lastState or {}
  if id and id ~= "" and id ~= at.id then
    return {
      what = "new", id = id, restarts = status.restartCount or 0, exit = exit_text(last.terminated),
    }
  end
  if state.running then return { what = "running" } end
  if at.id and not at.drained then return { what = "drain" } end
  local ended = state.terminated or last.terminated
  if is_finished(pod) or (ended and not will_restart(pod, ended, list)) then
    return { what = "over", reason = exit_text(ended) }
  end
  local waiting = state.waiting
  local note = waiting and NOTABLE[waiting.reason] and waiting.reason or nil
  if note and waiting.message then note = note .. ": " .. waiting.message end
  return { what = "wait", note = note, key = waiting and waiting.reason }
end

-- The name of the StatefulSet that makes a pod of this name again when it is gone; nil for others.
function M.set_of(pod)
  for _, owner in ipairs(pod.metadata.ownerReferences or {}) do
    if owner.controller == true and owner.kind == "StatefulSet" then return owner.name end
  end
end

-- ---- which containers ---------------------------------------------------------------------------

local SPECS = { "initContainers", "containers", "ephemeralContainers" }

local DEFAULT = { "kubectl.kubernetes.io/default-container",
  "kubectl.kubernetes.io/default-logs-container" }

-- The names of a pod's containers, those that run before the others first.
function M.containers(pod)
  local names = {}
  for _, list in ipairs(SPECS) do
    for _, container in ipairs(pod.spec[list] or {}) do names[#names + 1] = container.name end
  end
  return names
end

-- The container that is meant where none is named; nil where it could be any of several.
function M.default_container(pod)
  local annotations = pod.metadata.annotations or {}
  for _, annotation in ipairs(DEFAULT) do
    if annotations[annotation] then return annotations[annotation] end
  end
  local containers = pod.spec.containers
  return #containers == 1 and containers[1].name or nil
end

return M
