local env = require "moonport.cli.env"

local M = {
  summary = "Start again what ran before a reboot",
  description = "Starts again the services that ran before a reboot or whose supervisor died, and "
    .. "clears what the reboot took. The package's systemd unit calls this at boot.",
  example = "moonport restore",
}

local function configure() end

local function restore_one(ui, service)
  local ok, done = pcall(service.restore, service)
  if not ok then
    ui.complain(done, service.name)
  elseif done then
    ui.print(("%s: started again"):format(service.name))
  end
  return ok
end

local function run(args)
  local ui = require "moonport.ui"
  local observer = require("moonport.cli.observer").new(true)
  local opened <close> = env.open(args, { observer = observer })
  require("moonport.gc").run(opened)
  local services = require("moonport.service").list(opened)
  local failed = false
  require("moonport.task").map(services, 8, function(service)
    failed = not restore_one(ui, service) or failed
  end)
  return failed and 1 or 0
end

M.configure, M.run = configure, run

return M
