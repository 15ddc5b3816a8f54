--- A virtual machine: the same verbs whichever monitor runs it.
-- @module moonport.vm.machine

local capabilities = require "moonport.vm.capabilities"
local ending = require "moonport.vm.ending"
local errors = require "moonport.errors"
local filesystems = require "moonport.vm.filesystems"
local fs = require "moonport.fs"
local json = require "moonport.json"
local shim = require "moonport.shim"
local task = require "moonport.task"

local M = {}

local DRIVERS = { qemu = "moonport.vm.qemu", ["cloud-hypervisor"] = "moonport.vm.cloud_hypervisor" }

--- The module of a driver.
-- @tparam string name
-- @treturn table
function M.driver(name)
  if not DRIVERS[name] then
    errors.raise {
      kind = "vm", code = "invalid", message = ("there is no driver `%s`"):format(tostring(name)),
      hint = "the drivers are `cloud-hypervisor` and `qemu`",
    }
  end
  return require(DRIVERS[name])
end

local Machine = {}
Machine.__index = Machine

-- A monitor that is not there answers with these; anything else is trouble of another kind.
local function is_gone(why)
  return errors.is(why, "net", "ECONNREFUSED") or errors.is(why, "net", "ENOENT")
    or errors.is(why, "fs", "ENOENT") or errors.is(why, "http", "connect")
end

-- What was being said when the monitor ended.
local function broke_off(why)
  return errors.is(why, "qmp", "closed") or errors.is(why, "net")
    or errors.is(why, "http", "closed")
end

local function translate(self, verb, why)
  if not is_gone(why) and not broke_off(why) then error(why, 0) end
  self.inner:close()
  local ended = self:ended()
  errors.raise {
    kind = "vm", code = "not-running", cause = why, reason = ended and ended.reason,
    message = ("cannot %s: the virtual machine does not run%s"):format(verb:gsub("_", " "),
      ended and (" (%s)"):format(ended.reason) or ""),
  }
end

local function call(self, verb, ...)
  local results = table.pack(pcall(self.inner[verb], self.inner, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  translate(self, verb, results[2])
end

-- Verbs that need a monitor which answers, each as the driver has it.
for _, verb in ipairs {
  "create", "boot", "pause", "resume", "power_button", "reboot", "snapshot", "restore", "console",
  "resize", "add_disk", "remove",
} do
  Machine[verb] = function(self, ...)
    capabilities.require(self.can, "verbs", verb, self.arch)
    return call(self, verb, ...)
  end
end

--- What is left to do once the monitor runs: nothing where its command line has made the machine.
-- @tparam table plan
function Machine:begin(plan)
  if self.inner.begin then call(self, "begin", plan) end
end

--- What it is and does.
-- @treturn table `state`: "created", "running", "paused", "suspended", "restoring", "panicked",
--   "shutdown" (the guest has ended, its monitor has not), "failed", "ended" (both have) or
--   "unknown"; `reason` where there is one, see `moonport.vm.ending`; of one that has not ended
--   `driver`, `machine`, `version`, `cpus`, `memory` and `console` (the terminal's path)
function Machine:info()
  local info, why = try(self.inner.info, self.inner)
  if info then return info end
  if not is_gone(why) and not broke_off(why) then error(why, 0) end
  self.inner:close()
  local ended = self:ended() or { reason = "unknown" }
  return {
    state = ended.reason == "unknown" and "unknown" or "ended", reason = ended.reason,
    oom = ended.oom, driver = self.can.driver, machine = self.can.machine,
  }
end

--- How it ended.
-- @treturn ?table {reason, oom, time}, nil while its supervisor says that it runs
function Machine:ended()
  return ending.of(self.driver, self.dir, self.shim and shim.find(self.shim))
end

--- Ends the guest at once, and its monitor. Fine when it has ended.
function Machine:shutdown()
  local _, why = try(self.inner.shutdown, self.inner)
  if why and not is_gone(why) then translate(self, "shutdown", why) end
end

--- Kills the monitor, and so the guest.
function Machine:kill()
  self.inner:close()
  if self.shim then
    shim.stop(self.shim, { signal = "KILL", grace = 0 })
    filesystems.stop(self.shim)
  else
    self:shutdown()
  end
end

--- Waits until guest and monitor have ended. For a machine whose supervisor is known.
-- @tparam[opt] number seconds
-- @treturn table {reason, oom, time}
-- @raise {kind="task", code="timeout"}; {kind="vm", code="invalid"} where no supervisor is known
function Machine:wait(seconds)
  if not self.shim then
    errors.raise {
      kind = "vm", code = "invalid", message = "the supervisor of this machine is not known",
      hint = "give `shim` to `vm.connect`",
    }
  end
  local record
  if seconds then
    record = task.timeout(seconds, shim.wait_end, self.shim)
  else
    record = shim.wait_end(self.shim)
  end
  return ending.of(self.driver, self.dir, record)
end

--- What happens to it: an iterator over {what, reason, time, raw, data}. `what` is "started",
-- "booted", "paused", "resumed", "reset", "power-button", "panicked", "disk-error", "removed",
-- "ended", or the monitor's own name for it. It does not end by itself: a monitor that is killed
-- tells nothing any more; race it with `wait`.
-- @tparam[opt] table options `since="now"`
-- @treturn iterator `<close>` it
function Machine:events(options)
  return self.inner:events(options)
end

--- Ends the connection; the machine goes on.
function Machine:close()
  self.inner:close()
end

Machine.__close = Machine.close

-- The choice is kept beside the sockets, so that a later command need not know it.
local RECORD = "machine.json"

--- Notes what runs in a directory.
-- @tparam table plan
function M.note(plan)
  fs.write(fs.join(plan.spec.dir, RECORD), json.encode {
    version = 1, driver = plan.driver, machine = plan.machine, arch = plan.spec.arch,
    accel = plan.accel,
  }, { mode = "0600", sync = false })
end

local function noted(dir)
  local record = try(json.decode, try(fs.read, fs.join(dir, RECORD), { limit = 65536 }) or "")
  return type(record) == "table" and record or {}
end

--- Opens a machine by the directory of its sockets. Speaks to it only when asked something.
-- @tparam table options `dir`; `driver`, `machine`, `accel`, `arch` where no note tells; `shim`
--   ({id, dir, socket}) when it has a supervisor
-- @treturn Machine
function M.open(options)
  local known = noted(options.dir)
  local name = options.driver or known.driver
  local driver = M.driver(name)
  local can = capabilities.of(name, options.machine or known.machine,
    options.accel or known.accel)
  return setmetatable({
    dir = options.dir, driver = driver, can = can, shim = options.shim,
    arch = options.arch or known.arch,
    inner = driver.open { dir = options.dir, can = can },
  }, Machine)
end

return M
