--- Machines for the specs: in a directory of their own, and gone afterwards whatever happened.
local fs = require "moonport.fs"
local task = require "moonport.task"
local vm = require "moonport.vm"

local M = {}

local SOURCE = os.getenv "MP_SOURCE_DIR"
local guest

--- The tests' small guest: {kernel, initramfs, cmdline}.
function M.guest()
  guest = guest or dofile(SOURCE .. "/tests/fixtures/microvm/microvm.lua")()
  return guest
end

local Bench = {}
Bench.__index = Bench

--- A place for machines. `bench:close()` kills and removes what is in it.
function M.bench()
  local self = setmetatable({ made = {}, count = 0 }, Bench)
  self.dir = fs.temp_dir { parent = os.getenv "SANDBOX" or "/tmp", prefix = "v" }
  return self
end

--- A spec with the small guest, changed by `with`.
function Bench:spec(with)
  self.count = self.count + 1
  local made = {
    name = "test" .. self.count, driver = "qemu", accel = "tcg", memory = 256 << 20,
    kernel = M.guest().kernel, initramfs = M.guest().initramfs,
    cmdline = M.guest().cmdline .. " console=ttyS0",
    dir = fs.join(self.dir, "m" .. self.count),
  }
  for key, value in pairs(with or {}) do made[key] = value end
  if made.append then made.cmdline = made.cmdline .. " " .. made.append end
  made.append = nil
  return made
end

--- Where the supervisor of a machine is.
function Bench:intent(name)
  return { id = name, dir = fs.join(self.dir, "s-" .. name), socket = fs.join(self.dir, name) }
end

--- Starts a machine.
function Bench:start(with, options)
  local plan = vm.plan(self:spec(with))
  local start = self:intent(plan.spec.name)
  self.made[#self.made + 1] = start
  fs.mkdirs(start.dir)
  for key, value in pairs(options or {}) do start[key] = value end
  local machine = vm.start(plan, start)
  machine.plan = plan
  return machine
end

--- A raw disk image.
function Bench:disk(name, size)
  local path = fs.join(self.dir, name .. ".img")
  fs.sparse(path, size or 8 << 20)
  return path
end

--- What the supervisor of a machine has kept.
function M.log(machine)
  return fs.read(fs.join(machine.shim.dir, "log"))
end

--- Waits until the log has a line; returns what the pattern captures.
function M.wait_log(machine, pattern, seconds)
  local path = fs.join(machine.shim.dir, "log")
  local watch <close> = fs.watch(path)
  local ok, found = pcall(task.timeout, seconds or 60, function()
    while true do
      local match = M.log(machine):match(pattern)
      if match then return match end
      watch:next()
    end
  end)
  if ok then return found end
  error(("no `%s` in:\n%s"):format(pattern, M.log(machine)), 0)
end

--- Waits until the guest is up.
function M.wait_up(machine)
  M.wait_log(machine, "microvm: up")
end

--- Waits for an event.
function M.wait_event(machine, what, seconds)
  local follower <close> = machine:events()
  return task.timeout(seconds or 30, function()
    while true do
      local event = follower:next()
      if event.what == what then return event end
    end
  end)
end

--- Runs a command line in the guest's shell on its console, and returns what it wrote.
function M.console(machine, command)
  local path = assert(machine:console(), "no terminal")
  -- Open until the answer is there: QEMU looks only now and then whether somebody is connected.
  local terminal <close> = assert(io.open(path, "r+"))
  terminal:setvbuf "no"
  local before = #M.log(machine)
  local mark = ("mark%d"):format(before)
  terminal:write(command, "; echo ", mark:sub(1, 2), "''", mark:sub(3), "\n")
  M.wait_log(machine, mark)
  return M.log(machine):sub(before + 1)
end

function Bench:close()
  for _, intent in ipairs(self.made) do
    try(vm.stop, intent, { signal = "KILL", grace = 0 })
  end
  fs.remove_tree(self.dir)
end

return M
