local options = require "moonport.cli.options"

local M = {
  complete = { name = "recipes" },
  summary = "List, show and copy recipes",
  example = "moonport recipe show targets.native",
}

local function configure(parser)
  parser:command_target("action")
  local list = parser:command("list", "List the recipes.")
  options.output(list)
  local show = parser:command("show",
    "Show each step, where it comes from, and what a site did to it.")
  show:argument("name", "Such as targets.native.")
  options.output(show)
  local eject = parser:command("eject", "Copy a shipped recipe to the site, to edit it.")
  eject:argument("name", "Such as targets.native.")
end

local actions = {}

function actions.list(args, site)
  local rows = require("moonport.recipe").list(site)
  for _, row in ipairs(rows) do row.error = row.error and tostring(row.error) end
  require("moonport.ui").listing(rows, { "name", "from", "summary" }, args.output)
end

local function change_text(change)
  return ("%s at %s:%d"):format(change.verb, change.file, change.line)
end

local function changes_text(changes)
  local parts = {}
  for index, change in ipairs(changes or {}) do parts[index] = change_text(change) end
  return #parts > 0 and table.concat(parts, "; ") or "-"
end

function actions.show(args, site)
  local recipe = require "moonport.recipe"
  local rows = recipe.show(recipe.load(args.name, { site = site }))
  for _, row in ipairs(rows) do
    row.from = ("%s:%d"):format(row.file, row.line)
    if row.removed then row.step = row.step .. " (removed)" end
  end
  require("moonport.ui").listing(rows,
    { "step", "from", { "changes", format = changes_text }, "summary" }, args.output)
end

function actions.eject(args, site)
  local path = require("moonport.recipe").eject(args.name, site)
  local ui = require "moonport.ui"
  ui.print(("copied to `%s`; it stands in for the shipped one now"):format(path))
end

local function run(args)
  local site = require("moonport.site").open { dir = args.site }
  return actions[args.action](args, site)
end

M.configure, M.run = configure, run

return M
