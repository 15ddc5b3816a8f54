local each = require "moonport.cli.each"
local options = require "moonport.cli.options"

local M = {
  summary = "Stop services; they stay stopped, also after a reboot",
  description = "Stops services and waits until they have ended: the stop signal, a time to end, "
    .. "then SIGKILL. They stay stopped, also after a reboot.",
  example = "moonport stop squaring\nmoonport stop --grace 30s --all",
}

--- Adds the options of `stop` and `restart`.
-- @tparam Parser parser
function M.configure(parser)
  options.several(parser)
  parser:option("--grace", "Time to end before SIGKILL, in place of the manifest's `stop.grace`.")
    :argname("TIME"):convert(options.duration)
end

local function run(args)
  return each.service(args, "stop", function(service)
    local before = service:status().state
    service:stop { grace = args.grace }
    if before == "stopped" then return "was stopped already", "unchanged" end
    return "stopped"
  end)
end

M.run = run

return M
