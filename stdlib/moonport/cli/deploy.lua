local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Deploy services from their manifests",
  description = "Deploys services from their manifests. One that is deployed already is replaced "
    .. "when its manifest has changed, and left alone when not. One that does not become ready is "
    .. "undone, and what served before serves again. With --dry-run nothing is changed, and the "
    .. "exit status is that of `moonport plan`: 10 when there is something to change.",
  example = "moonport deploy squaring.lua\n"
    .. "moonport deploy --set limits.memory=1GiB --dry-run squaring.lua\n"
    .. "moonport deploy --parallel 4 services/*.lua",
}

local function configure(parser)
  options.manifests(parser)
  parser:flag("--dry-run", "Show what would change, as `moonport plan` does.")
  options.parallel(parser)
  parser:option("--wait", "How long to wait for another command on the same service, as in 30s.")
    :argname("TIME"):convert(options.duration)
  parser:flag("-q --quiet", "Do not show the steps.")
  options.output_json(parser)
end

local OUTCOMES = {
  deployed = "deployed as revision %d",
  replaced = "replaced by revision %d",
  resumed = "went on and is deployed as revision %d",
  started = "unchanged, and started again (revision %d)",
  repaired = "unchanged, and as it was deployed again (revision %d)",
  unchanged = "unchanged (revision %d)",
}

local function plain(result)
  local report = require "moonport.cli.report"
  local err = result.error
  if not err then return result end
  local failure = type(err) == "table" and err.failure or nil
  return {
    name = result.name, outcome = "failed", failure = report.failure(failure),
    error = report.error(err),
  }
end

local function tell_failure(result)
  local ui = require "moonport.ui"
  local err = result.error
  if type(err) ~= "table" or not err.failure then return ui.complain(err, result.name) end
  local text = require("moonport.failure").text(err.failure)
  ui.note(("%s %s"):format(ui.colour("red", "moonport:", "stderr"), text))
  if err.hint then ui.note(("  %s"):format(err.hint)) end
end

local function tell(results, output)
  local ui = require "moonport.ui"
  if output == "json" then
    ui.json(require("moonport.cli.report").list(results, plain))
    return
  end
  for _, result in ipairs(results) do
    if not result.error then
      ui.print(("%s: %s"):format(result.name, OUTCOMES[result.outcome]:format(result.revision)))
    end
  end
end

local function run(args)
  if args.dry_run then return require("moonport.cli.plan").run(args) end
  local observer = require("moonport.cli.observer").new(args.quiet or args.output == "json")
  local reading = options.read_manifests(args)
  local opened <close> = env.open(args, { targets = true, observer = observer })
  local loaded = options.load_manifests(args, opened, reading)
  local results = require("moonport.deploy").many(opened, loaded, {
    parallel = args.parallel, replace = args.replace, wait = args.wait,
  })
  tell(results, args.output)
  local failures = {}
  for _, result in ipairs(results) do
    if result.error then
      tell_failure(result)
      failures[#failures + 1] = result.error
    end
  end
  return require("moonport.cli.each").status(failures)
end

M.configure, M.run = configure, run

return M
