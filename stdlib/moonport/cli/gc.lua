local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Remove what killed commands and reboots left",
  description = "Finishes or undoes what killed commands left half done, and removes what carries "
    .. "this store's mark and belongs to no service.",
  example = "moonport gc --dry-run\nmoonport gc\nmoonport gc --older-than 24h",
}

local function configure(parser)
  parser:flag("--dry-run", "Only show what would be removed.")
  parser:option("--older-than", "Leave what was interrupted less than TIME ago, as in 24h.")
    :argname("TIME"):convert(options.duration)
  options.output(parser)
end

local function error_text(err) return err and tostring(err):match("^[^\n]*") or "" end

-- What it did; and apart from that, on stderr, what it may not look at.
local function tell(rows, output)
  local ui, done = require "moonport.ui", {}
  for _, row in ipairs(rows) do
    if not row.note then done[#done + 1] = row end
  end
  if #done == 0 and output == "table" then
    ui.print("nothing to remove")
  else
    ui.listing(done, { "what", "action", { "error", format = error_text } }, output)
  end
  for _, row in ipairs(rows) do
    if row.note then ui.note(("%s: %s (%s)"):format(row.action, row.what, row.note)) end
  end
end

local function plain(row)
  local report = require "moonport.cli.report"
  return {
    what = row.what, action = row.action, note = row.note,
    error = row.error and report.error(row.error) or nil,
  }
end

local function run(args)
  local opened <close> = env.open(args)
  local rows = require("moonport.gc").run(opened, {
    dry = args.dry_run, older_than = args.older_than,
  })
  local failed = false
  for _, row in ipairs(rows) do failed = failed or row.error ~= nil end
  if args.output == "json" then
    require("moonport.ui").json(require("moonport.cli.report").list(rows, plain))
  else
    tell(rows, args.output)
  end
  return failed and 1 or 0
end

M.configure, M.run = configure, run

return M
