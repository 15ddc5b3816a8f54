--- The step that runs the service: a Pod of the revision, or the StatefulSet of the deployment.
--
-- A Pod is called after its revision; the one before is stopped first, and comes back when the new
-- one fails. A StatefulSet is one and the same for all revisions: a new revision changes its
-- template, and Kubernetes replaces pod after pod. So taking back a revision that failed gives it
-- the template of the one that serves; and retiring the one before leaves it as it is.
-- @module moonport.container.pod

local boundary = require "moonport.container.boundary"
local change = require "moonport.container.change"
local changes = require "moonport.container.changes"
local clusters = require "moonport.container.cluster"
local host = require "moonport.container.host"
local leftovers = require "moonport.container.leftovers"
local marks = require "moonport.container.marks"
local names = require "moonport.container.names"
local resource = require "moonport.container.resource"
local secrets = require "moonport.container.secrets"
local workload = require "moonport.container.workload"

local M = {}

local SERVICE = "Service"
local END_SECONDS = 150 -- beyond a pod's own grace, as for removing it

-- What earlier steps have found out, for `moonport.container.workload`. A site may have removed any
-- of them.
local function parts_of(ctx, intent)
  local isolation = ctx.intents.isolation or {}
  local reached = ctx.results.host
  return {
    namespace = intent.namespace,
    runtime_class = isolation.runtime_class,
    runtime_handler = isolation.runtime_handler,
    keystore = (ctx.intents.keystore or {}).source,
    environment = ctx.intents.environment and { secret = ctx.intents.environment.name } or nil,
    host = reached and reached.address and { address = reached.address } or nil,
  }
end

local function identity_of(ctx, intent, kind, name, revision)
  return {
    cluster = intent.cluster, api_version = kind == "StatefulSet" and "apps/v1" or "v1",
    kind = kind, namespace = intent.namespace, name = name,
    mark = { store = ctx.store, deployment = ctx.id, revision = revision },
  }
end

--- Chooses the names.
-- @tparam context ctx
-- @treturn table intent {cluster, namespace, kind, name, service}
-- @treturn table resources
function M.allocate(ctx)
  local intent = clusters.place(ctx)
  if workload.is_set(ctx.manifest) then
    intent.kind, intent.name, intent.service = "StatefulSet", names.set(ctx), names.service(ctx)
    return intent, {
      { "kubernetes", identity_of(ctx, intent, SERVICE, intent.service, ctx.revision) },
      { "kubernetes", identity_of(ctx, intent, "StatefulSet", intent.name, ctx.revision) },
    }
  end
  intent.kind, intent.name = "Pod", names.pod(ctx)
  return intent, { { "kubernetes", identity_of(ctx, intent, "Pod", intent.name, ctx.revision) } }
end

-- The same while planning, when no step has chosen yet; choosing only reads.
local function planned_parts(ctx)
  local class = boundary.allocate(ctx)
  local environment, keystore = secrets.environment.allocate(ctx), secrets.keystore.allocate(ctx)
  local address = host.planned_address(ctx)
  return {
    namespace = clusters.namespace(ctx),
    runtime_class = class.runtime_class,
    runtime_handler = class.runtime_handler,
    keystore = keystore and keystore.source or nil,
    environment = environment and { secret = environment.name } or nil,
    host = address and { address = address } or nil,
  }
end

--- What is applied: a Pod, or a headless Service and a StatefulSet. The last one runs the service.
-- A site changes them by wrapping this: what it has changed is planned, applied, and brought back
-- by `start`, `restart`, rollback and undo.
-- @tparam context ctx
-- @tparam ?table intent none while planning
-- @treturn {table,...}
function M.objects(ctx, intent)
  return workload.objects(ctx, intent and parts_of(ctx, intent) or planned_parts(ctx))
end

-- As the site has changed them.
local function objects_of(ctx, intent)
  local step = ctx:step "pod"
  local objects = step and step.objects or M.objects
  return objects(ctx, intent)
end

-- The objects of the revision that serves; none where it runs elsewhere.
local function present_objects(ctx)
  local intent = ctx.present and ctx.present.intents.pod
  if not intent or not intent.kind then return nil end
  return objects_of(change.as_present(ctx), intent)
end

local function describe(manifest)
  local replicas = workload.is_set(manifest) and manifest.container.replicas
  return replicas and ("StatefulSet of %d pods"):format(replicas) or "pod"
end

--- Tells what would run: for what replaces a revision, each field that differs.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local wanted, present = objects_of(ctx), present_objects(ctx)
  local what = describe(ctx.manifest)
  if not present then
    return { { action = "create", what = what, to = "image " .. ctx.manifest.image } }
  end
  local rows = changes.rows(present, wanted)
  -- A pod of its own is made anew for each revision.
  if #rows == 0 and not workload.is_set(ctx.manifest) then
    rows[1] = { action = "change", what = what, to = "the same, made anew" }
  end
  return rows
end

-- Takes out what applying would leave of the template before.
local function clear(ctx, intent, found, object)
  local applied = leftovers.possible(found, object)
    and change.would_apply(ctx, intent.cluster, object)
  local patch = applied and leftovers.patch(applied, object)
  if not patch then return end
  clusters.reopen(intent.cluster):patch(object, object.metadata.name, patch, {
    type = "strategic", namespace = intent.namespace, field_manager = clusters.field_manager(ctx),
  })
end

-- What the server does not let be changed in a StatefulSet has it made anew; its claims stay.
local function make_room(ctx, intent, object)
  local identity = identity_of(ctx, intent, object.kind, object.metadata.name)
  local found = resource.find(clusters.reopen(intent.cluster), identity)
  if not found or not marks.is_ours(found, marks.of(ctx)) then return end
  if #changes.immutable(found, object) > 0 then
    resource.remove(identity)
  else
    clear(ctx, intent, found, object)
  end
end

-- `replicas`: in place of the manifest's, for a StatefulSet.
local function apply_objects(ctx, intent, replicas)
  local objects = objects_of(ctx, intent)
  local main = objects[#objects]
  if replicas and main.kind == "StatefulSet" then main.spec.replicas = replicas end
  if main.kind == "StatefulSet" then make_room(ctx, intent, main) end
  local applied
  for _, object in ipairs(objects) do applied = change.apply(ctx, intent.cluster, object) end
  return { kind = intent.kind, name = intent.name, uid = applied.metadata.uid }
end

--- Applies the objects.
-- @tparam context ctx
-- @tparam table intent
-- @treturn table {kind, name, uid}
function M.apply(ctx, intent)
  return apply_objects(ctx, intent)
end

--- Brings the objects back as the step makes them, with all that a site has put around it.
-- @tparam context ctx
-- @tparam table intent
function M.bring_back(ctx, intent)
  if ctx:step "pod" then
    ctx:reapply "pod"
  else
    M.apply(ctx, intent)
  end
end

-- Gives the StatefulSet back to the revision that serves, which keeps it.
local function give_back(successor)
  local intent = successor.intents.pod
  local found = resource.find(clusters.reopen(intent.cluster),
    identity_of(successor, intent, "StatefulSet", intent.name))
  if not found or marks.revision(found) == successor.revision or change.is_going(successor) then
    return
  end
  if successor.want == "stopped" then
    apply_objects(successor, intent, 0)
  else
    M.bring_back(successor, intent)
  end
end

--- Takes back what `apply` did.
-- @tparam context ctx
-- @tparam table intent
function M.undo(ctx, intent)
  local successor = intent.kind == "StatefulSet" and change.successor(ctx, "pod", intent)
  if successor then return give_back(successor) end
  resource.remove(identity_of(ctx, intent, intent.kind, intent.name))
  if intent.service then resource.remove(identity_of(ctx, intent, SERVICE, intent.service)) end
end

-- What others have changed.

local function main_of(ctx, intent)
  local objects = objects_of(ctx, intent)
  return objects[#objects]
end

--- The object that runs the service, as it is on the cluster.
-- @tparam context ctx
-- @tparam cluster cluster
-- @tparam table intent
-- @treturn ?table nil where there is none, or it is not ours
function M.find(ctx, cluster, intent)
  local found = resource.find(cluster, identity_of(ctx, intent, intent.kind, intent.name))
  return found and marks.is_ours(found, marks.of(ctx)) and found or nil
end

--- What applying again would change about what runs: the server itself is asked, which knows how it
-- writes what is given to it.
-- @tparam context ctx
-- @tparam table intent
-- @treturn {{action,what,from,to},...}
-- @raise {kind="container", code="conflict"} where others own what they have changed
function M.drift(ctx, intent)
  local found = M.find(ctx, clusters.reopen(intent.cluster), intent)
  if not found or change.is_spent(found) then return {} end
  local applied = change.would_apply(ctx, intent.cluster, main_of(ctx, intent))
  return applied and changes.rows({ found }, { applied }) or {}
end

-- Stopping.

-- True when the revision that takes over goes on with the same StatefulSet.
local function goes_on_with(intent, successor)
  if not successor or successor.recipe ~= "targets.container" or intent.kind ~= "StatefulSet"
    or not workload.is_set(successor.manifest) then
    return false
  end
  local place = successor.intents.namespace
  return place == nil or place.namespace == intent.namespace
    and clusters.key(place.cluster) == clusters.key(intent.cluster)
end

local function stop_set(ctx, intent)
  local cluster = clusters.reopen(intent.cluster)
  local identity = identity_of(ctx, intent, "StatefulSet", intent.name)
  local found = resource.find(cluster, identity)
  if not found or not marks.is_ours(found, marks.of(ctx)) then return end
  apply_objects(ctx, intent, 0)
  local seconds = END_SECONDS + (found.spec.template.spec.terminationGracePeriodSeconds or 0)
  cluster:wait("pods", { labels = names.selector(ctx) }, function(pod) return pod == nil end,
    { timeout = seconds, namespace = intent.namespace })
end

local function has_ended(pod)
  local statuses = (pod.status or {}).containerStatuses or {}
  for _, status in ipairs(statuses) do
    if not (status.state or {}).terminated then return false end
  end
  return pod.spec.nodeName == nil or #statuses > 0
end

-- Kubernetes keeps the pod for a while after all in it has ended (up to 10 s), while it gives its
-- volumes back. The service is stopped by then.
local function stop_pod(ctx, intent, grace)
  local identity = identity_of(ctx, intent, "Pod", intent.name)
  local cluster = clusters.reopen(intent.cluster)
  local found = resource.find(cluster, identity)
  if not found or not marks.is_ours(found, marks.of(ctx)) then return end
  resource.remove(identity, { grace = grace, wait = false })
  grace = grace or found.spec.terminationGracePeriodSeconds or 0
  cluster:wait("pods", intent.name, function(pod)
    return pod == nil or pod.metadata.uid ~= found.metadata.uid or has_ended(pod)
  end, { timeout = END_SECONDS + grace, namespace = intent.namespace })
end

--- Ends the pods and keeps everything else.
-- @tparam context ctx
-- @tparam table intent
-- @tparam[opt] table options `grace` (seconds); `reason`, `successor` when another revision takes
-- over
function M.stop(ctx, intent, options)
  options = options or {}
  if intent.kind == "Pod" then
    stop_pod(ctx, intent, options.grace)
  elseif not goes_on_with(intent, options.successor) then
    stop_set(ctx, intent)
  end
end

M.undo = clusters.explaining(M.undo, clusters.of_step)

return M
