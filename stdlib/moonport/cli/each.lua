--- Doing one thing to several services: all are tried, and each failure is told.
-- @module moonport.cli.each

local env = require "moonport.cli.env"
local errors = require "moonport.errors"

local M = {}

-- The names that are meant: those given, each once, or all.
local function names_of(args, opened, verb)
  local names, seen = {}, {}
  local function add(name)
    if not seen[name] then names[#names + 1] = name end
    seen[name] = true
  end
  for _, name in ipairs(args.name) do add(name) end
  if args.all and #names > 0 then
    errors.raise {
      kind = "cli", code = "usage", where = "",
      message = "`--all` means every service; names do not go with it",
    }
  elseif args.all then
    for _, service in ipairs(require("moonport.service").list(opened)) do add(service.name) end
  elseif #names == 0 then
    errors.raise {
      kind = "cli", code = "usage", message = ("`moonport %s` wants a NAME"):format(verb),
      hint = "`moonport ps` lists the services; `--all` means every one", where = "",
    }
  end
  return names
end

--- The exit status when some of several things failed: what they agree on, else 1.
-- @tparam table failures list of errors
-- @treturn integer
function M.status(failures)
  local exit_status, status = require("moonport.cli").exit_status, nil
  for _, failure in ipairs(failures) do
    local its = exit_status(failure)
    status = (status == nil or status == its) and its or 1
  end
  return status or 0
end

-- Not a task's cancel: that ends the whole command.
local function attempt(opened, name, fn)
  local ok, result = pcall(function() return fn(env.service(opened, name)) end)
  if ok then return result end
  if errors.is(result, "task", "cancelled") then error(result, 0) end
  return nil, result
end

--- Calls a function for each service that is meant, several at a time.
-- @tparam table args of the command line: those of `options.several` and what `env.open` takes
-- @tparam string verb the command's name
-- @tparam function fn called with the service; what it returns is printed
-- @tparam[opt] table options `ignore`: function(error), true passes over it; `confirm`:
--   function(names), false leaves everything as it is
-- @treturn integer exit status
-- @raise the error itself when only one service was meant
function M.service(args, verb, fn, options)
  options = options or {}
  local ui = require "moonport.ui"
  local observer = require("moonport.cli.observer").new(args.quiet)
  local opened <close> = env.open(args, { observer = observer })
  local names, failures = names_of(args, opened, verb), {}
  if options.confirm and not options.confirm(names) then return 1 end
  require("moonport.task").map(names, args.parallel or 1, function(name)
    local result, err = attempt(opened, name, fn)
    if err and options.ignore and options.ignore(err) then return end
    if err then
      failures[#failures + 1] = err
      if #names > 1 then ui.complain(err, name) end
    elseif result and not args.quiet then
      ui.print(("%s: %s"):format(name, result))
    end
  end)
  if #names == 1 and failures[1] then error(failures[1], 0) end
  return M.status(failures)
end

return M
