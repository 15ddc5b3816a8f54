local each = require "moonport.cli.each"
local stop = require "moonport.cli.stop"

local M = {
  summary = "Stop services and start them again",
  example = "moonport restart squaring",
  configure = stop.configure,
}

local function run(args)
  return each.service(args, function(service)
    service:restart(stop.read(args))
    return "restarted"
  end)
end

M.run = run

return M
