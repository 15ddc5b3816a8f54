--- What a registration run has written, as its pod gives it back.
--
-- The file that a blueprint registers into is the container's termination message. When the
-- container has ended, the kubelet reads it and puts it into the pod's status, where it can be had
-- from without anything that the image would have to hold.
-- @module moonport.container.registration

local errors = require "moonport.errors"

local M = {
  --- What a kubelet gives back at most, in bytes.
  LIMIT = 4096,
}

local function refuse(message, hint)
  errors.raise { kind = "container", code = "registration", message = message, hint = hint }
end

local function ended(pod)
  local status = (pod.status or {}).containerStatuses
  return status and status[1] and status[1].state and status[1].state.terminated
end

local function check_exit(terminated)
  local signal = terminated.signal or 0
  if terminated.exitCode == 0 then return end
  local how = terminated.reason == "OOMKilled" and "it was out of memory"
    or signal ~= 0 and ("it got signal %d"):format(signal)
    or ("it exited with %d"):format(terminated.exitCode)
  refuse("the registration run failed: " .. how)
end

--- The output of a registration run.
-- @tparam table pod as the cluster has it
-- @treturn string|nil nil while it has not ended
-- @raise {kind="container", code="registration"} when it failed, or wrote nothing that can be had
function M.output(pod)
  local terminated = ended(pod)
  if not terminated then return nil end
  check_exit(terminated)
  local text = terminated.message or ""
  if text == "" then
    refuse("the registration run wrote no output",
      "a blueprint writes to the file REGISTRATION_OUTPUT_PATH, in place, not by renaming")
  elseif #text >= M.LIMIT then
    refuse("the registration's output has 4096 bytes or more, which a pod does not give back whole",
      "register with `target = \"native\"`")
  elseif text:find("\u{fffd}", 1, true) then
    refuse("the registration's output is not text, which a pod does not give back unharmed",
      "register with `target = \"native\"`")
  end
  return text
end

return M
