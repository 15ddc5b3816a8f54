--- The 3-second guest with an agent, for the tests of this folder.
--
--     local machine = dofile(... "/machine.lua").start { cmdline = "mp.noagent" }
--     machine:agent():status()
--     machine:stop()

local agent = require "moonport.hypervisor.agent"
local fs = require "moonport.fs"
local vm = require "moonport.vm"

local source = assert(os.getenv "MP_SOURCE_DIR")
local guest_of = dofile(source .. "/tests/fixtures/microvm/microvm.lua")
local program = fs.dirname(fs.readlink "/proc/self/exe") .. "/moonport-shim"

local M = {}
local Machine = {}
Machine.__index = Machine

local started = 0

--- Starts one.
-- @tparam[opt] table options `cmdline`, `disks`, `spec` (fields of the machine's)
function M.start(options)
  options = options or {}
  started = started + 1
  local base = ("%s/m%d"):format(os.getenv "SANDBOX", started)
  local guest = guest_of(program)
  local self = setmetatable({ base = base, dir = base .. "/s", guest = guest }, Machine)
  fs.mkdirs(base .. "/shim", "0700")
  local channel = {}
  for number = 0, 7 do channel[#channel + 1] = "agent." .. number end
  self.spec = {
    name = "guest" .. started, driver = "qemu", machine = "q35", accel = "tcg",
    memory = 256 << 20, dir = self.dir, kernel = guest.kernel, initramfs = guest.initramfs,
    cmdline = ("console=ttyS0 %s %s"):format(guest.cmdline, options.cmdline or ""),
    channel = channel, disks = options.disks,
  }
  for name, value in pairs(options.spec or {}) do self.spec[name] = value end
  self.machine = vm.start(vm.plan(self.spec), {
    id = "guest" .. started, dir = base .. "/shim", socket = base .. "/shim.sock",
  })
  return self
end

--- The first answer, and a connection.
function Machine:wait(options)
  options = options or {}
  options.dir, options.timeout = self.dir, options.timeout or 90
  return agent.wait(options)
end

function Machine:agent(options)
  options = options or {}
  options.dir, options.timeout = self.dir, options.timeout or 30
  return agent.connect(options)
end

--- What the supervisor on the host recorded: the guest's output and its console.
function Machine:log()
  return fs.read(self.base .. "/shim/log")
end

function Machine:stop()
  if self.machine then
    try(self.machine.kill, self.machine)
    require("moonport.shim").stop({
      id = self.spec.name, dir = self.base .. "/shim", socket = self.base .. "/shim.sock",
    }, { grace = 0 })
    self.machine:close()
  end
  self.machine = nil
end

return M
