local each = require "moonport.cli.each"
local options = require "moonport.cli.options"

local M = {
  summary = "Stop services; they stay stopped, also after a reboot",
  example = "moonport stop --grace 5 squaring",
}

--- Adds the option of `stop` and `restart`.
-- @tparam Parser parser
function M.configure(parser)
  options.names(parser)
  parser:option("--grace", "Time to end before SIGKILL, in place of the manifest's `stop.grace`.")
    :argname("DURATION")
end

--- Reads the option of `stop` and `restart`.
-- @tparam table args
-- @treturn table options of the service's verbs
function M.read(args)
  return { grace = args.grace and require("moonport.units").duration(args.grace) }
end

local function run(args)
  return each.service(args, function(service)
    service:stop(M.read(args))
    return "stopped"
  end)
end

M.run = run

return M
