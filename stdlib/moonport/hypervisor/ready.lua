--- The step that waits until the service does its work.
--
-- The manifest's probes are asked through the guest's address; a loopback in them means the guest's
-- own, which only the guest reaches, so it is the guest's address that is asked. Commands, files,
-- the service's own word and its end are asked of the guest. Without probes it is enough that the
-- guest says that the service runs.
-- @module moonport.hypervisor.ready

local boot = require "moonport.hypervisor.boot"
local endpoint = require "moonport.endpoint"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local logs = require "moonport.logs"
local output = require "moonport.hypervisor.output"
local places = require "moonport.hypervisor.places"
local ready = require "moonport.ready"
local shim = require "moonport.shim"
local stop = require "moonport.hypervisor.stop"
local task = require "moonport.task"

local M = {}

--- The probes as they are asked from this host. Pure.
-- @tparam table probes the manifest's `ready`
-- @tparam string guest its address
-- @treturn table
function M.translate(probes, guest)
  local translated = setmetatable({}, { __index = probes })
  if probes.http then translated.http = endpoint.translate(probes.http, { address = guest }) end
  local host, port = (probes.tcp or ""):match("^%[?(.-)%]?:(%d+)$")
  if host and endpoint.is_loopback(host) then translated.tcp = ("%s:%s"):format(guest, port) end
  return translated
end

--- Tells what will be waited for.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  if not ctx.manifest.registration then return {} end
  return {
    { action = "create", what = "registration output " .. ctx.manifest.registration.output },
  }
end

-- Asks the guest over the connection that found it up, or a new one where that is of no use now.
local function ask(ctx, intent, request)
  local found <close> = boot.take(ctx)
  local answer = found and try(request, found)
  if answer then return answer end
  local agent <close> = boot.agent(ctx, intent)
  return request(agent)
end

-- The record of a service that has ended for good, or what became of the machine.
local function wait_end(ctx, intent)
  return task.race {
    function() return boot.wait_end(intent) end,
    function()
      return shim.describe_end(ask(ctx, intent, function(agent) return agent:wait_end() end))
    end,
  }
end

local function run(ctx, intent, argv, seconds)
  local agent <close> = boot.agent(ctx, intent)
  local call = { check = false, timeout = seconds }
  return agent:exec(table.move(argv, 1, #argv, 1, call))
end

-- The run's outcome; raises where it failed.
local function await_registration(ctx, intent)
  local registration = ctx.manifest.registration
  local _ <close> = boot.take(ctx)
  local agent <close> = boot.agent(ctx, intent)
  local outcome = task.timeout(registration.timeout, task.race, {
    function() return { record = agent:wait_end() } end,
    function() return { machine = boot.wait_end(intent) } end,
  })
  local record = outcome.record
  if not (record and record.exit and record.exit.code == 0) then
    errors.raise {
      kind = "hypervisor", code = "registration",
      message = "the registration run failed: " .. (outcome.machine or shim.describe_end(record)),
    }
  end
  local text, why = try(agent.read_file, agent, places.REGISTRATION)
  if not text then
    errors.raise {
      kind = "hypervisor", code = "registration", cause = why,
      message = "the registration run wrote no output",
      hint = "a blueprint writes to REGISTRATION_OUTPUT_PATH",
    }
  end
  return text
end

-- True when this very machine has registered and was shut down: its output is here already.
local function has_registered(intent, path)
  local record, stat = shim.find(intent), try(fs.stat, path)
  return record and shim.has_ended(record) and record.started_at and stat ~= nil
    and stat.mtime >= logs.seconds(record.started_at)
end

-- Nobody needs the machine any more once its output is here. A command that was killed in between
-- finds the output, and does not register twice.
local function register(ctx, intent)
  local path = ctx.manifest.registration.output
  if not has_registered(intent, path) then
    fs.write(path, await_registration(ctx, intent), { mode = "0600" })
  end
  stop.run(ctx, intent)
  return { output = path }
end

local RUNS = { running = true }

-- What is ready as soon as it runs.
local function await_running(agent)
  local record = agent:status()
  if RUNS[record.state] then return record end
  if shim.has_ended(record) then
    errors.raise {
      kind = "ready", code = "ended",
      message = "the service ended at once: " .. shim.describe_end(record),
    }
  end
  return agent:wait_running()
end

--- Waits until the service is ready; in registration mode, until it is done.
-- @tparam context ctx
-- @treturn table|nil {output} in registration mode
function M.apply(ctx)
  local intent = ctx.intents.vmm
  if ctx.manifest.registration then return register(ctx, intent) end
  if not ctx.manifest.ready then
    ask(ctx, intent, await_running)
    return
  end
  ready.wait(M.translate(ctx.manifest.ready, ctx.intents.lease.guest), {
    data_dir = places.DATA,
    run = function(argv, seconds) return run(ctx, intent, argv, seconds) end,
    exists = function(path) return run(ctx, intent, { "/bin/test", "-e", path }, 5).code == 0 end,
    follow_log = function()
      local record = shim.find(intent)
      return output.read(ctx, { since = record and record.started_at, follow = true })
    end,
    wait_end = function() return wait_end(ctx, intent) end,
    wait_notified = function(note)
      local agent <close> = boot.agent(ctx, intent)
      agent:wait_ready(note)
    end,
  })
end

return M
