--- How a service in a virtual machine is: what its supervisor, the VMM and the guest say. Pure.
--
-- The supervisor knows whether the VMM lives, the VMM how the machine is, the guest how the service
-- is. None of them is believed about what another knows better.
-- @module moonport.hypervisor.status

local shim = require "moonport.shim"

local M = {}

local REASONS = {
  ["guest-shutdown"] = "the guest has shut down",
  ["guest-reset"] = "the guest has reset itself",
  ["guest-panic"] = "the guest's kernel has panicked",
  ["host-quit"] = "the VMM was told to quit",
  ["host-signal"] = "the VMM was ended by a signal",
  ["vmm-killed"] = "the VMM was killed",
  ["vmm-error"] = "the VMM failed",
  ["vmm-lost"] = "the VMM was killed together with its supervisor",
}

--- What a reason of `moonport.vm` for an end means, for people.
-- @tparam ?string reason
-- @treturn ?string
function M.describe_reason(reason)
  return reason and REASONS[reason] or nil
end

local function exit_of(record)
  if record.state == "lost" then return { unknown = true } end
  local exit = record.exit
  return exit and {
    code = exit.code, signal = exit.signal, oom = exit.oom, peak = exit.peak_memory, at = exit.at,
  }
end

-- Ends that leave nobody without what was wanted.
local FINE = { ["guest-shutdown"] = true, ["host-quit"] = true, ["guest-reset"] = true }

-- Of a VMM that is gone.
local function ended(record, about, ending)
  local status = {
    exit = exit_of(record), since = record.started_at, restarts = record.restarts,
    reason = ending and ending.reason or nil,
    problem = record.error and record.error.message or nil,
  }
  if record.state == "lost" then
    status.state = about.want == "stopped" and "stopped" or "lost supervisor"
  elseif about.registered and record["end"] == "stopped" then
    -- The machine is stopped once its output is here.
    status.state = "completed"
  elseif record["end"] == "stopped" or record["end"] == "terminated" then
    status.state = "stopped"
  elseif ending and FINE[ending.reason] and record.exit and record.exit.code == 0 then
    status.state = about.registered and "completed" or "exited"
    status.problem = status.problem or not about.registered and REASONS["guest-shutdown"] or nil
  else
    status.state = "failed"
    status.problem = status.problem or M.describe_reason(status.reason)
  end
  return status
end

local SERVICE_STATES = { running = "running", starting = "starting", backoff = "restarting",
  stopping = "running" }

-- What the guest's supervisor says of the service.
local function of_service(service, about)
  local state = SERVICE_STATES[service.state]
  if state then return state end
  if service["end"] == "stopped" or service["end"] == "terminated" then return "stopped" end
  local fine = service["end"] == "exit" and service.exit and service.exit.code == 0
  return fine and about.registration and "completed" or fine and "exited" or "failed"
end

local function add_service(status, service, about)
  status.state = of_service(service, about)
  status.since = service.started_at or status.since
  status.restarts = (status.restarts or 0) + (service.restarts or 0)
  status.exit = exit_of(service) or status.exit
  status.problem = service.error and service.error.message or status.problem
  status.service_pid = service.service and service.service.pid
  shim.add_told(status, service)
end

-- States of a machine that say more than any guest could.
local MACHINE_STATES = {
  paused = { state = "paused" },
  suspended = { state = "paused" },
  panicked = { state = "failed", reason = "guest-panic" },
  shutdown = { state = "exited", reason = "guest-shutdown" },
  created = { state = "starting" },
  restoring = { state = "starting" },
  failed = { state = "failed", reason = "vmm-error" },
  ended = { state = "restarting" },
  unknown = { state = "unknown" },
}

--- Why a machine is paused, for people.
-- @tparam table machine `info` of `moonport.vm`
-- @treturn string
function M.describe_pause(machine)
  local disk = machine.disks and machine.disks[1]
  if not disk then return "the machine is paused" end
  return disk.reason == "disk-full"
    and ("the machine is paused: this host has no room for its disk `%s`"):format(disk.disk or "?")
    or ("the machine is paused: its disk `%s` fails"):format(disk.disk or "?")
end

local function of_machine(status, machine)
  local known = MACHINE_STATES[machine.state]
  if not known then return false end
  status.state = known.state
  status.reason = machine.reason or known.reason
  status.problem = known.state == "failed" and M.describe_reason(status.reason)
    or known.state == "paused" and M.describe_pause(machine) or nil
  return true
end

--- How it is.
-- @tparam ?table record of the VMM's supervisor
-- @tparam table about `want`, `registration`; `registered` (it has, and its output is there)
-- @tparam[opt] table found `machine`: `info` of the VMM, or {problem}; `guest`: {service, network,
-- problem}; `ending`: {reason} of a machine that has ended
-- @treturn table {state, reason, problem, hint, pid, since, restarts, exit, machine, guest}; with
-- `ready.notify` also `ready` and `says`, the service's own words
function M.of(record, about, found)
  found = found or {}
  local machine, guest = found.machine, found.guest
  if not record then return { state = "stopped" } end
  if shim.has_ended(record) then return ended(record, about, found.ending) end
  local status = {
    pid = record.service and record.service.pid, since = record.started_at,
    restarts = record.restarts, machine = machine and machine.state,
  }
  if record.state == "backoff" then
    status.state, status.exit = "restarting", exit_of(record)
    return status
  elseif record.state == "stopping" then
    status.state, status.reason = "stopping", "shutting down"
    return status
  end
  if not machine or machine.problem then
    status.state = "unknown"
    status.problem = machine and machine.problem or "its VMM was not asked"
    status.hint = "a VMM that runs and does not answer hangs: `moonport restart` ends it"
    return status
  end
  if of_machine(status, machine) then return status end
  if not guest or guest.problem or not guest.service then
    status.state, status.reason = "starting", "the guest does not answer yet"
    status.problem = guest and guest.problem
    return status
  end
  add_service(status, guest.service, about)
  status.guest = { network = guest.network, service = guest.service.state }
  if status.state == "running" and guest.network and guest.network.up == false then
    status.problem = "the guest has no network: " .. (guest.network.problem or "no address")
  end
  return status
end

return M
