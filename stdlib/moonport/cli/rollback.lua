local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  complete = { revision = "revisions" },
  summary = "Go back to an earlier revision",
  description = "Deploys an earlier revision again, with the recipe of its time, as a new one.",
  example = "moonport rollback squaring 3",
}

local function configure(parser)
  parser:argument("name", "Name of the service.")
  parser:argument("revision", "Its number; default: the one that served before.")
    :args("?"):convert(options.integer)
  parser:flag("-q --quiet", "Do not show the steps.")
  options.output_json(parser)
end

local function run(args)
  local observer = require("moonport.cli.observer").new(args.quiet or args.output == "json")
  local opened <close> = env.open(args, { observer = observer })
  local result = require("moonport.deploy").rollback(opened, args.name, args.revision)
  local ui = require "moonport.ui"
  if args.output == "json" then
    ui.json(result)
  else
    ui.print(("%s: %s as revision %d"):format(args.name, result.outcome, result.revision))
  end
end

M.configure, M.run = configure, run

return M
