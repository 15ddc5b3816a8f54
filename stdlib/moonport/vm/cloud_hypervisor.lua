--- The driver of cloud-hypervisor, which is spoken to through its REST API.
-- @module moonport.vm.cloud_hypervisor

local api = require "moonport.vm.cloud_hypervisor.api"
local config = require "moonport.vm.cloud_hypervisor.config"
local errors = require "moonport.errors"
local events = require "moonport.vm.events"
local fs = require "moonport.fs"
local json = require "moonport.json"
local schema = require "moonport.schema"
local shim = require "moonport.shim"
local sockets = require "moonport.vm.sockets"
local spec = require "moonport.vm.spec"
local task = require "moonport.task"

local M = {
  name = "cloud-hypervisor",
  events_file = "events",
  output_pipes = true, -- what Landlock lets it open has to have a name
}

local SOCKET = "api"
-- Left by whoever told it to end: of itself it does not tell that from the guest's own end.
local QUIT = "host-quit"
local QUIT_SECONDS = 30

--- The monitor's command line. The machine itself is made through the API.
-- @tparam table plan
-- @treturn {string,...}
function M.argv(plan)
  local dir = plan.spec.dir
  local words = {
    plan.spec.programs["moonport-shim"] or shim.program(),
    "exec", "--remove", fs.join(dir, SOCKET), "--remove", fs.join(dir, QUIT),
  }
  if plan.spec.vsock then
    table.move({ "--remove", plan.spec.vsock.socket or fs.join(dir, "vsock") }, 1, 2, #words + 1,
      words)
  end
  return table.move({
    "--", plan.program, "--api-socket", "path=" .. fs.join(dir, SOCKET),
    "--event-monitor", "path=" .. fs.join(dir, M.events_file),
    "--seccomp", plan.spec.sandbox and "true" or "false",
  }, 1, 8, #words + 1, words)
end

--- The names in `dir` of the sockets that it makes.
-- @tparam table data the spec
-- @treturn {string,...}
function M.sockets(data)
  local names = { SOCKET }
  if data.vsock then
    -- A guest's connection to port P comes out at a socket with `_P` behind its name.
    names[#names + 1] = "vsock"
    spec.check_socket((data.vsock.socket or fs.join(data.dir, "vsock")) .. "_4294967295")
  end
  return names
end

--- The files to be there before it starts.
-- @treturn table name -> content
function M.files()
  return { [M.events_file] = "" }
end

-- -- What it says, in our words

local NAMES = {
  ["vmm starting"] = "started", ["vm booted"] = "booted", ["vm paused"] = "paused",
  ["vm resumed"] = "resumed", ["vm rebooted"] = "reset", ["guest panic"] = "panicked",
  ["vmm shutdown"] = "ended",
}
local REASONS = { reset = "guest-reset", panicked = "guest-panic", ended = "guest-shutdown" }

local function event_of(message)
  local raw = ("%s %s"):format(tostring(message.source), tostring(message.event))
  local stamp = type(message.timestamp) == "table" and message.timestamp or {}
  local what = NAMES[raw] or raw:gsub(" ", "-")
  return {
    what = what, reason = REASONS[what], raw = raw, data = message.properties or {},
    since_start = (stamp.secs or 0) + (stamp.nanos or 0) / 1e9,
  }
end

--- Reads what it writes to its events file: objects over several lines.
-- @tparam string text
-- @treturn {event,...}
-- @treturn string what is incomplete yet
function M.parse_events(text)
  local objects, rest = events.objects(text)
  local found = {}
  for i, message in ipairs(objects) do found[i] = event_of(message) end
  return found, rest
end

--- Tells "the guest ended" from "it was told to end", which its events do not.
-- @tparam string dir
-- @tparam string reason
-- @tparam ?table record of the supervisor
-- @treturn string
function M.refine_reason(dir, reason, record)
  if reason ~= "guest-shutdown" then return reason end
  if fs.exists(fs.join(dir, QUIT)) then return "host-quit" end
  local signalled = record and (record["end"] == "stopped" or record["end"] == "terminated")
  return signalled and "host-signal" or reason
end

--- Waits until it can be spoken to.
-- @tparam string dir
-- @tparam watch watch of `dir`, from before it was started
function M.wait_ready(dir, watch)
  local path = fs.join(dir, SOCKET)
  while not fs.exists(path) do watch:next() end
  -- Between bind(2) and listen(2), a moment that nothing tells the end of.
  while not sockets.is_alive(path) do task.sleep(0.005) end
end

--- Where the machine is told to be alive.
-- @tparam string dir
-- @treturn string
function M.control_socket(dir)
  return fs.join(dir, SOCKET)
end

-- -- The machine

local Machine = {}
Machine.__index = Machine

--- Opens a machine.
-- @tparam table options `dir`, `can` (its row of capabilities)
-- @treturn Machine
function M.open(options)
  return setmetatable({
    dir = options.dir, socket = fs.join(options.dir, SOCKET), can = options.can,
  }, Machine)
end

function Machine:close() -- luacheck: no self
end

function Machine:get(action)
  return api.ask(self.socket, "GET", action)
end

function Machine:put(action, body)
  return api.ask(self.socket, "PUT", action, body)
end

-- VmState of the API. Without a VM there is nothing but the monitor.
local STATES = {
  Created = "created", Running = "running", Paused = "paused", Shutdown = "shutdown",
  BreakPoint = "paused",
}

function Machine:info()
  local version = api.version(self.socket)
  local known, why = try(self.get, self, "vm.info")
  -- "Not created" is 404 in newer versions, 500 in older ones.
  if not known and not (errors.is(why, "vm") and why.status) then error(why, 0) end
  local info = {
    driver = "cloud-hypervisor", machine = "cloud-hypervisor", version = version, state = "empty",
  }
  if known then
    local machine = known.config
    info.state = STATES[known.state] or known.state:lower()
    info.status = known.state
    info.cpus = machine.cpus and machine.cpus.boot_vcpus
    info.memory = known.memory_actual_size or machine.memory and machine.memory.size
    if machine.serial and machine.serial.mode == "Pty" then info.console = machine.serial.file end
  end
  return info
end

function Machine:begin(plan)
  if plan.spec.restore then
    api.version(self.socket)
    return
  end
  self:create(plan.spec)
  if not plan.spec.paused then self:boot() end
end

function Machine:create(data)
  if self:info().state == "empty" then
    if not data.driver then data = spec.parse(data) end
    self:put("vm.create", config.machine(data))
  end
  return self:info()
end

function Machine:boot()
  if self:info().state ~= "running" then self:put "vm.boot" end
end

function Machine:pause()
  self:put "vm.pause"
end

function Machine:resume()
  self:put "vm.resume"
end

function Machine:power_button()
  self:put "vm.power-button"
end

function Machine:reboot()
  self:put "vm.reboot"
end

function Machine:shutdown()
  fs.write(fs.join(self.dir, QUIT), "", { mode = "0600", sync = false })
  local follower <close> = self:events()
  self:put "vmm.shutdown"
  task.timeout(QUIT_SECONDS, function()
    repeat local event = follower:next() until event.what == "ended"
  end)
end

function Machine:console()
  return self:info().console
end

function Machine:add_disk(disk)
  disk = schema.parse(spec.disk, disk, { what = "disk" })
  self:put("vm.add-disk", config.disk(disk))
  return disk.id
end

function Machine:remove(id)
  self:put("vm.remove-device", { id = "disk-" .. id })
end

function Machine:resize(size)
  self:put("vm.resize", { desired_vcpus = size.cpus, desired_ram = size.memory })
end

local function url_of(dir)
  return "file://" .. fs.absolute(dir)
end

--- Writes a snapshot. A machine that ran goes on afterwards, whether or not that worked.
function Machine:snapshot(dir)
  local ran = self:info().state == "running"
  if ran then self:pause() end
  local _, why = try(self.put, self, "vm.snapshot", { destination_url = url_of(dir) })
  if ran then self:resume() end
  if why then error(why, 0) end
  return { path = dir }
end

-- A machine that is restored beside the one it is a copy of, or later, has a TAP of its own: the
-- names in the snapshot are those of then.
local function rename_taps(dir, networks)
  local path = fs.join(dir, "config.json")
  local kept = json.decode(fs.read(path))
  for _, net in ipairs(kept.net or {}) do
    for _, wanted in ipairs(networks or {}) do
      if net.id == wanted.id then net.tap = wanted.tap end
    end
  end
  fs.write(path, json.encode(kept), { mode = "0600" })
end

--- Fills a machine that was made to be restored.
function Machine:restore(dir, options)
  options = options or {}
  if options.networks then rename_taps(dir, options.networks) end
  self:put("vm.restore", { source_url = url_of(dir) })
  if not options.paused then self:resume() end
end

function Machine:events(options)
  return events.follow(M, self.dir, options)
end

return M
