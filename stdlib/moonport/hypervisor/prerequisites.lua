--- The first step: what can be known before anything is made is as it must be.
-- @module moonport.hypervisor.prerequisites

local checks = require "moonport.hypervisor.checks"
local driver = require "moonport.hypervisor.driver"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local guest_config = require "moonport.hypervisor.guest_config"
local keystore = require "moonport.keystore"
local network = require "moonport.hypervisor.network"

local M = {}

local ANY_EXECUTE = 73 -- 0111

local function refuse(code, message, hint)
  errors.raise { kind = "hypervisor", code = code, message = message, hint = hint }
end

local function check_file(path, field)
  if not fs.exists(path) then
    refuse("not_found", ("`%s` of the manifest, `%s`, does not exist"):format(field, path))
  end
  local stat = fs.stat(path)
  if stat.type ~= "file" then
    refuse("refused", ("`%s` of the manifest, `%s`, is a %s"):format(field, path, stat.type))
  end
  return stat
end

--- Checks the program of a manifest.
-- @tparam table manifest
-- @raise {kind="hypervisor", code="not_found"|"refused"}
function M.check_program(manifest)
  if manifest.command then return end
  local stat = check_file(manifest.binary, "binary")
  if stat.mode & ANY_EXECUTE == 0 then
    refuse("refused", ("the program `%s` is not executable"):format(manifest.binary),
      "chmod +x " .. manifest.binary)
  end
end

local READ_SEARCH = 5 -- of an account that is neither owner nor group

--- Checks that a keystore reaches the guest, and there the service.
-- @tparam table manifest
-- @raise {kind="hypervisor", code="refused"}; {kind="keystore"}
function M.check_keystore(manifest)
  if guest_config.keystore(manifest) == "disk" then
    require("moonport.hypervisor.service_disk").check_keystore(manifest.keystore)
    return
  end
  local uid, stat = checks.uid(manifest), fs.stat(manifest.keystore)
  if uid == 0 or stat.uid == uid or stat.mode & READ_SEARCH == READ_SEARCH then return end
  refuse("refused",
    ("the keystore `%s` is not for uid %d, which `user` makes of the service in the guest"):format(
      manifest.keystore, uid), "set `hypervisor.keystore` to `disk`: the copy is the service's")
end

local function check_files(manifest)
  local vm = manifest.hypervisor
  M.check_program(manifest)
  if vm.kernel then check_file(vm.kernel, "hypervisor.kernel") end
  if vm.initrd then check_file(vm.initrd, "hypervisor.initrd") end
  if vm.image and vm.image.path then check_file(vm.image.path, "hypervisor.image.path") end
  if manifest.keystore then
    keystore.check(manifest.keystore)
    M.check_keystore(manifest)
  end
  for _, share in ipairs(vm.shares) do
    local stat = try(fs.stat, share.path)
    if not stat or stat.type ~= "directory" then
      refuse("not_found", ("the share `%s` is of `%s`, which is no directory"):format(share.tag,
        share.path))
    end
  end
end

-- Programs that make disks, and those that are for images alone.
local TOOLS = { "mkfs.vfat", "mcopy" }
local IMAGE_TOOLS = { "qemu-img", "debugfs" }

--- The programs that are missing for a manifest.
-- @tparam ?table manifest nil: for any
-- @treturn {{name,package},...}
function M.missing_tools(manifest)
  local names = table.move(TOOLS, 1, #TOOLS, 1, {})
  if not manifest or checks.has_cloud_init(manifest) then
    table.move(IMAGE_TOOLS, 1, #IMAGE_TOOLS, #names + 1, names)
  end
  return require("moonport.image.tools").missing(names)
end

local function check_tools(manifest)
  local missing = M.missing_tools(manifest)
  if #missing == 0 then return end
  local programs, packages = {}, {}
  for index, tool in ipairs(missing) do
    programs[index], packages[index] = tool.name, tool.package
  end
  refuse("not_found", ("making a VM's disks needs `%s`, which is not here"):format(
    table.concat(programs, "`, `")), "apt-get install " .. table.concat(packages, " "))
end

local function check_virtiofs(manifest, found)
  local vm = manifest.hypervisor
  if found or (#vm.shares == 0 and vm.keystore ~= "virtiofs") then return end
  refuse("not_found", ("%s need `virtiofsd`, which is not here"):format(
    #vm.shares > 0 and "`hypervisor.shares`" or "a keystore over virtio-fs"),
    "apt-get install virtiofsd (with Debian 12's QEMU it is in qemu-system-common)")
end

--- Checks.
-- @tparam context ctx
-- @treturn table {virtiofsd, keystore, driver}
function M.run(ctx)
  local manifest = ctx.manifest
  for _, text in ipairs(checks.warnings(manifest)) do ctx:warn("%s", text) end
  check_files(manifest)
  check_tools(manifest)
  local vm = require "moonport.vm"
  local virtiofsd = vm.virtiofsd and vm.virtiofsd()
  check_virtiofs(manifest, virtiofsd)
  local chosen = driver.look(ctx, { kernel = manifest.hypervisor.kernel,
    initrd = manifest.hypervisor.initrd })
  require("moonport.hypervisor.capabilities").check(ctx)
  require("moonport.hypervisor.forwarding").check(ctx)
  network.check(ctx)
  return {
    virtiofsd = virtiofsd, keystore = guest_config.keystore(manifest), driver = chosen.driver,
  }
end

--- As a plan: there is nothing to change.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  M.run(ctx)
  return {}
end

return M
