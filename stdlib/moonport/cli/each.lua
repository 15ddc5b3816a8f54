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
  local ok, result, action = pcall(function() return fn(env.service(opened, name)) end)
  if ok then return result, action end
  if errors.is(result, "task", "cancelled") then error(result, 0) end
  return nil, result
end

--- Tells what becomes of several services: each as it comes, or all as JSON at the end.
-- @tparam table args of the command line: `output`, `quiet`
-- @tparam {string,...} names of the services
-- @tparam[opt] boolean alone there is one, and its error is that of the command
-- @treturn table with `done(name, text, action)`, without a text where nothing was done;
--   `failed(name, error)`; and `finish()`, which returns the exit status
function M.report(args, names, alone)
  local ui, report = require "moonport.ui", require "moonport.cli.report"
  local json, rows, failures = args.output == "json", {}, {}
  local self = {}
  function self.done(name, text, action)
    rows[name] = { name = name, action = action or text or "unchanged" }
    if text and not args.quiet and not json then ui.print(("%s: %s"):format(name, text)) end
  end
  function self.failed(name, err)
    failures[#failures + 1] = err
    rows[name] = { name = name, action = "failed", error = report.error(err) }
    if not alone then ui.complain(err, name) end
  end
  function self.finish()
    if json then ui.json(report.list(names, function(name) return rows[name] end)) end
    if alone and failures[1] then error(failures[1], 0) end
    return M.status(failures)
  end
  return self
end

--- Calls a function for each service that is meant, several at a time.
-- @tparam table args of the command line: those of `options.several` and what `env.open` takes
-- @tparam string verb the command's name
-- @tparam function fn called with the service; returns what is printed of it, and the word for that
--   in JSON where it is another
-- @tparam[opt] table options `ignore`: function(error), true passes over it; `confirm`:
--   function(names), false leaves everything as it is
-- @treturn integer exit status
-- @raise the error itself when only one service was meant
function M.service(args, verb, fn, options)
  options = options or {}
  local observer = require("moonport.cli.observer").new(args.quiet or args.output == "json")
  local opened <close> = env.open(args, { observer = observer })
  local names = names_of(args, opened, verb)
  if options.confirm and not options.confirm(names) then return 1 end
  local report = M.report(args, names, #names == 1)
  require("moonport.task").map(names, args.parallel or 1, function(name)
    local text, action = attempt(opened, name, fn)
    if text then return report.done(name, text, action) end
    local err = action
    if options.ignore and options.ignore(err) then return report.done(name) end
    report.failed(name, err)
  end)
  return report.finish()
end

return M
