local each = require "moonport.cli.each"
local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Start again what ran before a reboot",
  description = "Starts again the services that ran before a reboot or whose supervisor died, and "
    .. "clears what the reboot took. The package's systemd unit calls this at boot.",
  example = "moonport restore",
}

local function configure(parser)
  options.output_json(parser)
end

local function run(args)
  local observer = require("moonport.cli.observer").new(true)
  local opened <close> = env.open(args, { observer = observer })
  local gc = require "moonport.gc"
  gc.run(opened, { older_than = gc.PATIENCE })
  local services, names = require("moonport.service").list(opened), {}
  for index, service in ipairs(services) do names[index] = service.name end
  local report = each.report(args, names)
  require("moonport.task").map(services, 8, function(service)
    local done, why = try(service.restore, service)
    if why then return report.failed(service.name, why) end
    report.done(service.name, done and "started again" or nil, done and "started" or nil)
  end)
  return report.finish()
end

M.configure, M.run = configure, run

return M
