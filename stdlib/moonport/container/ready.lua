--- Waiting until the pods of a deployment are ready; or until it is clear that they will not be.
--
-- Pods, their StatefulSet and events are watched. What does not mend by itself (an image that
-- cannot be pulled, a crash loop, an admission that refuses it) ends the wait at once; what often
-- does (no room on any node, a volume that is being attached) when it has stood for a little while,
-- and what only events tell of when it was told again after that while: of what has passed by then,
-- there is no event. See `moonport.container.trouble`. `ready.timeout` counts from when a pod has
-- started, since pulling an image takes as long as it takes; and anew whenever one more of several
-- is ready.
-- @module moonport.container.ready

local clock = require "moonport.clock"
local errors = require "moonport.errors"
local names = require "moonport.container.names"
local progress = require "moonport.container.progress"
local task = require "moonport.task"
local trouble = require "moonport.container.trouble"
local workload = require "moonport.container.workload"

local M = {}

local FOREVER = 1e9       -- seconds
local START_SECONDS = 600 -- for a node, the image, volumes, and the end of the pod before
local READY_SECONDS = 60  -- where the manifest has no `ready`

local SET = { apiVersion = "apps/v1", kind = "StatefulSet" }

-- ---- what is watched ----------------------------------------------------------------------------

-- Follows a kind of objects, and pushes each event into the queue.
local function follow(queue, cluster, source, resource, options)
  local watch <close> = cluster:watch(resource, options)
  for event in watch do queue:push { source = source, event = event } end
end

-- Events that were there before tell of former troubles, unless they are about a pod of now.
local function follow_events(queue, cluster, namespace)
  local former = true
  local watch, why = try(cluster.watch, cluster, "events", { namespace = namespace, sync = true })
  if errors.is(why, "kube", "forbidden") then
    -- It is ready or not also for who may not read events.
    return task.sleep(FOREVER)
  elseif why then
    error(why, 0)
  end
  local held <close> = watch -- luacheck: ignore held
  for event in watch do
    former = former and event.type ~= "SYNC"
    if event.type ~= "SYNC" then queue:push { source = "event", former = former, event = event } end
  end
end

local take = {}

function take.pod(view, message)
  local pod = message.event.object
  view.pods[pod.metadata.uid] = message.event.type ~= "DELETED" and pod or nil
  view.lost = message.event.type == "DELETED" and pod or view.lost
  view.pulls[pod.metadata.uid] = trouble.pull_failure(pod) or view.pulls[pod.metadata.uid]
end

function take.set(view, message)
  view.set = message.event.type ~= "DELETED" and message.event.object or nil
  view.set_seen = view.set_seen or view.set ~= nil
  view.set_gone = view.set_seen and view.set == nil
end

-- An event is about one of our pods, the StatefulSet, or a claim of theirs.
local function take_about(view, object, message)
  local about = object.involvedObject or {}
  if about.kind == "Pod" then return about.uid, true end
  local ours = about.kind == "StatefulSet" and about.name == view.name
    or about.kind == "PersistentVolumeClaim" and about.name:find(view.claims, 1, true)
  if ours and not message.former then return about.uid, false end
end

-- The last of a kind says how it stands; since when, the first.
local function remember(view, found, event, now)
  found.version = event.metadata.resourceVersion
  found.first, found.last = found.of_pod and now - trouble.span(event) or now, now
  for index, other in ipairs(view.events) do
    if other.object == found.object and other.reason == found.reason then
      if other.version == found.version then return end
      if other.patience == found.patience then found.first = math.min(found.first, other.first) end
      table.remove(view.events, index)
      break
    end
  end
  view.events[#view.events + 1] = found
end

function take.event(view, message)
  local object = message.event.object
  local uid, of_pod = take_about(view, object, message)
  if not uid or message.event.type == "DELETED" then return end
  if trouble.is_scaling(object) then view.scaling[uid] = true end
  view.pulls[uid] = trouble.pull_failure(object) or view.pulls[uid]
  local found = trouble.of_event(object)
  if not found then
    if object.reason == "Unhealthy" and not message.former then view.probe = object.message end
    return
  end
  found.object, found.of_pod = uid, of_pod
  found.where = ("%s `%s`"):format(object.involvedObject.kind, object.involvedObject.name)
  remember(view, found, object, clock.monotonic())
end

-- ---- judging ------------------------------------------------------------------------------------

local function fail(code, message, hint, more)
  local fault = { kind = "ready", code = code, message = message, hint = hint }
  for key, value in pairs(more or {}) do fault[key] = value end
  errors.raise(fault)
end

local function fail_of(found)
  local where = found.pod and ("pod `%s`"):format(found.pod) or found.where or "the service"
  fail("failed", ("%s: %s"):format(where, trouble.describe(found)), found.hint,
    { reason = found.reason })
end

-- Raises on the first trouble whose time is over; returns when the next one's will be.
local function bear(view, now)
  local standing, next_at = {}, math.huge
  for _, found in ipairs(progress.troubles(view)) do
    local since = found.first or view.since[found.key] or now
    standing[found.key] = since
    if (found.repeats and found.last or now) - since >= found.patience then fail_of(found) end
    if not found.repeats then next_at = math.min(next_at, since + found.patience) end
  end
  view.since = standing
  return next_at
end

local function fail_timeout(view, seconds)
  local hint = "if it only needs longer, raise `ready.timeout`"
  local parts = { progress.describe(view) }
  for _, found in ipairs(progress.troubles(view)) do parts[#parts + 1] = trouble.describe(found) end
  if view.probe then parts[#parts + 1] = view.probe end
  fail("timeout", ("not ready after %g s: %s"):format(seconds, table.concat(parts, "; ")), hint)
end

-- True when there is nothing to wait for but that pods get ready: those that are to come have
-- started, and none that is to go is still ending.
local function all_started(view)
  for _, pod in pairs(view.pods) do
    if pod.metadata.deletionTimestamp then return false end
  end
  local pods = progress.pods(view)
  for _, pod in ipairs(pods) do
    if not progress.has_started(pod) then return false end
  end
  return #pods > 0
end

-- When the wait is over whatever happens: the clock starts anew with each step forward.
local function deadline(view, now)
  local started, ready = all_started(view), progress.ready_count(view)
  if started ~= view.started or ready ~= view.ready_count then
    view.started, view.ready_count, view.step_at = started, ready, now
  end
  local seconds = started and view.ready_seconds or START_SECONDS
  return (view.step_at or now) + seconds, seconds
end

local function only_pod(view)
  local _, pod = next(view.pods)
  return pod
end

-- What ended although it should be there. A single pod that is gone does not come back by itself.
local function check_gone(view)
  if view.set_gone then
    fail("ended", ("the StatefulSet `%s` was deleted by somebody else"):format(view.name))
  elseif not view.is_set and view.lost and not only_pod(view) then
    fail("ended", ("the pod `%s` was deleted by somebody else"):format(view.name),
      "an eviction does so, and draining its node")
  end
end

local function has_succeeded(view)
  local pod = not view.is_set and only_pod(view)
  return pod and pod.status and pod.status.phase == "Succeeded"
end

-- True when ready.
local function judge(view, now)
  check_gone(view)
  if view.is_set and not view.set then return false, math.huge end
  if has_succeeded(view) then
    if view.may_end then return true end
    fail("ended", "the service ended before it was ready: it exited with 0")
  end
  if progress.is_done(view) and not view.until_end then return true end
  local next_at = bear(view, now)
  local over, seconds = deadline(view, now)
  if now >= over then fail_timeout(view, seconds) end
  return false, math.min(next_at, over)
end

local function pop(queue, seconds)
  if seconds == math.huge then return queue:pop() end
  local message, why = try(task.timeout, math.max(seconds, 0.001), queue.pop, queue)
  if why and not errors.is(why, "task", "timeout") then error(why, 0) end
  return message
end

local function watch_until_ready(view, queue, tell)
  while true do
    local now = clock.monotonic()
    local ready, next_at = judge(view, now)
    if ready then return view end
    tell(progress.describe(view))
    local message = pop(queue, next_at - now)
    if message then take[message.source](view, message) end
  end
end

local function new_view(ctx, intent)
  local manifest = ctx.manifest
  local is_set = intent.kind == "StatefulSet"
  return {
    name = intent.name, is_set = is_set, pods = {}, events = {}, scaling = {}, pulls = {},
    since = {},
    claims = names.DATA_VOLUME .. "-" .. names.base(ctx),
    replicas = is_set and manifest.container.replicas or 1,
    ready_seconds = manifest.registration and manifest.registration.timeout
      or manifest.ready and manifest.ready.timeout or READY_SECONDS,
    -- A run that ends by itself is as good as ready where nobody says when it is.
    may_end = manifest.ready == nil,
    until_end = manifest.registration ~= nil,
  }
end

local function pod_labels(ctx, intent)
  local labels = names.selector(ctx)
  if intent.kind == "Pod" then labels[names.TAG] = ctx.tag end
  return labels
end

--- Waits until the pods are ready; in registration mode, until the pod has ended well.
-- @tparam context ctx
-- @tparam cluster cluster
-- @tparam table intent of the pod
-- @treturn table view of `moonport.container.progress`
-- @raise {kind="ready"} with the code "failed" (and `reason`), "ended" or "timeout"
function M.wait_pods(ctx, cluster, intent)
  local queue, view, last = task.queue(), new_view(ctx, intent), nil
  local function tell(text)
    if text ~= last then ctx:progress("%s", text) end
    last = text
  end
  local namespace = intent.namespace
  local sources = {
    function() return watch_until_ready(view, queue, tell) end,
    function()
      follow(queue, cluster, "pod", "pods",
        { namespace = namespace, labels = pod_labels(ctx, intent) })
    end,
    function() follow_events(queue, cluster, namespace) end,
  }
  if view.is_set then
    sources[#sources + 1] = function()
      follow(queue, cluster, "set", SET, { namespace = namespace, name = intent.name })
    end
  end
  return (task.race(sources))
end

-- Waits for the line of output that `ready.log` names, in any of the pods.
local function wait_line(ctx, cluster, intent, view)
  local pattern = ctx.manifest.ready.log
  local function look(pod)
    return function()
      for line in cluster:logs(pod.metadata.name, {
        namespace = intent.namespace, container = workload.CONTAINER, follow = true,
      }) do
        if line.text:find(pattern) then return true end
      end
      task.sleep(FOREVER)
    end
  end
  local readers = {}
  for index, pod in ipairs(progress.pods(view)) do readers[index] = look(pod) end
  local _, why = try(task.timeout, ctx.manifest.ready.timeout, function() task.race(readers) end)
  if errors.is(why, "task", "timeout") then
    fail("timeout", ("not ready after %g s: no line of output matched `%s`"):format(
      ctx.manifest.ready.timeout, pattern), "if it only needs longer, raise `ready.timeout`")
  elseif why then
    error(why, 0)
  end
end

--- Waits until the service is ready.
-- @tparam context ctx
-- @tparam cluster cluster
-- @tparam table intent of the pod
-- @treturn table view
function M.wait(ctx, cluster, intent)
  local view = M.wait_pods(ctx, cluster, intent)
  if ctx.manifest.ready and ctx.manifest.ready.log then wait_line(ctx, cluster, intent, view) end
  return view
end

return M
