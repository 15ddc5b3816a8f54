local each = require "moonport.cli.each"
local stop = require "moonport.cli.stop"

local M = {
  summary = "Stop services and start them again",
  description = "Stops services, starts them again, and waits until they are ready.",
  example = "moonport restart squaring\nmoonport restart --parallel 1 --all",
  configure = stop.configure,
}

local function run(args)
  return each.service(args, "restart", function(service)
    service:restart { grace = args.grace }
    return "restarted"
  end)
end

M.run = run

return M
