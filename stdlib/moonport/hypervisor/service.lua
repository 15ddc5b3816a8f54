--- The verbs of a service in a virtual machine.
-- @module moonport.hypervisor.service

local boot = require "moonport.hypervisor.boot"
local driver = require "moonport.hypervisor.driver"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local limits = require "moonport.native.limits"
local logs = require "moonport.logs"
local output = require "moonport.hypervisor.output"
local places = require "moonport.hypervisor.places"
local ready = require "moonport.hypervisor.ready"
local shim = require "moonport.shim"
local status = require "moonport.hypervisor.status"
local stop = require "moonport.hypervisor.stop"
local task = require "moonport.task"
local vmm = require "moonport.hypervisor.vmm"

local M = {}

local DIAGNOSIS_LINES = 20
local CONSOLE_LINES = 30
-- A guest on a busy host takes its time to answer; who runs a command in it has that time.
local BUSY_SECONDS = 60

local function refuse(code, message, hint)
  errors.raise { kind = "hypervisor", code = code, message = message, hint = hint }
end

-- ---- asking -------------------------------------------------------------------------------------

local function about(ctx)
  local registration = ctx.manifest.registration
  return {
    want = ctx.want, registration = registration ~= nil,
    registered = registration ~= nil and ctx.results.ready ~= nil
      and fs.exists(registration.output),
  }
end

local function lives(record)
  return record and not shim.has_ended(record) and record.state ~= "backoff"
end

--- Tells how the service is: the supervisor, the VMM and the guest are asked.
-- @tparam context ctx
-- @treturn table {state, reason, problem, hint, pid, since, restarts, exit, memory, cpu, vmm,
-- address, machine, guest}
function M.status(ctx)
  local intent = ctx.intents.vmm
  if not intent then return { state = "stopped" } end
  local record = shim.state(intent.dir)
  if record and record.id ~= intent.id then record = nil end
  local machine = lives(record) and boot.ask_machine(intent) or nil
  local guest = machine and machine.state == "running" and boot.ask_guest(ctx, intent) or nil
  local ending = record and shim.has_ended(record) and try(vmm.ended, intent) or nil
  local found = status.of(record, about(ctx), { machine = machine, guest = guest, ending = ending })
  local usage = limits.usage(intent)
  found.memory, found.cpu, found.processes = usage.memory, usage.cpu, usage.pids
  found.vmm = driver.describe(intent.spec)
  found.address = ctx.intents.lease and ctx.intents.lease.guest
  return found
end

--- The service's output, or with `console` what the guest's console said.
-- @tparam context ctx
-- @tparam table options `follow`, `tail`, `since` (seconds since 1970), `console`, `expects_more`
-- @treturn function iterator of {time, stream, text}
function M.logs(ctx, options)
  if options.stream and not options.console then
    refuse("refused", "what a service in a VM writes to stdout and stderr arrives as one",
      "leave out --stream; --console shows the guest's console")
  end
  local dir = places.supervisor(ctx)
  return output.read(ctx, {
    console = options.console, tail = options.tail, follow = options.follow,
    since = options.since and logs.timestamp(options.since),
    ended = function()
      local record = shim.state(dir)
      if record and not shim.has_ended(record) then return false end
      return not (options.expects_more and options.expects_more())
    end,
  })
end

--- What the supervisor of the VMM did, and what became of the machine.
-- @tparam context ctx
-- @tparam table options `limit` (the last so many)
-- @treturn {{at,type,data},...}
function M.events(ctx, options)
  local list, dir = {}, places.supervisor(ctx)
  if not fs.exists(dir) then return list end
  for line in logs.read { dir = dir, name = "shim.log", tail = options.limit } do
    list[#list + 1] =
      { at = logs.seconds(line.time), type = "supervisor", data = { text = line.text } }
  end
  return list
end

-- ---- a look inside ------------------------------------------------------------------------------

--- Runs a command in the guest, as whom the service runs, with its environment.
-- @tparam context ctx
-- @tparam table options the argv as list elements; `stdin`, `stdout`, `stderr`, `tty`, `env`
-- @treturn table {code, signal, stdout, stderr}
function M.exec(ctx, options)
  local intent = vmm.need_running(ctx)
  local call = { check = false }
  for key, value in pairs(options) do call[key] = value end
  call.stdin, call.stdout = call.stdin or "inherit", call.stdout or "inherit"
  call.stderr = call.stderr or "inherit"
  local agent <close> = boot.agent(ctx, intent, { timeout = BUSY_SECONDS })
  return agent:exec(call)
end

-- The console's terminal. cloud-hypervisor has either that or a record.
local function terminal_of(ctx, intent)
  local machine <close> = vmm.connect(intent)
  local path = machine:console()
  if path then return path end
  refuse("refused", ("the console of `%s` is kept, and cannot be attached to"):format(ctx.name),
    ("`moonport logs --console %s` shows it; `hypervisor.console = \"pty\"` of the manifest makes "
      .. "it a terminal, which is not kept"):format(ctx.name))
end

--- Gives the terminal to the guest's console.
-- @tparam context ctx
-- @tparam[opt] table options `escape`
-- @raise {kind="hypervisor", code="refused"} where it is none
function M.console(ctx, options)
  local intent = vmm.need_running(ctx)
  local path = terminal_of(ctx, intent)
  require("moonport.hypervisor.console").attach {
    path = path, lock = intent.sockets .. "/console.lock", name = ctx.name,
    escape = options and options.escape,
  }
end

--- The address of a port of the service: this host reaches the guest's.
-- @tparam context ctx
-- @tparam integer port
-- @tparam[opt] table options `address`, `local_port`: a listener of this host in its place
-- @treturn table {address, port, close}
function M.forward(ctx, port, options)
  vmm.need_running(ctx)
  local guest = ctx.intents.lease.guest
  if not (options and (options.local_port or options.address)) then
    return { address = guest, port = port, close = function() end }
  end
  return require("moonport.hypervisor.forward").open {
    address = options.address or "127.0.0.1", port = options.local_port or 0,
    to = guest, to_port = port,
  }
end

-- ---- changing -----------------------------------------------------------------------------------

-- What a reboot or somebody's `ip link delete` has taken: the TAP and the rules.
local function mend_network(ctx)
  local tap = require "moonport.hypervisor.tap"
  if ctx.intents.tap then tap.apply(ctx, ctx.intents.tap) end
  require("moonport.hypervisor.network").mend(ctx)
end

--- Starts the machine again after it has ended; fine when it runs.
-- @tparam context ctx
function M.start(ctx)
  local intent = ctx.intents.vmm
  if not intent then refuse("refused", ("`%s` has no virtual machine"):format(ctx.name),
    "deploy it again") end
  local record = shim.find(intent)
  if record and not shim.has_ended(record) then return M.start_service(ctx, intent) end
  mend_network(ctx)
  vmm.start(ctx, intent)
  boot.apply(ctx)
  ready.apply(ctx)
end

--- Starts the service in a guest that runs, where it has ended.
-- @tparam context ctx
-- @tparam table intent
function M.start_service(ctx, intent)
  local guest = boot.ask_guest(ctx, intent)
  if not guest.service or not shim.has_ended(guest.service) then return end
  local agent <close> = boot.agent(ctx, intent)
  agent:start()
  ready.apply(ctx)
end

--- Shuts the machine down and keeps everything else.
-- @tparam context ctx
-- @tparam[opt] table options `grace` (seconds)
function M.stop(ctx, options)
  local intent = ctx.intents.vmm
  if intent then stop.run(ctx, intent, options) end
end

local CRASHES = { ["vmm-killed"] = true, ["vmm-error"] = true }

-- A VMM that crashed is started again by its supervisor, unless it is one that does not boot by its
-- command line.
local function has_crashed(ctx, intent)
  if ctx.manifest.restart.policy == "no" or vmm.is_restartable(intent) then return false end
  local ending = vmm.ended(intent)
  return ending ~= nil and CRASHES[ending.reason] == true
end

-- What ran until the host went down, until its supervisor died, or until it crashed.
local function was_running(ctx)
  local intent = ctx.intents.vmm
  if not intent then return false end
  local record = shim.find(intent)
  return not record or record.state == "lost" or record["end"] == "terminated"
    or has_crashed(ctx, intent)
end

--- After a reboot or a crash: starts the machine again if it ran until then. Rules are put right
-- either way, as for one that runs while something has flushed them.
-- @tparam context ctx
-- @treturn boolean true when something was done
function M.restore(ctx)
  if not was_running(ctx) then
    if require("moonport.hypervisor.network").mend(ctx) then
      ctx:warn "the firewall of virtual machines was not as it is to be, and is again"
    end
    return false
  end
  M.start(ctx)
  return true
end

local REACHED = {
  stopped = true, exited = true,
}

local function wait_end(ctx)
  local intent = ctx.intents.vmm
  local record = intent and shim.find(intent)
  if not record or shim.has_ended(record) then return end
  task.race {
    function() return { shim.wait_end(intent) } end,
    function()
      local agent <close> = boot.agent(ctx, intent)
      return { agent:wait_end() }
    end,
  }
end

--- Waits until the service reaches a state.
-- @tparam context ctx
-- @tparam string state "running", "ready", "stopped" or "exited"
-- @tparam table options `timeout` (seconds)
-- @treturn table status
function M.wait(ctx, state, options)
  local function wait()
    -- A registration that has completed is as ready as it will ever be; its machine is gone.
    local found = ctx.manifest.registration and (state == "ready" or state == "running")
      and M.status(ctx)
    if found and found.state == "completed" then return found end
    if state == "ready" then
      vmm.need_running(ctx)
      boot.apply(ctx)
      ready.apply(ctx)
    elseif state == "running" then
      vmm.need_running(ctx)
      boot.apply(ctx)
      local agent <close> = boot.agent(ctx, ctx.intents.vmm)
      if agent:status().state ~= "running" then agent:wait_running() end
    elseif REACHED[state] then
      wait_end(ctx)
    else
      refuse("usage", ("a service is never `%s`"):format(state),
        "one of: running, ready, stopped, exited")
    end
    return M.status(ctx)
  end
  return options.timeout and task.timeout(options.timeout, wait) or wait()
end

-- ---- after a failure ----------------------------------------------------------------------------

local function counters_text(ctx)
  local intent = ctx.intents.firewall
  if not intent then return nil end
  local found = try(require("moonport.hypervisor.firewall").counters, ctx.state, intent.record.id)
  local parts = {}
  for _, counter in ipairs(found or {}) do
    local what = ("%s %s"):format(counter.about or counter.set, counter.key or "")
    parts[#parts + 1] = ("%s: %d packets"):format(what, counter.packets)
  end
  return #parts > 0 and table.concat(parts, "; ") or nil
end

local function machine_text(intent, record)
  if not record then return "it was never started" end
  if shim.has_ended(record) then return boot.describe_end(intent, record) end
  local info = boot.ask_machine(intent)
  return info.problem or info.state
end

--- What an operator would look up after a failure: how the machine is or ended, the last lines of
-- the service and of the console, what the firewall counted.
-- @tparam context ctx
-- @treturn table {exit, machine, log, console, firewall}
function M.diagnose(ctx)
  local intent = ctx.intents.vmm
  if not intent then return {} end
  local record = shim.find(intent)
  local found = {
    machine = machine_text(intent, record), firewall = counters_text(ctx),
    log = output.service_tail(ctx, DIAGNOSIS_LINES),
    console = output.console_tail(ctx, CONSOLE_LINES),
  }
  if record and shim.has_ended(record) then
    local exit = record.exit
    found.exit = record.state == "lost" and { unknown = true } or exit and {
      code = exit.code, signal = exit.signal, oom = exit.oom, peak = exit.peak_memory,
    } or nil
  end
  return found
end

return M
