--- Why a virtual machine ended: one set of reasons, from what its monitor told and how the monitor
-- itself ended.
--
-- - "guest-shutdown": the guest switched itself off
-- - "guest-reset": the guest rebooted, and was made to end by that
-- - "guest-panic": the guest's kernel panicked
-- - "host-quit": the monitor was told to end
-- - "host-signal": the monitor ended by a signal that it could act on
-- - "vmm-killed": the monitor was killed, by the kernel for memory where `oom` is true
-- - "vmm-error": the monitor failed
-- - "vmm-lost": its supervisor was killed, and the monitor with it
-- - "unknown": nothing tells
-- @module moonport.vm.ending

local events = require "moonport.vm.events"
local shim = require "moonport.shim"

local M = {}

M.reasons = {
  "guest-shutdown", "guest-reset", "guest-panic", "host-quit", "host-signal", "vmm-killed",
  "vmm-error", "vmm-lost", "unknown",
}

-- The last word of the monitor about it.
local function told(driver, dir)
  local found
  for _, event in ipairs(events.all(driver, dir)) do
    if event.what == "ended" then
      -- A panic is told before the end that it leads to.
      found = found and found.reason == "guest-panic" and found or event
    elseif event.what == "panicked" then
      found = { reason = "guest-panic", time = event.time }
    elseif event.what == "started" or event.what == "booted" or event.what == "reset" then
      found = nil
    end
  end
  return found
end

local function by_exit(exit)
  if not exit then return "unknown" end
  if exit.signal then return "vmm-killed" end
  return exit.code == 0 and "host-quit" or "vmm-error"
end

--- Tells why a machine ended.
-- @tparam table driver
-- @tparam string dir
-- @tparam ?table record of its supervisor, as `moonport.shim` finds it
-- @treturn ?table {reason, oom, time}; nil while it runs
function M.of(driver, dir, record)
  if record and not shim.has_ended(record) then return nil end
  local said = told(driver, dir)
  if record and record.state == "lost" then return { reason = "vmm-lost" } end
  local exit = record and record.exit
  -- What was asked for and did not come about, since it was killed before.
  if exit and exit.signal and not (said and said.reason:find "^guest") then
    return { reason = "vmm-killed", oom = exit.oom or false }
  end
  if said then
    local reason = said.reason
    if driver.refine_reason then reason = driver.refine_reason(dir, reason, record) end
    return { reason = reason, time = said.time }
  end
  return { reason = by_exit(exit) }
end

return M
