--- Which VMM, machine and accelerator a guest gets on this host, and why.
-- @module moonport.hypervisor.driver

local places = require "moonport.hypervisor.places"
local spec = require "moonport.hypervisor.spec"
local task = require "moonport.task"

local M = {}

-- Stands for a kernel that is not there before its image is.
local NO_KERNEL = "/dev/null"

-- Enough of the VM to choose by: what is not made yet has nothing to say in it.
local function outline(ctx, boot)
  local vm = ctx.manifest.hypervisor
  return {
    name = spec.name(ctx), driver = vm.driver, machine = vm.machine, accel = vm.accel,
    cpus = spec.cpus(ctx.manifest), memory = spec.memory(ctx.manifest),
    kernel = boot.kernel or NO_KERNEL, initramfs = boot.initrd,
    console = vm.console == "pty" and "pty" or nil,
    dir = places.sockets(ctx),
  }
end

--- Tells which driver, machine and accelerator would be taken, as far as that is known: whether KVM
-- runs a kernel is learnt by booting it, and remembered. Starts nothing.
-- @tparam context ctx
-- @tparam[opt] table boot {kernel, initrd}
-- @treturn table {driver, machine, accel, reasons, can}
-- @raise {kind="vm"} when none can
function M.look(ctx, boot)
  return task.read_only(require("moonport.vm").plan, outline(ctx, boot or {}))
end

--- Decides, and learns whether KVM runs the kernel where that is not known.
-- @tparam context ctx
-- @tparam table boot {kernel, initrd}
-- @treturn table as `look`
function M.decide(ctx, boot)
  if ctx.manifest.hypervisor.accel == "auto" then
    ctx:progress("finding out what runs this kernel")
  end
  return require("moonport.vm").plan(outline(ctx, boot))
end

--- A choice for people.
-- @tparam table plan
-- @treturn string such as "qemu, q35, tcg (the kernel printed nothing under KVM within 10 s)"
function M.describe(plan)
  local parts = { plan.driver }
  if plan.machine ~= plan.driver then parts[2] = plan.machine end
  parts[#parts + 1] = plan.accel
  local text = table.concat(parts, ", ")
  local reasons = table.concat(plan.reasons or {}, "; ")
  return reasons ~= "" and ("%s (%s)"):format(text, reasons) or text
end

return M
