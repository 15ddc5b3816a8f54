--- What the fields of a manifest must be among themselves to become a virtual machine.
--
-- What a VM cannot do is refused where the service would not run as the manifest says, and named
-- in a warning where it runs, but without what was asked for.
-- @module moonport.hypervisor.checks

local endpoint = require "moonport.endpoint"
local fields = require "moonport.manifest.fields"
local ready = require "moonport.ready"

local M = {
  --- A guest's memory when the manifest does not limit it.
  MEMORY = 512 << 20,
  --- The size of a data disk when the manifest says nothing of it.
  DATA = 10 << 30,
  --- The image that is booted when the manifest names none.
  IMAGE = "debian:12",
}

-- Less than this and no kernel of a distribution comes up.
local LEAST_MEMORY = 48 << 20

--- Checks an address to publish at, or of a name server.
-- @tparam string text
function M.address(text)
  if endpoint.is_ipv4(text) then return nil end
  return ("must be an IPv4 address, not %q"):format(text)
end

--- Checks `image`.
-- @tparam table data
-- @tparam function report
function M.image(data, report)
  local given
  for _, key in ipairs { "name", "url", "path" } do
    if data[key] and given then
      report(key, ("an image has one source: `%s` cannot stand beside `%s`"):format(key, given))
    end
    given = given or data[key] and key
  end
  if not given then
    report(nil, "`hypervisor.image` names no image", "set `name`, `url` or `path`")
  end
end

--- The uid that the service has in the guest.
-- @tparam table manifest
-- @treturn ?integer nil for a name that only a host knows
function M.uid(manifest)
  if not manifest.user or manifest.user == "root" then return 0 end
  return math.tointeger(tonumber(manifest.user))
end

local function check_program(manifest, report)
  if manifest.command or manifest.binary then return end
  report("binary", "a service in a VM needs `binary` or `command`",
    "`binary` is the blueprint's program, `command` an exact argv of what the image has")
end

local function check_user(manifest, report)
  if M.uid(manifest) then return end
  report("user", ("`%s` is an account of a host, which the guest does not have"):format(
    manifest.user), "write a number, or leave it out: the service is the guest's root then")
end

local function check_memory(manifest, report)
  local memory = manifest.limits.memory
  if memory and memory < LEAST_MEMORY then
    report("limits.memory",
      "`limits.memory` is the whole guest's, and its kernel alone needs 48MiB",
      "give it 128MiB or more")
  end
end

local function check_kernel(manifest, report)
  local vm = manifest.hypervisor
  if vm.initrd and not vm.kernel then
    report("hypervisor.initrd", "`hypervisor.initrd` belongs to a `hypervisor.kernel`")
  elseif vm.kernel and not (vm.initrd or vm.image) then
    report("hypervisor.kernel", "a kernel alone finds nothing to run",
      "set `hypervisor.initrd`, or `hypervisor.image` for its root disk")
  end
end

local DRIVERS = { q35 = "qemu", microvm = "qemu", virt = "qemu" }

local function check_machine(manifest, report)
  local vm = manifest.hypervisor
  if vm.machine and vm.driver ~= "auto" and DRIVERS[vm.machine] ~= vm.driver then
    report("hypervisor.machine", ("`%s` is a machine of QEMU, and `hypervisor.driver` is `%s`")
      :format(vm.machine, vm.driver))
  end
  if vm.driver == "cloud-hypervisor" and vm.accel == "tcg" then
    report("hypervisor.accel", "cloud-hypervisor has KVM alone", "QEMU can emulate")
  end
end

local function check_data(manifest, report)
  if not manifest.data_dir then return end
  report("data_dir", "`data_dir` is a directory of a host: a VM has its data on a disk of its own",
    "leave it out; `hypervisor.data` and `hypervisor.shares` say more")
end

local function check_publish(manifest, report)
  local taken = {}
  for index, entry in ipairs(manifest.hypervisor.network.publish) do
    local path = ("hypervisor.network.publish[%d]"):format(index)
    for _, other in ipairs(taken) do
      local same = other.port == entry.port and other.protocol == entry.protocol
      local overlap = other.address == entry.address or other.address == "0.0.0.0"
        or entry.address == "0.0.0.0"
      if same and overlap then
        report(path .. ".port",
          ("port %d/%s is published twice"):format(entry.port, entry.protocol))
      end
    end
    taken[#taken + 1] = entry
  end
end

local RESERVED = { keystore = true, data = true }

local function check_shares(manifest, report)
  local tags, mounts = {}, {}
  for index, share in ipairs(manifest.hypervisor.shares) do
    local path = ("hypervisor.shares[%d]"):format(index)
    if RESERVED[share.tag] then
      report(path .. ".tag", ("the tag `%s` is moonport's own"):format(share.tag))
    elseif tags[share.tag] then
      report(path .. ".tag", ("two shares have the tag `%s`"):format(share.tag))
    elseif mounts[share.mount] then
      report(path .. ".mount", ("two shares are mounted at `%s`"):format(share.mount))
    end
    tags[share.tag], mounts[share.mount] = true, true
  end
end

local function check_peers(manifest, report)
  for index, peer in ipairs(manifest.hypervisor.network.peers) do
    if peer == manifest.name then
      report(("hypervisor.network.peers[%d]"):format(index), "a VM is no peer of its own")
    end
  end
end

--- Checks a whole manifest whose target is `hypervisor`.
-- @tparam table manifest its data, in normal form
-- @tparam function report function(path, message, hint)
function M.whole(manifest, report)
  check_program(manifest, report)
  check_user(manifest, report)
  check_memory(manifest, report)
  check_kernel(manifest, report)
  check_machine(manifest, report)
  check_data(manifest, report)
  check_publish(manifest, report)
  check_shares(manifest, report)
  check_peers(manifest, report)
  ready.check(manifest, report)
end

local function differs(manifest, group, field)
  return manifest[group][field] ~= fields.default(group, field)
end

-- True where a cloud image is booted, and so cloud-init runs.
local function has_cloud_init(manifest)
  local vm = manifest.hypervisor
  return vm.image ~= nil or vm.kernel == nil
end

M.has_cloud_init = has_cloud_init

--- What a manifest asks for and a VM runs without.
-- @tparam table manifest its data, in normal form
-- @treturn {string,...} one sentence for each
function M.warnings(manifest)
  local found = {}
  if differs(manifest, "limits", "pids") then
    found[#found + 1] = "`limits.pids` does not hold in a VM: its guest has a kernel of its own"
  end
  local cpus = manifest.limits.cpus
  if cpus and cpus ~= math.floor(cpus) then
    found[#found + 1] = ("`limits.cpus` is %g: the guest sees %d, and the host holds them to it")
      :format(cpus, math.ceil(cpus))
  end
  local init = manifest.hypervisor.cloud_init
  if not has_cloud_init(manifest)
    and (next(init.user_data) or #init.packages > 0 or init.docker
      or #manifest.hypervisor.ssh_keys > 0) then
    found[#found + 1] = "`hypervisor.cloud_init` and `ssh_keys` do nothing without an image"
  end
  for _, entry in ipairs(manifest.hypervisor.network.publish) do
    if not entry.address:find("^127%.") then
      local text = "port %d/%s is published at %s: whoever reaches this address reaches it, "
        .. "past the host's own firewall"
      found[#found + 1] = text:format(entry.port, entry.protocol, entry.address)
    end
  end
  return found
end

return M
