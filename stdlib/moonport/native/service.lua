--- A native service under its supervisor: starting, stopping, asking.
-- @module moonport.native.service

local account = require "moonport.native.account"
local attach = require "moonport.attach"
local contract = require "moonport.contract"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local limits = require "moonport.native.limits"
local logs = require "moonport.logs"
local process = require "moonport.process"
local program = require "moonport.native.program"
local ready = require "moonport.ready"
local secret = require "moonport.secret"
local shim = require "moonport.shim"
local storage = require "moonport.native.storage"
local sys = require "moonport.sys"
local task = require "moonport.task"
local text = require "moonport.text"

local M = {
  --- The name of the supervisor's socket in the deployment's runtime directory.
  SOCKET = "shim.sock",
  --- The name of the socket on which a service says that it is ready.
  NOTIFY = "notify",
}

local DIAGNOSIS_LINES = 20

-- What the service is given.

local function registration_output(ctx)
  return ctx.manifest.registration and fs.join(ctx.intents.storage.data, "registration.json")
end

local function environment(ctx)
  local env = contract.environment(ctx.manifest, {
    data_dir = ctx.intents.storage.data,
    keystore = ctx.manifest.keystore,
    registration_output = registration_output(ctx),
  })
  for name, value in pairs(env) do
    if type(value) == "table" then env[name] = secret.resolve(value["$secret"]) end
  end
  return env
end

local function working_dir(ctx)
  return ctx.manifest.native.working_dir or ctx.intents.storage.data
end

local function notify_socket(ctx)
  return ready.is_told(ctx.manifest) and ctx:runtime_path(M.NOTIFY) or nil
end

local function spec(ctx, intent)
  local manifest = ctx.manifest
  return {
    name = ctx.name,
    id = intent.id,
    argv = program.argv(manifest),
    exe = intent.exe,
    env = environment(ctx),
    cwd = working_dir(ctx),
    user = account.of(ctx),
    cgroups = ctx.results.limits and ctx.results.limits.paths,
    restart = manifest.registration and { policy = "no" } or manifest.restart,
    stop = manifest.stop,
    log = manifest.log,
    nofile = manifest.limits.nofile,
    nice = manifest.native.nice,
    oom_score_adj = manifest.native.oom_score_adj,
    no_new_privs = manifest.native.no_new_privs,
    notify = notify_socket(ctx),
  }
end

-- The step.

--- Chooses how the supervisor is found again.
-- @tparam context ctx
-- @treturn table intent {id, dir, socket, exe}
-- @treturn table resources
function M.allocate(ctx)
  local intent = {
    id = ctx.tag,
    dir = storage.allocate(ctx).service,
    socket = ctx:runtime_path(M.SOCKET),
    exe = program.file(ctx.manifest),
  }
  local identity = { id = intent.id, dir = intent.dir, socket = intent.socket }
  return intent, { { "shim", identity } }
end

-- Whether it says that it is ready to a socket that its account must be let through to.
local function speaks_from_elsewhere(ctx)
  return ready.is_told(ctx.manifest) and account.of(ctx).uid ~= sys.euid()
end

--- Checks that the service can reach what it is to reach.
-- @tparam context ctx
-- @raise {kind="native", code="refused"}
function M.check(ctx)
  ctx:runtime_path(M.SOCKET)
  if speaks_from_elsewhere(ctx) and sys.euid() ~= 0 then
    errors.raise {
      kind = "native", code = "refused",
      message = ("`%s` cannot reach a socket in your runtime directory, as `ready.notify` asks")
        :format(ctx.manifest.user),
      hint = "use another probe, leave out `user`, or run moonport as root",
    }
  end
end

--- Tells what would be started.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local argv = program.argv(ctx.manifest)
  return {
    {
      action = ctx.present and "change" or "create",
      what = ("service %s"):format(ctx.name),
      to = text.argv(argv),
    },
  }
end

--- Starts the service, unless it was started with this very intent already.
-- @tparam context ctx
-- @tparam table intent
-- @treturn table {pid}
function M.start(ctx, intent)
  local record = shim.find(intent)
  if record and not shim.has_ended(record) then
    return { pid = record.service and record.service.pid }
  end
  -- Where the record cannot be read there may still be a supervisor.
  if not record and (shim.state(intent.dir) or {}).damaged then shim.stop(intent) end
  -- What a supervisor that was killed left behind would hold ports and files.
  limits.kill(ctx.intents.limits)
  ctx:make_runtime { pass = speaks_from_elsewhere(ctx) }
  local pid = shim.start {
    dir = intent.dir, socket = intent.socket, spec = spec(ctx, intent),
    -- A site may have removed the step, which would also see to the end of this group.
    cgroups = ctx.intents.limits and limits.supervisors(ctx),
  }
  return { pid = pid }
end

--- Stops the service that was started with this intent, and no other.
-- @tparam context ctx
-- @tparam table intent
-- @tparam[opt] table _ result
-- @tparam[opt] table options `grace` (seconds)
function M.stop(ctx, intent, _, options)
  local stop = ctx.manifest.stop
  shim.stop(intent, {
    signal = stop.signal,
    grace = options and options.grace or stop.grace,
  })
  limits.kill(ctx.intents.limits)
end

-- Readiness.

local function started_at(ctx)
  local record = shim.find(ctx.intents.service)
  return record and record.started_at
end

local function run_beside(ctx, argv, seconds)
  local call = {
    env = environment(ctx), clean_env = true, cwd = working_dir(ctx), user = account.of(ctx).name,
    check = false, timeout = seconds,
  }
  return process.run(table.move(argv, 1, #argv, 1, call))
end

-- The record changes with every word of the service.
local function wait_notified(intent, note)
  local watch <close> = fs.watch(intent.dir)
  while true do
    local record = shim.find(intent)
    local why = record and shim.unready(record)
    if record and not why then return end
    note(why or "it has no record yet")
    watch:next()
  end
end

local function register(ctx)
  local intent, registration = ctx.intents.service, ctx.manifest.registration
  local record = task.timeout(registration.timeout, shim.wait_end, intent)
  if not (record and record.exit and record.exit.code == 0) then
    errors.raise {
      kind = "native", code = "registration",
      message = "the registration run failed: " .. shim.describe_end(record),
    }
  end
  local output = registration_output(ctx)
  if not fs.exists(output) then
    errors.raise {
      kind = "native", code = "registration",
      message = ("the registration run wrote no `%s`"):format(output),
      hint = "a blueprint writes to REGISTRATION_OUTPUT_PATH",
    }
  end
  fs.copy(output, registration.output)
  return { output = registration.output }
end

--- Tells what will be waited for.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan_ready(ctx)
  local manifest = ctx.manifest
  if manifest.registration then
    return { { action = "create", what = "registration output " .. manifest.registration.output } }
  end
  return {}
end

--- Waits until the service is ready; in registration mode, until it is done.
-- @tparam context ctx
-- @treturn table|nil {output} in registration mode
function M.wait_until_ready(ctx)
  if ctx.manifest.registration then return register(ctx) end
  if not ctx.manifest.ready then return end
  local intent = ctx.intents.service
  ready.wait(ctx.manifest.ready, {
    data_dir = ctx.intents.storage.data,
    run = function(argv, seconds) return run_beside(ctx, argv, seconds) end,
    follow_log = function()
      return logs.read { dir = intent.dir, since = started_at(ctx), follow = true }
    end,
    wait_end = function() return shim.describe_end(shim.wait_end(intent)) end,
    wait_notified = function(note) wait_notified(intent, note) end,
  })
end

-- Asking.

local function end_state(ctx, record)
  if record.state == "lost" then
    return ctx.want == "stopped" and "stopped" or "lost supervisor"
  end
  if record["end"] == "stopped" or record["end"] == "terminated" then return "stopped" end
  if record["end"] == "exit" then
    local fine = record.exit and record.exit.code == 0
    return fine and ctx.manifest.registration and "completed" or fine and "exited" or "failed"
  end
  return "failed"
end

local function exit_of(record)
  local exit = record.exit
  if record.state == "lost" then return { unknown = true } end
  return exit and {
    code = exit.code, signal = exit.signal, oom = exit.oom, peak = exit.peak_memory, at = exit.at,
  }
end

--- Tells how the service is.
-- @tparam context ctx
-- @treturn table {state, reason, pid, since, restarts, exit, memory, cpu, processes, problem}; with
-- `ready.notify` also `ready` and `says`, the service's own words
function M.status(ctx)
  local intent = ctx.intents.service
  local record = intent and shim.state(intent.dir)
  if not record then return { state = "stopped" } end
  local usage = limits.usage(ctx.intents.limits)
  local status = {
    state = shim.has_ended(record) and end_state(ctx, record)
      or record.state == "backoff" and "restarting" or record.state,
    pid = not shim.has_ended(record) and record.service and record.service.pid or nil,
    since = record.started_at,
    restarts = record.restarts,
    exit = exit_of(record),
    memory = usage.memory,
    cpu = usage.cpu,
    processes = usage.pids,
    problem = record.error and record.error.message or nil,
  }
  shim.add_told(status, record)
  return status
end

--- The service's output.
-- @tparam context ctx
-- @tparam table options `follow`, `tail`, `since` (seconds since 1970), `stream`, `expects_more`
--   (function: true while it is about to be started again, asked when it has ended)
-- @treturn function iterator of {time, stream, text}
function M.logs(ctx, options)
  local dir = ctx.intents.service.dir
  return logs.read {
    dir = dir,
    tail = options.tail,
    since = options.since and logs.timestamp(options.since),
    stream = options.stream,
    follow = options.follow,
    ended = function()
      local record = shim.state(dir)
      if record and not shim.has_ended(record) then return false end
      return not (options.expects_more and options.expects_more())
    end,
  }
end

-- A terminal of the command's own: one that runs as somebody else never gets the operator's.
local function exec_on_terminal(call)
  call.pty = attach.size()
  local command <close> = process.spawn(call)
  attach.run(command)
  return command:wait()
end

--- Runs a command where and as whom the service runs, within its limits.
-- @tparam context ctx
-- @tparam table options the argv as list elements; `stdin`, `stdout`, `stderr`, `env`; `tty`: it
--   gets a terminal, to which the operator's is attached
-- @treturn table {code, signal, stdout, stderr}
function M.exec(ctx, options)
  local env = environment(ctx)
  for name, value in pairs(options.env or {}) do env[name] = value end
  local call = {
    env = env, clean_env = true, cwd = working_dir(ctx), user = account.of(ctx).name,
    cgroup = limits.group(ctx.intents.limits),
  }
  table.move(options, 1, #options, 1, call)
  if options.tty then return exec_on_terminal(call) end
  call.stdin, call.stdout = options.stdin or "inherit", options.stdout or "inherit"
  call.stderr, call.check = options.stderr or "inherit", false
  call.foreground = call.stdin == "inherit"
  return process.run(call)
end

--- What an operator would look up after a failure.
-- @tparam context ctx
-- @treturn table {exit, log}
function M.diagnose(ctx)
  local intent = ctx.intents.service
  local record = intent and shim.find(intent)
  if not record then return {} end
  local last = {}
  for line in logs.read { dir = intent.dir, tail = DIAGNOSIS_LINES } do
    last[#last + 1] = { time = line.time, stream = line.stream, text = line.text }
  end
  return { exit = exit_of(record), log = last }
end

-- Changing what serves.

--- Starts the service again after it has ended; fine when it runs.
-- @tparam context ctx
function M.restart_ended(ctx)
  local intent = ctx.intents.service
  local record = shim.state(intent.dir)
  if record and record.id == intent.id and not shim.has_ended(record) then return end
  if ctx.intents.limits then ctx.results.limits = limits.make(ctx, ctx.intents.limits) end
  M.start(ctx, intent)
  M.wait_until_ready(ctx)
end

--- Stops the service and keeps what was made for it.
-- @tparam context ctx
-- @tparam[opt] table options `grace` (seconds)
function M.stop_running(ctx, options)
  M.stop(ctx, ctx.intents.service, nil, options)
end

-- What ran until the machine went down, or until its supervisor died. A service that had ended by
-- itself, and that its policy did not start again, had ended for good.
local function was_running(ctx)
  local record = shim.find(ctx.intents.service)
  return not record or record.state == "lost" or record["end"] == "terminated"
end

--- After a reboot: starts the service again if it ran until then.
-- @tparam context ctx
-- @treturn boolean true when something was done
function M.restore(ctx)
  if not was_running(ctx) then return false end
  M.restart_ended(ctx)
  return true
end

local REACHED = {
  running = function(status) return status.state == "running" end,
  stopped = function(status) return status.state ~= "running" and status.state ~= "restarting" end,
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
  local intent = ctx.intents.service
  local function wait()
    local found = ctx.manifest.registration and REACHES_END[state] and M.status(ctx)
    if found and found.state == "completed" then return found end
    if state == "ready" then
      M.wait_until_ready(ctx)
    elseif state == "running" then
      local watch <close> = fs.watch(intent.dir)
      while not REACHED.running(M.status(ctx)) do watch:next() end
    elseif REACHED[state] then
      shim.wait_end(intent)
    else
      errors.raise {
        kind = "native", code = "usage", message = ("a service is never `%s`"):format(state),
        hint = "one of: running, ready, stopped, exited",
      }
    end
    return M.status(ctx)
  end
  return options.timeout and task.timeout(options.timeout, wait) or wait()
end

--- The address of a port of the service: it is on this host already.
-- @tparam context _
-- @tparam integer port
-- @treturn table {address, port, close}
function M.forward(_, port)
  return { address = "127.0.0.1", port = port, close = function() end }
end

--- What the supervisor did: starts, ends, each rung of a stop.
-- @tparam context ctx
-- @tparam table options `limit` (the last so many)
-- @treturn {{at,type,data},...}
function M.events(ctx, options)
  local list = {}
  local intent = ctx.intents.service
  if not intent then return list end
  for line in logs.read { dir = intent.dir, name = "shim.log", tail = options.limit } do
    list[#list + 1] =
      { at = logs.seconds(line.time), type = "supervisor", data = { text = line.text } }
  end
  return list
end

return M
