local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "List the services",
  description = "Lists the services: where they run, how they are, since when, and how they ended "
    .. "last.",
  example = "moonport ps\nmoonport stop $(moonport ps -q)\nmoonport ps -o json",
}

local function configure(parser)
  parser:argument("name", "Only these services."):args("*")
  options.output(parser)
  parser:flag("-q --quiet", "Only the names, as `-o names` does.")
  parser:flag("-a --all", "For those used to it: also what does not run, as always."):hidden(true)
end

local COLOURS = {
  running = "green", completed = "green", starting = "yellow", restarting = "yellow",
  stopped = "dim", exited = "dim",
}

--- The colour of a state.
-- @tparam string state
-- @treturn string
function M.colour_of_state(state) return COLOURS[state] or "red" end

local function memory(bytes, status)
  return bytes and status.pid and require("moonport.ui").size(bytes) or "-"
end

--- When a service came into its state.
-- @tparam table status
-- @treturn ?number seconds since 1970
function M.changed_at(status)
  local times = require "moonport.cli.times"
  local ended = status.exit and status.exit.at
  local text = status.pid == nil and ended or status.since
  return text and times.seconds(text) or not text and status.updated or nil
end

local function since(_, status)
  local times = require "moonport.cli.times"
  local at = M.changed_at(status)
  return at and times.ago(require("moonport.clock").now() - at) or "-"
end

--- How a service ended last, in a few characters.
-- @tparam table|nil exit
-- @treturn string
function M.exit_text(exit)
  if not exit then return "-" end
  if exit.oom then return "OOM" end
  if exit.unknown then return "unknown" end
  return exit.code and tostring(exit.code) or "SIG" .. exit.signal
end

local COLUMNS = {
  "name", "target",
  { "state", colour = M.colour_of_state },
  { "since", format = since },
  { "pid", align = "right" },
  { "restarts", align = "right" },
  { "memory", align = "right", format = memory },
  { "revision", title = "REV", align = "right" },
  { "exit", title = "LAST EXIT", format = M.exit_text },
}

local function services_of(opened, names)
  local service = require "moonport.service"
  if #names == 0 then return service.list(opened) end
  local list = {}
  for index, name in ipairs(names) do list[index] = service.open(opened, name) end
  return list
end

local function run(args)
  local opened <close> = env.open(args, { read_only = true })
  local ui = require "moonport.ui"
  local services = services_of(opened, args.name)
  if args.quiet or args.output == "names" then
    for _, service in ipairs(services) do ui.print(service.name) end
    return
  end
  local rows = {}
  for index, service in ipairs(services) do rows[index] = service:status() end
  if args.output == "json" then
    local report = require "moonport.cli.report"
    ui.json(report.list(rows, report.status))
  else
    ui.table(rows, COLUMNS)
  end
end

M.configure, M.run = configure, run

return M
