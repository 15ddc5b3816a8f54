local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "List the revisions of a service",
  example = "moonport history squaring",
}

local function configure(parser)
  parser:argument("name", "Name of the service.")
  options.output(parser)
end

local function changed_fields(fields)
  local names = {}
  for index, field in ipairs(fields) do names[index] = field.path end
  return #names > 0 and table.concat(names, ", ") or "-"
end

local function time(seconds)
  return os.date("%Y-%m-%d %H:%M:%S", math.floor(seconds))
end

local COLUMNS = {
  { "number", title = "REV", align = "right" }, "state",
  { "created", format = time },
  { "fields", title = "CHANGED", format = changed_fields },
  { "note", format = function(note) return note or "" end },
}

local function run(args)
  local opened <close> = env.open(args)
  local rows = require("moonport.deploy").history(opened, args.name)
  require("moonport.ui").listing(rows, COLUMNS, args.output)
end

M.configure, M.run = configure, run

return M
