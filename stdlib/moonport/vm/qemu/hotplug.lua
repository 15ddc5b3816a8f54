--- Disks, processors and memory that come and go while QEMU's guest runs.
-- @module moonport.vm.qemu.hotplug

local command = require "moonport.vm.qemu.command"
local errors = require "moonport.errors"
local schema = require "moonport.schema"
local spec = require "moonport.vm.spec"

local M = {}

-- A guest that heeds a request to let go of a device does so in a moment, or not at all.
local UNPLUG_SECONDS = 30
-- Memory is plugged in pieces that Linux's blocks of 128 MiB divide.
local MEMORY_STEP = 128 << 20

local function fail(code, message, hint)
  errors.raise { kind = "vm", code = code, message = message, hint = hint }
end

-- -- Disks

local DEVICES = "/machine/peripheral"

-- The bridges that were made for disks, and which of them have one.
local function slots(machine)
  local names, taken = {}, {}
  for _, device in ipairs(machine:run("qom-list", { path = DEVICES })) do
    if device.name:find "^slot%d+$" then
      names[#names + 1] = device.name
    elseif device.name:find "^disk%-" then
      local path = ("%s/%s"):format(DEVICES, device.name)
      local bus = machine:run("qom-get", { path = path, property = "parent_bus" })
      local slot = bus:match "/(slot%d+)/"
      if slot then taken[slot] = true end
    end
  end
  table.sort(names)
  return names, taken
end

local function free_slot(machine)
  local names, taken = slots(machine)
  for _, name in ipairs(names) do
    if not taken[name] then return name end
  end
  fail("full", ("all of the %d slots for disks are taken"):format(#names),
    "make the machine with a larger `hotplug`")
end

-- The guest lets go first; a disk that it still uses stays.
local function unplug(machine, id)
  local link = machine:connection()
  link:run("device_del", { id = id })
  local refused = link:wait_for(function(name, data)
    if data.device ~= id then return nil end
    if name == "DEVICE_DELETED" then return false end
    if name == "DEVICE_UNPLUG_GUEST_ERROR" then return true end
  end, UNPLUG_SECONDS)
  if refused then
    fail("in-use", ("the guest does not let go of `%s`"):format(id), "it may be in use there")
  end
end

--- Adds a disk.
-- @tparam Machine machine
-- @tparam table disk as in a spec
-- @treturn string its id
function M.add_disk(machine, disk)
  disk = schema.parse(spec.disk, disk, { what = "disk" })
  local slot = free_slot(machine)
  local node = command.blockdev(disk)
  machine:run("blockdev-add", node)
  local device = command.disk_device({ machine = machine.can.machine }, disk, slot)
  local _, why = try(machine.run, machine, "device_add", device)
  if why then
    try(machine.run, machine, "blockdev-del", { ["node-name"] = node["node-name"] })
    error(why, 0)
  end
  return disk.id
end

--- Removes a disk.
-- @tparam Machine machine
-- @tparam string id
function M.remove(machine, id)
  local name = "disk-" .. id
  unplug(machine, name)
  machine:run("blockdev-del", { ["node-name"] = name })
end

-- -- Processors

local function more_cpus(machine, count)
  local all = machine:run "query-hotpluggable-cpus"
  local present = 0
  for _, cpu in ipairs(all) do
    if cpu["qom-path"] then present = present + 1 end
  end
  if count > #all then
    fail("limit", ("%d processors are more than the %d that it was made for"):format(count, #all),
      "make the machine with a larger `max_cpus`")
  elseif count < present then
    return M.fewer_cpus(machine, all, present - count)
  end
  -- QEMU lists the last one first; they go in from the first.
  for i = #all, 1, -1 do
    local cpu = all[i]
    if not cpu["qom-path"] and present < count then
      present = present + 1
      local device = { driver = cpu.type, id = "cpu-" .. (#all - i) }
      for key, value in pairs(cpu.props) do device[key] = value end
      machine:run("device_add", device)
    end
  end
end

--- Takes processors out that were added; those of the boot stay.
-- @tparam Machine machine
-- @tparam table all as QEMU lists them
-- @tparam integer count
function M.fewer_cpus(machine, all, count)
  for _, cpu in ipairs(all) do
    local id = (cpu["qom-path"] or ""):match "/(cpu%-%d+)$"
    if id and count > 0 then
      unplug(machine, id)
      count = count - 1
    end
  end
  if count > 0 then
    fail("limit", "a machine cannot have fewer processors than it was booted with")
  end
end

-- -- Memory

local function next_dimm(machine)
  return #machine:run "query-memory-devices" + 1
end

local function plug_memory(machine, bytes)
  local number = next_dimm(machine)
  local backend, device = "memory-" .. number, "dimm-" .. number
  machine:run("object-add", { ["qom-type"] = "memory-backend-ram", id = backend, size = bytes })
  local _, why = try(machine.run, machine, "device_add", {
    driver = "pc-dimm", id = device, memdev = backend,
  })
  if why then
    try(machine.run, machine, "object-del", { id = backend })
    error(why, 0)
  end
end

local function more_memory(machine, wanted)
  local size = machine:run "query-memory-size-summary"
  local has = size["base-memory"] + (size["plugged-memory"] or 0)
  if wanted == has then return end
  if wanted < has then
    fail("unsupported", "qemu q35 cannot take memory out of a guest that runs",
      "cloud-hypervisor can")
  elseif (wanted - has) % MEMORY_STEP ~= 0 then
    fail("invalid", ("memory is added in steps of 128 MiB to the present %d bytes"):format(has))
  end
  plug_memory(machine, wanted - has)
end

--- Changes how many processors or how much memory there is.
-- @tparam Machine machine
-- @tparam table size `cpus`, `memory` (bytes)
function M.resize(machine, size)
  if size.cpus then more_cpus(machine, size.cpus) end
  if size.memory then more_memory(machine, size.memory) end
end

return M
