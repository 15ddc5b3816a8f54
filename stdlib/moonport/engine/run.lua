--- Applying a recipe: each step's intent goes to the journal before the step acts, its result
-- after.
--
-- A job is what `run`, `undo` and `plan` work on:
--
--   {state, deployment, revision (row), recipe, journal, ctx, hooks, observer,
--    take_over (function; stops the revision that serves; may be called again)}
--
-- The observer is told what happens, step by step, as plain tables:
--
--   {type = "step.started", deployment, step, summary, index, count}
--   {type = "step.done" | "step.failed" | "step.kept", ..., seconds, error}
--   {type = "undo.started" | "undo.done" | "undo.failed", ..., seconds, error}
--   {type = "progress" | "outcome" | "warning" | "notice", deployment, step, text}
--
-- @module moonport.engine.run
local clock = require "moonport.clock"
local context = require "moonport.engine.context"
local definition = require "moonport.recipe.definition"
local errors = require "moonport.errors"
local failpoint = require "moonport.failpoint"
local json = require "moonport.json"
local task = require "moonport.task"

local M = {}

local function tell(job, kind, step, more)
  local event = more or {}
  event.type = kind
  event.deployment = job.deployment.name
  event.step = step.name
  event.summary = step.summary
  job.observer(event)
end

M.tell = tell

--- Runs the hooks of a name for a job.
-- @tparam table job
-- @tparam string name
-- @tparam ?table more further fields of the event
function M.hook(job, name, more)
  if not job.hooks:has(name) then
    return
  end
  local event = {
    deployment = job.deployment.name,
    target = job.deployment.target,
    revision = job.revision.number,
    manifest = job.ctx.manifest,
  }
  for key, value in pairs(more or {}) do
    event[key] = value
  end
  job.hooks:run(name, event, function(failure)
    job.observer { type = "warning", deployment = job.deployment.name, text = tostring(failure) }
  end)
end

-- What goes into the journal must come out of it the same; what does not is a recipe's mistake,
-- told where it is made.
local function plain(step, what, value)
  local ok, text = pcall(json.encode, value)
  if ok then
    return json.decode(text)
  end
  errors.raise {
    kind = "recipe",
    code = "invalid",
    message = ("the %s of step `%s` is not plain data"):format(what, step.name),
    hint = "text, numbers, booleans and tables of them; keep handles out of it",
    cause = errors.is(text) and text or nil,
    where = ("%s:%d"):format(step.where.file, step.where.line),
  }
end

-- Chooses what apply will use. Nothing can be made meanwhile, so nothing is lost by a crash.
local function allocate(job, step)
  if not step.allocate then
    return {}, nil
  end
  local intent, made = task.read_only(step.allocate, job.ctx)
  if intent == false and not definition.is_wrapped(step) then
    return false
  end
  return plain(step, "intent", intent or {}), made
end

local function apply(job, step, index, entry)
  local ctx, journal = job.ctx, job.journal
  local intent = entry and entry.state == "intent" and entry.intent
  if not intent then
    local made
    intent, made = allocate(job, step)
    if intent == false then
      ctx.intents[step.name] = {}
      return journal:skip(step, index)
    end
    journal:begin(step, index, intent, made)
  end
  ctx.intents[step.name] = intent
  ctx._applying = true
  local result = step.apply and step.apply(ctx, intent)
  ctx._applying = false
  failpoint.hit("step.after_apply", step.name)
  if result ~= nil then
    result = plain(step, "result", result)
  end
  journal:done(step.name, result)
  ctx.results[step.name] = result
end

local function run_step(job, step, index, entry)
  local place = { index = index, count = #job.recipe.steps }
  if entry and entry.state == "done" then
    return tell(job, "step.kept", step, place)
  end
  context.enter(job.ctx, step.name)
  tell(job, "step.started", step, { index = index, count = place.count })
  local started = clock.monotonic()
  local ok, why = pcall(function()
    M.hook(job, "step.before", { step = step.name })
    apply(job, step, index, entry)
    M.hook(job, "step.after", { step = step.name })
  end)
  context.enter(job.ctx, nil)
  place.seconds = clock.monotonic() - started
  if ok then
    return tell(job, "step.done", step, place)
  end
  place.error = why
  tell(job, "step.failed", step, place)
  error({ step = step.name, cause = why }, 0)
end

-- The step before which the revision that serves is stopped.
local function taking_over(steps)
  for index, step in ipairs(steps) do
    if step.takes_over then
      return index
    end
  end
  return 1
end

--- Applies the steps that are not done yet. A step whose intent is in the journal without a result
-- is applied again with the same intent.
-- @tparam table job
-- @raise {step = NAME, cause = error}: the step that failed, and why
function M.apply(job)
  local entries = {}
  for _, entry in ipairs(job.journal:entries()) do
    entries[entry.step] = entry
  end
  local last = taking_over(job.recipe.steps)
  for index, step in ipairs(job.recipe.steps) do
    if index == last and job.take_over then
      job.take_over()
    end
    run_step(job, step, index, entries[step.name])
  end
end

return M
