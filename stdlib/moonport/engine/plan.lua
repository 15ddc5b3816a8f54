--- Planning: what applying would change, found out without changing anything.
--
-- Every step's `plan` runs with the effect gate shut, so it can read and nothing else. A change is
--
--   {step, action, what, from, to}
--
-- with `action` one of create, change, delete, keep, and maybe: what cannot be known before an
-- earlier step has run, or what a step without a `plan` would do.
--
-- @module moonport.engine.plan
local errors = require "moonport.errors"
local maybe = require "moonport.engine.maybe"
local nearest = require "moonport.nearest"
local run = require "moonport.engine.run"
local task = require "moonport.task"

local M = {}

--- The actions there are.
M.ACTIONS = { create = true, change = true, delete = true, keep = true, maybe = true }

local function shown(value)
  if maybe.is(value) then
    return tostring(value)
  end
  return value
end

local function check(step, change)
  if type(change) ~= "table" or not M.ACTIONS[change.action] then
    local action = type(change) == "table" and change.action or change
    errors.raise {
      kind = "recipe",
      code = "invalid",
      message = ("the plan of step `%s` has the action `%s`"):format(step.name, tostring(action)),
      hint = nearest.hint(tostring(action), M.ACTIONS),
      where = ("%s:%d"):format(step.where.file, step.where.line),
    }
  end
  local unknown = maybe.is(change.what) or maybe.is(change.to) or maybe.is(change.from)
  return {
    step = step.name,
    action = unknown and change.action ~= "create" and "maybe" or change.action,
    what = shown(change.what) or step.summary or step.name,
    from = shown(change.from),
    to = shown(change.to),
  }
end

-- What a step says of what is wanted, it says of the whole; the rest is a failure of the plan.
local PASSED_ON = { refused = true, not_found = true }

-- A plan that stumbles over an unknown, and one that tried to act, still say so as a change.
local function plan_step(job, step)
  if not step.plan then
    return { { step = step.name, action = "maybe", what = step.summary or step.name } }
  end
  local ok, changes = pcall(task.read_only, step.plan, job.ctx)
  if not ok then
    errors.raise {
      kind = "plan",
      code = errors.is(changes) and PASSED_ON[changes.code] and changes.code or "failed",
      message = ("the plan of step `%s` failed"):format(step.name),
      cause = changes,
      where = ("%s:%d"):format(step.where.file, step.where.line),
    }
  end
  local checked = {}
  for index, change in ipairs(changes or {}) do
    checked[index] = check(step, change)
  end
  return checked
end

-- deploy.before may veto; so it is asked while planning too, when it cannot act. One that tries to
-- is told as what it is: something that only deploying will show.
local function plan_hooks(job, changes)
  if not job.hooks:has "deploy.before" then
    return
  end
  local ok, why = pcall(task.read_only, run.hook, job, "deploy.before", { planning = true })
  if ok then
    return
  elseif errors.is(why, "hook") and errors.is(why.cause, "gate") then
    changes[#changes + 1] =
      { step = "deploy.before", action = "maybe", what = why.message .. ": " .. why.cause.message }
    return
  end
  error(why, 0)
end

--- Plans a job.
-- @tparam table job its context has `planning` set and, where a revision serves, `present`
-- @treturn table list of changes
-- @raise {kind = "plan"} when a plan fails or tries to act, {kind = "hook"} when a hook vetoes
function M.run(job)
  local changes = {}
  plan_hooks(job, changes)
  for _, step in ipairs(job.recipe.steps) do
    local of_step = plan_step(job, step)
    table.move(of_step, 1, #of_step, #changes + 1, changes)
    if job.ctx.results[step.name] == nil then
      job.ctx.results[step.name] = maybe.new(step.name)
      job.ctx.intents[step.name] = maybe.new(step.name)
    end
  end
  return changes
end

--- What others have changed about what runs, as far as its recipe sees it.
-- @tparam table job of the revision that serves
-- @treturn table list of changes that `start` would make
function M.drift(job)
  local recipe, changes = job.recipe, {}
  if not (recipe and recipe.start and recipe.drift) then
    return changes
  end
  for index, change in ipairs(task.read_only(recipe.drift, job.ctx) or {}) do
    changes[index] = check({ name = change.step or "drift", where = recipe.where }, change)
  end
  return changes
end

--- True when a plan would change something, or might.
-- @tparam table changes
-- @treturn boolean
function M.changes_anything(changes)
  for _, change in ipairs(changes) do
    if change.action ~= "keep" then
      return true
    end
  end
  return false
end

return M
