--- A job: everything that working on one revision of one deployment takes.
--
-- An environment is what a command works in: {state, site, observer}. `observer` is told what
-- happens (see `moonport.engine.run`); it may be absent.
--
-- @module moonport.engine.job
local context = require "moonport.engine.context"
local copies = require "moonport.engine.copies"
local hooks = require "moonport.site.hooks"
local journal = require "moonport.engine.journal"

local M = {}

local function nobody() end

-- Loads the kept copies. What no longer loads does not stop anybody: the job then has no recipe.
local function load_copies(job, dir)
  local ok, recipe = pcall(copies.recipe, dir, job.revision)
  if ok then
    job.recipe = recipe
  else
    job.broken = recipe
    job.observer {
      type = "warning",
      deployment = job.deployment.name,
      text = ("the kept copy of recipe `%s` no longer loads (%s); what its steps recorded is "
        .. "removed by kind"):format(job.revision.recipe, tostring(recipe)),
    }
  end
  local hooks_ok, kept = pcall(copies.hooks, dir, job.revision)
  job.hooks = hooks_ok and kept or hooks.load()
end

-- Loads a recipe at its first call; nil where its copy no longer loads.
local function lazily(dir, row)
  local recipe
  return function()
    if recipe == nil then
      local ok, found = pcall(copies.recipe, dir, row)
      recipe = ok and found or false
    end
    return recipe or nil
  end
end

-- What the revision that serves has, for steps and plans of another one.
local function present_of(state, deployment, number)
  if not deployment.revision or deployment.revision == number then
    return nil
  end
  local row = state:revision(deployment.id, deployment.revision)
  local present = {
    revision = row.number,
    manifest = row.manifest,
    intents = {},
    results = {},
    recipe = lazily(state:deployment_dir(deployment.name), row),
  }
  for _, entry in ipairs(journal.open(state, deployment, row.number):entries()) do
    present.intents[entry.step] = entry.intent or {}
    present.results[entry.step] = entry.state == "done" and entry.result or nil
  end
  return present
end

--- Makes the job of a revision in the store.
-- @tparam table env
-- @tparam table deployment row
-- @tparam table revision row
-- @tparam ?table loaded `recipe` and `hooks` where they are loaded already; else the kept copies
-- are
-- @treturn table job
function M.open(env, deployment, revision, loaded)
  local state = env.state
  local job = {
    state = state,
    deployment = deployment,
    revision = revision,
    observer = env.observer or nobody,
    journal = journal.open(state, deployment, revision.number),
  }
  if loaded then
    job.recipe, job.hooks = loaded.recipe, loaded.hooks
  else
    load_copies(job, state:deployment_dir(deployment.name))
  end
  job.ctx = context.new {
    state = state,
    deployment = deployment,
    revision = revision,
    journal = job.journal,
    observer = job.observer,
    config = env.site and env.site.config,
    recipe = job.recipe,
    present = present_of(state, deployment, revision.number),
  }
  return job
end

--- Makes a job for planning: of a revision that is not in the store and will not be.
-- @tparam table env
-- @tparam table deployment row, or a stand-in for one
-- @tparam table revision a stand-in: {number, manifest, inputs}
-- @tparam table loaded `recipe` and `hooks`
-- @treturn table job
function M.planned(env, deployment, revision, loaded)
  local observer = env.observer or nobody
  return {
    state = env.state,
    deployment = deployment,
    revision = revision,
    observer = observer,
    recipe = loaded.recipe,
    hooks = loaded.hooks,
    ctx = context.new {
      state = env.state,
      deployment = deployment,
      revision = revision,
      observer = observer,
      config = env.site and env.site.config,
      recipe = loaded.recipe,
      present = present_of(env.state, deployment, revision.number),
      planning = true,
    },
  }
end

return M
