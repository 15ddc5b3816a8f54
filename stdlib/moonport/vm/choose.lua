--- Which monitor, machine type and accelerator runs a machine, and why.
-- @module moonport.vm.choose

local capabilities = require "moonport.vm.capabilities"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local kvm = require "moonport.vm.kvm"
local process = require "moonport.process"
local sys = require "moonport.sys"

local M = {}

local PROGRAMS = {
  ["cloud-hypervisor"] = function() return "cloud-hypervisor" end,
  qemu = function(arch) return "qemu-system-" .. arch end,
}
-- Debian's packages, for the hint.
local PACKAGES = { x86_64 = "qemu-system-x86", aarch64 = "qemu-system-arm" }
local MACHINES = { x86_64 = "q35", aarch64 = "virt" }

local function fail(code, message, hint)
  errors.raise { kind = "vm", code = code, message = message, hint = hint }
end

--- The program of a driver.
-- @tparam string driver
-- @tparam table spec
-- @treturn ?string its path, nil where there is none
-- @treturn string its name
function M.program(driver, spec)
  local name = PROGRAMS[driver](spec.arch)
  return spec.programs[name] or process.which(name), name
end

local function machine_of(driver, spec)
  if driver == "cloud-hypervisor" then return driver end
  return spec.machine or MACHINES[spec.arch]
end

-- Why a driver cannot be the one, or nil.
local function obstacle(driver, spec)
  local machine = machine_of(driver, spec)
  local program, name = M.program(driver, spec)
  if not machine then return ("no driver knows the architecture `%s`"):format(spec.arch) end
  local row = capabilities.of(driver, machine, spec.accel ~= "auto" and spec.accel or nil)
  if not row.archs[spec.arch] then
    return ("%s has no processor of `%s`"):format(capabilities.name(row), spec.arch)
  elseif not program then
    return ("`%s` is not on PATH"):format(name)
  elseif spec.accel ~= "auto" and not row.accels[spec.accel] then
    return ("%s cannot run without KVM"):format(driver)
  elseif driver == "cloud-hypervisor" and spec.machine then
    return ("machine type `%s` is one of qemu's"):format(spec.machine)
  elseif driver == "cloud-hypervisor" and spec.arch ~= sys.uname().machine then
    return ("%s runs only the host's architecture"):format(driver)
  end
end

local function ask_kvm(plan)
  return kvm.probe {
    driver = plan.driver, program = plan.program, machine = plan.machine, kernel = plan.spec.kernel,
  }
end

local function reason(plan, format, ...)
  plan.reasons[#plan.reasons + 1] = format:format(...)
end

-- Sets plan.accel; nil where it is not known yet.
local function choose_accel(plan)
  local spec = plan.spec
  if spec.accel ~= "auto" then
    reason(plan, "%s: asked for", spec.accel)
    return spec.accel
  end
  if spec.arch ~= sys.uname().machine then
    reason(plan, "tcg: the host's processor is not `%s`", spec.arch)
    return "tcg"
  end
  local found = ask_kvm(plan)
  plan.kvm = found
  if found.works == nil then
    reason(plan, "tcg unless KVM is found to work: %s", found.reason)
    return "tcg"
  end
  reason(plan, "%s: %s", found.works and "kvm" or "tcg", found.reason)
  return found.works and "kvm" or "tcg"
end

local function attempt(driver, spec, reasons)
  local machine = machine_of(driver, spec)
  local plan = {
    spec = spec, driver = driver, machine = machine, program = M.program(driver, spec),
    can = capabilities.of(driver, machine), reasons = reasons,
  }
  plan.accel = choose_accel(plan)
  plan.can = capabilities.of(driver, machine, plan.accel)
  if plan.can.accels[plan.accel] then return plan end
  return nil, plan
end

local function hint_for(spec)
  local package = PACKAGES[spec.arch]
  return package and ("install `%s`, or cloud-hypervisor"):format(package)
end

--- Chooses.
-- @tparam table spec as `moonport.vm.spec` parses it
-- @treturn table {spec, driver, machine, program, accel, can, reasons, kvm}
-- @raise {kind="vm", code="no-driver"} that says why of each
function M.choose(spec)
  local candidates = { "cloud-hypervisor", "qemu" }
  if spec.driver ~= "auto" then candidates = { spec.driver } end
  local reasons = {}
  for _, driver in ipairs(candidates) do
    local why = obstacle(driver, spec)
    if why then
      reasons[#reasons + 1] = ("not %s: %s"):format(driver, why)
    else
      local plan, refused = attempt(driver, spec, reasons)
      if plan then return plan end
      if refused.kvm and refused.kvm.works == nil then
        -- Not to be known now; it is the one where KVM works.
        refused.accel = "kvm"
        reasons[#reasons] = ("if KVM is found to work%s: %s"):format(
          spec.driver == "auto" and ", else qemu" or "", refused.kvm.reason)
        return refused
      end
      reasons[#reasons] = ("not %s, which needs KVM: %s"):format(driver,
        refused.kvm and refused.kvm.reason or "the host's processor is another one")
    end
  end
  fail("no-driver", ("nothing here can run `%s`: %s"):format(spec.name,
    table.concat(reasons, "; ")), hint_for(spec))
end

-- What the host has of the kernel's own help.

--- Looks for what the host offers beside KVM.
-- @tparam table plan
function M.look(plan)
  plan.vhost_net = plan.accel == "kvm" and fs.exists "/dev/vhost-net"
  if not plan.spec.vsock then return end
  if plan.can.features["hybrid-vsock"] then
    plan.vsock = "hybrid"
  elseif fs.exists "/dev/vhost-vsock" then
    plan.vsock = "vhost"
  else
    reason(plan, "no vsock: the host has no /dev/vhost-vsock; virtio-serial ports are the channel")
  end
end

return M
