--- What each driver and machine type can, as data.
-- @module moonport.vm.capabilities

local errors = require "moonport.errors"

local M = {}

local function set(words)
  local made = {}
  for word in words:gmatch "%S+" do made[word] = true end
  return made
end

local COMMON = "create boot info pause resume shutdown reboot kill snapshot restore console events "

--- All verbs of a machine.
M.verbs = set(COMMON .. "power_button resize add_disk remove")

-- One row for each driver and machine type, the preferred ones first; two where it depends on what
-- runs the guest's code.
--
-- `verbs`: of those above. `features`: pty (an interactive console), recorded-pty (which is
-- recorded at the same time), direct, qcow2, backing, vsock, hybrid-vsock, ports (named
-- virtio-serial ports), virtio-fs, panic (a guest's panic is told), seccomp, restartable (its
-- command line alone boots the guest again), multi-queue. `formats`: of disks.
M.list = {
  {
    driver = "cloud-hypervisor", machine = "cloud-hypervisor",
    archs = set "x86_64 aarch64", accels = set "kvm",
    verbs = set(COMMON .. "power_button resize add_disk remove"),
    features = set [[pty direct qcow2 backing hybrid-vsock virtio-fs panic seccomp multi-queue]],
    formats = set "raw qcow2",
  },
  {
    driver = "qemu", machine = "q35",
    archs = set "x86_64", accels = set "kvm tcg",
    verbs = set(COMMON .. "power_button resize add_disk remove"),
    features = set [[pty recorded-pty direct qcow2 backing vsock ports virtio-fs panic seccomp
      restartable multi-queue]],
    formats = set "raw qcow2",
  },
  {
    driver = "qemu", machine = "virt",
    archs = set "aarch64", accels = set "kvm tcg",
    verbs = set(COMMON .. "power_button add_disk remove"),
    features = set [[pty recorded-pty direct qcow2 backing vsock ports virtio-fs panic seccomp
      restartable multi-queue]],
    formats = set "raw qcow2",
  },
  {
    driver = "qemu", machine = "microvm",
    archs = set "x86_64", accels = set "kvm",
    verbs = set(COMMON .. "power_button"),
    features = set [[pty recorded-pty direct qcow2 backing vsock ports virtio-fs seccomp restartable
      multi-queue]],
    formats = set "raw qcow2",
  },
  -- Linux finds no timer in a microvm that has ACPI and no clock of KVM's; without ACPI there is no
  -- button.
  {
    driver = "qemu", machine = "microvm",
    archs = set "x86_64", accels = set "tcg",
    verbs = set(COMMON),
    features = set [[pty recorded-pty direct qcow2 backing vsock ports virtio-fs seccomp restartable
      multi-queue]],
    formats = set "raw qcow2",
  },
}

--- Finds what a driver's machine type can.
-- @tparam string driver
-- @tparam ?string machine
-- @tparam ?string accel "kvm" or "tcg"
-- @treturn table {driver, machine, archs, accels, verbs, features, formats}
-- @raise {kind="vm", code="invalid"}
function M.of(driver, machine, accel)
  local nearly
  for _, row in ipairs(M.list) do
    if row.driver == driver and (machine == nil or row.machine == machine) then
      if accel == nil or row.accels[accel] then return row end
      nearly = nearly or row
    end
  end
  if nearly then return nearly end
  errors.raise {
    kind = "vm", code = "invalid",
    message = ("%s has no machine type `%s`"):format(driver, machine),
  }
end

--- The name of a row for people: "qemu q35", "cloud-hypervisor", "qemu microvm (kvm)".
-- @tparam table row
-- @treturn string
function M.name(row)
  if row.driver == row.machine then return row.driver end
  local name = row.driver .. " " .. row.machine
  local accel = next(row.accels)
  return next(row.accels, accel) and name or ("%s (%s)"):format(name, accel)
end

-- "a, b or c"
local function either(names)
  if #names < 2 then return names[1] end
  return table.concat(names, ", ", 1, #names - 1) .. " or " .. names[#names]
end

--- The names of those that have something, for an architecture.
-- @tparam string field "verbs" or "features"
-- @tparam string word
-- @tparam ?string arch
-- @treturn {string,...}
function M.having(field, word, arch)
  local names = {}
  for _, row in ipairs(M.list) do
    local fits = arch == nil or row.archs[arch]
    if fits and row[field][word] then names[#names + 1] = M.name(row) end
  end
  return names
end

--- Refuses what a machine lacks, and names one that has it.
-- @tparam table row of the machine
-- @tparam string field "verbs" or "features"
-- @tparam string word
-- @tparam[opt] string arch
-- @raise {kind="vm", code="unsupported"}
function M.require(row, field, word, arch)
  if row[field][word] then return end
  local names = M.having(field, word, arch)
  errors.raise {
    kind = "vm", code = "unsupported", verb = word,
    message = ("%s cannot `%s`"):format(M.name(row), word),
    hint = #names > 0 and ("use %s, which can"):format(either(names)) or nil,
  }
end

return M
