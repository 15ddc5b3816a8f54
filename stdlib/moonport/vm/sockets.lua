--- The directory of a machine's sockets: made, cleared of what a dead monitor left, never taken
-- from a live one.
-- @module moonport.vm.sockets

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local net = require "moonport.net"
local spec = require "moonport.vm.spec"

local M = {}

local CONNECT_SECONDS = 5

--- Refuses a directory whose sockets would have too long a path. Nothing is made.
-- @tparam string dir
-- @tparam {string,...} names
function M.check(dir, names)
  for _, name in ipairs(names) do spec.check_socket(fs.join(dir, name)) end
end

--- True while somebody answers on a socket.
-- @tparam string path
-- @treturn boolean
function M.is_alive(path)
  local _, why = try(net.connect, { unix = path, timeout = CONNECT_SECONDS, probe = true })
  if why == nil then return true end
  if errors.is(why, "net", "ECONNREFUSED") or errors.is(why, "net", "ENOENT") then return false end
  -- A full backlog, or no right to connect: there is somebody.
  return true
end

local function clear(path)
  local there = try(fs.stat, path, { follow = false })
  if not there then return end
  if there.type ~= "socket" then
    errors.raise {
      kind = "vm", code = "in-the-way", message = ("`%s` is not a socket"):format(path),
      hint = "move it away, or give the machine another `dir`",
    }
  elseif M.is_alive(path) then
    errors.raise {
      kind = "vm", code = "running",
      message = ("a virtual machine monitor answers on `%s` already"):format(path),
      hint = "stop that one first, or give the machine another `dir`",
    }
  end
  fs.remove(path, { if_exists = true })
end

local function own(path, user)
  if user then fs.chown(path, user.uid, user.gid, { follow = false }) end
end

--- Makes the directory and what belongs in it.
-- @tparam table plan
-- @tparam {string,...} names of the sockets to be made there
-- @tparam table files name -> content
-- @raise {kind="vm", code="running"} when a monitor is alive there
function M.prepare(plan, names, files)
  local dir, user = plan.spec.dir, plan.spec.user
  M.check(dir, names)
  fs.mkdirs(dir, "0700")
  own(dir, user)
  for _, name in ipairs(names) do clear(fs.join(dir, name)) end
  for name, content in pairs(files) do
    local path = fs.join(dir, name)
    fs.write(path, content, { mode = "0600", sync = false })
    own(path, user)
  end
end

return M
