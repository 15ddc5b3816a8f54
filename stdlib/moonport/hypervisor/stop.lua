--- Ending a virtual machine: the power button, then the VMM's own end, then SIGKILL.
--
-- Each rung is among the service's events. A lower one than was asked for takes from the guest what
-- it had not written, so the operator is told.
-- @module moonport.hypervisor.stop

local errors = require "moonport.errors"
local limits = require "moonport.native.limits"
local shim = require "moonport.shim"
local task = require "moonport.task"
local vmm = require "moonport.hypervisor.vmm"

local M = {}

-- Time for a VMM that was told to quit.
local QUIT_SECONDS = 5
-- More than all rungs together: the supervisor alone would kill the VMM after it.
local SLACK_SECONDS = 10
-- A VMM answers at once, or it hangs.
local ASK_SECONDS = 5

local function tell(ctx, rung, text, is_lower)
  ctx[is_lower and "warn" or "progress"](ctx, "%s", text)
  ctx.state:add_event({ id = ctx.id, name = ctx.name }, "stop", { rung = rung, text = text })
end

local function has_ended(intent)
  local record = shim.find(intent)
  return not record or shim.has_ended(record)
end

-- Waits for the end. False when it does not come in time.
local function wait_end(intent, seconds)
  if seconds <= 0 then return has_ended(intent) end
  local _, why = try(task.timeout, seconds, shim.wait_end, intent)
  if why and not errors.is(why, "task", "timeout") then error(why, 0) end
  return why == nil
end

local function ask(intent, verb)
  local _, why = try(task.timeout, ASK_SECONDS, function()
    local machine <close> = vmm.connect(intent)
    machine[verb](machine)
  end)
  if errors.is(why, "task", "cancelled") then error(why, 0) end
  return why == nil, why
end

-- Tells the supervisor that the VMM is not to be started again. SIGCONT, which it sends, does
-- nothing to a VMM that runs; what ends it is said over its own socket.
local function begin(intent, seconds)
  local request = ("shutdown signal=CONT grace_ms=%d"):format(seconds * 1000)
  return task.spawn(function()
    return try(shim.request, intent.socket, request, seconds + SLACK_SECONDS)
  end)
end

local function because(why)
  if errors.is(why, "task", "timeout") then
    return (" (it has not answered within %d s)"):format(ASK_SECONDS)
  end
  return why and (" (%s)"):format(errors.is(why) and why.message or tostring(why)) or ""
end

-- A machine that is paused hears no button.
local function wake(intent)
  local info = try(task.timeout, ASK_SECONDS, function()
    local machine <close> = vmm.connect(intent)
    return machine:info()
  end)
  if info and info.state == "paused" then ask(intent, "resume") end
end

local function climb_down(ctx, intent, grace)
  local pressed, quit, why
  if grace > 0 then
    wake(intent)
    pressed, why = ask(intent, "power_button")
    tell(ctx, "power-button", pressed
      and ("pressed the power button; the guest has %g s to shut down"):format(grace)
      or ("the power button could not be pressed%s"):format(because(why)))
    if wait_end(intent, pressed and grace or 0) then return "power-button" end
  end
  quit, why = ask(intent, "shutdown")
  tell(ctx, "shutdown", not quit and ("the VMM does not answer%s"):format(because(why))
    or pressed and "the guest did not shut down in time: the VMM was told to quit"
    or "the VMM was told to quit", pressed)
  if quit and wait_end(intent, QUIT_SECONDS) then return "shutdown" end
  tell(ctx, "kill", ("the VMM did not quit: it is killed%s"):format(because(why)), true)
  return "kill"
end

--- Stops the machine of an intent. Fine when it has ended, or never began.
-- @tparam context ctx
-- @tparam table intent of the step `vmm`
-- @tparam[opt] table options `grace`: seconds from the power button on; 0 quits the VMM at once
-- @treturn ?string the rung that ended it: "power-button", "shutdown" or "kill"
function M.run(ctx, intent, options)
  local record = shim.find(intent)
  if not record or shim.has_ended(record) then
    vmm.kill(ctx, intent)
    return nil
  end
  local manifest = ctx.manifest
  local grace = options and options.grace
    or manifest.stop.grace + manifest.hypervisor.shutdown_timeout
  local total = grace + QUIT_SECONDS + 2 * ASK_SECONDS + SLACK_SECONDS
  local ending = begin(intent, total)
  local rung = climb_down(ctx, intent, grace)
  vmm.kill(ctx, intent)
  ending:await()
  limits.kill(intent)
  return rung
end

return M
