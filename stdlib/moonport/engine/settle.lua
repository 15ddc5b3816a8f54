--- Bringing a deployment to rest: what a killed or interrupted command left half done is finished
-- or undone, from the journal.
--
-- Only commands that change something come here. Those that read only say "interrupted at STEP".
--
-- @module moonport.engine.settle
local copies = require "moonport.engine.copies"
local errors = require "moonport.errors"
local failpoint = require "moonport.failpoint"
local fs = require "moonport.fs"
local job = require "moonport.engine.job"
local journal = require "moonport.engine.journal"
local record = require "moonport.state.record"
local resources = require "moonport.resources"
local runtime = require "moonport.state.runtime"
local shared = require "moonport.engine.shared"
local undo = require "moonport.engine.undo"

local M = {}

local REVISIONS_KEPT = 10

-- What belongs to the deployment rather than to a revision stays until the deployment goes; unless
-- it was made for a first revision, which never served.
local function belongs_to_deployment(deployment)
  return function(entry)
    return entry.scope == "deployment" and deployment.revision ~= nil
  end
end

local function merge(report, more)
  table.move(more.undone, 1, #more.undone, #report.undone + 1, report.undone)
  table.move(more.left, 1, #more.left, #report.left + 1, report.left)
  return report
end

--- Undoes the pending revision and gives it up.
-- @tparam table work job of the pending revision
-- @treturn table report of `moonport.engine.undo`
function M.undo_pending(work)
  local deployment, state = work.deployment, work.state
  state:update_deployment(deployment.id, { phase = "undoing" })
  deployment.phase = "undoing"
  local report = undo.run(work, { keep = belongs_to_deployment(deployment) })
  state:abandon(deployment, function(tx)
    if deployment.revision then
      journal.hand_over(tx, deployment)
    end
  end)
  record.write(state, deployment)
  return report
end

--- Starts the revision that serves, where it should run: after another one took over from it and
-- failed.
-- @tparam table env
-- @tparam table deployment row
-- @treturn ?error why it could not be started
function M.resume_serving(env, deployment)
  if not deployment.revision or deployment.want ~= "running" then
    return nil
  end
  local serving = job.open(env, deployment, env.state:revision(deployment.id, deployment.revision))
  if not (serving.recipe and serving.recipe.start) then
    return nil
  end
  local ok, why = pcall(serving.recipe.start, serving.ctx, { resume = true })
  return not ok and why or nil
end

-- The job of a revision: the one at hand, where that is of the same.
local function job_of(env, deployment, revision, at_hand)
  if at_hand and at_hand.revision.number == revision.number then
    return at_hand
  end
  return job.open(env, deployment, revision)
end

-- Undoes what revisions have, newest first: all of them, or with `spared` all but that one.
-- `report`: of what was undone before.
local function undo_revisions(env, deployment, keep, spared, report)
  report = report or { undone = {}, left = {} }
  for _, revision in ipairs(env.state:revisions(deployment.id)) do
    if revision.number ~= spared then
      local options = { keep = keep, left = #report.left > 0 }
      merge(report, undo.run(job.open(env, deployment, revision), options))
    end
  end
  return report
end

--- Undoes what retired and failed revisions still have, drops old ones.
-- @tparam table env
-- @tparam table deployment row; updated in place
-- @treturn table report
function M.retire(env, deployment)
  local state = env.state
  local keep = belongs_to_deployment(deployment)
  local report = undo_revisions(env, deployment, keep, deployment.revision)
  state.db:batch(function(tx)
    if deployment.revision then
      journal.hand_over(tx, deployment)
    end
    if deployment.phase == "retiring" then
      state:update_deployment(deployment.id, { phase = "active", step = false }, tx)
      deployment.phase, deployment.step = "active", nil
    end
    state:prune_revisions(deployment.id, REVISIONS_KEPT, tx)
  end)
  copies.prune(state:deployment_dir(deployment.name), state:revisions(deployment.id))
  record.write(state, deployment)
  return report
end

local function describe_left(report)
  local parts = {}
  for _, left in ipairs(report.left) do
    local what = {}
    for index, resource in ipairs(left.resources) do
      what[index] = resources.describe(resource.kind, resource.identity)
    end
    parts[#parts + 1] = ("step `%s`: %s%s"):format(
      left.step,
      errors.is(left.error) and left.error.message or tostring(left.error),
      #what > 0 and (" (%s)"):format(table.concat(what, ", ")) or ""
    )
  end
  return table.concat(parts, "; ")
end

M.describe_left = describe_left

-- Undoes every revision. What belongs to the deployment, its data above all, goes only after every
-- revision that could use it: with the one that serves, or what even older ones have of their own.
local function undo_all(env, deployment, at_hand)
  local rows = env.state:revisions(deployment.id)
  local last = deployment.revision or rows[1] and rows[1].number
  local report = undo_revisions(env, deployment, function(entry)
    return entry.scope == "deployment"
  end, last)
  if last then
    local revision = env.state:revision(deployment.id, last)
    local options = { left = #report.left > 0 }
    merge(report, undo.run(job_of(env, deployment, revision, at_hand), options))
  end
  return undo_revisions(env, deployment, nil, last, report)
end

local function forget(env, deployment)
  local state = env.state
  failpoint.hit("remove.before_directory", "remove")
  fs.remove_tree(state:deployment_dir(deployment.name))
  fs.remove_tree(runtime.dir(state, deployment.id))
  failpoint.hit("remove.after_directory", "remove")
  state:forget_deployment(deployment)
  if #state:deployments() == 0 then
    -- Whoever begins to deploy meanwhile has a directory in it, and then it stays.
    try(fs.remove, runtime.base(state), { if_exists = true })
  end
end

--- Undoes everything and forgets the deployment.
-- @tparam table env
-- @tparam table deployment row
-- @tparam ?table options `force`: forget it even where something could not be undone; `job`: one of
-- a revision that is open already
-- @treturn table report
-- @raise {kind = "engine", code = "left"} when something could not be undone
function M.remove(env, deployment, options)
  local state = env.state
  state:update_deployment(deployment.id, { phase = "removing", want = "stopped" })
  deployment.phase = "removing"
  local report = undo_all(env, deployment, options and options.job)
  if #report.left > 0 and not (options and options.force) then
    record.write(state, deployment)
    errors.raise {
      kind = "engine",
      code = "left",
      message = ("`%s` could not be removed whole: %s"):format(
        deployment.name,
        describe_left(report)
      ),
      hint = ("see to it and run `moonport rm %s` again; --force forgets it as it is"):format(
        deployment.name
      ),
    }
  end
  forget(env, deployment)
  if #report.left > 0 then
    try(shared.sweep, state) -- what it had no part in being left; else `gc` has another try
  end
  return report
end

--- True when a command on this deployment has not come to its end.
-- @tparam table deployment row
-- @treturn boolean
function M.is_unsettled(deployment)
  return require("moonport.state.deployments").UNDER_WAY[deployment.phase] or false
end

local function has_failure(env, deployment)
  return fs.exists(env.state:deployment_dir(deployment.name) .. "/failure.json")
end

local SETTLE = {}

function SETTLE.applying(env, deployment)
  if not deployment.pending and not deployment.revision then
    forget(env, deployment)
    return nil, { undone = {}, left = {} }
  elseif not deployment.pending then
    env.state:update_deployment(deployment.id, { phase = "active", step = false })
    deployment.phase = "active"
    return deployment, { undone = {}, left = {} }
  end
  local revision = env.state:revision(deployment.id, deployment.pending)
  local report = M.undo_pending(job.open(env, deployment, revision))
  if deployment.phase == "failed" and #report.left == 0 and not has_failure(env, deployment) then
    -- It never served and nothing is left of it, nor anything to tell.
    forget(env, deployment)
    return nil, report
  end
  local why = M.resume_serving(env, deployment)
  if why then
    error(why, 0)
  end
  return deployment, report
end

SETTLE.undoing = SETTLE.applying

function SETTLE.retiring(env, deployment)
  return deployment, M.retire(env, deployment)
end

function SETTLE.removing(env, deployment)
  return nil, M.remove(env, deployment)
end

--- Finishes or undoes what was interrupted. The deployment's lock must be held.
-- @tparam table env
-- @tparam table deployment row
-- @treturn ?table the row afterwards; nil when the deployment is gone
-- @treturn table report {undone, left}
function M.run(env, deployment)
  local settle = SETTLE[deployment.phase]
  if not settle then
    return deployment, { undone = {}, left = {} }
  end
  if env.observer then
    env.observer {
      type = "notice",
      deployment = deployment.name,
      text = deployment.step
          and ("was interrupted at step `%s` while %s"):format(deployment.step, deployment.phase)
        or ("was interrupted while %s"):format(deployment.phase),
    }
  end
  return settle(env, deployment)
end

return M
