--- What is to be deployed, and how it stands to what serves.
--
-- @module moonport.deploy.wanted
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fingerprint = require "moonport.engine.fingerprint"
local hooks = require "moonport.site.hooks"
local manifest = require "moonport.manifest"
local recipe = require "moonport.recipe"

local M = {}

--- Loads the recipe of a target.
-- @tparam table env {site}
-- @tparam string target
-- @treturn recipe
-- @raise {kind = "deploy", code = "refused"} when there is none
function M.recipe(env, target)
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

--- Everything about what is to be deployed that can be known before locking.
-- @tparam table env {state, site}
-- @tparam table loaded of `manifest.load`
-- @treturn table {name, target, data, origins, recipe, hooks, inputs, digest, command}
function M.prepare(env, loaded)
  local found = M.recipe(env, loaded.target)
  local inputs = fingerprint.inputs(found, loaded.data, env.state)
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

--- True when the very same thing serves.
-- @tparam table env
-- @tparam ?table deployment row
-- @tparam table wanted
-- @treturn boolean
function M.serves_already(env, deployment, wanted)
  if not deployment or not deployment.revision then
    return false
  end
  local serving = env.state:revision(deployment.id, deployment.revision)
  return serving.digest == wanted.digest and deployment.target == wanted.target
end

--- True when the recipe that would be run now is not the one that was.
-- @tparam table serving row of the revision
-- @tparam table wanted
-- @treturn boolean
function M.recipe_changed(serving, wanted)
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

--- The stand-ins for rows that a plan works on where there are none.
-- @tparam table env
-- @tparam table wanted
-- @treturn table deployment
-- @treturn table revision
function M.planned_rows(env, wanted)
  local deployment = env.state:deployment(wanted.name)
    or { id = "00000000", name = wanted.name, target = wanted.target, phase = "none" }
  local last = 0
  for _, revision in ipairs(deployment.created and env.state:revisions(deployment.id) or {}) do
    last = math.max(last, revision.number)
  end
  return deployment, { number = last + 1, manifest = wanted.data, inputs = wanted.inputs }
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

--- What differs between a revision and what is wanted, or a later revision.
-- @tparam table row of the revision: {manifest, inputs}
-- @tparam table data the other manifest's
-- @tparam table inputs the other's
-- @treturn table list of {path, from, to}
function M.changes(row, data, inputs)
  local changes = manifest.changes(row.manifest, data)
  input_changes(row.inputs, inputs, changes)
  return changes
end

return M
