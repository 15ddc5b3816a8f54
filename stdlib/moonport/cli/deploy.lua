local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Deploy services from their manifests",
  example = "moonport deploy squaring.lua",
}

local function configure(parser)
  options.manifests(parser)
  parser:flag("--dry-run", "Show what would change, as `moonport plan` does.")
  parser:option("--parallel", "How many to deploy at the same time."):argname("N"):default("8")
    :convert(options.integer)
  parser:option("--wait", "Seconds to wait for another command on the same service.")
    :argname("SECONDS"):convert(tonumber)
  parser:flag("-q --quiet", "Do not show the steps.")
  options.output_json(parser)
end

local OUTCOMES = {
  deployed = "deployed as revision %d",
  replaced = "replaced by revision %d",
  resumed = "went on and is deployed as revision %d",
  started = "unchanged, and started again (revision %d)",
  unchanged = "unchanged (revision %d)",
}

local function plain(result)
  local err = result.error
  if not err then return result end
  return {
    name = result.name, outcome = "failed", failure = type(err) == "table" and err.failure or nil,
    error = type(err) == "table" and { kind = err.kind, code = err.code, message = err.message }
      or { message = tostring(err) },
  }
end

local function tell_failure(result)
  local ui = require "moonport.ui"
  local err = result.error
  if type(err) == "table" and err.failure then
    ui.note(require("moonport.failure").text(err.failure))
  else
    ui.note(("%s: %s"):format(result.name, tostring(err)))
  end
end

local function tell(results, output)
  local ui = require "moonport.ui"
  if output == "json" then
    local json, list = require "moonport.json", {}
    for index, result in ipairs(results) do list[index] = plain(result) end
    ui.json(json.array(list))
    return
  end
  for _, result in ipairs(results) do
    if not result.error then
      ui.print(("%s: %s"):format(result.name, OUTCOMES[result.outcome]:format(result.revision)))
    end
  end
end

local function status_of(results)
  local cli = require "moonport.cli"
  local status = 0
  for _, result in ipairs(results) do
    if result.error then
      tell_failure(result)
      status = #results == 1 and cli.exit_status(result.error) or 1
    end
  end
  return status
end

local function run(args)
  if args.dry_run then return require("moonport.cli.plan").run(args) end
  local observer = require("moonport.cli.observer").new(args.quiet or args.output == "json")
  local opened <close> = env.open(args, { targets = true, observer = observer })
  local loaded = options.load_manifests(args, opened)
  local results = require("moonport.deploy").many(opened, loaded, {
    parallel = args.parallel, replace = args.replace, wait = args.wait,
  })
  tell(results, args.output)
  return status_of(results)
end

M.configure, M.run = configure, run

return M
