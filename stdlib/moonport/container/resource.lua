--- The resource kind `kubernetes`: objects on a cluster that a deployment has made.
--
-- An identity is {cluster, api_version, kind, namespace, name, mark = {store, deployment, tag}}.
-- Only what bears the mark is removed, and only the very object that was looked at (by its uid).
-- @module moonport.container.resource

local clusters = require "moonport.container.cluster"
local errors = require "moonport.errors"
local known = require "moonport.container.known"
local marks = require "moonport.container.marks"
local names = require "moonport.container.names"
local task = require "moonport.task"

local M = {}

-- Beyond an object's own grace: a node that waits for a pod's volumes (two minutes) ends it then.
local GONE_SECONDS = 150

--- The resource that an identity names, as the client wants it.
-- @tparam table identity
-- @treturn table {apiVersion, kind}
function M.kind_of(identity)
  return { apiVersion = identity.api_version, kind = identity.kind }
end

--- Makes an identity.
-- @tparam table cluster identity of the cluster
-- @tparam table object with apiVersion, kind and metadata
-- @tparam table mark
-- @treturn table
function M.identity(cluster, object, mark)
  return {
    cluster = cluster, api_version = object.apiVersion, kind = object.kind,
    namespace = object.metadata.namespace, name = object.metadata.name, mark = mark,
  }
end

--- Reads the object of an identity.
-- @tparam cluster cluster
-- @tparam table identity
-- @treturn ?table nil where there is none, or the server has no such kind
function M.find(cluster, identity)
  local object, why = try(cluster.get, cluster, M.kind_of(identity), identity.name,
    { namespace = identity.namespace })
  if why and not (errors.is(why, "kube", "not_found") or errors.is(why, "kube", "unknown_resource"))
  then
    error(why, 0)
  end
  return object
end

--- What keeps an object that is being deleted.
-- @tparam table object
-- @treturn string
function M.holders(object)
  local finalizers = object.metadata.finalizers or {}
  if #finalizers > 0 then
    return ("held by the finalizers %s"):format(table.concat(finalizers, ", "))
  elseif object.kind == "Pod" and object.spec.nodeName then
    return ("its node `%s` does not say that it has ended"):format(object.spec.nodeName)
  end
  return "the server does not say why"
end

local function stuck(identity, object, seconds)
  errors.raise {
    kind = "container", code = "stuck",
    message = ("%s is still there %d s after it was deleted: %s"):format(M.describe(identity),
      seconds, M.holders(object)),
    hint = "see to what holds it, and remove again",
  }
end

--- Waits until an object is gone, or another one of its name is there.
-- @tparam cluster cluster
-- @tparam table identity
-- @tparam table object as it was when it was deleted
-- @tparam[opt] number seconds
-- @raise {kind="container", code="stuck"}
function M.wait_gone(cluster, identity, object, seconds)
  seconds = seconds or GONE_SECONDS
  local last = object
  local _, why = try(cluster.wait, cluster, M.kind_of(identity), identity.name, function(found)
    last = found or last
    return found == nil or found.metadata.uid ~= object.metadata.uid
  end, { timeout = seconds, namespace = identity.namespace })
  if errors.is(why, nil, "timeout") then stuck(identity, last, seconds) end
  if why and not errors.is(why, "kube", "unknown_resource") then error(why, 0) end
end

-- How long it, or what it owns, may take to end.
local function own_grace(object)
  local spec = object.spec or {}
  local pod = spec.template and spec.template.spec or spec
  return pod.terminationGracePeriodSeconds or 0
end

local function remove(identity, options)
  options = options or {}
  local cluster = clusters.reopen(identity.cluster)
  local object = M.find(cluster, identity)
  if not object or not marks.is_ours(object, identity.mark) then return end
  local grace = options.grace or own_grace(object)
  cluster:delete(M.kind_of(identity), identity.name, {
    namespace = identity.namespace, uid = object.metadata.uid, missing_ok = true,
    grace = options.grace and math.ceil(options.grace),
    -- What it owns is to be gone when it is.
    propagation = identity.kind == "StatefulSet" and "Foreground" or "Background",
  })
  if options.wait == false then return end
  M.wait_gone(cluster, identity, object, GONE_SECONDS + grace)
end

--- Removes an object and waits until it is gone. Fine where it is already, or is not ours.
-- @function remove
-- @tparam table identity
-- @tparam[opt] table options `grace` (seconds, for pods), `wait = false`
M.remove = clusters.explaining(remove, clusters.of_resource)

--- The object for people.
-- @tparam table identity
-- @treturn string such as `Pod blueprints/x on kind-dev`
function M.describe(identity)
  local place = identity.namespace and identity.namespace .. "/" or ""
  return ("%s %s%s on %s"):format(identity.kind, place, identity.name,
    clusters.describe(identity.cluster))
end

local function labels_of(object) return object.metadata.labels or {} end

-- Objects of a deployment that the store does not have (any more). What belongs to another object
-- goes with that one.
local function is_orphan(object, deployments)
  local id = labels_of(object)[names.DEPLOYMENT]
  return id ~= nil and not deployments[id] and not labels_of(object)[names.KEEP]
    and not object.metadata.deletionTimestamp
    and #(object.metadata.ownerReferences or {}) == 0
end

-- Kinds that moonport makes by itself and that do not go with another object. That one may not list
-- others is nothing to tell.
local MADE = { Pod = true, StatefulSet = true, Service = true, Secret = true,
  PersistentVolumeClaim = true }

-- Everything with the store's mark, and what could not be looked at: {elsewhere, kinds}.
local function ours_on(identity, namespaces, store)
  local cluster, found, unseen = known.quiet(clusters.reopen(identity)), {}, { kinds = {} }
  local lists = task.map(known.kinds(cluster), 8, function(resource)
    local items, blind = known.list(cluster, namespaces, resource.selector,
      { [names.STORE] = store })
    return { resource = resource, items = items, blind = blind }
  end)
  for _, list in ipairs(lists) do
    local kind = list.resource.kind
    for _, object in ipairs(list.items) do
      object.apiVersion, object.kind = list.resource.api_version, kind
      found[#found + 1] = object
    end
    if MADE[kind] then
      unseen.elsewhere = unseen.elsewhere or list.blind.elsewhere
      if list.blind.kind then table.insert(unseen.kinds, kind) end
    end
  end
  return found, unseen
end

-- What the account may not look at, for people; nil where it may look at everything.
local function describe_unseen(identity, namespaces, unseen)
  if not unseen.elsewhere then return nil end
  local where = #namespaces > 0 and ("all namespaces but %s"):format(table.concat(namespaces, ", "))
    or "all namespaces"
  local text = ("what may be in %s on %s"):format(where, clusters.describe(identity))
  if #unseen.kinds == 0 then return text end
  table.sort(unseen.kinds)
  return ("%s; there, each %s"):format(text, table.concat(unseen.kinds, ", "))
end

local function orphans_on(identity, state, list)
  local namespaces = known.namespaces(state, identity)
  local objects, unseen = ours_on(identity, namespaces, state.uuid)
  local hidden = describe_unseen(identity, namespaces, unseen)
  if hidden then
    list[#list + 1] = { what = hidden, unseen = "the account may not list it" }
  end
  -- Read afterwards: a deployment's row is there before anything is made for it.
  local deployments = {}
  for _, deployment in ipairs(state:deployments()) do deployments[deployment.id] = true end
  for _, object in ipairs(objects) do
    if is_orphan(object, deployments) then
      local mark = { store = state.uuid, deployment = labels_of(object)[names.DEPLOYMENT] }
      list[#list + 1] = { identity = M.identity(identity, object, mark) }
    end
  end
end

--- What bears the store's mark and belongs to no deployment, on every cluster that the store knows.
-- A cluster that cannot be asked is an entry with its `problem`; what the account may not look at
-- is one that is `unseen`.
-- @tparam state state
-- @tparam[opt] table env
-- @treturn {table,...} list of {identity}, {what, problem} or {what, unseen}
function M.orphans(state, env)
  local list = {}
  for _, identity in ipairs(known.clusters(state, env)) do
    local _, why = try(orphans_on, identity, state, list)
    if why then
      list[#list + 1] = {
        what = ("what may be on the cluster %s"):format(clusters.describe(identity)), problem = why,
      }
    end
  end
  return list
end

--- The resource kind `kubernetes`, as `moonport.resources` takes it.
M.resource = { remove = function(identity) M.remove(identity) end, describe = M.describe,
  orphans = M.orphans }

return M
