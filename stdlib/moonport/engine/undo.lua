--- Taking steps back, from the journal alone.
--
-- The recipe is the copy that was kept when the deployment was made. Where it no longer loads, or a
-- step has no `undo`, what the step recorded is removed by kind. A step that cannot be undone does
-- not keep the others from it: all are tried, and what is left is told. Only what is shared with
-- other deployments stays as long as anything is left: that may well be in it.
--
-- @module moonport.engine.undo
local clock = require "moonport.clock"
local context = require "moonport.engine.context"
local errors = require "moonport.errors"
local failpoint = require "moonport.failpoint"
local resources = require "moonport.resources"
local run = require "moonport.engine.run"
local shared = require "moonport.engine.shared"

local M = {}

local function find_step(recipe, name)
  for _, step in ipairs(recipe and recipe.steps or {}) do
    if step.name == name then
      return step
    end
  end
end

-- Removes what a step recorded; true where that was something. All are tried; the first failure is
-- raised afterwards.
local function remove_recorded(job, entry)
  local failure
  local recorded = job.journal:resources(entry.step)
  for _, resource in ipairs(recorded) do
    local ok, why = pcall(resources.remove, resource.kind, resource.identity)
    if not ok then
      failure = failure
        or errors.new {
          kind = "engine",
          code = "left",
          message = ("could not remove %s"):format(
            resources.describe(resource.kind, resource.identity)
          ),
          cause = why,
        }
    end
  end
  if failure then
    error(failure, 0)
  end
  return #recorded > 0
end

-- Takes back what there is; true where there was something.
local function take_back(job, entry)
  if entry.intent == false then
    return false
  end
  local step, acted = find_step(job.recipe, entry.step), true
  if step and step.undo then
    step.undo(job.ctx, entry.intent, entry.result)
  else
    acted = remove_recorded(job, entry)
  end
  return shared.release(job.state, job.deployment.id, job.revision.number, entry.step) or acted
end

local function undo_entry(job, entry)
  local acted = take_back(job, entry)
  failpoint.hit("step.after_undo", entry.step)
  job.journal:undone(entry.step, not acted)
end

-- An error as plain data, for the journal and for records of failures.
local function describe(why)
  if not errors.is(why) then
    return { message = tostring(why) }
  end
  return {
    kind = why.kind,
    code = why.code,
    message = why.message,
    hint = why.hint,
    where = why.where,
    cause = why.cause and describe(why.cause) or nil,
  }
end

M.describe_error = describe

-- A step that only looked or waited, or had nothing to do, has nothing to take back but its use of
-- what is shared, and nothing is told of it unless that fails.
local function is_empty(job, entry)
  if entry.intent == false then
    return true
  end
  local step = find_step(job.recipe, entry.step)
  return step and not step.undo and #job.journal:resources(entry.step) == 0
end

local function shares(job, entry)
  return shared.is_used(job.state, job.deployment.id, job.revision.number, entry.step)
end

local function try_entry(job, entry, report)
  local step = find_step(job.recipe, entry.step) or { name = entry.step }
  local is_silent = is_empty(job, entry)
  if not is_silent then
    run.tell(job, "undo.started", step)
  end
  context.enter(job.ctx, entry.step)
  local started = clock.monotonic()
  local ok, why = pcall(undo_entry, job, entry)
  local seconds = clock.monotonic() - started
  if ok and is_silent then
    return
  elseif ok then
    report.undone[#report.undone + 1] = entry.step
    return run.tell(job, "undo.done", step, { seconds = seconds })
  end
  job.journal:left(entry.step, describe(why))
  report.left[#report.left + 1] =
    { step = entry.step, error = why, resources = job.journal:resources(entry.step) }
  run.tell(job, "undo.failed", step, { seconds = seconds, error = why })
end

--- Undoes the steps of a job's revision, last first.
-- @tparam table job its `recipe` may be nil: then all is removed by kind
-- @tparam ?table options `keep(entry)`: true for an entry that stays as it is; `left=true`: another
-- revision has left something
-- @treturn table report {undone = {step...}, left = {{step, error, resources}...}}
function M.run(job, options)
  local keep = options and options.keep or function() end
  local report = { undone = {}, left = {} }
  local pending = {}
  for _, entry in ipairs(job.journal:entries()) do
    if entry.state ~= "undone" and not keep(entry) then
      pending[#pending + 1] = entry
    end
  end
  if #pending == 0 then
    return report
  end
  run.hook(job, "undo.before", {})
  for index = #pending, 1, -1 do
    local is_left = #report.left > 0 or options and options.left
    if not (is_left and shares(job, pending[index])) then
      try_entry(job, pending[index], report)
    end
  end
  job.journal:flush()
  run.hook(job, "undo.after", { undone = report.undone, left = report.left })
  return report
end

return M
