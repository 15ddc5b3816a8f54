--- The programs that disks are made with: found, run, and named where one is missing.
--
-- They get a clean environment and their arguments as they are. Nothing of what they do needs root,
-- a mount or a loop device.
-- @module moonport.image.tools

local errors = require "moonport.errors"
local process = require "moonport.process"

local M = {}

-- Program -> the package that has it, in Debian's and Ubuntu's names.
local PACKAGES = {
  ["qemu-img"] = "qemu-utils",
  ["mkfs.vfat"] = "dosfstools",
  mcopy = "mtools",
  debugfs = "e2fsprogs",
  gzip = "gzip",
}

-- Where an account other than root's does not look for programs.
local SYSTEM = "/usr/sbin:/sbin"

local function search_path()
  return (os.getenv "PATH" or "/usr/bin:/bin") .. ":" .. SYSTEM
end

--- Finds a program.
-- @tparam string name
-- @treturn string its file
-- @raise {kind="image", code="program"} naming the package to install
function M.find(name)
  local path = process.which(name, search_path())
  if path then return path end
  errors.raise {
    kind = "image", code = "program", message = ("there is no `%s` on this host"):format(name),
    hint = ("install it: apt-get install %s"):format(PACKAGES[name] or name),
  }
end

--- Lists the programs that are missing.
-- @tparam {string,...} names
-- @treturn {{name,package},...}
function M.missing(names)
  local list = {}
  for _, name in ipairs(names) do
    if not process.which(name, search_path()) then
      list[#list + 1] = { name = name, package = PACKAGES[name] }
    end
  end
  return list
end

--- Runs a program to its end.
-- @tparam table call its argv as list elements, and options of `process.run`
-- @treturn table as `process.run` gives it
function M.run(call)
  local complete = { clean_env = true, env = {} }
  for key, value in pairs(call) do complete[key] = value end
  local env = { PATH = search_path(), LC_ALL = "C", TZ = "UTC" }
  for name, value in pairs(call.env or {}) do env[name] = value end
  complete.env, complete[1] = env, M.find(call[1])
  return process.run(complete)
end

return M
