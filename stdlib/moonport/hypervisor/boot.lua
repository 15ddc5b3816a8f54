--- The step that waits until the guest is up: its agent answers, and its network is as it was told.
-- @module moonport.hypervisor.boot

local clock = require "moonport.clock"
local errors = require "moonport.errors"
local output = require "moonport.hypervisor.output"
local shim = require "moonport.shim"
local status = require "moonport.hypervisor.status"
local task = require "moonport.task"
local vmm = require "moonport.hypervisor.vmm"

local M = {}

-- Time for the interface to come up, once the agent answers.
local NETWORK_SECONDS = 20
-- Time for who is only asked how things are. A guest that is emulated on a busy host needs seconds.
local VMM_SECONDS, GUEST_SECONDS = 5, 10

local FULL_HINT = "make room where the state is, and deploy again"

local function fail(code, message, hint, cause)
  errors.raise { kind = "hypervisor", code = code, message = message, hint = hint, cause = cause }
end

--- Connects to the guest's agent.
-- @tparam context ctx
-- @tparam table intent of the step `vmm`
-- @tparam[opt] table options as for `moonport.hypervisor.agent.connect`
-- @treturn agent
function M.agent(ctx, intent, options)
  local call = {
    driver = intent.spec.driver, dir = intent.sockets,
    console = function() return output.console_tail(ctx, 5) end,
  }
  for key, value in pairs(options or {}) do call[key] = value end
  return require("moonport.hypervisor.agent").connect(call)
end

--- How a machine ended, for people.
-- @tparam table intent
-- @tparam ?table record of its supervisor
-- @treturn string
function M.describe_end(intent, record)
  local ended = try(vmm.ended, intent)
  local reason = ended and status.describe_reason(ended.reason)
  local how = shim.describe_end(record)
  return reason and ("%s (the VMM %s)"):format(reason, how) or "its VMM " .. how
end

--- Waits until the machine has ended for good, or its guest has panicked.
-- @tparam table intent
-- @treturn string how
function M.wait_end(intent)
  return M.describe_end(intent, shim.wait_end(intent))
end

-- Waits until a disk of the guest's has no room on this host, or fails: the machine is paused then,
-- and its guest will not answer.
local function wait_disk_trouble(intent)
  local machine <close> = vmm.connect(intent)
  local happens <close> = machine:events()
  while true do
    local event = happens:next()
    local info = event.what == "disk-error" and machine:info()
    if info and info.state == "paused" then return status.describe_pause(info) end
  end
end

-- By context, the connection over which the guest was found to be up.
local found_up = setmetatable({}, { __mode = "k" })

--- The connection over which the step found the guest up, once and for who goes on with it: a
-- greeting more takes a guest that is emulated tens of milliseconds. The guest may have been reset
-- since then.
-- @tparam context ctx
-- @treturn ?agent to be closed
function M.take(ctx)
  local connection = found_up[ctx]
  found_up[ctx] = nil
  return connection
end

local function answered(ctx, intent)
  local agent = require "moonport.hypervisor.agent"
  local connection = agent.wait {
    driver = intent.spec.driver, dir = intent.sockets,
    timeout = ctx.manifest.hypervisor.boot_timeout,
    console = function() return output.console_tail(ctx, 5) end,
  }
  local _ <close> = setmetatable({}, { __close = function()
    if found_up[ctx] ~= connection then connection:close() end
  end })
  local network = connection:network { wait = NETWORK_SECONDS }
  found_up[ctx] = connection
  return { network = network }
end

-- What broke off may have done so because the VMM has ended, and is being started again.
local function check_alive(intent, why)
  local record = shim.find(intent)
  local exit = record and record.exit
  if not exit or record.state == "running" and record.restarts == 0 then return end
  fail("ended", ("the virtual machine ended before its guest answered: its VMM %s"):format(
    shim.describe_end { exit = exit }), exit.oom and "raise `hypervisor.overhead`" or nil, why)
end

-- A guest that never says a word has its console in the report of the failure.
local function await_agent(ctx, intent)
  local outcome, why = try(task.race, {
    function() return answered(ctx, intent) end,
    function() return { ended = M.wait_end(intent) } end,
    function() return { paused = wait_disk_trouble(intent) } end,
  })
  if outcome and outcome.paused then fail("disk", outcome.paused, FULL_HINT) end
  if outcome and outcome.ended then
    fail("ended", "the virtual machine ended before its guest answered: " .. outcome.ended)
  elseif outcome then
    return outcome
  elseif errors.is(why) and why.code == "timeout" then
    fail("timeout", ("the guest did not answer within %g s"):format(
      ctx.manifest.hypervisor.boot_timeout),
      "its console tells how far it came; if it only needs longer, raise `hypervisor.boot_timeout`",
      why)
  end
  check_alive(intent, why)
  error(why, 0)
end

-- "No network" is what guests fail of most silently.
local function check_network(ctx, found)
  local lease = ctx.intents.lease
  if not found then return nil end
  if found.up and (not found.address or found.address == lease.guest) then return found end
  fail("network", ("the guest answers, but has not the address %s: %s"):format(lease.guest,
    found.problem or (found.address and "it has " .. found.address or "no interface is up")),
    "its console tells what the guest's network configuration came to")
end

--- Tells nothing: booting changes nothing that is not told yet.
-- @treturn {change,...}
function M.plan()
  return {}
end

--- Waits until the guest is up.
-- @tparam context ctx
-- @treturn table {seconds, network}
-- @raise {kind="hypervisor"} with the code "ended", "timeout", "disk" or "network"
function M.apply(ctx)
  local intent, started = ctx.intents.vmm, clock.monotonic()
  local found = await_agent(ctx, intent)
  local network = check_network(ctx, found.network)
  return { seconds = clock.monotonic() - started, network = network }
end

--- What the VMM says of the machine; a problem where it does not answer.
-- @tparam table intent
-- @treturn table info of `moonport.vm`, or {problem}
function M.ask_machine(intent)
  local info, why = try(task.timeout, VMM_SECONDS, function()
    local machine <close> = vmm.connect(intent)
    return machine:info()
  end)
  if info then return info end
  if errors.is(why, "task", "cancelled") then error(why, 0) end
  return { problem = errors.is(why) and why.message or tostring(why) }
end

--- What the guest says of the service; a problem where it does not answer.
-- @tparam context ctx
-- @tparam table intent
-- @treturn table {service, network}, or {problem}
function M.ask_guest(ctx, intent)
  local found, why = try(task.timeout, GUEST_SECONDS, function()
    local agent <close> = M.agent(ctx, intent, { timeout = GUEST_SECONDS })
    return { service = agent:status(), network = agent:network() }
  end)
  if found then return found end
  if errors.is(why, "task", "cancelled") then error(why, 0) end
  return { problem = errors.is(why) and why.message or tostring(why) }
end

return M
