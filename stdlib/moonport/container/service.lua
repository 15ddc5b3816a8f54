--- The verbs of a service on Kubernetes.
-- @module moonport.container.service

local clock = require "moonport.clock"
local clusters = require "moonport.container.cluster"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local logs = require "moonport.logs"
local marks = require "moonport.container.marks"
local names = require "moonport.container.names"
local output = require "moonport.container.output"
local pod = require "moonport.container.pod"
local ready = require "moonport.container.ready"
local registration = require "moonport.container.registration"
local status = require "moonport.container.status"
local sys = require "moonport.sys"
local workload = require "moonport.container.workload"

local M = {}

local SET = { apiVersion = "apps/v1", kind = "StatefulSet" }
local DIAGNOSIS_LINES = 20
local DIAGNOSIS_EVENTS = 10

local function refuse(code, message, hint)
  errors.raise { kind = "container", code = code, message = message, hint = hint }
end

-- The intent of the step that runs it; nil where it never came to that.
local function intent_of(ctx)
  return ctx.intents.pod
end

local function need_intent(ctx)
  local intent = intent_of(ctx)
  if intent then return intent end
  refuse("refused", ("`%s` has no pod"):format(ctx.name), "deploy it again")
end

-- A single pod is one of a revision; those of a StatefulSet pass from one to the next.
local function labels_of(ctx, intent)
  local labels = names.selector(ctx)
  if intent.kind == "Pod" then labels[names.TAG] = ctx.tag end
  return labels
end

local function pods_of(ctx, cluster, intent)
  local list = cluster:list("pods", {
    namespace = intent.namespace, labels = labels_of(ctx, intent),
  }).items
  table.sort(list, function(a, b) return a.metadata.name < b.metadata.name end)
  return list
end

local function about(ctx)
  return {
    name = ctx.name, want = ctx.want, registration = ctx.manifest.registration ~= nil,
    replicas = ctx.manifest.container.replicas,
  }
end

--- Tells how the service is.
-- @tparam context ctx
-- @treturn table {state, condition, reason, problem, hint, ready, restarts, exit, since, node, ip,
-- pod, namespace, cluster, replicas}
function M.status(ctx)
  local intent = intent_of(ctx)
  if not intent then return { state = "stopped" } end
  local cluster, found = clusters.reopen(intent.cluster)
  if intent.kind == "StatefulSet" then
    found = status.of_set(pod.find(ctx, cluster, intent), pods_of(ctx, cluster, intent), about(ctx))
  else
    found = status.of_single(pods_of(ctx, cluster, intent)[1], about(ctx))
  end
  found.namespace, found.cluster = intent.namespace, clusters.describe(intent.cluster)
  return found
end

-- ---- what it says -------------------------------------------------------------------------------

-- States in which more output comes without anybody's doing.
local LASTS = { running = true, starting = true, restarting = true }

--- The service's output; that of several pods as it comes.
-- @tparam context ctx
-- @tparam table options `follow`, `tail`, `since` (seconds since 1970), `expects_more`
-- @treturn function iterator of {time, stream, text, pod, gap}
function M.logs(ctx, options)
  local intent = need_intent(ctx)
  if options.stream then
    refuse("refused", "Kubernetes keeps what a pod writes to stdout and stderr as one",
      "leave out --stream")
  end
  return output.read(ctx, clusters.reopen(intent.cluster), intent.namespace, function()
    local state = M.status(ctx).state
    return not (LASTS[state] or intent.kind == "StatefulSet" and state ~= "stopped")
  end, options)
end

local function event_time(event)
  for _, key in ipairs { "lastTimestamp", "eventTime", "firstTimestamp" } do
    if type(event[key]) == "string" then return logs.seconds(event[key]) end
  end
  return logs.seconds(event.metadata.creationTimestamp)
end

-- Events about anything of the deployment: their names all begin alike.
local function events_of(ctx, cluster, intent)
  local found = {}
  local items = cluster:list("events", { namespace = intent.namespace }).items
  local base = names.base(ctx)
  for _, event in ipairs(items) do
    local name = (event.involvedObject or {}).name or ""
    if name == base or name:find(base .. "-", 1, true) then
      found[#found + 1] = {
        at = event_time(event), type = "kubernetes",
        data = {
          object = ("%s %s"):format(event.involvedObject.kind, name), reason = event.reason,
          message = event.message, count = event.count, warning = event.type == "Warning" or nil,
        },
      }
    end
  end
  table.sort(found, function(a, b) return a.at < b.at end)
  return found
end

--- What Kubernetes tells of the service.
-- @tparam context ctx
-- @tparam table options `limit` (the last so many)
-- @treturn {{at,type,data},...}
function M.events(ctx, options)
  local intent = intent_of(ctx)
  if not intent then return {} end
  local list = events_of(ctx, clusters.reopen(intent.cluster), intent)
  local first = options.limit and math.max(1, #list - options.limit + 1) or 1
  return table.move(list, first, #list, 1, {})
end

-- ---- a look inside ------------------------------------------------------------------------------

-- The pod to enter: one that is ready before one that runs.
local function pod_to_enter(ctx, cluster, intent)
  local running
  for _, candidate in ipairs(pods_of(ctx, cluster, intent)) do
    local one = status.of_pod(candidate, about(ctx))
    if one.ready then return candidate.metadata.name end
    running = running or one.state == "running" and candidate.metadata.name
  end
  return running or refuse("refused", ("`%s` has no pod that runs"):format(ctx.name),
    ("`moonport status %s` says why"):format(ctx.name))
end

-- Whether somebody has given us input. Servers before Kubernetes 1.30 cannot end that of a command;
-- so none is promised where there is none.
local function has_input()
  local link = try(fs.readlink, "/proc/self/fd/0")
  return link ~= nil and link ~= "/dev/null" and not sys.is_terminal(0)
end

--- Runs a command in the service's container.
-- @tparam context ctx
-- @tparam table options the argv as list elements; `stdin`, `stdout`, `stderr`, `tty`, `env`;
-- `pod`: which of several
-- @treturn table {code, signal, stdout, stderr}
function M.exec(ctx, options)
  local intent = need_intent(ctx)
  local cluster = clusters.reopen(intent.cluster)
  local call = { namespace = intent.namespace, container = workload.CONTAINER }
  for key, value in pairs(options) do
    if key ~= "pod" then call[key] = value end
  end
  call.stdin = call.stdin or (call.tty or has_input()) and "inherit" or "null"
  call.stdout, call.stderr = call.stdout or "inherit", call.stderr or "inherit"
  call.check = false
  return cluster:exec(options.pod or pod_to_enter(ctx, cluster, intent), call)
end

--- Leads a local port to one of the service's pods; to another one when that goes.
-- @tparam context ctx
-- @tparam integer port
-- @tparam table options `address`, `local_port`
-- @treturn table {address, port, close}
function M.forward(ctx, port, options)
  local intent = need_intent(ctx)
  return clusters.reopen(intent.cluster):forward({ labels = names.selector(ctx) }, port, {
    namespace = intent.namespace, address = options.address, local_port = options.local_port,
  })
end

-- ---- changing -----------------------------------------------------------------------------------

--- What others have changed about it, and `start` would make as it was.
-- @tparam context ctx
-- @treturn {change,...}
function M.drift(ctx)
  local intent = intent_of(ctx)
  local rows = intent and pod.drift(ctx, intent) or {}
  for _, row in ipairs(rows) do row.step = "pod" end
  return rows
end

local function await_ready(ctx, intent)
  return ready.wait(ctx, clusters.reopen(intent.cluster), intent)
end

-- The StatefulSet, where it is that of this revision still, or again: a revision that was to take
-- its place has failed without changing it, or its undo has given it back.
local function set_that_serves(ctx, intent)
  if intent.kind ~= "StatefulSet" then return nil end
  local found = pod.find(ctx, clusters.reopen(intent.cluster), intent)
  local serves = found and marks.revision(found) == ctx.revision and found.spec.replicas ~= 0
  return serves and found or nil
end

--- Makes the pods again after they were stopped or are gone; fine when they run.
-- @tparam context ctx
-- @tparam[opt] table options `resume`: after a revision that was to take its place has failed
function M.start(ctx, options)
  local intent = need_intent(ctx)
  local serving = options and options.resume and set_that_serves(ctx, intent)
  if not serving then
    pod.bring_back(ctx, intent)
  elseif serving.spec.replicas ~= ctx.manifest.container.replicas then
    return -- others have scaled it, and nobody has touched it
  end
  await_ready(ctx, intent)
end

--- Ends the pods and keeps everything else.
-- @tparam context ctx
-- @tparam table options as for `moonport.container.pod.stop`
function M.stop(ctx, options)
  local intent = intent_of(ctx)
  if intent then pod.stop(ctx, intent, options) end
end

-- A template that differs from the one before has Kubernetes replace pod after pod. The annotation
-- is no part of what we apply; so it stays when the revision is applied again.
local function roll(cluster, intent)
  cluster:patch(SET, intent.name, {
    spec = { template = { metadata = { annotations = {
      ["moonport/restarted-at"] = logs.timestamp(clock.now()),
    } } } },
  }, { type = "merge", namespace = intent.namespace })
end

--- Stops and starts the service: a single pod at once, several one after the other.
-- @tparam context ctx
-- @tparam table options `grace` (seconds)
function M.restart(ctx, options)
  local intent = need_intent(ctx)
  if intent.kind == "Pod" then
    pod.stop(ctx, intent, options)
    return M.start(ctx)
  end
  pod.bring_back(ctx, intent)
  roll(clusters.reopen(intent.cluster), intent)
  await_ready(ctx, intent)
end

-- Ends of a pod that are not its own doing: its node was taken from it.
local NOT_ITS_OWN = {
  Gone = true, Evicted = true, NodeLost = true, NodeShutdown = true, Terminated = true,
  Preempting = true, Shutdown = true,
}

--- After a reboot of this host: Kubernetes has kept the pods running. What it does not bring back
-- by itself, a single pod that was evicted, is made again.
-- @tparam context ctx
-- @treturn boolean true when something was done
function M.restore(ctx)
  local found = M.status(ctx)
  if found.state ~= "failed" or not NOT_ITS_OWN[found.reason] then return false end
  M.start(ctx)
  return true
end

local function is_over(found)
  local phase = found.status and found.status.phase
  return phase == "Succeeded" or phase == "Failed"
end

local REACHED = {
  running = function(found, ctx)
    return found and status.of_pod(found, about(ctx)).state == "running"
  end,
  stopped = function(found) return found == nil or is_over(found) end,
}
REACHED.exited = REACHED.stopped

-- A registration that has completed has been all this, and is as ready as it will ever be.
local REACHES_END = { running = true, ready = true }

--- Waits until the service reaches a state.
-- @tparam context ctx
-- @tparam string state "running", "ready", "stopped" or "exited"
-- @tparam table options `timeout` (seconds)
-- @treturn table status
function M.wait(ctx, state, options)
  local intent = need_intent(ctx)
  local now = ctx.manifest.registration and REACHES_END[state] and M.status(ctx)
  if now and now.state == "completed" then return now end
  local cluster = clusters.reopen(intent.cluster)
  if state == "ready" then
    local wait = function() return ready.wait(ctx, cluster, intent) end
    if options.timeout then
      require("moonport.task").timeout(options.timeout, wait)
    else
      wait()
    end
  elseif REACHED[state] then
    cluster:wait("pods", { labels = labels_of(ctx, intent) },
      function(found) return REACHED[state](found, ctx) end,
      { timeout = options.timeout, namespace = intent.namespace })
  else
    refuse("usage", ("a service is never `%s`"):format(state),
      "one of: running, ready, stopped, exited")
  end
  return M.status(ctx)
end

-- ---- after a failure ----------------------------------------------------------------------------

local function last_lines(ctx, cluster, intent, previous)
  local list = {}
  for _, found in ipairs(pods_of(ctx, cluster, intent)) do
    local lines = try(function()
      local read = {}
      for line in cluster:logs(found.metadata.name, {
        namespace = intent.namespace, container = workload.CONTAINER, tail = DIAGNOSIS_LINES,
        previous = previous,
      }) do
        read[#read + 1] = { time = line.time, text = line.text, pod = found.metadata.name }
      end
      return read
    end)
    table.move(lines or {}, 1, #(lines or {}), #list + 1, list)
  end
  return list
end

-- The container that runs may have said nothing yet: then the one before it.
local function diagnose_log(ctx, cluster, intent)
  local lines = last_lines(ctx, cluster, intent, nil)
  return #lines > 0 and lines or last_lines(ctx, cluster, intent, true)
end

local function event_text(event)
  local data = event.data
  return ("%s, %s: %s"):format(data.object, data.reason, data.message or "")
end

--- What an operator would look up after a failure.
-- @tparam context ctx
-- @treturn table {exit, log, pod, event, events, pods}
function M.diagnose(ctx)
  local intent = intent_of(ctx)
  if not intent then return {} end
  local cluster = clusters.reopen(intent.cluster)
  local diagnosis, states = { pods = {} }, {}
  for index, found in ipairs(pods_of(ctx, cluster, intent)) do
    local one = status.of_pod(found, about(ctx))
    diagnosis.pods[index] = one
    diagnosis.exit = diagnosis.exit or one.exit
    states[index] = ("%s on %s: %s%s"):format(one.pod, one.node or "no node", one.condition,
      one.reason and (" (%s)"):format(one.reason) or "")
  end
  diagnosis.pod = #states > 0 and table.concat(states, "; ") or "there is none"
  local events = try(events_of, ctx, cluster, intent) or {}
  diagnosis.events = table.move(events, math.max(1, #events - DIAGNOSIS_EVENTS + 1), #events, 1, {})
  for _, event in ipairs(events) do
    if event.data.warning then diagnosis.event = event_text(event) end
  end
  diagnosis.log = diagnose_log(ctx, cluster, intent)
  return diagnosis
end

-- ---- the step -----------------------------------------------------------------------------------

--- Tells what will be waited for.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan_ready(ctx)
  if not ctx.manifest.registration then return {} end
  local path = ctx.manifest.registration.output
  return { { action = "create", what = "registration output " .. path } }
end

--- Waits until the service is ready; in registration mode, until it is done.
-- @tparam context ctx
-- @treturn table|nil {output} in registration mode
function M.wait_until_ready(ctx)
  local intent = need_intent(ctx)
  local view = await_ready(ctx, intent)
  if not ctx.manifest.registration then return nil end
  local path = ctx.manifest.registration.output
  local _, found = next(view.pods)
  fs.write(path, registration.output(found), { mode = "0600" })
  return { output = path }
end

for _, verb in ipairs {
  "status", "logs", "events", "exec", "forward", "drift", "start", "stop", "restart", "wait",
} do
  M[verb] = clusters.explaining(M[verb])
end

return M
