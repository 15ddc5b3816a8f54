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
local apply = require "moonport.deploy.apply"
local copies = require "moonport.engine.copies"
local errors = require "moonport.errors"
local job = require "moonport.engine.job"
local manifest = require "moonport.manifest"
local plan = require "moonport.engine.plan"
local run = require "moonport.engine.run"
local settle = require "moonport.engine.settle"
local task = require "moonport.task"
local wanted_of = require "moonport.deploy.wanted"

local M = {}

--- Registers the schemas of the targets whose recipes there are, so that manifests are checked
-- against them.
-- @tparam table env {site}
function M.register_targets(env)
  for _, target in ipairs(manifest.TARGETS) do
    local found = try(wanted_of.recipe, env, target)
    if found and found.manifest then
      manifest.register_target(target, found.manifest)
    end
  end
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

-- A deployment that is as wanted: makes sure that it runs, and runs as it was deployed.
local function ensure_running(env, deployment)
  local status, serving = health(env, deployment)
  local runs = deployment.want == "running" and AS_WANTED[status.state]
  local drift = runs and plan.drift(serving) or {}
  if runs and #drift == 0 then
    return { outcome = "unchanged" }
  elseif not (serving.recipe and serving.recipe.start) then
    return { outcome = "unchanged", state = status.state }
  end
  run.hook(serving, "start.before", {})
  serving.recipe.start(serving.ctx)
  env.state:update_deployment(deployment.id, { want = "running", boot_id = env.state.boot_id })
  env.state:add_event(deployment, "started", {})
  run.hook(serving, "start.after", {})
  return { outcome = runs and "repaired" or "started", was = status.state, drift = drift }
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

local function outcome_of(replaced, resumed)
  return resumed and "resumed" or replaced and "replaced" or "deployed"
end

-- deploy.before runs before there is anything to undo.
local function ask_hooks(env, wanted)
  local deployment, revision = wanted_of.planned_rows(env, wanted)
  run.hook(job.planned(env, deployment, revision, wanted), "deploy.before", {})
end

local function deploy_locked(env, wanted, options)
  local state = env.state
  local deployment = state:deployment(wanted.name)
  local work = resumable(env, deployment, wanted)
  if work then
    run.hook(work, "deploy.before", {})
    apply.tell(env, "notice", wanted.name, ("goes on at step `%s`"):format(deployment.step or "?"))
    local replaced = apply.run(env, work, wanted)
    return { outcome = outcome_of(replaced, true), revision = work.revision.number }
  elseif deployment then
    deployment = settle.run(env, deployment)
  end
  if not options.replace and wanted_of.serves_already(env, deployment, wanted) then
    local result = ensure_running(env, deployment)
    result.revision = deployment.revision
    if wanted_of.recipe_changed(state:revision(deployment.id, deployment.revision), wanted) then
      result.recipe_changed = true
      local text = "its recipe has changed since it was deployed; --replace deploys it anew"
      apply.tell(env, "notice", wanted.name, text)
    end
    return result
  end
  ask_hooks(env, wanted)
  work = apply.begin(env, deployment, wanted)
  local replaced = apply.run(env, work, wanted)
  return { outcome = outcome_of(replaced, false), revision = work.revision.number }
end

--- Deploys one manifest.
-- @tparam table env {state, site, observer}
-- @tparam table loaded of `manifest.load`
-- @tparam ?table options `replace`: deploy anew even what is unchanged; `wait`: seconds to wait for
-- another command on the same deployment
-- @treturn table {name, outcome, revision, recipe_changed, drift}; outcome is "deployed",
-- "replaced", "resumed", "started" (was as wanted, but did not run), "repaired" (others had changed
-- what runs: `drift` lists what) or "unchanged"
-- @raise {kind = "deploy", code = "failed", failure = record} when it failed and was undone;
-- {kind = "hook", code = "refused"}, {kind = "state", code = "busy"}, ...
function M.run(env, loaded, options)
  options = options or {}
  local wanted = wanted_of.prepare(env, loaded)
  local lock <close> = env.state:lock(wanted.name, options) -- luacheck: ignore lock
  local result = deploy_locked(env, wanted, options)
  result.name = wanted.name
  return result
end

local function compare(env, deployment, wanted, result)
  local serving = env.state:revision(deployment.id, deployment.revision)
  result.fields = wanted_of.changes(serving, wanted.data, wanted.inputs)
  result.recipe_changed = wanted_of.recipe_changed(serving, wanted)
  if wanted_of.serves_already(env, deployment, wanted) then
    local status, work = health(env, deployment)
    local fine = deployment.want == "running" and AS_WANTED[status.state]
    result.steps = fine and plan.drift(work) or {}
    result.outcome = not fine and "start" or #result.steps > 0 and "repair" or "unchanged"
    result.state = status.state
  else
    result.outcome = "replace"
  end
end

-- Outcomes of plans for what runs; and those in which no step is applied as for a new revision.
local RUNS = { unchanged = true, repair = true }
local AS_IT_IS = { unchanged = true, repair = true, start = true }

--- Plans one manifest: tells what `run` would do, and changes nothing.
-- @tparam table env
-- @tparam table loaded
-- @tparam ?table options as for `run`
-- @treturn table {name, outcome, fields, steps, recipe_changed, changes}: outcome is "create",
-- "replace", "start", "repair" (others have changed what runs), "resume", "settle" (something
-- interrupted is undone first) or "unchanged"; `fields` lists {path, from, to}; `steps` what each
-- step would change, or what others have; `changes` is true when anything would change
function M.plan(env, loaded, options)
  return task.read_only(function()
    local wanted = wanted_of.prepare(env, loaded)
    local deployment, revision = wanted_of.planned_rows(env, wanted)
    local result = { name = wanted.name, outcome = "create", fields = {}, steps = {} }
    if settle.is_unsettled(deployment) then
      result.outcome = resumable(env, deployment, wanted) and "resume" or "settle"
      result.step = deployment.step
    elseif deployment.revision then
      compare(env, deployment, wanted, result)
      if options and options.replace and RUNS[result.outcome] then
        result.outcome = "replace"
      end
    end
    if not AS_IT_IS[result.outcome] then
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
  local force = options and options.force
  local report = apply.shielded(name, settle.remove, env, deployment, { force = force, job = work })
  if work then
    run.hook(work, "rm.after", {})
  end
  state:remove_lock(name)
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
    list[index] = {
      number = row.number,
      state = row.state,
      serving = row.number == deployment.revision,
      note = row.note,
      created = row.created,
      ended = row.ended,
      fields = before and wanted_of.changes(before, row.manifest, row.inputs) or {},
    }
  end
  return list
end

return M
