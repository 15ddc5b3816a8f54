--- Talking to a QEMU that runs: commands and their answers as tables.
-- @module moonport.vm.qemu.connection

local core = require "moonport.core.vm"
local command = require "moonport.vm.qemu.command"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local task = require "moonport.task"

-- A socket that answers at all answers at once.
local CONNECT_SECONDS = 10
-- As long as another moonport may need it for one command.
local SLOT_SECONDS = 30

local Connection = {}
Connection.__index = Connection

local M = {}

local function fail(code, message, hint, cause)
  errors.raise { kind = "vm", code = code, message = message, hint = hint, cause = cause }
end

local function lock_slot(dir, number, options)
  return fs.lock(fs.join(dir, ("qmp.%d.lock"):format(number)), options)
end

-- The first that becomes free.
local function wait_for_slot(dir)
  local taken, slot
  local waits = {}
  for i = 0, command.MONITORS - 1 do
    waits[#waits + 1] = function()
      local lock = lock_slot(dir, i, { wait = SLOT_SECONDS })
      if taken then
        lock:release()
      else
        taken, slot = lock, i
      end
    end
  end
  local _, why = try(task.race, waits)
  if taken then return taken, slot end
  fail("busy", ("all of the %d connections to qemu are in use"):format(command.MONITORS),
    "other commands are at work on this machine; try again", why)
end

-- One of QEMU's sockets for us alone, by a lock beside it: else QEMU would let us wait in silence.
local function take_slot(dir)
  for i = 0, command.MONITORS - 1 do
    local lock, why = try(lock_slot, dir, i)
    if lock then return lock, i end
    if not errors.is(why, nil, "held") then error(why, 0) end
  end
  return wait_for_slot(dir)
end

local function dial(path)
  local qmp, why = try(task.timeout, CONNECT_SECONDS, core.qmp, path)
  if qmp then return qmp end
  if errors.is(why, "task", "timeout") then
    fail("no-answer", ("qemu does not answer on `%s`"):format(path),
      "another program may be connected to it, or it hangs", why)
  end
  error(why, 0)
end

--- Connects to the QEMU whose sockets are in a directory.
-- @tparam string dir
-- @treturn connection `<close>` it
-- @raise {kind="net", code="ECONNREFUSED" or "ENOENT"} where none runs; {kind="vm"}
function M.open(dir)
  local lock, slot = take_slot(dir)
  local qmp, why = try(dial, fs.join(dir, "qmp." .. slot))
  if not qmp then
    lock:release()
    error(why, 0)
  end
  return setmetatable({ qmp = qmp, lock = lock, dir = dir }, Connection)
end

--- Sends a command.
-- @tparam string name
-- @tparam[opt] table arguments
-- @return what it returned
-- @raise {kind="qmp"} with QEMU's own words
function Connection:run(name, arguments)
  return json.decode(self.qmp:execute(name, arguments and json.encode(arguments)))
end

--- Gives QEMU an open file under a name, for `fd:NAME`.
-- @tparam string name
-- @tparam string path
-- @tparam string mode "read" or "write"
function Connection:give_file(name, path, mode)
  self.qmp:execute("getfd", json.encode { fdname = name }, path, mode)
end

--- Waits for an event since the connection was made.
-- @tparam function wanted (name, data) -> what to return, or nil to go on waiting
-- @tparam number seconds
-- @return what `wanted` gave
-- @raise {kind="task", code="timeout"}; {kind="qmp", code="closed"}
function Connection:wait_for(wanted, seconds)
  return task.timeout(seconds, function()
    while true do
      local name, data = self.qmp:next_event()
      local found = wanted(name, data ~= "" and json.decode(data) or {})
      if found ~= nil then return found end
    end
  end)
end

--- QEMU's version.
-- @treturn string "7.2.22"
function Connection:version()
  local version = json.decode(self.qmp:greeting()).version.qemu
  return ("%d.%d.%d"):format(version.major, version.minor, version.micro)
end

--- Ends the connection; QEMU goes on.
function Connection:close()
  self.qmp:close()
  self.lock:release()
end

Connection.__close = Connection.close

return M
