local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "List the revisions of a service",
  description = "Lists the revisions of a service, newest first, and which fields each one "
    .. "changed. `moonport rollback` goes back to one.",
  example = "moonport history squaring",
}

local function configure(parser)
  parser:argument("name", "Name of the service.")
  options.output(parser)
end

local function changed_fields(fields)
  local names = {}
  for index, field in ipairs(fields) do names[index] = field.path end
  return table.concat(names, ", ")
end

local COLOURS = { active = "green", failed = "red" }

local function columns()
  local times = require "moonport.cli.times"
  local now = require("moonport.clock").now()
  return {
    { "number", title = "REV", align = "right" },
    { "state", colour = function(state) return COLOURS[state] end },
    { "created", format = times.clock },
    { "age", format = function(_, row) return times.ago(now - row.created) end },
    { "fields", title = "CHANGED", format = changed_fields },
    { "note", format = function(note) return note or "" end },
  }
end

local function run(args)
  local opened <close> = env.open(args, { read_only = true })
  local rows = require("moonport.deploy").history(opened, args.name)
  local ui = require "moonport.ui"
  if args.output == "json" then
    local report = require "moonport.cli.report"
    ui.json(report.list(rows, report.revision))
  else
    ui.listing(rows, columns(), args.output)
  end
end

M.configure, M.run = configure, run

return M
