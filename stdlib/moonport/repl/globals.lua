-- What is there without `require`: mp, and its modules as globals, each loaded when it is named.

local M = {}

local names -- set of the modules' names

local programs = { cli = true, moonport = true, repl = true } -- not for use in a line

-- The names of the modules that have documentation, and so are meant for people.
function M.modules()
  if not names then
    names = {}
    for name, entry in pairs(require "moonport.apidoc") do
      if entry.kind == "module" and name:find("^[%a_][%w_]*$") and not programs[name] then
        names[name] = true
      end
    end
  end
  return names
end

-- The module by its name, loaded; nil when there is none or it fails to load.
function M.module(name)
  if not M.modules()[name] then return nil end
  local ok, module = pcall(require, "moonport." .. name)
  return ok and module or nil
end

-- Prepares the table of globals.
function M.install(globals)
  globals.mp = require "moonport"
  local function missing(self, name)
    if type(name) ~= "string" or not M.modules()[name] then return nil end
    local module = require("moonport." .. name)
    rawset(self, name, module)
    return module
  end
  setmetatable(globals, { __index = missing })
end

return M
