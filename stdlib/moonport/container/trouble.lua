--- What keeps a pod from its work, read from its status and from events. Pure: no request is made.
--
-- A trouble is
--
--   {reason, message, hint, container, exit, patience, repeats, family}
--
-- `patience` is how many seconds it may stand before it counts: 0 for what does not mend by itself;
-- more for what often does, such as a pod that no node takes while the one before it still frees
-- its memory. `repeats` (what events tell of) says that it stands only as long as it is told again:
-- a node that tries once more and gets on tells nothing. `family` is what several reasons of one
-- trouble have in common. `exit` ({code, signal, oom, at}) tells how a container ended.
-- @module moonport.container.trouble

local logs = require "moonport.logs"

local M = {}

-- How long what often mends by itself is put up with.
local SCHEDULING = 15   -- the one before may still give back what it had; an autoscaler may think
local SCALING = 600     -- an autoscaler adds a node
local BINDING = 60      -- a volume is being provisioned
local MOUNTING = 30     -- a volume is being attached
local SANDBOX = 30      -- the network plugin of a new node
local MAKING = 15       -- an API that is about to answer
local QUOTA = 5         -- it still counts the pod that has just gone
local LOOKING = 10      -- a node's view of Secrets and ConfigMaps lags: it looks again soon
local AGAIN = 25        -- what a node tries again after 10 s: twice in vain
local PULLING = 60      -- a registry that is busy, or slow
local CAUSE = 3         -- an event is about to tell why

local IMAGE_HINT = "is `image` right, and does a registry that the node reaches have it? What is "
  .. "only on this host has to be loaded into the node's container runtime"

local PULL_HINTS = {
  { "unauthorized", "name a Secret with the registry's credentials in "
    .. "`container.image_pull_secrets`" },
  { "denied", "does it exist? If it is private, name a Secret with the registry's credentials in "
    .. "`container.image_pull_secrets`" },
  { "x509", "the node does not trust the registry's certificate" },
  { "not found", "the registry answers, and has no such image: check its name and tag" },
}

local function pull_hint(message)
  local lower = message:lower()
  for _, pair in ipairs(PULL_HINTS) do
    if lower:find(pair[1], 1, true) then return pair[2] end
  end
  return IMAGE_HINT
end

-- Answers of a registry that does not answer now, and of a network that is slow. That nobody
-- listens there, or that no such host is known, is not among them.
local PASSING = {
  "timeout", "timed out", "deadline exceeded", "toomanyrequests", "too many requests",
  "connection reset", "unexpected eof", "temporary failure", "500 internal server error",
  "502 bad gateway", "503 service unavailable", "504 gateway time",
}

local function passes(message)
  local lower = message:lower()
  for _, words in ipairs(PASSING) do
    if lower:find(words, 1, true) then return true end
  end
  return false
end

local function pull_patience(message) return passes(message) and PULLING or 0 end

-- A node that was not quick enough, or has not seen a Secret yet that is there, tries again.
local function make_patience(message)
  local again = passes(message) or message:find("not found", 1, true)
    or message:find("failed to sync", 1, true) or message:find("is reserved for", 1, true)
  return again and not message:find("executable file", 1, true) and AGAIN or 0
end

local function config_hint(message)
  if message:find("runAsNonRoot", 1, true) or message:find("run as root", 1, true) then
    return "the image runs as root: set `container.security.run_as_user`, or "
      .. "`container.security.run_as_non_root = false` if it has to be root"
  elseif message:find("not found", 1, true) then
    return "something that the pod names is missing"
  end
end

local function start_hint(message)
  if message:find("executable file not found", 1, true)
    or message:find("no such file", 1, true) then
    return "the image has no such program: check `command`, and whether the image's entrypoint "
      .. "holds `run` already (`container.run_word = false`)"
  elseif message:find("exec format error", 1, true) then
    return "the image is for another processor than the node's"
  end
end

local function never() return 0 end

-- Reasons why a container waits: reason -> hint and patience, functions of the message.
local WAITING = {
  ErrImagePull = { pull_hint, pull_patience },
  ImagePullBackOff = { pull_hint, pull_patience },
  ImageInspectError = { pull_hint, pull_patience },
  RegistryUnavailable = { pull_hint, pull_patience },
  InvalidImageName = { function() return "an image is written `registry/name:tag`" end, never },
  ErrImageNeverPull = {
    function()
      return "with `image_pull_policy = \"Never\"` the node must have it: load it into the node's "
        .. "container runtime (`ctr -n k8s.io images import FILE`)"
    end,
    never,
  },
  CreateContainerConfigError = { config_hint, make_patience },
  CreateContainerError = { start_hint, make_patience },
  RunContainerError = { start_hint, make_patience },
  PreStartHookError = { start_hint, never },
  PostStartHookError = { start_hint, never },
}

local SIGNALS = { [1] = "SIGHUP", [2] = "SIGINT", [3] = "SIGQUIT", [4] = "SIGILL", [6] = "SIGABRT",
  [7] = "SIGBUS", [8] = "SIGFPE", [9] = "SIGKILL", [11] = "SIGSEGV", [13] = "SIGPIPE",
  [15] = "SIGTERM" }

--- How a container ended, as `exit` of a service's status.
-- @tparam table terminated the state of the container
-- @treturn table {code, signal, oom, at, reason}
function M.exit(terminated)
  local code = terminated.exitCode
  local number = terminated.signal or code and code > 128 and code - 128 or nil
  local signal = number and SIGNALS[number] or nil
  return {
    code = not signal and code or nil,
    signal = signal and signal:gsub("^SIG", "") or nil,
    oom = terminated.reason == "OOMKilled" or nil,
    at = terminated.finishedAt,
    reason = terminated.reason,
  }
end

local function describe_exit(terminated)
  if terminated.reason == "OOMKilled" then
    return "was killed: it used more memory than `limits.memory` allows"
  elseif terminated.reason == "StartError" or terminated.reason == "ContainerCannotRun" then
    return ("could not be started: %s"):format(terminated.message or terminated.reason)
  end
  local exit = M.exit(terminated)
  local text = exit.signal and ("was ended by SIG%s"):format(exit.signal)
    or ("exited with %s"):format(tostring(exit.code or "?"))
  local said = terminated.message
  return said and said ~= "" and ("%s (%s)"):format(text, said) or text
end

local function crash_loop(status, waiting)
  local last = (status.lastState or {}).terminated or (status.state or {}).terminated
  if not last then
    return { reason = waiting.reason, message = waiting.message or "it ends again and again",
      patience = 0 }
  end
  return {
    reason = waiting.reason,
    message = ("it ends again and again; last it %s"):format(describe_exit(last)),
    hint = last.reason == "OOMKilled" and "raise `limits.memory`"
      or start_hint(last.message or "")
      or "its last lines say why",
    exit = M.exit(last),
    patience = 0,
  }
end

-- What a node says while it waits before it pulls again; why, it says no more. (Newer ones do.)
local BACK_OFF = "^Back%-off pulling image [^:]*$"

local function is_back_off(waiting)
  local text = waiting.message and waiting.message:gsub('"[^"]*"', "")
  return waiting.reason == "ImagePullBackOff" and (not text or text:find(BACK_OFF) ~= nil)
end

local function of_waiting(status, waiting, cause)
  local message, hint = waiting.message or "", WAITING[waiting.reason]
  local is_untold = is_back_off(waiting)
  if is_untold and cause then message, is_untold = cause, false end
  return {
    reason = waiting.reason,
    message = message ~= "" and message or ("image `%s`"):format(status.image or "?"),
    hint = hint[1](message), patience = is_untold and CAUSE or hint[2](message),
    -- A node goes from one to the other, and it is the same trouble.
    family = hint[2] == pull_patience and "pull" or nil,
  }
end

local function of_container(status, cause)
  local waiting = (status.state or {}).waiting
  if not waiting or not waiting.reason then return nil end
  local found
  if waiting.reason == "CrashLoopBackOff" then
    found = crash_loop(status, waiting)
  elseif WAITING[waiting.reason] then
    found = of_waiting(status, waiting, cause)
  end
  if found then found.container = status.name end
  return found
end

local EVICTIONS = {
  Evicted = "the node was short of something: `limits` keeps it from being chosen first",
  Preempting = "a pod of higher priority took its place",
  NodeLost = "its node does not answer",
  NodeShutdown = "its node was shut down",
  Terminated = "its node was shut down",
  NodeAffinity = "the node does not fit `container.node_selector`",
  DeadlineExceeded = "it ran longer than it may",
}

local function ended_container(pod)
  for _, status in ipairs((pod.status or {}).containerStatuses or {}) do
    local ended = (status.state or {}).terminated
    if ended then return ended, status.name end
  end
end

-- A pod that has failed for good.
local function of_failed(pod)
  local status = pod.status
  local ended, container = ended_container(pod)
  if status.reason then
    return {
      reason = status.reason,
      message = status.message or ("the pod was ended: %s"):format(status.reason),
      hint = EVICTIONS[status.reason] or nil, exit = ended and M.exit(ended), patience = 0,
    }
  elseif ended then
    return {
      reason = ended.reason or "Error", message = ("it %s"):format(describe_exit(ended)),
      hint = ended.reason == "OOMKilled" and "raise `limits.memory`" or nil,
      container = container, exit = M.exit(ended), patience = 0,
    }
  end
  return { reason = "Failed", message = status.message or "the pod failed", patience = 0 }
end

local function condition_of(pod, name)
  for _, condition in ipairs((pod.status or {}).conditions or {}) do
    if condition.type == name then return condition end
  end
end

local function scheduling_hint(message)
  if message:find("Insufficient", 1, true) then
    return "no node has so much left: lower `limits`, or make room"
  elseif message:find("taint", 1, true) then
    return "the nodes have taints: see `container.tolerations`"
  elseif message:find("selector", 1, true) or message:find("affinity", 1, true) then
    return "no node fits `container.node_selector` (or what `container.gpu` asks for)"
  elseif message:find("PersistentVolumeClaim", 1, true) then
    return "its volume is not there: does the cluster have a storage class (`kubectl get sc`)?"
  elseif message:find("no nodes available", 1, true) then
    return "the cluster has no node that is ready"
  end
end

local function of_scheduling(pod)
  local condition = condition_of(pod, "PodScheduled")
  if not condition or condition.status ~= "False" or condition.reason ~= "Unschedulable" then
    return nil
  end
  local message = condition.message or "no node takes it"
  return {
    reason = "Unschedulable", message = message, hint = scheduling_hint(message),
    patience = message:find("unbound immediate PersistentVolumeClaim", 1, true) and BINDING
      or SCHEDULING,
  }
end

--- What a pod or an event says about why an image could not be pulled.
-- @tparam table object a pod, or an event of one
-- @treturn ?string
function M.pull_failure(object)
  local message = object.message or ""
  if object.reason == "Failed" and message:find("^Failed to pull image") then return message end
  for _, status in ipairs((object.status or {}).containerStatuses or {}) do
    local waiting = (status.state or {}).waiting or {}
    if waiting.reason == "ErrImagePull" then return waiting.message end
  end
end

--- What keeps a pod from its work.
-- @tparam table pod
-- @tparam[opt] string cause why its image could not be pulled, as `pull_failure` told before
-- @treturn ?table trouble
function M.of_pod(pod, cause)
  local status = pod.status or {}
  if status.phase == "Failed" then return of_failed(pod) end
  for _, list in ipairs { status.initContainerStatuses or {}, status.containerStatuses or {} } do
    for _, container in ipairs(list) do
      local found = of_container(container, cause)
      if found then return found end
    end
  end
  return of_scheduling(pod)
end

local function volume_patience(message)
  local certain = message:find("type check failed", 1, true)
    or message:find("is not a directory", 1, true)
  if certain then return 2 end
  return message:find("not found", 1, true) and LOOKING or MOUNTING
end

local function volume_hint(message)
  if message:find("hostPath", 1, true) then
    return "the path has to be there on the node, not on this host"
  end
end

local function sandbox_hint(message)
  if message:find("no runtime for", 1, true) then
    return "the node's container runtime does not know the handler of this RuntimeClass"
  end
end

local function making_patience(message)
  if message:find("exceeded quota", 1, true) then return QUOTA end
  -- The account of a new namespace is made a moment later.
  if message:find("error looking up service account", 1, true) then return MAKING end
  for _, word in ipairs { "forbidden", "denied the request", "is invalid" } do
    if message:find(word, 1, true) then return 0 end
  end
  return MAKING
end

local function making_hint(message)
  if message:find("quota", 1, true) then
    return "the namespace's ResourceQuota leaves no room: lower `limits`, or raise the quota"
  elseif message:find("service account", 1, true) then
    return "the namespace has no such ServiceAccount: see `container.service_account`"
  elseif message:find("PodSecurity", 1, true) or message:find("pod security", 1, true) then
    return "the namespace allows no such pod: see `container.security`"
  end
end

local function claim_patience(message)
  return message:find("no storage class is set", 1, true) and 2 or BINDING
end

local function claim_hint()
  return "does the cluster have that storage class (`kubectl get sc`)? `container.data` names it"
end

local function nothing() end

-- Events that tell of trouble: reason -> patience (a number, or a function of the message), hint.
local EVENTS = {
  FailedMount = { volume_patience, volume_hint },
  FailedAttachVolume = { MOUNTING, nothing },
  FailedMapVolume = { MOUNTING, nothing },
  FailedCreatePodSandBox = {
    function(message) return message:find("no runtime for", 1, true) and 0 or SANDBOX end,
    sandbox_hint,
  },
  FailedCreate = { making_patience, making_hint },
  FailedBinding = { claim_patience, claim_hint },
  ProvisioningFailed = { claim_patience, claim_hint },
}

--- What an event tells of.
-- @tparam table event of `v1`
-- @treturn ?table trouble
function M.of_event(event)
  local known = event.type == "Warning" and EVENTS[event.reason]
  if not known then return nil end
  local message = event.message or ""
  local patience = known[1]
  if type(patience) == "function" then patience = patience(message) end
  return {
    reason = event.reason, message = message, hint = known[2](message), patience = patience,
    repeats = true,
  }
end

local function seconds_of(time)
  return type(time) == "string" and logs.seconds(time) or nil
end

--- For how long an event has been told again and again, by the clock of who tells it.
-- @tparam table event
-- @treturn number seconds
function M.span(event)
  local series = event.series or {}
  local first = seconds_of(event.firstTimestamp) or seconds_of(event.eventTime)
  local last = seconds_of(series.lastObservedTime) or seconds_of(event.lastTimestamp)
  return first and last and math.max(0, last - first) or 0
end

-- What autoscalers say: the cluster-autoscaler, and Karpenter.
local ADDS = { TriggeredScaleUp = true, Nominated = true }

--- True for an event by which an autoscaler says that it adds a node for the pod.
-- @tparam table event
-- @treturn boolean
function M.is_scaling(event)
  return ADDS[event.reason] == true
end

--- How long a pod may then wait for its node, in seconds.
M.SCALING = SCALING

--- The trouble in one line.
-- @tparam table trouble
-- @treturn string
function M.describe(trouble)
  return ("%s: %s"):format(trouble.reason, trouble.message)
end

return M
