local options = require "moonport.cli.options"

local M = {
  complete = { name = "recipes" },
  summary = "List, show and copy recipes",
  example = "moonport recipe list\nmoonport recipe show targets.native\n"
    .. "moonport recipe eject targets.native",
}

local function configure(parser)
  parser:command_target("action")
  local list = parser:command("list", "List the recipes.")
  options.output(list)
  list:epilog "moonport recipe list"
  local show = parser:command("show",
    "Show each step, where it comes from, and what a site did to it.")
  show:argument("name", "Such as targets.native.")
  options.output(show)
  show:epilog "moonport recipe show targets.native"
  local eject = parser:command("eject", "Copy a shipped recipe to the site, to edit it.")
  eject:argument("name", "Such as targets.native.")
  eject:epilog "moonport recipe eject targets.native"
end

local actions = {}

function actions.list(args, site)
  local ui, report = require "moonport.ui", require "moonport.cli.report"
  local rows = require("moonport.recipe").list(site)
  if args.output == "json" then
    ui.json(report.list(rows, function(row)
      return {
        name = row.name, from = row.from, summary = row.summary,
        error = row.error and report.error(row.error) or nil,
      }
    end))
    return
  end
  ui.listing(rows, {
    "name", "from",
    { "summary", format = function(summary, row)
      return row.error and "does not load: " .. tostring(row.error) or summary
    end },
  }, args.output)
end

local function change_text(change)
  return ("%s at %s:%d"):format(change.verb, change.file, change.line)
end

local function changes_text(changes)
  local parts = {}
  for index, change in ipairs(changes or {}) do parts[index] = change_text(change) end
  return #parts > 0 and table.concat(parts, "; ") or "-"
end

local function place_text(file, row)
  return ("%s:%d"):format(file, row.line)
end

local function step_text(step, row)
  return row.removed and step .. " (removed)" or step
end

function actions.show(args, site)
  local recipe, ui = require "moonport.recipe", require "moonport.ui"
  local rows = recipe.show(recipe.load(args.name, { site = site }))
  if args.output == "json" then
    local report = require "moonport.cli.report"
    ui.json(report.list(rows, function(row)
      row.changes, row.functions = report.list(row.changes or {}), report.list(row.functions or {})
      return row
    end))
    return
  end
  ui.listing(rows, {
    { "step", format = step_text }, { "file", title = "FROM", format = place_text },
    { "changes", format = changes_text }, "summary",
  }, args.output)
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
