--- The driver of QEMU, which is spoken to through QMP.
-- @module moonport.vm.qemu

local command = require "moonport.vm.qemu.command"
local connection = require "moonport.vm.qemu.connection"
local errors = require "moonport.errors"
local events = require "moonport.vm.events"
local fs = require "moonport.fs"
local hotplug = require "moonport.vm.qemu.hotplug"
local json = require "moonport.json"
local migration = require "moonport.vm.qemu.migration"

local M = {
  name = "qemu",
  events_file = command.EVENTS,
  argv = command.argv,
  sockets = command.sockets,
  files = command.files,
}

-- How long QEMU may take to end once it was told to.
local QUIT_SECONDS = 30

-- -- What QEMU says, in our words

-- RunState of qapi/run-state.json.
local STATES = {
  prelaunch = "created", preconfig = "created", inmigrate = "restoring", running = "running",
  paused = "paused", suspended = "suspended", debug = "paused", postmigrate = "paused",
  ["finish-migrate"] = "paused", ["save-vm"] = "paused", ["restore-vm"] = "restoring",
  ["io-error"] = "paused", ["internal-error"] = "failed", ["guest-panicked"] = "panicked",
  shutdown = "shutdown", watchdog = "paused", colo = "running",
}

-- ShutdownCause of qapi/run-state.json.
local REASONS = {
  ["guest-shutdown"] = "guest-shutdown", ["guest-reset"] = "guest-reset",
  ["guest-panic"] = "guest-panic", ["host-qmp-quit"] = "host-quit",
  ["host-qmp-system-reset"] = "host-quit", ["host-ui"] = "host-quit",
  ["host-signal"] = "host-signal", ["host-error"] = "vmm-error",
  ["subsystem-reset"] = "guest-reset", ["snapshot-load"] = "host-quit",
}

local NAMES = {
  RESET = "reset", POWERDOWN = "power-button", STOP = "paused", RESUME = "resumed",
  GUEST_PANICKED = "panicked", DEVICE_DELETED = "removed", BLOCK_IO_ERROR = "disk-error",
}

local function event_of(message)
  if message.QMP then return { what = "started", raw = "QMP", data = message.QMP } end
  if not message.event then return nil end
  local data, stamp = message.data or {}, message.timestamp or {}
  local event = {
    what = NAMES[message.event] or message.event:lower():gsub("_", "-"), raw = message.event,
    data = data, time = (stamp.seconds or 0) + (stamp.microseconds or 0) / 1e6,
  }
  if message.event == "SHUTDOWN" then
    event.what, event.reason = "ended", REASONS[data.reason] or "host-quit"
  elseif message.event == "RESET" then
    event.reason = data.guest and "guest-reset" or "host-quit"
  end
  return event
end

--- Reads what QEMU writes to its events file.
-- @tparam string text
-- @treturn {event,...}
-- @treturn string what is incomplete yet
function M.parse_events(text)
  local found, at = {}, 1
  while true do
    local stop = text:find("\n", at, true)
    if not stop then return found, text:sub(at) end
    local message = try(json.decode, text:sub(at, stop))
    local event = type(message) == "table" and event_of(message)
    if event then found[#found + 1] = event end
    at = stop + 1
  end
end

--- Waits until QEMU can be spoken to: when it has answered through its events file, it has made
-- its sockets.
-- @tparam string dir
-- @tparam watch watch of `dir`, from before it was started
function M.wait_ready(dir, watch)
  local path = fs.join(dir, M.events_file)
  while not events.read_from(path, 0):find('"return"', 1, true) do watch:next() end
end

-- -- The machine

local Machine = {}
Machine.__index = Machine

--- Opens a machine; connects when something is asked of it.
-- @tparam table options `dir`, `can` (its row of capabilities)
-- @treturn Machine
function M.open(options)
  return setmetatable({ dir = options.dir, can = options.can }, Machine)
end

function Machine:connection()
  if not self.link then self.link = connection.open(self.dir) end
  return self.link
end

function Machine:run(name, arguments)
  return self:connection():run(name, arguments)
end

function Machine:close()
  if self.link then self.link:close() end
  self.link = nil
end

local function disk_errors(self)
  local full
  for _, block in ipairs(self:run "query-block") do
    local status = block["io-status"]
    if status == "nospace" or status == "failed" then
      local disk = (block.qdev or ""):match "disk%-([^/]+)"
      full = full or {}
      full[#full + 1] = {
        disk = disk, reason = status == "nospace" and "disk-full" or "disk-error",
      }
    end
  end
  return full
end

local function memory_size(self)
  local size = self:run "query-memory-size-summary"
  return size["base-memory"] + (size["plugged-memory"] or 0)
end

function Machine:info()
  local status = self:run "query-status"
  local info = {
    state = STATES[status.status] or status.status, status = status.status,
    driver = "qemu", machine = self.can.machine, version = self:connection():version(),
    cpus = #self:run "query-cpus-fast", memory = memory_size(self),
    console = self:console(),
  }
  if status.status == "io-error" then
    info.disks = disk_errors(self)
    info.reason = info.disks and info.disks[1].reason or "disk-error"
  elseif status.status == "guest-panicked" then
    info.reason = "guest-panic"
  end
  return info
end

-- The command line has made it.
function Machine:create()
  return self:info()
end

function Machine:boot()
  local status = self:run("query-status").status
  if status == "prelaunch" then
    self:run "cont"
  elseif status ~= "running" then
    errors.raise {
      kind = "vm", code = "state", message = ("the machine is `%s`, not made just now"):format(
        STATES[status] or status),
    }
  end
end

function Machine:pause()
  self:run "stop"
end

function Machine:resume()
  self:run "cont"
end

function Machine:power_button()
  self:run "system_powerdown"
end

function Machine:reboot()
  self:run "system_reset"
end

-- It answers and then ends; the connection's end tells when its sockets are closed.
function Machine:shutdown()
  local link = self:connection()
  link:run "quit"
  local _, why = try(link.wait_for, link, function() end, QUIT_SECONDS)
  self:close()
  if not errors.is(why, "qmp", "closed") and not errors.is(why, "net") then error(why, 0) end
end

function Machine:console()
  for _, device in ipairs(self:run "query-chardev") do
    local path = device.label == "console" and device.filename:match "^pty:(.+)$"
    if path then return path end
  end
end

function Machine:add_disk(disk)
  return hotplug.add_disk(self, disk)
end

function Machine:remove(id)
  return hotplug.remove(self, id)
end

function Machine:resize(size)
  return hotplug.resize(self, size)
end

function Machine:snapshot(dir)
  return migration.save(self, dir)
end

function Machine:restore(dir, options)
  migration.load(self, dir)
  if not (options and options.paused) then self:run "cont" end
end

function Machine:events(options)
  return events.follow(M, self.dir, options)
end

--- Where the machine is told to be alive: its first monitor.
-- @tparam string dir
-- @treturn string
function M.control_socket(dir)
  return fs.join(dir, "qmp.0")
end

return M
