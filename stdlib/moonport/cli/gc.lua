local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Remove what killed commands and reboots left",
  description = "Finishes or undoes what killed commands left half done, and removes what carries "
    .. "this store's mark and belongs to no service.",
  example = "moonport gc --dry-run\nmoonport gc",
}

local function configure(parser)
  parser:flag("--dry-run", "Only show what would be removed.")
  options.output(parser)
end

local function error_text(err) return err and tostring(err):match("^[^\n]*") or "" end

local function plain(row)
  local report = require "moonport.cli.report"
  return {
    what = row.what, action = row.action, error = row.error and report.error(row.error) or nil,
  }
end

local function run(args)
  local opened <close> = env.open(args)
  local rows = require("moonport.gc").run(opened, { dry = args.dry_run })
  local ui = require "moonport.ui"
  local failed = false
  for _, row in ipairs(rows) do failed = failed or row.error ~= nil end
  if args.output == "json" then
    ui.json(require("moonport.cli.report").list(rows, plain))
  elseif #rows == 0 and args.output == "table" then
    ui.print("nothing to remove")
  else
    ui.listing(rows, { "what", "action", { "error", format = error_text } }, args.output)
  end
  return failed and 1 or 0
end

M.configure, M.run = configure, run

return M
