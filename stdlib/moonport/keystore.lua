--- Keystores: directories of an operator's keys, which nobody else may read.
-- @module moonport.keystore

local errors = require "moonport.errors"
local fs = require "moonport.fs"

local M = {}

local OTHERS = 63 -- 0077: what group and others may do

local function refuse(message, hint)
  errors.raise { kind = "keystore", code = "refused", message = message, hint = hint }
end

local function check_entry(path, stat, wanted)
  if stat.mode & OTHERS == 0 then return end
  refuse(("`%s` has mode %04o: others can get at the keys"):format(path, stat.mode & 4095),
    ("chmod %s %s"):format(wanted, path))
end

local function check_owner(path, stat, user)
  if not user or stat.uid == user.uid then return end
  local text = "`%s` belongs to uid %d, and the service runs as uid %d"
  refuse(text:format(path, stat.uid, user.uid), ("chown -R %d %s"):format(user.uid, path))
end

-- A link has no mode of its own: what counts is what it leads to.
local function check_link(path, user)
  local target = try(fs.realpath, path)
  if not target then
    refuse(("`%s` is a symbolic link that leads nowhere (to `%s`)"):format(path, fs.readlink(path)),
      "remove it, or put the file there")
  end
  local found = fs.stat(target)
  local wanted = found.type == "directory" and "0700" or "0600"
  if found.mode & OTHERS ~= 0 then
    refuse(("`%s` leads to `%s`, which has mode %04o: others can get at the keys"):format(path,
      target, found.mode & 4095), ("chmod %s %s"):format(wanted, target))
  end
  check_owner(target, found, user)
end

--- Checks that a keystore is there, and is a directory.
-- @tparam string path
-- @raise {kind="keystore"}
function M.check_there(path)
  if not fs.exists(path) then
    refuse(("the keystore `%s` does not exist"):format(path),
      "make it, with mode 0700, and put the operator's keys there")
  elseif fs.stat(path).type ~= "directory" then
    refuse(("the keystore `%s` is no directory"):format(path))
  end
end

--- Checks that a keystore is there, is private (directories 0700, files 0600 or less; also what
-- symbolic links lead to) and belongs to who will use it.
-- @tparam string path
-- @tparam[opt] table user {uid}; without it, whoever owns it
-- @raise {kind="keystore"} naming the first file that is not as it must be, and the command that
--   mends it
function M.check(path, user)
  M.check_there(path)
  local stat = fs.stat(path)
  check_entry(path, stat, "0700")
  check_owner(path, stat, user)
  for entry in fs.walk(path) do
    if entry.type == "link" then
      check_link(entry.path, user)
    else
      local found = fs.stat(entry.path)
      check_entry(entry.path, found, found.type == "directory" and "0700" or "0600")
      check_owner(entry.path, found, user)
    end
  end
end

return M
