--- The steps that make Secrets: the keystore, and the variables that are secrets.
--
-- A Secret is called by its content, which never changes. So revisions that have the same one share
-- it, and pods of an earlier revision keep theirs until they have gone.
-- @module moonport.container.secrets

local change = require "moonport.container.change"
local clusters = require "moonport.container.cluster"
local environment = require "moonport.container.environment"
local keystore = require "moonport.container.keystore"
local marks = require "moonport.container.marks"
local names = require "moonport.container.names"
local resource = require "moonport.container.resource"
local secret = require "moonport.secret"

local M = { keystore = {}, environment = {} }

local SECRET = "Secret"

local function identity_of(ctx, intent, revision)
  return {
    cluster = intent.cluster, api_version = "v1", kind = SECRET, namespace = intent.namespace,
    name = intent.name,
    mark = { store = ctx.store, deployment = ctx.id, revision = revision },
  }
end

local function intent_of(ctx, name)
  local intent = clusters.place(ctx)
  intent.kind, intent.name = SECRET, name
  return intent, { { "kubernetes", identity_of(ctx, intent, ctx.revision) } }
end

-- By whom it was applied last: what the Secret passes on with.
local function apply(ctx, intent, object)
  object.metadata.annotations = names.revised(ctx, object.metadata.annotations)
  change.apply(ctx, intent.cluster, object)
end

-- Gives a Secret that the revision which serves has too back to it; removes any other.
local function undo(ctx, step, intent)
  if not intent.name then return end
  local successor = change.successor(ctx, step, intent)
  if not successor then return resource.remove(identity_of(ctx, intent)) end
  local cluster = clusters.reopen(intent.cluster)
  local found = resource.find(cluster, identity_of(ctx, intent))
  if not found or marks.revision(found) == successor.revision then return end
  cluster:patch(SECRET, intent.name, {
    metadata = { uid = found.metadata.uid, annotations = names.revised(successor) },
  }, { type = "merge", namespace = intent.namespace })
end

local function plan(ctx, what, intent)
  if not (intent and intent.name) then return {} end
  -- Its name has the store in it.
  if ctx.state:is_none() then
    return { { action = "create", what = what, to = "a Secret, named once there is a store" } }
  end
  local found = resource.find(clusters.open(ctx), identity_of(ctx, intent))
  return { { action = found and "keep" or "create", what = what, to = "Secret " .. intent.name } }
end

-- The variables that are secrets.

local function values_of(ctx)
  local values = {}
  for name, reference in pairs(environment.secret_references(ctx.manifest)) do
    values[name] = secret.resolve(reference)
  end
  return values
end

--- Chooses the Secret of the variables.
-- @tparam context ctx
-- @treturn table|false intent {cluster, namespace, kind, name}; false where there are none
-- @treturn table resources
function M.environment.allocate(ctx)
  local values = values_of(ctx)
  if not next(values) then return false end
  return intent_of(ctx, environment.secret_name(ctx, values, ctx.state.key))
end

--- Tells what would be made.
-- @tparam context ctx
-- @treturn {change,...}
function M.environment.plan(ctx)
  return plan(ctx, "secret variables", (M.environment.allocate(ctx)))
end

--- Makes it.
-- @tparam context ctx
-- @tparam table intent
function M.environment.apply(ctx, intent)
  if not intent.name then return end
  apply(ctx, intent, environment.secret(ctx, values_of(ctx), intent.name, intent.namespace))
end

--- Removes it, or leaves it to the revision that serves.
-- @tparam context ctx
-- @tparam table intent
function M.environment.undo(ctx, intent)
  undo(ctx, "environment", intent)
end

-- The keystore.

--- Chooses the Secret of the keystore.
-- @tparam context ctx
-- @treturn table|false intent {cluster, namespace, kind, name, source}; without a name where the
-- keystore is a directory of the node, false where there is none
-- @treturn table resources
function M.keystore.allocate(ctx)
  local path = ctx.manifest.keystore
  if not path then return false end
  if ctx.manifest.container.keystore == "host" then return { source = { host_path = path } } end
  local files = keystore.read(path)
  local intent, resources = intent_of(ctx, keystore.secret_name(ctx, files, ctx.state.key))
  intent.source = { secret = intent.name, items = keystore.items(files) }
  return intent, resources
end

--- Tells what would be made.
-- @tparam context ctx
-- @treturn {change,...}
function M.keystore.plan(ctx)
  local intent = M.keystore.allocate(ctx)
  if intent and intent.source.host_path then
    return { { action = "keep", what = "keystore", to = "the node's " .. intent.source.host_path } }
  end
  return plan(ctx, "keystore", intent)
end

--- Makes it.
-- @tparam context ctx
-- @tparam table intent
function M.keystore.apply(ctx, intent)
  if not intent.name then return end
  local files = keystore.read(ctx.manifest.keystore)
  apply(ctx, intent, keystore.secret(ctx, files, intent.name, intent.namespace))
end

--- Removes it, or leaves it to the revision that serves.
-- @tparam context ctx
-- @tparam table intent
function M.keystore.undo(ctx, intent)
  undo(ctx, "keystore", intent)
end

for _, part in ipairs { M.environment, M.keystore } do
  part.undo = clusters.explaining(part.undo, clusters.of_step)
end

return M
