--- QEMU's command line. Nothing in it but what is listed here: no default devices, no user's
-- configuration.
-- @module moonport.vm.qemu.command

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local shim = require "moonport.shim"

local M = {
  --- How many clients can speak QMP at the same time: QEMU serves one a socket.
  MONITORS = 4,
  --- Name in `dir` of what QEMU tells of itself: every event of this run.
  EVENTS = "events.out",
}

-- What QEMU reads as its commands where it writes the events: it says nothing before
-- capabilities are negotiated. QEMU takes a byte a turn from here; the blanks keep the end of the
-- file away until it has obeyed.
local NEGOTIATION = '{"execute":"qmp_capabilities"}\n' .. (" "):rep(1024) .. "\n"

--- A socket's path.
-- @tparam table spec
-- @tparam string name
-- @treturn string
function M.socket(spec, name)
  return fs.join(spec.dir, name)
end

--- The names in `dir` of the sockets that QEMU makes.
-- @tparam table spec
-- @treturn {string,...}
function M.sockets(spec)
  local names = {}
  for i = 0, M.MONITORS - 1 do names[#names + 1] = "qmp." .. i end
  for _, name in ipairs(spec.channel) do names[#names + 1] = name end
  return names
end

--- The files to be there before QEMU starts: name in `dir` -> content.
-- @treturn table
function M.files()
  local files = { ["events.in"] = NEGOTIATION, [M.EVENTS] = "" }
  for i = 0, M.MONITORS - 1 do files[("qmp.%d.lock"):format(i)] = "" end
  return files
end

-- Options with commas are written with two (docs/system/qemu-manpage, -name).
local function escape(value)
  return (tostring(value):gsub(",", ",,"))
end

local function onoff(flag)
  return flag and "on" or "off"
end

local function devices(words, list)
  for _, device in ipairs(list) do
    words[#words + 1] = "-device"
    words[#words + 1] = json.encode(device)
  end
end

local function add(words, ...)
  for _, word in ipairs { ... } do words[#words + 1] = word end
end

-- The bus decides how a virtio device is called.
local function virtio(plan, kind)
  return ("virtio-%s-%s"):format(kind, plan.machine == "microvm" and "device" or "pci")
end

-- -- The machine

-- microvm has neither timer nor clock of its own unless asked.
local MACHINES = {
  q35 = { "usb=off", "vmport=off", "graphics=off" },
  virt = { "usb=off", "gic-version=max" },
  microvm = { "x-option-roms=off", "isa-serial=on", "pit=on", "pic=on", "rtc=on" },
}

local function machine(plan)
  local words = { plan.machine, "dump-guest-core=off" }
  for _, word in ipairs(MACHINES[plan.machine]) do words[#words + 1] = word end
  if plan.machine == "microvm" and not plan.can.verbs.power_button then
    words[#words + 1] = "acpi=off"
  end
  if plan.spec.shared_memory then words[#words + 1] = "memory-backend=memory" end
  return table.concat(words, ",")
end

local function accelerator(plan)
  return plan.accel == "tcg" and "tcg,thread=multi" or plan.accel
end

local MEMORY_SLOTS = 8

local function memory(plan)
  local spec = plan.spec
  local size = ("%dk"):format(spec.memory // 1024)
  if not plan.can.verbs.resize or (spec.max_memory or 0) <= spec.memory then return size end
  return ("size=%s,slots=%d,maxmem=%dk"):format(size, MEMORY_SLOTS, spec.max_memory // 1024)
end

local function processors(plan)
  local spec = plan.spec
  local most = plan.can.verbs.resize and spec.max_cpus or spec.cpus
  if most == spec.cpus then return ("cpus=%d"):format(spec.cpus) end
  return ("cpus=%d,maxcpus=%d"):format(spec.cpus, most)
end

local function base(plan)
  local spec = plan.spec
  local words = {
    "-name", ("guest=%s"):format(escape(spec.name)),
    "-nodefaults", "-no-user-config", "-display", "none",
    "-machine", machine(plan),
    "-accel", accelerator(plan),
    "-cpu", plan.accel == "kvm" and "host" or "max",
    "-smp", processors(plan),
    "-m", memory(plan),
  }
  if spec.shared_memory then
    add(words, "-object", json.encode {
      ["qom-type"] = "memory-backend-memfd", id = "memory", size = spec.memory, share = true,
    })
  end
  add(words, "-kernel", spec.kernel)
  if spec.initramfs then add(words, "-initrd", spec.initramfs) end
  if spec.cmdline ~= "" then add(words, "-append", spec.cmdline) end
  return words
end

local function behaviour(words, plan)
  local spec = plan.spec
  if spec.sandbox then
    add(words, "-sandbox",
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
  end
  add(words, "-action", ("reboot=%s,panic=shutdown"):format(
    spec.on_reboot == "exit" and "shutdown" or "reset"))
  if spec.paused or spec.restore then add(words, "-S") end
  if spec.restore then add(words, "-incoming", "defer") end
end

-- -- How it is spoken to

local function monitors(words, spec)
  add(words, "-chardev", ("pipe,id=events,path=%s"):format(escape(M.socket(spec, "events"))),
    "-mon", "chardev=events,mode=control")
  for i = 0, M.MONITORS - 1 do
    local name = "qmp." .. i
    add(words, "-chardev", ("socket,id=%s,path=%s,server=on,wait=off"):format(
      name, escape(M.socket(spec, name))), "-mon", ("chardev=%s,mode=control"):format(name))
  end
end

-- The terminal is for people; what goes through it is kept by the supervisor, to whom stderr goes.
local CONSOLES = {
  pty = "pty,id=console,logfile=/proc/self/fd/2,logappend=on",
  file = "file,id=console,path=/proc/self/fd/2,append=on",
}

local function console(words, spec)
  if spec.console == "off" then return end
  add(words, "-chardev", CONSOLES[spec.console], "-serial", "chardev:console")
end

local function ports(words, plan)
  local spec = plan.spec
  if #spec.channel == 0 and not spec.output then return end
  devices(words, { { driver = virtio(plan, "serial"), id = "ports", max_ports = 31 } })
  local number = 0
  local function port(chardev, name)
    number = number + 1
    devices(words, {
      { driver = "virtserialport", bus = "ports.0", nr = number, chardev = chardev, name = name },
    })
  end
  if spec.output then
    add(words, "-chardev", "file,id=output,path=/proc/self/fd/1,append=on")
    port("output", "moonport.output")
  end
  for _, name in ipairs(spec.channel) do
    add(words, "-chardev", ("socket,id=%s,path=%s,server=on,wait=off"):format(
      name, escape(M.socket(spec, name))))
    port(name, "moonport." .. name)
  end
end

-- -- Disks

--- What a disk is below the device: the options of `-blockdev` and of `blockdev-add`.
-- @tparam table disk
-- @treturn table
function M.blockdev(disk)
  local node = {
    driver = disk.format, ["node-name"] = "disk-" .. disk.id, ["read-only"] = disk.readonly,
    discard = "unmap", ["detect-zeroes"] = "unmap",
    file = {
      driver = "file", filename = disk.path, ["read-only"] = disk.readonly, discard = "unmap",
      aio = disk.direct and "native" or "threads",
    },
  }
  if disk.direct then
    node.cache = { direct = true }
    node.file.cache = { direct = true }
  end
  if disk.format == "raw" then
    node["detect-zeroes"] = nil
  elseif not disk.backing then
    -- An image is what its file says: without this it could name any file that QEMU can read.
    node.backing = json.null
  end
  if disk.readonly then node.discard, node["detect-zeroes"], node.file.discard = nil, nil, nil end
  return node
end

--- What the guest sees of a disk: the options of `-device` and of `device_add`.
-- @tparam table plan
-- @tparam table disk
-- @tparam ?string bus where it goes
-- @treturn table
function M.disk_device(plan, disk, bus)
  return {
    driver = virtio(plan, "blk"), id = "disk-" .. disk.id, drive = "disk-" .. disk.id,
    serial = disk.id, bus = bus,
  }
end

local function disks(words, plan)
  for _, disk in ipairs(plan.spec.disks) do
    add(words, "-blockdev", json.encode(M.blockdev(disk)))
    devices(words, { M.disk_device(plan, disk) })
  end
end

--- The names of the slots for disks that come later.
-- @tparam table spec
-- @treturn {string,...}
function M.slots(spec)
  local names = {}
  for i = 1, spec.hotplug do names[i] = "slot" .. i end
  return names
end

local function slots(words, plan)
  if not plan.can.verbs.add_disk then return end
  for i, name in ipairs(M.slots(plan.spec)) do
    devices(words, { { driver = "pcie-root-port", id = name, chassis = i, slot = i } })
  end
end

-- -- What else is plugged in

local function networks(words, plan)
  for _, network in ipairs(plan.spec.networks) do
    local several = network.queues > 1
    add(words, "-netdev", ("tap,id=%s,ifname=%s,script=no,downscript=no,vhost=%s%s"):format(
      escape(network.id), escape(network.tap), onoff(plan.vhost_net),
      several and (",queues=%d"):format(network.queues) or ""))
    local device = {
      driver = virtio(plan, "net"), id = network.id, netdev = network.id, mac = network.mac,
      mq = several or nil,
    }
    if plan.machine ~= "microvm" then
      device.romfile = ""
      device.vectors = several and network.queues * 2 + 2 or nil
    end
    devices(words, { device })
  end
end

local function filesystems(words, plan)
  for _, shared in ipairs(plan.spec.filesystems) do
    local id = "fs-" .. shared.tag
    add(words, "-chardev", ("socket,id=%s,path=%s"):format(
      escape(id), escape(M.socket(plan.spec, id))))
    local bus = plan.machine == "microvm" and "device" or "pci"
    devices(words, { { driver = "vhost-user-fs-" .. bus, chardev = id, tag = shared.tag } })
  end
end

local function small_devices(words, plan)
  add(words, "-object", json.encode { ["qom-type"] = "rng-builtin", id = "random" })
  devices(words, { { driver = virtio(plan, "rng"), rng = "random" } })
  local vsock = plan.spec.vsock
  if vsock and plan.vsock == "vhost" then
    local bus = plan.machine == "microvm" and "device" or "pci"
    devices(words, { { driver = "vhost-vsock-" .. bus, ["guest-cid"] = vsock.cid } })
  end
  if plan.machine == "q35" then devices(words, { { driver = "pvpanic" } }) end
  if plan.machine == "virt" then devices(words, { { driver = "pvpanic-pci" } }) end
end

--- The moonport-shim that the VMM's account runs.
-- @tparam table spec
-- @treturn string
function M.shim(spec)
  return spec.programs["moonport-shim"] or shim.program()
end

-- Started again by its supervisor after a crash, it must not read what the run before has told.
local function supervised(plan, words)
  local before = { M.shim(plan.spec), "exec", "--empty", M.socket(plan.spec, M.EVENTS), "--" }
  return table.move(words, 1, #words, #before + 1, before)
end

--- Builds the command line, which boots the guest by itself unless the spec says `paused`.
-- @tparam table plan as `moonport.vm.choose` makes it
-- @treturn {string,...}
-- @raise {kind="vm"}
function M.argv(plan)
  if not MACHINES[plan.machine] then
    errors.raise {
      kind = "vm", code = "invalid", message = ("qemu has no machine `%s`"):format(plan.machine),
    }
  end
  local words = { plan.program }
  table.move(base(plan), 1, #base(plan), 2, words)
  behaviour(words, plan)
  monitors(words, plan.spec)
  console(words, plan.spec)
  slots(words, plan)
  ports(words, plan)
  disks(words, plan)
  networks(words, plan)
  filesystems(words, plan)
  small_devices(words, plan)
  return supervised(plan, words)
end

return M
