--- The program of a native service: which file, with which arguments.
-- @module moonport.native.program

local contract = require "moonport.contract"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local process = require "moonport.process"

local M = {}

local ANY_EXECUTE = 73 -- 0111

local function refuse(code, message, hint)
  errors.raise { kind = "native", code = code, message = message, hint = hint }
end

--- The argv: the manifest's `command` as it stands, or `binary` with the contract's arguments.
-- @tparam table manifest
-- @treturn {string,...}
function M.argv(manifest)
  if manifest.command then return table.move(manifest.command, 1, #manifest.command, 1, {}) end
  return table.move(contract.arguments(manifest), 1, 99, 2, { manifest.binary })
end

--- The file that is executed. A command without a slash is looked for in the operator's PATH.
-- @tparam table manifest
-- @treturn string absolute path
-- @raise {kind="native", code="not_found"|"refused"}
function M.file(manifest)
  local name = manifest.command and manifest.command[1] or manifest.binary
  if not name:find("/", 1, true) then
    local found = process.which(name)
    if not found then
      refuse("not_found", ("there is no program `%s` in PATH"):format(name),
        "write its whole path in `command`")
    end
    return found
  end
  return fs.absolute(name)
end

-- The file, which is there and can be executed.
local function checked_file(manifest)
  local path = M.file(manifest)
  if not fs.exists(path) then
    refuse("not_found", ("the program `%s` does not exist"):format(path), "build it first?")
  end
  local stat = fs.stat(path)
  if stat.type ~= "file" then
    refuse("refused", ("the program `%s` is a %s"):format(path, stat.type))
  elseif stat.mode & ANY_EXECUTE == 0 then
    refuse("refused", ("the program `%s` is not executable"):format(path), "chmod +x " .. path)
  end
  return path
end

--- The files that count as part of the manifest: a changed program is a changed service.
-- @tparam table manifest
-- @treturn {{field,path},...}
-- @raise {kind="native", code="not_found"|"refused"} when the program cannot be run
function M.inputs(manifest)
  local field = manifest.command and "command" or "binary"
  return { { field = field, path = checked_file(manifest) } }
end

--- Checks that the program is there and can be executed.
-- @tparam context ctx
function M.check(ctx)
  checked_file(ctx.manifest)
end

return M
