local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Tell how a service is, and why",
  example = "moonport status squaring",
}

local function configure(parser)
  parser:argument("name", "Name of the service.")
  options.output_json(parser)
end

local function exit_line(exit)
  local text = require("moonport.cli.ps").exit_text(exit)
  local ui = require "moonport.ui"
  if exit.peak then text = ("%s, peak memory %s"):format(text, ui.size(exit.peak)) end
  return exit.at and ("%s at %s"):format(text, exit.at) or text
end

local function lines_of(status)
  local ui = require "moonport.ui"
  local lines = {}
  local function add(title, value)
    if value ~= nil then lines[#lines + 1] = ("%-10s %s"):format(title .. ":", value) end
  end
  add("name", status.name)
  add("target", status.target)
  add("state", status.state)
  add("wanted", status.want)
  add("revision", status.revision)
  add("pid", status.pid)
  add("since", status.since)
  add("restarts", status.restarts)
  add("memory", status.memory and ui.size(status.memory))
  add("processes", status.processes)
  add("exit", status.exit and exit_line(status.exit))
  add("problem", status.problem)
  add("hint", status.hint)
  return lines
end

local function run(args)
  local opened <close> = env.open(args)
  local service = env.service(opened, args.name)
  local status = service:status()
  local failure = service:failure()
  local ui = require "moonport.ui"
  if args.output == "json" then
    status.failure = failure
    ui.json(status)
    return
  end
  for _, line in ipairs(lines_of(status)) do ui.print(line) end
  if failure and status.state ~= "running" then
    ui.print("\nthe last failure:\n" .. require("moonport.failure").text(failure))
  end
end

M.configure, M.run = configure, run

return M
