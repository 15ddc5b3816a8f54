--- Deploying: from a manifest to a running service, or back to where it was.
--
--    local env = { state = state, site = site, observer = print_event }
--    deploy.run(env, manifest.load("squaring.lua", { site = site }))
--
-- The deployment is validated, locked, compared with what serves, and applied as a new revision. A
-- revision that does not become ready is undone, and the one before serves again. Everything that
-- is undone is undone in a shielded task: a first Ctrl-C does not interrupt it, a second one leaves
-- the journal as it is.
--
-- @module moonport.deploy
local copies = require "moonport.engine.copies"
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local failpoint = require "moonport.failpoint"
local failure = require "moonport.failure"
local fingerprint = require "moonport.engine.fingerprint"
local fs = require "moonport.fs"
local hooks = require "moonport.site.hooks"
local job = require "moonport.engine.job"
local manifest = require "moonport.manifest"
local plan = require "moonport.engine.plan"
local recipe = require "moonport.recipe"
local record = require "moonport.state.record"
local run = require "moonport.engine.run"
local settle = require "moonport.engine.settle"
local task = require "moonport.task"

local M = {}

local PRIVATE = "0700"
local UNDO_SECONDS = 300
local SWITCH_SECONDS = 60

local function tell(env, kind, name, text)
  if env.observer then
    env.observer { type = kind, deployment = name, text = text }
  end
end

local function target_recipe(env, target)
  local found, why = try(recipe.load, "targets." .. target, { site = env.site })
  if errors.is(why, "recipe", "not_found") then
    errors.raise {
      kind = "deploy",
      code = "refused",
      message = ("the target `%s` is not available in this build"):format(target),
      hint = "`moonport recipe list` shows the targets there are",
    }
  elseif why then
    error(why, 0)
  end
  return found
end

--- Registers the schemas of the targets whose recipes there are, so that manifests are checked
-- against them.
-- @tparam table env {site}
function M.register_targets(env)
  for _, target in ipairs(manifest.TARGETS) do
    local found = try(target_recipe, env, target)
    if found and found.manifest then
      manifest.register_target(target, found.manifest)
    end
  end
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

-- Stops the revision that serves, right before the new one takes its place.
local function taker(env, deployment)
  if not deployment.revision then
    return nil
  end
  return function()
    local row = env.state:revision(deployment.id, deployment.revision)
    local serving = job.open(env, deployment, row)
    if serving.recipe and serving.recipe.stop then
      serving.recipe.stop(serving.ctx, { reason = "replace" })
    end
  end
end

-- Undoes a revision that failed. Returns the error to raise.
local function back_out(env, work, wanted, step, cause)
  local deployment = work.deployment
  local note = failure.collect(work, step, cause, wanted.command)
  failure.add_undo(note, settle.undo_pending(work))
  if deployment.revision then
    local why, text = settle.resume_serving(env, deployment), "revision %d serves as before"
    if why then
      text = "revision %d could not be started again: " .. tostring(why):gsub("%%", "%%%%")
    end
    note.serving = text:format(deployment.revision)
  end
  local path = failure.write(env.state:deployment_dir(deployment.name), note)
  env.state:add_event(deployment, "failed", { revision = note.revision, step = step })
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

-- Runs what undoes in a task that no cancel reaches.
local function shielded(name, fn, ...)
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

-- A cancel passes every pcall, so it is met on the way out: what was done is undone there.
local function undo_on_cancel(env, work, wanted)
  local name = work.deployment.name
  local guard = { done = false }
  return setmetatable(guard, {
    __close = function(_, why)
      if guard.done then
        return
      end
      local text = ("interrupted; undoing what was done (interrupt again to leave it as it is; "
        .. "then `%s` goes on)"):format(wanted.command or "moonport deploy")
      tell(env, "notice", name, text)
      shielded(name, back_out, env, work, wanted, work.ctx._step, why)
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
    error(shielded(work.deployment.name, back_out, env, work, wanted, step, cause), 0)
  end
  failpoint.hit("deploy.before_switch", "deploy")
  -- Shielded: after a cancel in the middle nobody could tell which revision serves.
  task.shield(SWITCH_SECONDS, env.state.activate, env.state, work.deployment, function(tx)
    work.journal:settle(tx)
  end)
  guard.done = true
end

local function apply(env, work, wanted)
  local replaced = work.deployment.revision ~= nil
  work.take_over = taker(env, work.deployment)
  apply_or_undo(env, work, wanted)
  failpoint.hit("deploy.after_switch", "deploy")
  if work.revision.number > 1 then
    settle.retire(env, work.deployment)
  else
    record.write(env.state, work.deployment)
  end
  return replaced
end

local function health(env, deployment)
  local serving = job.open(env, deployment, env.state:revision(deployment.id, deployment.revision))
  if not (serving.recipe and serving.recipe.status) then
    return { state = "unknown" }, serving
  end
  return serving.recipe.status(serving.ctx), serving
end

-- States that need no start. A registration that has completed is not done again.
local AS_WANTED = { running = true, starting = true, restarting = true, completed = true }

-- A deployment that is as wanted: makes sure that it runs.
local function ensure_running(env, deployment)
  local status, serving = health(env, deployment)
  if deployment.want == "running" and AS_WANTED[status.state] then
    return { outcome = "unchanged" }
  elseif not (serving.recipe and serving.recipe.start) then
    return { outcome = "unchanged", state = status.state }
  end
  run.hook(serving, "start.before", {})
  serving.recipe.start(serving.ctx)
  env.state:update_deployment(deployment.id, { want = "running", boot_id = env.state.boot_id })
  env.state:add_event(deployment, "started", {})
  run.hook(serving, "start.after", {})
  return { outcome = "started", was = status.state }
end

local function new_id()
  return crypto.hex(crypto.random(4))
end

local function add_deployment(env, wanted)
  local id = new_id()
  env.state:add_deployment { id = id, name = wanted.name, target = wanted.target }
  failpoint.hit("deploy.after_row", "deploy")
  return env.state:deployment(wanted.name)
end

-- Everything about what is to be deployed that can be known before locking.
local function prepare(env, loaded)
  local found = target_recipe(env, loaded.target)
  local inputs = fingerprint.inputs(found, loaded.data)
  return {
    name = loaded.name,
    target = loaded.target,
    data = loaded.data,
    origins = loaded.origins,
    recipe = found,
    hooks = env.site and env.site.hooks or hooks.load(),
    inputs = inputs,
    digest = fingerprint.digest(env.state, loaded.data, inputs),
    command = loaded.file and ("moonport deploy %s"):format(loaded.file) or nil,
  }
end

-- An interrupted deployment of the very same thing goes on where it was.
local function resumable(env, deployment, wanted)
  if not deployment or deployment.phase ~= "applying" or not deployment.pending then
    return nil
  end
  local revision = env.state:revision(deployment.id, deployment.pending)
  if revision.digest ~= wanted.digest then
    return nil
  end
  local work = job.open(env, deployment, revision)
  return work.recipe and work or nil
end

local function serves_already(env, deployment, wanted)
  if not deployment or not deployment.revision then
    return false
  end
  local serving = env.state:revision(deployment.id, deployment.revision)
  return serving.digest == wanted.digest and deployment.target == wanted.target
end

-- As new_revision; a failure, such as a full disk, leaves no row behind that looks interrupted.
local function begin_revision(env, deployment, wanted)
  local ok, work = pcall(new_revision, env, deployment, wanted)
  if not ok then
    local quiet = { state = env.state, site = env.site }
    shielded(deployment.name, settle.run, quiet, deployment)
    error(work, 0)
  end
  return work
end

local function outcome_of(replaced, resumed)
  return resumed and "resumed" or replaced and "replaced" or "deployed"
end

-- True when the recipe that would be run now is not the one that was.
local function recipe_changed(serving, wanted)
  local digests = {}
  for _, file in ipairs(serving.files) do
    digests[file.role .. ":" .. file.name] = file.sha256
  end
  for _, file in ipairs(wanted.recipe.files) do
    local sha256 = crypto.hash("sha256", file.text)
    if digests[file.role .. ":" .. file.name] ~= sha256 then
      return true
    end
  end
  return false
end

-- The stand-ins for rows that a plan works on where there are none.
local function planned_rows(env, wanted)
  local deployment = env.state:deployment(wanted.name)
    or { id = "00000000", name = wanted.name, target = wanted.target, phase = "none" }
  local last = 0
  for _, revision in ipairs(deployment.created and env.state:revisions(deployment.id) or {}) do
    last = math.max(last, revision.number)
  end
  return deployment, { number = last + 1, manifest = wanted.data, inputs = wanted.inputs }
end

-- deploy.before runs before there is anything to undo.
local function ask_hooks(env, wanted)
  local deployment, revision = planned_rows(env, wanted)
  run.hook(job.planned(env, deployment, revision, wanted), "deploy.before", {})
end

local function deploy_locked(env, wanted, options)
  local state = env.state
  local deployment = state:deployment(wanted.name)
  local work = resumable(env, deployment, wanted)
  if work then
    run.hook(work, "deploy.before", {})
    tell(env, "notice", wanted.name, ("goes on at step `%s`"):format(deployment.step or "?"))
    local replaced = apply(env, work, wanted)
    return { outcome = outcome_of(replaced, true), revision = work.revision.number }
  elseif deployment then
    deployment = settle.run(env, deployment)
  end
  if not options.replace and serves_already(env, deployment, wanted) then
    local result = ensure_running(env, deployment)
    result.revision = deployment.revision
    if recipe_changed(state:revision(deployment.id, deployment.revision), wanted) then
      result.recipe_changed = true
      local text = "its recipe has changed since it was deployed; --replace deploys it anew"
      tell(env, "notice", wanted.name, text)
    end
    return result
  end
  ask_hooks(env, wanted)
  deployment = deployment or add_deployment(env, wanted)
  if deployment.target ~= wanted.target then
    state:update_deployment(deployment.id, { target = wanted.target })
    deployment.target = wanted.target
  end
  work = begin_revision(env, deployment, wanted)
  local replaced = apply(env, work, wanted)
  return { outcome = outcome_of(replaced, false), revision = work.revision.number }
end

--- Deploys one manifest.
-- @tparam table env {state, site, observer}
-- @tparam table loaded of `manifest.load`
-- @tparam ?table options `replace`: deploy anew even what is unchanged; `wait`: seconds to wait for
-- another command on the same deployment
-- @treturn table {name, outcome, revision, recipe_changed}; outcome is "deployed", "replaced",
-- "resumed", "started" (was as wanted, but did not run) or "unchanged"
-- @raise {kind = "deploy", code = "failed", failure = record} when it failed and was undone;
-- {kind = "hook", code = "refused"}, {kind = "state", code = "busy"}, ...
function M.run(env, loaded, options)
  options = options or {}
  local wanted = prepare(env, loaded)
  local lock <close> = env.state:lock(wanted.name, options) -- luacheck: ignore lock
  local result = deploy_locked(env, wanted, options)
  result.name = wanted.name
  return result
end

local function input_changes(from, to, changes)
  for field, input in pairs(to) do
    local old = from[field]
    if old and old.path == input.path and old.sha256 ~= input.sha256 then
      changes[#changes + 1] = {
        path = field,
        from = "sha256 " .. old.sha256:sub(1, 12),
        to = "sha256 " .. input.sha256:sub(1, 12),
      }
    end
  end
end

local function compare(env, deployment, wanted, result)
  local serving = env.state:revision(deployment.id, deployment.revision)
  result.fields = manifest.changes(serving.manifest, wanted.data)
  input_changes(serving.inputs, wanted.inputs, result.fields)
  result.recipe_changed = recipe_changed(serving, wanted)
  if serves_already(env, deployment, wanted) then
    local status = health(env, deployment)
    local fine = deployment.want == "running" and AS_WANTED[status.state]
    result.outcome = fine and "unchanged" or "start"
    result.state = status.state
  else
    result.outcome = "replace"
  end
end

--- Plans one manifest: tells what `run` would do, and changes nothing.
-- @tparam table env
-- @tparam table loaded
-- @tparam ?table options as for `run`
-- @treturn table {name, outcome, fields, steps, recipe_changed, changes}: outcome is "create",
-- "replace", "start", "resume", "settle" (something interrupted is undone first) or "unchanged";
-- `fields` lists {path, from, to}; `steps` what each step would change; `changes` is true when
-- anything would
function M.plan(env, loaded, options)
  return task.read_only(function()
    local wanted = prepare(env, loaded)
    local deployment, revision = planned_rows(env, wanted)
    local result = { name = wanted.name, outcome = "create", fields = {}, steps = {} }
    if settle.is_unsettled(deployment) then
      result.outcome = resumable(env, deployment, wanted) and "resume" or "settle"
      result.step = deployment.step
    elseif deployment.revision then
      compare(env, deployment, wanted, result)
      if options and options.replace and result.outcome == "unchanged" then
        result.outcome = "replace"
      end
    end
    if result.outcome ~= "unchanged" and result.outcome ~= "start" then
      result.steps = plan.run(job.planned(env, deployment, revision, wanted))
    end
    result.changes = result.outcome ~= "unchanged"
    return result
  end)
end

local function refuse_twins(list)
  local seen = {}
  for _, loaded in ipairs(list) do
    if seen[loaded.name] then
      errors.raise {
        kind = "deploy",
        code = "usage",
        message = ("two manifests are named `%s`: `%s` and `%s`"):format(
          loaded.name,
          tostring(seen[loaded.name].file),
          tostring(loaded.file)
        ),
      }
    end
    seen[loaded.name] = loaded
  end
end

--- Deploys several manifests. One that fails does not keep the others from it.
-- @tparam table env
-- @tparam table list of loaded manifests
-- @tparam ?table options `parallel`: how many at once (default 1), and those of `run`
-- @treturn table list in the same order of {name, outcome, revision} or {name, error}
-- @raise {kind = "deploy", code = "usage"} when two have the same name, before anything is done
function M.many(env, list, options)
  options = options or {}
  refuse_twins(list)
  return task.map(list, options.parallel or 1, function(loaded)
    local result, why = try(M.run, env, loaded, options)
    return result or { name = loaded.name, error = why }
  end)
end

--- Removes a deployment: undoes everything it made.
-- @tparam table env
-- @tparam string name
-- @tparam ?table options `force`: forget it even where something could not be undone; `wait`
-- @treturn table report {undone, left}
-- @raise {kind = "state", code = "not_found"}, {kind = "engine", code = "left"}
function M.remove(env, name, options)
  local state = env.state
  state:need_deployment(manifest.check_name(name))
  local lock <close> = state:lock(name, options) -- luacheck: ignore lock
  local deployment = state:need_deployment(name)
  local number = deployment.revision or deployment.pending
  local row = number and state:revision(deployment.id, number)
  local work = row and job.open(env, deployment, row)
  if work then
    run.hook(work, "rm.before", {})
  end
  local report = shielded(name, settle.remove, env, deployment, options)
  if work then
    run.hook(work, "rm.after", {})
  end
  return report
end

local function rollback_target(env, deployment, number)
  local rows = env.state:revisions(deployment.id)
  for _, row in ipairs(rows) do
    if row.number == number or (not number and row.state == "retired") then
      return row
    end
  end
  local known = {}
  for _, row in ipairs(rows) do
    known[#known + 1] = tostring(row.number)
  end
  errors.raise {
    kind = "deploy",
    code = "not_found",
    message = number and ("`%s` has no revision %d"):format(deployment.name, number)
      or ("`%s` has no earlier revision"):format(deployment.name),
    hint = #known > 0 and ("there are: %s"):format(table.concat(known, ", ")) or nil,
  }
end

--- Goes back to an earlier revision: its manifest, with the recipe copies of its time, becomes a
-- new revision.
-- @tparam table env
-- @tparam string name
-- @tparam ?integer number the revision; default: the one that served before
-- @tparam ?table options as for `run`
-- @treturn table as `run`
function M.rollback(env, name, number, options)
  local state = env.state
  state:need_deployment(manifest.check_name(name))
  local lock <close> = state:lock(name, options) -- luacheck: ignore lock
  local deployment = state:need_deployment(name)
  local row = rollback_target(env, deployment, number)
  local dir = state:deployment_dir(name)
  deployment = settle.run(env, deployment) or state:need_deployment(name)
  local wanted = {
    name = name,
    target = row.recipe:match "^targets%.(.+)$" or deployment.target,
    data = row.manifest,
    origins = row.origins,
    recipe = copies.recipe(dir, row),
    hooks = copies.hooks(dir, row),
    files = row.files,
    inputs = row.inputs,
    digest = row.digest,
    note = ("rollback to %d"):format(row.number),
    command = ("moonport rollback %s %d"):format(name, row.number),
  }
  local result = deploy_locked(env, wanted, { replace = true })
  result.name = name
  return result
end

--- Lists the revisions of a deployment, newest first.
-- @tparam table env
-- @tparam string name
-- @treturn table list of {number, state, serving, note, created, ended, fields}; `fields` are the
-- changes from the revision before it
function M.history(env, name)
  local deployment = env.state:need_deployment(manifest.check_name(name))
  local rows = env.state:revisions(deployment.id)
  local list = {}
  for index, row in ipairs(rows) do
    local before = rows[index + 1]
    local changes = before and manifest.changes(before.manifest, row.manifest) or {}
    if before then
      input_changes(before.inputs, row.inputs, changes)
    end
    list[index] = {
      number = row.number,
      state = row.state,
      serving = row.number == deployment.revision,
      note = row.note,
      created = row.created,
      ended = row.ended,
      fields = changes,
    }
  end
  return list
end

return M
