local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Show what deploying would change, and change nothing",
  description = "Shows what deploying would change, and changes nothing. "
    .. "Exits with 0 when there is nothing to change and with 10 when there is.",
  example = "moonport plan squaring.lua || echo \"status $?\"",
}

local SOMETHING_TO_CHANGE = 10

local function configure(parser)
  options.manifests(parser)
  options.output_json(parser)
end

local SIGNS = {
  create = { "+", "green" }, change = { "~", "yellow" }, delete = { "-", "red" },
  keep = { "=", "dim" }, maybe = { "?", "cyan" },
}

local OUTCOMES = {
  create = "will be created",
  replace = "will be replaced",
  start = "is as wanted but does not run: will be started",
  resume = "was interrupted at step `%s`: will go on",
  settle = "was interrupted at step `%s`: that is undone first, then it is deployed",
  unchanged = "is as wanted",
}

local function shown(value)
  if value == nil then return "(nothing)" end
  if type(value) == "table" then return require("moonport.inspect").format(value) end
  return tostring(value)
end

local function tell_step(ui, change)
  local sign = SIGNS[change.action]
  local text = ("  %s %-10s %s"):format(sign[1], change.step, shown(change.what))
  if change.from ~= nil then
    text = ("%s: %s -> %s"):format(text, shown(change.from), shown(change.to))
  elseif change.to ~= nil then
    text = ("%s: %s"):format(text, shown(change.to))
  end
  ui.print(ui.colour(sign[2], text))
end

local function tell(plan)
  local ui = require "moonport.ui"
  ui.print(("%s %s"):format(plan.name, OUTCOMES[plan.outcome]:format(plan.step or "?")))
  for _, field in ipairs(plan.fields) do
    ui.print(ui.colour("yellow", ("  ~ %s: %s -> %s"):format(field.path, shown(field.from),
      shown(field.to))))
  end
  if plan.recipe_changed then
    ui.print("  the recipe has changed since it was deployed; --replace deploys it anew")
  end
  for _, change in ipairs(plan.steps) do tell_step(ui, change) end
end

local function run(args)
  local opened <close> = env.open(args, { targets = true })
  local deploy = require "moonport.deploy"
  local plans, changes = {}, false
  for index, loaded in ipairs(options.load_manifests(args, opened)) do
    plans[index] = deploy.plan(opened, loaded, { replace = args.replace })
    changes = changes or plans[index].changes
  end
  if args.output == "json" then
    require("moonport.ui").json(require("moonport.json").array(plans))
  else
    for _, plan in ipairs(plans) do tell(plan) end
  end
  return changes and SOMETHING_TO_CHANGE or 0
end

M.configure, M.run = configure, run

return M
