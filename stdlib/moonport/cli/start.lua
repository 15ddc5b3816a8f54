local each = require "moonport.cli.each"
local options = require "moonport.cli.options"

local M = {
  summary = "Start stopped services",
  description = "Starts stopped services and waits until they are ready.",
  example = "moonport start squaring",
}

local function configure(parser)
  options.several(parser)
end

local function run(args)
  return each.service(args, "start", function(service)
    local before = service:status().state
    service:start()
    if before == "running" then return "was running already", "unchanged" end
    return "started"
  end)
end

M.configure, M.run = configure, run

return M
