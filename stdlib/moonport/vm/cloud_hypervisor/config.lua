--- A machine in the words of cloud-hypervisor's API (vmm/src/api/openapi/cloud-hypervisor.yaml).
-- @module moonport.vm.cloud_hypervisor.config

local fs = require "moonport.fs"
local json = require "moonport.json"
local sys = require "moonport.sys"

local M = {}

local IMAGE_TYPES = { raw = "Raw", qcow2 = "Qcow2" }
-- What virtio-fs devices are given by cloud-hypervisor's own command line.
local FS_QUEUES, FS_QUEUE_SIZE = 1, 1024

--- A disk.
-- @tparam table disk as in a spec
-- @treturn table DiskConfig
function M.disk(disk)
  return {
    id = "disk-" .. disk.id, serial = disk.id, path = disk.path, readonly = disk.readonly,
    direct = disk.direct, image_type = IMAGE_TYPES[disk.format], backing_files = disk.backing,
  }
end

local function network(wanted)
  -- It counts queues, of which a pair is a network's.
  return {
    id = wanted.id, tap = wanted.tap, mac = wanted.mac, num_queues = wanted.queues * 2,
  }
end

local function map(list, fn)
  if #list == 0 then return nil end
  local made = json.array {}
  for i, entry in ipairs(list) do made[i] = fn(entry) end
  return made
end

-- The version of Landlock that the monitor insists on, which came with Linux 6.2.
local LANDLOCK = 3

-- Landlock knows files by where they are, so both outputs are the supervisor's pipes by their
-- names.
local function to_supervisor(spec, name)
  return { mode = "File", file = fs.join(spec.dir, name) }
end

local function serial(spec)
  if spec.console == "pty" then return { mode = "Pty" } end
  if spec.console == "file" then return to_supervisor(spec, "stderr") end
  return { mode = "Off" }
end

local function console(spec)
  return spec.output and to_supervisor(spec, "stdout") or { mode = "Off" }
end

-- What may be added later has to be within its reach from the start.
local function landlock_rules(spec)
  local rules, seen = json.array {}, {}
  for _, disk in ipairs(spec.disks) do
    local dir = fs.dirname(disk.path)
    if not seen[dir] then rules[#rules + 1] = { path = dir, access = "rw" } end
    seen[dir] = true
  end
  return rules
end

local function memory(spec)
  local made = { size = spec.memory, shared = spec.shared_memory }
  if spec.max_memory and spec.max_memory > spec.memory then
    made.hotplug_size = spec.max_memory - spec.memory
  end
  return made
end

--- The whole machine.
-- @tparam table spec as `moonport.vm.spec` parses it
-- @treturn table VmConfig
function M.machine(spec)
  local config = {
    cpus = { boot_vcpus = spec.cpus, max_vcpus = spec.max_cpus or spec.cpus },
    memory = memory(spec),
    payload = {
      kernel = spec.kernel, initramfs = spec.initramfs,
      cmdline = spec.cmdline ~= "" and spec.cmdline or nil,
    },
    disks = map(spec.disks, M.disk),
    net = map(spec.networks, network),
    rng = { src = "/dev/urandom" },
    serial = serial(spec), console = console(spec),
    fs = map(spec.filesystems, function(shared)
      return {
        id = "fs-" .. shared.tag, tag = shared.tag, socket = fs.join(spec.dir, "fs-" .. shared.tag),
        num_queues = FS_QUEUES, queue_size = FS_QUEUE_SIZE,
      }
    end),
    pvpanic = true,
  }
  if spec.vsock then
    config.vsock = {
      cid = spec.vsock.cid, socket = spec.vsock.socket or fs.join(spec.dir, "vsock"),
    }
  end
  if spec.sandbox and sys.landlock() >= LANDLOCK then
    config.landlock_enable, config.landlock_rules = true, landlock_rules(spec)
  end
  return config
end

return M
