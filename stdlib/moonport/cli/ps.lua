local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "List the services",
  example = "moonport ps -o json",
}

local function configure(parser)
  options.output(parser)
end

local COLOURS = {
  running = "green", completed = "green", starting = "yellow", restarting = "yellow",
  stopped = "dim", exited = "dim",
}

local function colour_of_state(state) return COLOURS[state] or "red" end

local function size(bytes)
  return bytes and require("moonport.ui").size(bytes) or "-"
end

local COLUMNS = {
  "name", "target",
  { "state", colour = colour_of_state },
  { "pid", align = "right" },
  { "restarts", align = "right" },
  { "memory", align = "right", format = size },
  { "revision", title = "REV", align = "right" },
  { "exit", format = function(exit) return M.exit_text(exit) end },
}

--- How a service ended last, in a few characters.
-- @tparam table|nil exit
-- @treturn string
function M.exit_text(exit)
  if not exit then return "-" end
  if exit.oom then return "OOM" end
  if exit.unknown then return "unknown" end
  return exit.code and tostring(exit.code) or "SIG" .. exit.signal
end

local function run(args)
  local opened <close> = env.open(args)
  local rows = {}
  for index, service in ipairs(require("moonport.service").list(opened)) do
    rows[index] = service:status()
  end
  require("moonport.ui").listing(rows, COLUMNS, args.output)
end

M.configure, M.run = configure, run

return M
