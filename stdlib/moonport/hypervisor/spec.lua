--- The virtual machine of a revision, as `moonport.vm` takes it: plain data, whatever the driver.
-- @module moonport.hypervisor.spec

local checks = require "moonport.hypervisor.checks"
local places = require "moonport.hypervisor.places"

local M = {}

-- A disk's id is its serial number: the guest finds it as /dev/disk/by-id/virtio-<id>.
local DISKS = { "root", "seed", "service", "data" }
local READ_ONLY = { seed = true, service = true }

--- The machine's name.
-- @tparam context ctx
-- @treturn string at most 64 bytes
function M.name(ctx)
  return ("%s-%s"):format(ctx.name:sub(1, 40), ctx.tag)
end

--- Memory of the guest, in bytes.
-- @tparam table manifest
-- @treturn integer
function M.memory(manifest)
  local memory = manifest.limits.memory or checks.MEMORY
  -- VMMs take whole mebibytes.
  return memory + (-memory) % (1 << 20)
end

--- Processors of the guest.
-- @tparam table manifest
-- @treturn integer
function M.cpus(manifest)
  return math.ceil(manifest.limits.cpus or 1)
end

--- The size of the data disk, in bytes.
-- @tparam table manifest
-- @treturn integer
function M.data_size(manifest)
  local size = manifest.hypervisor.data.size or manifest.limits.storage or checks.DATA
  return size + (-size) % 4096
end

--- The directories that reach the guest over virtio-fs.
-- @tparam table manifest
-- @tparam boolean keystore true when the keystore is one of them
-- @treturn {table,...} {tag, path, readonly}
function M.filesystems(manifest, keystore)
  local list = {}
  if keystore then
    list[1] = { tag = "keystore", path = manifest.keystore, readonly = true }
  end
  for _, share in ipairs(manifest.hypervisor.shares) do
    list[#list + 1] = { tag = share.tag, path = share.path, readonly = share.readonly }
  end
  return list
end

local function disks(made)
  local list = {}
  for _, id in ipairs(DISKS) do
    local disk = made[id]
    if disk then
      list[#list + 1] = {
        id = id, path = disk.path, format = disk.format or "raw", readonly = READ_ONLY[id] or false,
        direct = false, backing = disk.backing ~= nil,
      }
    end
  end
  return list
end

-- Ports by which the guest's agent is spoken to, as many commands as there are at a time.
local PORTS = 8

-- The way to the guest's agent: cloud-hypervisor has a vsock of its own, QEMU named ports, which
-- need nothing of the host.
local function add_channel(spec, ctx, cid)
  if spec.driver == "cloud-hypervisor" then
    spec.vsock = { cid = cid, socket = places.sockets(ctx) .. "/vsock" }
    return
  end
  spec.channel = {}
  for index = 1, PORTS do spec.channel[index] = ("agent.%d"):format(index - 1) end
end

--- Builds the spec.
-- @tparam context ctx
-- @tparam table parts `driver`, `machine`, `accel` as they were chosen; `boot` {kernel, initrd,
-- cmdline}; `disks` id -> {path, format, backing}; `lease` {tap, mac}; `user` {uid, gid, groups} or
-- nil; `cid` of vsock; `keystore` (true: over virtio-fs); `shim`: what the VMM's account runs
-- @treturn table
function M.build(ctx, parts)
  local manifest = ctx.manifest
  local vm = manifest.hypervisor
  local filesystems = M.filesystems(manifest, parts.keystore)
  local spec = {
    name = M.name(ctx),
    driver = parts.driver,
    machine = parts.driver == "qemu" and parts.machine or nil,
    accel = parts.accel,
    cpus = M.cpus(manifest),
    memory = M.memory(manifest),
    shared_memory = #filesystems > 0,
    kernel = parts.boot.kernel,
    initramfs = parts.boot.initrd,
    cmdline = parts.boot.cmdline,
    disks = disks(parts.disks),
    networks = { { id = "net0", tap = parts.lease.tap, mac = parts.lease.mac } },
    console = vm.console == "pty" and "pty" or nil,
    filesystems = filesystems,
    dir = places.sockets(ctx),
    user = parts.user,
    sandbox = vm.confine,
    programs = parts.shim and { ["moonport-shim"] = parts.shim } or nil,
  }
  add_channel(spec, ctx, parts.cid)
  return spec
end

return M
