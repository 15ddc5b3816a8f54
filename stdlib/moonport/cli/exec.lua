local env = require "moonport.cli.env"

local M = {
  summary = "Run a command where a service runs",
  description = "Runs a command where and as whom a service runs, with its environment and within "
    .. "its limits. Exits with the command's status.",
  example = "moonport exec squaring -- env",
}

local ENDED_BY_SIGNAL = 128

local function configure(parser)
  parser:argument("name", "Name of the service.")
  parser:argument("command", "The command and its arguments."):args("+")
end

local function run(args)
  local opened <close> = env.open(args)
  local call = table.move(args.command, 1, #args.command, 1, { foreground = true })
  local result = env.service(opened, args.name):exec(call)
  if result.code then return result.code end
  require("moonport.ui").note(("`%s` was ended by %s"):format(args.command[1], result.signal))
  return ENDED_BY_SIGNAL
end

M.configure, M.run = configure, run

return M
