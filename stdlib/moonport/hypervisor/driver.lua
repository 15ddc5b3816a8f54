--- Which VMM, machine and accelerator a guest gets on this host, and why.
-- @module moonport.hypervisor.driver

local checks = require "moonport.hypervisor.checks"
local spec = require "moonport.hypervisor.spec"

local M = {}

-- Enough of the VM to choose by: what is not made yet has nothing to say in it.
local function outline(ctx, boot)
  local vm = ctx.manifest.hypervisor
  return {
    name = ctx.name, driver = vm.driver, machine = vm.machine, accel = vm.accel,
    cpus = spec.cpus(ctx.manifest), memory = spec.memory(ctx.manifest),
    kernel = boot.kernel, initramfs = boot.initrd,
    filesystems = spec.filesystems(ctx.manifest, false),
    console = vm.console == "pty" and "pty" or "file",
  }
end

--- Tells which driver, machine and accelerator would be taken, as far as that is known: whether KVM
-- runs a kernel is learnt by booting it, and remembered.
-- @tparam context ctx
-- @tparam[opt] table boot {kernel, initrd}
-- @treturn table {driver, machine, accel, reasons}
-- @raise {kind="vm"} when none can
function M.look(ctx, boot)
  return require("moonport.vm").plan(outline(ctx, boot or {}))
end

--- Learns whether KVM runs a kernel, where that matters and is not known.
-- @tparam context ctx
-- @tparam integer _ processors
-- @tparam table boot {kernel, initrd}
function M.probe(ctx, _, boot)
  local vm = ctx.manifest.hypervisor
  if vm.accel == "tcg" or not boot.kernel then return end
  local kvm = require "moonport.vm.kvm"
  if kvm.probe then
    kvm.probe({ kernel = boot.kernel, initramfs = boot.initrd }, {
      progress = function(text) ctx:progress("%s", text) end,
    })
  end
end

--- A choice for people.
-- @tparam table plan
-- @treturn string such as "qemu, q35, tcg (KVM: the kernel printed nothing in 5 s)"
function M.describe(plan)
  local parts = {}
  for _, key in ipairs { "driver", "machine", "accel" } do parts[#parts + 1] = plan[key] end
  local text = table.concat(parts, ", ")
  local reasons = table.concat(plan.reasons or {}, "; ")
  return reasons ~= "" and ("%s (%s)"):format(text, reasons) or text
end

M.warnings = checks.warnings

return M
