--- The namespace of a deployment, which several deployments, stores and machines may share.
--
-- Where it is missing moonport makes it, notes that it did (an annotation), and each store that
-- uses such a namespace puts a label of its own on it. The last store that leaves removes it, if
-- nothing foreign is in it. Every change is bound to the version of the namespace that was looked
-- at; so two who come and go at the same time never take it from under each other. A namespace that
-- somebody else made is used and never touched.
-- @module moonport.container.namespace

local clusters = require "moonport.container.cluster"
local errors = require "moonport.errors"
local json = require "moonport.json"
local known = require "moonport.container.known"
local log = require "moonport.log"
local marks = require "moonport.container.marks"
local task = require "moonport.task"

local M = {}

local KIND = "kubernetes-namespace"
local GONE_SECONDS = 90
local TRIES = 10
local AT_ONCE = 8

-- What every namespace holds from the beginning.
local GIVEN = {
  ServiceAccount = { default = true },
  ConfigMap = { ["kube-root-ca.crt"] = true, ["openshift-service-ca.crt"] = true },
}

--- How a namespace stands. Pure.
-- @tparam ?table object the namespace
-- @tparam string store the store's UUID
-- @treturn string "missing", "terminating", "foreign" (somebody else made it), "ours" (it has our
-- label) or "shared" (moonport made it, and our label is not on it)
function M.standing(object, store)
  if not object then return "missing" end
  local metadata = object.metadata
  if metadata.deletionTimestamp or (object.status or {}).phase == "Terminating" then
    return "terminating"
  elseif not (metadata.annotations or {})[marks.MADE] then
    return "foreign"
  end
  return (metadata.labels or {})[marks.store_label(store)] and "ours" or "shared"
end

--- True for what does not keep a namespace from being removed: what every namespace holds, what is
-- going already, and what belongs to another object (and goes with it). Pure.
-- @tparam table object
-- @treturn boolean
function M.is_given(object)
  local metadata = object.metadata
  if metadata.deletionTimestamp or #(metadata.ownerReferences or {}) > 0 then return true end
  if object.kind == "Event" then return true end
  if object.kind == "Secret" and object.type == "kubernetes.io/service-account-token" then
    return (metadata.annotations or {})["kubernetes.io/service-account.name"] == "default"
  end
  return (GIVEN[object.kind] or {})[metadata.name] or false
end

-- Labels of other stores that use it.
local function other_users(object, store)
  local own, others = marks.store_label(store), {}
  for label in pairs(object.metadata.labels or {}) do
    if label:find("^moonport%.store/") and label ~= own then others[#others + 1] = label end
  end
  return others
end

--- Why a namespace is being deleted and does not go. Pure.
-- @tparam table object
-- @treturn string
function M.holders(object)
  local parts = {}
  for _, condition in ipairs((object.status or {}).conditions or {}) do
    if condition.status == "True" and condition.message then
      parts[#parts + 1] = condition.message:gsub("%.?%s*$", "")
    end
  end
  local finalizers = object.metadata.finalizers or {}
  if #finalizers > 0 then
    parts[#parts + 1] = ("it has the finalizers %s itself"):format(table.concat(finalizers, ", "))
  end
  return #parts > 0 and table.concat(parts, "; ") or "the server does not say what holds it"
end

-- Asking.

local function get(cluster, name)
  local object, why = try(cluster.get, cluster, "namespaces", name)
  if why and not errors.is(why, "kube", "not_found") then error(why, 0) end
  return object
end

--- How a namespace stands on a cluster.
-- @tparam cluster cluster
-- @tparam string name
-- @tparam string store
-- @treturn string as `standing`, or "hidden": one may not look at namespaces
-- @treturn ?table the namespace
function M.look(cluster, name, store)
  local object, why = try(get, cluster, name)
  if errors.is(why, "kube", "forbidden") then return "hidden" end
  if why then error(why, 0) end
  return M.standing(object, store), object
end

local function stuck(name, object, seconds)
  errors.raise {
    kind = "container", code = "stuck",
    message = ("the namespace `%s` is being deleted, and has not gone within %d s: %s"):format(
      name, seconds, M.holders(object)),
    hint = "a finalizer waits for whoever put it there; see to that, or to what it is on",
  }
end

-- Waits until a namespace that is being deleted is gone.
local function wait_gone(cluster, name, object)
  local last = object
  local _, why = try(cluster.wait, cluster, "namespaces", name, function(found)
    last = found or last
    return found == nil or found.metadata.uid ~= object.metadata.uid
  end, { timeout = GONE_SECONDS })
  if errors.is(why, nil, "timeout") then stuck(name, last, GONE_SECONDS) end
  if why then error(why, 0) end
end

-- Changes what is ours about a namespace, if it is still the one that was looked at.
local function patch(cluster, object, metadata)
  metadata.resourceVersion = object.metadata.resourceVersion
  metadata.uid = object.metadata.uid
  cluster:patch("namespaces", object.metadata.name, { metadata = metadata }, { type = "merge" })
end

-- True when somebody else was at it between looking and changing; then it is looked at again.
local function is_overtaken(why)
  return errors.is(why, "kube", "conflict") or errors.is(why, "kube", "already_exists")
    or errors.is(why, "kube", "not_found")
end

local function overtaken_too_often(name)
  errors.raise {
    kind = "container", code = "busy",
    message = ("the namespace `%s` is changed all the time by others"):format(name),
    hint = "try again",
  }
end

-- Making.

local ensure = {}

function ensure.missing(cluster, name, store)
  cluster:create {
    apiVersion = "v1", kind = "Namespace",
    metadata = {
      name = name,
      labels = {
        ["app.kubernetes.io/managed-by"] = "moonport", [marks.store_label(store)] = "",
      },
      annotations = { [marks.MADE] = store },
    },
  }
  return true
end

function ensure.terminating(cluster, name, _, object)
  wait_gone(cluster, name, object)
  return false
end

function ensure.shared(cluster, _, store, object)
  patch(cluster, object, { labels = { [marks.store_label(store)] = "" } })
  return true
end

function ensure.ours() return true end
function ensure.foreign() return true end
function ensure.hidden() return true end

--- Sees to it that a namespace is there, and that it stays while our store uses it.
-- @tparam cluster cluster
-- @tparam string name
-- @tparam string store
function M.ensure(cluster, name, store)
  for _ = 1, TRIES do
    local standing, object = M.look(cluster, name, store)
    local done, why = try(ensure[standing], cluster, name, store, object)
    if done then return end
    if why and not is_overtaken(why) then error(why, 0) end
  end
  overtaken_too_often(name)
end

-- Removing.

-- The first object that keeps the namespace from being removed; or why that cannot be told.
local function find_foreign(cluster, name)
  cluster = known.quiet(cluster)
  local kinds = known.kinds(cluster)
  local found = task.map(kinds, AT_ONCE, function(kind)
    if kind.kind == "Event" then return false end
    local list, why = try(cluster.list, cluster, kind.selector, { namespace = name })
    if why and errors.is(why, "kube", "not_found") then return false end
    if why then return ("%s cannot be listed (%s)"):format(kind.kind, why.message) end
    for _, object in ipairs(list.items) do
      object.kind = kind.kind
      if not M.is_given(object) then
        return ("%s `%s` is in it"):format(kind.kind, object.metadata.name)
      end
    end
    return false
  end)
  for _, what in ipairs(found) do
    if what then return what end
  end
end

-- Leaves a namespace that has to stay. Whoever uses it last removes it, so it loses only our label.
local function leave(cluster, object, store)
  patch(cluster, object, { labels = { [marks.store_label(store)] = json.null } })
end

local function remove_ours(cluster, object, store)
  local name = object.metadata.name
  if #other_users(object, store) > 0 then
    leave(cluster, object, store)
    return
  end
  local foreign = find_foreign(cluster, name)
  if foreign then
    log.warn("the namespace stays, since not all in it is moonport's",
      { namespace = name, because = foreign })
    leave(cluster, object, store)
    return
  end
  cluster:delete("namespaces", name, {
    uid = object.metadata.uid, resource_version = object.metadata.resourceVersion,
  })
  wait_gone(cluster, name, object)
end

--- Ends our store's use of a namespace, and removes it where nobody uses it any more.
-- @tparam cluster cluster
-- @tparam string name
-- @tparam string store
function M.release(cluster, name, store)
  for _ = 1, TRIES do
    local standing, object = M.look(cluster, name, store)
    -- One that is going already is waited for by whoever needs it next.
    if standing ~= "ours" then return end
    local _, why = try(remove_ours, cluster, object, store)
    if not why then return end
    if not is_overtaken(why) then error(why, 0) end
  end
  overtaken_too_often(name)
end

-- The resource kind: our store's use of a namespace.

M.resource = {
  remove = clusters.explaining(function(identity)
    M.release(clusters.reopen(identity.cluster), identity.name, identity.store)
  end, clusters.of_resource),
  describe = function(identity)
    return ("%s on %s"):format(identity.name, clusters.describe(identity.cluster))
  end,
}

-- The step.

--- Chooses the namespace.
-- @tparam context ctx
-- @treturn table intent {cluster, namespace}
function M.allocate(ctx)
  return clusters.place(ctx)
end

local ACTIONS = {
  missing = { "create" },
  shared = { "keep", "made by another store, used together" },
  foreign = { "keep", "not made by moonport, and left as it is" },
  hidden = { "maybe", "the account may not look at namespaces" },
  ours = { "keep" },
  terminating = { "create", "it is being deleted; once it is gone" },
}

--- Tells what becomes of the namespace.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local name = clusters.namespace(ctx)
  local standing = M.look(clusters.open(ctx), name, ctx.store)
  local action = ACTIONS[standing]
  return { { action = action[1], what = "namespace " .. name, to = action[2] } }
end

--- Uses the namespace; makes it where it is missing.
-- @tparam context ctx
-- @tparam table intent
function M.apply(ctx, intent)
  local identity = { cluster = intent.cluster, name = intent.namespace, store = ctx.store }
  ctx:share(KIND, identity, {
    -- What is shared is our use of it, which is repeated: somebody may have deleted it meanwhile.
    exists = function() return false end,
    make = function()
      M.ensure(clusters.reopen(intent.cluster), intent.namespace, ctx.store)
    end,
  })
end

return M
