--- Doing one thing to several services: all are tried, and each failure is told.
-- @module moonport.cli.each

local env = require "moonport.cli.env"
local errors = require "moonport.errors"

local M = {}

--- Calls a function for each service named.
-- @tparam table args of the command line: `name` and what `env.open` takes
-- @tparam function fn called with the service; what it returns is printed
-- @tparam[opt] function ignore called with an error; true passes over it
-- @treturn integer exit status
-- @raise the error itself when only one was named
function M.service(args, fn, ignore)
  local ui = require "moonport.ui"
  local observer = require("moonport.cli.observer").new(args.quiet)
  local opened <close> = env.open(args, { observer = observer })
  local status = 0
  for _, name in ipairs(args.name) do
    local ok, result = pcall(function() return fn(env.service(opened, name)) end)
    if ok or ignore and ignore(result) then
      if ok and result then ui.print(("%s: %s"):format(name, result)) end
    elseif #args.name == 1 or errors.is(result, "task", "cancelled") then
      error(result, 0)
    else
      ui.note(("%s: %s"):format(name, tostring(result)))
      status = 1
    end
  end
  return status
end

return M
