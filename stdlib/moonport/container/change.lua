--- Applying the objects of a deployment, and handing them from one revision to the next.
-- @module moonport.container.change

local clusters = require "moonport.container.cluster"
local errors = require "moonport.errors"
local marks = require "moonport.container.marks"
local names = require "moonport.container.names"
local resource = require "moonport.container.resource"

local M = {}

local ACCOUNT_SECONDS = 30

-- Phases in which a pod does nothing any more.
local ENDED = { Failed = true, Succeeded = true }

local function taken(object, found)
  errors.raise {
    kind = "container", code = "taken",
    message = ("the %s `%s` in namespace `%s` is not this deployment's: %s has it"):format(
      object.kind, object.metadata.name, object.metadata.namespace, marks.owner(found)),
    hint = "remove it, or deploy into another namespace",
  }
end

-- Conflicts say which fields, and whose they are.
local function explain_conflict(why, object)
  if not (errors.is(why, "kube", "conflict") and why.conflicts) then error(why, 0) end
  local fields = {}
  for index, conflict in ipairs(why.conflicts) do
    fields[index] = ("%s (%s)"):format(conflict.field, conflict.manager or "?")
  end
  errors.raise {
    kind = "container", code = "conflict", conflicts = why.conflicts, cause = why,
    message = ("others have set fields of the %s `%s` that this deployment sets as well: %s")
      :format(object.kind, object.metadata.name, table.concat(fields, ", ")),
    hint = "let them have it and leave it out of the manifest, or take it: "
      .. "`container.force = { \"PATH\" }`",
  }
end

--- True for what is on its way out, or has ended: it only seems to be there.
-- @tparam table found
-- @treturn boolean
function M.is_spent(found)
  return found.metadata.deletionTimestamp ~= nil
    or found.kind == "Pod" and ENDED[(found.status or {}).phase] ~= nil
end

-- Which revision an object belongs to is ours to say, also after it was given back to an earlier
-- one (by a patch, which owns the field then).
local OURS = "metadata.annotations." .. names.REVISION

local function force_of(ctx)
  local force = ctx.manifest.container.force
  if force == true then return true end
  local paths = { OURS }
  for _, path in ipairs(type(force) == "table" and force or {}) do paths[#paths + 1] = path end
  return paths
end

local function send(ctx, connection, object, dry_run)
  return try(connection.apply, connection, object, {
    field_manager = clusters.field_manager(ctx), force = force_of(ctx), dry_run = dry_run,
  })
end

-- A new namespace gets its ServiceAccount a moment later, from a controller; no pod before that.
local function lacks_account(why, object)
  return object.kind == "Pod" and not object.spec.serviceAccountName
    and errors.is(why, "kube", "forbidden")
    and why.message:find("error looking up service account", 1, true) ~= nil
end

-- False where it does not come, or one may not look.
local function await_account(connection, namespace)
  return (try(connection.wait, connection, "serviceaccounts", "default", "create",
    { timeout = ACCOUNT_SECONDS, namespace = namespace })) ~= nil
end

--- Applies an object, by server-side apply.
-- @tparam context ctx
-- @tparam table cluster identity of the cluster
-- @tparam table object
-- @treturn table the object as it is then
-- @raise {kind="container"} with the code "taken" (it is somebody else's) or "conflict"
function M.apply(ctx, cluster, object)
  local connection = clusters.reopen(cluster)
  local identity = resource.identity(cluster, object, marks.of(ctx))
  local found = resource.find(connection, identity)
  if found then
    found.apiVersion, found.kind = object.apiVersion, object.kind
    if not marks.is_ours(found, marks.of(ctx)) then taken(object, found) end
    if M.is_spent(found) then resource.remove(identity) end
  end
  local applied, why = send(ctx, connection, object, false)
  if lacks_account(why, object) and await_account(connection, object.metadata.namespace) then
    applied, why = send(ctx, connection, object, false)
  end
  if why then explain_conflict(why, object) end
  return applied
end

--- What applying an object that is there would make of it; changes nothing.
-- @tparam context ctx
-- @tparam table cluster identity of the cluster
-- @tparam table object
-- @treturn ?table nil where the server cannot tell: an admission rule may know no dry run
-- @raise {kind="container", code="conflict"}
function M.would_apply(ctx, cluster, object)
  local applied, why = send(ctx, clusters.reopen(cluster), object, true)
  if errors.is(why, "kube", "conflict") then explain_conflict(why, object) end
  if why and not errors.is(why, "kube") then error(why, 0) end
  return applied
end

--- The context of the revision that serves while another one is planned, applied or undone: with
-- the recipe that it was deployed with.
-- @tparam context ctx with `present`
-- @treturn table
function M.as_present(ctx)
  local present = ctx.present
  return setmetatable({
    revision = present.revision, tag = ("%s-%d"):format(ctx.id, present.revision),
    manifest = present.manifest, intents = present.intents, results = present.results,
    present = false, planning = false, _recipe = present.recipe(),
  }, { __index = ctx })
end

--- The revision that serves, where it goes on with the very object that an intent names.
-- @tparam context ctx
-- @tparam string step
-- @tparam table intent {cluster, namespace, kind, name}
-- @treturn ?table its context
function M.successor(ctx, step, intent)
  local other = ctx.present and ctx.present.intents[step]
  if not other or other.name ~= intent.name or other.kind ~= intent.kind
    or other.namespace ~= intent.namespace
    or clusters.key(other.cluster) ~= clusters.key(intent.cluster) then
    return nil
  end
  return M.as_present(ctx)
end

--- True while the deployment is being removed.
-- @tparam context ctx
-- @treturn boolean
function M.is_going(ctx)
  local row = ctx.state:deployment(ctx.name)
  return row == nil or row.phase == "removing"
end

return M
