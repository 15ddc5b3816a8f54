local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Show what deploying would change, and change nothing",
  description = "Shows what deploying would change, and changes nothing. Exits with 0 when there "
    .. "is nothing to change and with 10 when there is; other numbers are failures.",
  example = "moonport plan squaring.lua\nmoonport plan --set limits.memory=1GiB squaring.lua",
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

-- What is told of each outcome, and the word that counts it.
local OUTCOMES = {
  create = { "will be created", "to create" },
  replace = { "will be replaced", "to replace" },
  repair = { "is as wanted but was changed by others: will be as it was", "to repair" },
  start = { "is as wanted but does not run: will be started", "to start" },
  resume = { "was interrupted at step `%s`: will go on", "to go on with" },
  settle = {
    "was interrupted at step `%s`: that is undone first, then it is deployed", "to begin again",
  },
  unchanged = { "is as wanted", "unchanged" },
}

local ORDER = { "create", "replace", "repair", "start", "resume", "settle", "unchanged" }

-- What recipes say is text already; it may be long.
local function shown(value)
  return require("moonport.cli.values").show(value)
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

local function tell_field(ui, field)
  local values = require "moonport.cli.values"
  local sign = field.from == nil and SIGNS.create or field.to == nil and SIGNS.delete
    or SIGNS.change
  local from, to = values.show(field.from, field.path), values.show(field.to, field.path)
  local text = field.from == nil and to or field.to == nil and from or from .. " -> " .. to
  ui.print(ui.colour(sign[2], ("  %s %s: %s"):format(sign[1], field.path, text)))
end

local function tell(ui, plan)
  local text = OUTCOMES[plan.outcome][1]:format(plan.step or "?")
  ui.print(("%s %s"):format(ui.colour("bold", plan.name), text))
  for _, field in ipairs(plan.fields) do tell_field(ui, field) end
  if plan.recipe_changed then
    ui.print("  the recipe has changed since it was deployed; --replace deploys it anew")
  end
  for _, change in ipairs(plan.steps) do tell_step(ui, change) end
end

local function summary(plans)
  local counts, parts = {}, {}
  for _, plan in ipairs(plans) do counts[plan.outcome] = (counts[plan.outcome] or 0) + 1 end
  for _, outcome in ipairs(ORDER) do
    if counts[outcome] then
      parts[#parts + 1] = ("%d %s"):format(counts[outcome], OUTCOMES[outcome][2])
    end
  end
  return ("%d services: %s"):format(#plans, table.concat(parts, ", "))
end

local function tell_all(plans)
  local ui = require "moonport.ui"
  for index, plan in ipairs(plans) do
    if index > 1 then ui.print("") end
    tell(ui, plan)
  end
  if #plans > 1 then ui.print("\n" .. summary(plans)) end
end

local function run(args)
  -- What a step warns of is to be known before it is done.
  local observer = require("moonport.cli.observer").new(true)
  local reading = options.read_manifests(args)
  local opened <close> = env.open(args, { targets = true, read_only = true, observer = observer })
  local deploy = require "moonport.deploy"
  local plans, changes = {}, false
  for index, loaded in ipairs(options.load_manifests(args, opened, reading)) do
    plans[index] = deploy.plan(opened, loaded, { replace = args.replace })
    changes = changes or plans[index].changes
  end
  if args.output == "json" then
    local report = require "moonport.cli.report"
    require("moonport.ui").json(report.list(plans, report.plan))
  else
    tell_all(plans)
  end
  return changes and SOMETHING_TO_CHANGE or 0
end

M.configure, M.run = configure, run

return M
