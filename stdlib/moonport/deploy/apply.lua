--- Applying a revision: it serves afterwards, or everything it did is undone.
--
-- @module moonport.deploy.apply
local copies = require "moonport.engine.copies"
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local failpoint = require "moonport.failpoint"
local failure = require "moonport.failure"
local fs = require "moonport.fs"
local job = require "moonport.engine.job"
local record = require "moonport.state.record"
local run = require "moonport.engine.run"
local settle = require "moonport.engine.settle"
local task = require "moonport.task"

local M = {}

local PRIVATE = "0700"
local UNDO_SECONDS = 300
local SWITCH_SECONDS = 60

--- Tells the observer something.
-- @tparam table env
-- @tparam string kind "notice" or "warning"
-- @tparam string name of the deployment
-- @tparam string text
function M.tell(env, kind, name, text)
  if env.observer then
    env.observer { type = kind, deployment = name, text = text }
  end
end

local function add_deployment(env, wanted)
  local id = crypto.hex(crypto.random(4))
  env.state:add_deployment { id = id, name = wanted.name, target = wanted.target }
  failpoint.hit("deploy.after_row", "deploy")
  return env.state:deployment(wanted.name)
end

-- The job of a new revision of `deployment`.
local function new_revision(env, deployment, wanted)
  local state = env.state
  local dir = state:deployment_dir(deployment.name)
  fs.mkdirs(dir, PRIVATE)
  local files = wanted.files or copies.keep(dir, wanted.recipe, wanted.hooks)
  local number = state:add_revision(deployment.id, {
    digest = wanted.digest,
    recipe = wanted.recipe.name,
    files = files,
    manifest = wanted.data,
    origins = wanted.origins,
    inputs = wanted.inputs,
    note = wanted.note,
  })
  deployment.phase, deployment.pending = "applying", number
  record.write(state, deployment, false)
  failpoint.hit("deploy.after_revision", "deploy")
  return job.open(env, deployment, state:revision(deployment.id, number), wanted)
end

--- Runs what undoes in a task that no cancel reaches.
-- @tparam string name of the deployment
-- @tparam function fn
-- @param ... its arguments
-- @return its result
-- @raise {kind = "deploy", code = "timeout"}
function M.shielded(name, fn, ...)
  local result, why = try(task.shield, UNDO_SECONDS, fn, ...)
  if errors.is(why, "task", "timeout") then
    errors.raise {
      kind = "deploy",
      code = "timeout",
      message = ("undoing `%s` took longer than %d s and was left"):format(name, UNDO_SECONDS),
      hint = "the next command on it goes on where this one stopped",
      cause = why,
    }
  elseif why then
    error(why, 0)
  end
  return result
end

local function begin(env, deployment, wanted)
  deployment = deployment or add_deployment(env, wanted)
  if deployment.target ~= wanted.target then
    env.state:update_deployment(deployment.id, { target = wanted.target })
    deployment.target = wanted.target
  end
  local ok, work = pcall(new_revision, env, deployment, wanted)
  if not ok then
    -- A full disk, for one, leaves no row behind that looks interrupted.
    settle.run({ state = env.state, site = env.site }, deployment)
    error(work, 0)
  end
  return work
end

--- Begins a new revision, of a new deployment where there is none.
-- @tparam table env
-- @tparam ?table deployment row
-- @tparam table wanted
-- @treturn table job
function M.begin(env, deployment, wanted)
  return M.shielded(wanted.name, begin, env, deployment, wanted)
end

-- Stops the revision that serves, right before the new one takes its place. It is told of the new
-- one: what is updated in place need not be stopped.
local function taker(env, work)
  local deployment = work.deployment
  if not deployment.revision then
    return nil
  end
  return function()
    local row = env.state:revision(deployment.id, deployment.revision)
    local serving = job.open(env, deployment, row)
    if serving.recipe and serving.recipe.stop then
      serving.recipe.stop(serving.ctx, {
        reason = "replace",
        successor = {
          revision = work.revision.number,
          recipe = work.recipe.name,
          manifest = work.ctx.manifest,
          intents = work.ctx.intents,
        },
      })
    end
  end
end

-- What fails for want of room leaves none for its record, perhaps: it is undone all the same. Gives
-- where the record is, or nil.
local function keep_record(env, deployment, note)
  local path, why = try(failure.write, env.state:deployment_dir(deployment.name), note)
  if why then
    M.tell(env, "notice", deployment.name, "the failure's record could not be kept: "
      .. tostring(why))
  end
  return path
end

-- Undoes a revision that failed, and starts the one that served before.
local function undo(env, work, note)
  local deployment = work.deployment
  failure.add_undo(note, settle.undo_pending(work))
  if deployment.revision then
    local why, text = settle.resume_serving(env, deployment), "revision %d serves as before"
    if why then
      text = "revision %d could not be started again: " .. tostring(why):gsub("%%", "%%%%")
    end
    note.serving = text:format(deployment.revision)
  end
end

-- Undoes a revision that failed. Returns the error to raise: why it failed, whatever happens here.
-- Nothing is undone before it is on disk that it will be, else a later command would go on with
-- what is not there; so where nothing can be written all stays for that command.
local function back_out(env, work, wanted, step, cause)
  local deployment = work.deployment
  local note = failure.collect(work, step, cause, wanted.command)
  -- Written before anything is undone, too: being killed meanwhile must not lose it.
  keep_record(env, deployment, note)
  local ok, why = pcall(undo, env, work, note)
  if not ok then
    failure.add_stopped(note, why)
  end
  local path = keep_record(env, deployment, note)
  try(env.state.add_event, env.state, deployment, "failed", {
    revision = note.revision,
    step = step,
  })
  run.hook(work, "deploy.failed", { step = step, error = cause, failure = note })
  return failure.error(note, cause, path)
end

local function split_step(why)
  if type(why) == "table" and not errors.is(why) and why.step then
    return why.step, why.cause
  end
  return nil, why
end

local function apply_all(work)
  run.apply(work)
  run.hook(work, "deploy.after", { results = work.ctx.results })
end

-- A cancel passes every pcall, so it is met on the way out: what was done is undone there.
local function tell_interrupted(env, work, wanted)
  local text = ("interrupted; undoing what was done (interrupt again to leave it as it is; "
    .. "then `%s` goes on)"):format(wanted.command or "moonport deploy")
  M.tell(env, "notice", work.deployment.name, text)
end

local function undo_on_cancel(env, work, wanted)
  local name = work.deployment.name
  local guard = { done = false }
  return setmetatable(guard, {
    __close = function(_, why)
      if guard.done then
        return
      end
      tell_interrupted(env, work, wanted)
      M.shielded(name, back_out, env, work, wanted, work.ctx._step, why)
    end,
  })
end

-- Applies a revision and lets it serve; on failure undoes it and raises.
local function apply_or_undo(env, work, wanted)
  local guard <close> = undo_on_cancel(env, work, wanted)
  local ok, why = pcall(apply_all, work)
  if not ok then
    guard.done = true
    local step, cause = split_step(why)
    if errors.is(cause, "task", "cancelled") then
      tell_interrupted(env, work, wanted)
    end
    local _, failed = pcall(M.shielded, work.deployment.name, back_out, env, work, wanted, step,
      cause)
    if errors.is(failed, "deploy", "timeout") then
      failed.cause = cause
    end
    error(failed, 0)
  end
  failpoint.hit("deploy.before_switch", "deploy")
  -- Shielded: after a cancel in the middle nobody could tell which revision serves.
  task.shield(SWITCH_SECONDS, env.state.activate, env.state, work.deployment, function(tx)
    work.journal:settle(tx)
  end)
  guard.done = true
end

--- Applies a revision.
-- @tparam table env
-- @tparam table work job
-- @tparam table wanted
-- @treturn boolean true when it has taken the place of another
-- @raise {kind = "deploy", code = "failed"} when it failed and was undone
function M.run(env, work, wanted)
  local replaced = work.deployment.revision ~= nil
  work.take_over = taker(env, work)
  apply_or_undo(env, work, wanted)
  failpoint.hit("deploy.after_switch", "deploy")
  if work.revision.number > 1 then
    settle.retire(env, work.deployment)
  else
    record.write(env.state, work.deployment)
  end
  return replaced
end

return M
