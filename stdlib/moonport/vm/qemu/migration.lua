--- Snapshots: a machine's memory and devices in a file. Its disks are not in it.
-- @module moonport.vm.qemu.migration

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local task = require "moonport.task"

local M = {}

local FILE = "memory"
-- QEMU holds back for a network that we do not use (bytes per second).
local UNLIMITED = 1 << 40
local SECONDS = 3600
-- Between two looks at what QEMU tells no event of.
local LOOK_SECONDS = 0.001

local function fail(message, hint)
  errors.raise { kind = "vm", code = "snapshot", message = message, hint = hint }
end

local function prepare(machine)
  machine:run("migrate-set-capabilities", {
    capabilities = { { capability = "events", state = true } },
  })
  machine:run("migrate-set-parameters", { ["max-bandwidth"] = UNLIMITED })
end

-- "completed", or why not.
local function outcome(machine)
  local status = machine:connection():wait_for(function(name, data)
    if name ~= "MIGRATION" then return nil end
    if data.status == "completed" or data.status == "failed" or data.status == "cancelled" then
      return data.status
    end
  end, SECONDS)
  if status == "completed" then return nil end
  local said = try(machine.run, machine, "query-migrate") or {}
  return said["error-desc"] or status
end

-- QEMU says "completed" a moment before its state is in order, and refuses to go on until then.
local function await_end(machine)
  while machine:run("query-status").status == "finish-migrate" do task.sleep(LOOK_SECONDS) end
end

--- Writes a snapshot. A machine that ran goes on afterwards, whether or not that worked.
-- @tparam Machine machine
-- @tparam string dir which exists
-- @treturn table {path, size}
function M.save(machine, dir)
  local path = fs.join(dir, FILE)
  local ran = machine:run("query-status").running
  prepare(machine)
  if ran then machine:run "stop" end
  local why = select(2, try(function()
    machine:connection():give_file("snapshot", path, "write")
    machine:run("migrate", { uri = "fd:snapshot" })
  end))
  why = why and tostring(why) or outcome(machine)
  if ran then
    await_end(machine)
    machine:run "cont"
  end
  if why then
    fs.remove(path, { if_exists = true })
    fail(("could not write the snapshot `%s`: %s"):format(path, why),
      "see that there is room for all of its memory")
  end
  return { path = path, size = fs.stat(path).size }
end

--- Fills a machine that was made to be restored.
-- @tparam Machine machine
-- @tparam string dir
function M.load(machine, dir)
  local path = fs.join(dir, FILE)
  prepare(machine)
  machine:connection():give_file("snapshot", path, "read")
  machine:run("migrate-incoming", { uri = "fd:snapshot" })
  local why = outcome(machine)
  if why then
    fail(("could not restore from `%s`: %s"):format(path, why),
      "a snapshot fits only a machine like the one it was taken of")
  end
end

return M
