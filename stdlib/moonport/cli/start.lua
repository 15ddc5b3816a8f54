local each = require "moonport.cli.each"
local options = require "moonport.cli.options"

local M = {
  summary = "Start stopped services",
  example = "moonport start squaring",
}

local function configure(parser)
  options.names(parser)
end

local function run(args)
  return each.service(args, function(service)
    service:start()
    return "started"
  end)
end

M.configure, M.run = configure, run

return M
