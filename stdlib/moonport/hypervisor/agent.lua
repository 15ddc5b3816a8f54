--- The agent in a guest, from the host's side.
--
--     local guest <close> = agent.connect { dir = sockets }
--     print(guest:status().state)                      --> "running"
--     print(guest:exec { "uname", "-r" }.stdout)
--     guest:restart()
--
-- The agent is `moonport-shim`, which runs the service in the guest; docs/shim.md tells of it. It
-- is reached over one of the guest's virtio-serial ports, or its vsock. One call at a time: who
-- wants two connects twice.
--
-- `status`, `network`, `wait_end`, `wait_running` and `wait_ready` change nothing, and work in a
-- plan too.
-- @module moonport.hypervisor.agent

local channels = require "moonport.hypervisor.agent.channel"
local errors = require "moonport.errors"
local exec = require "moonport.hypervisor.agent.exec"
local shim = require "moonport.shim"
local task = require "moonport.task"

local M = {}

local Agent = {}
Agent.__index = Agent
Agent.__name = "moonport.agent"

local CONNECT_SECONDS = 10
local ANSWER_SECONDS = 30 -- beyond what a request itself may take

local function fail(code, message, hint)
  errors.raise { kind = "agent", code = code, message = message, hint = hint }
end

--- Ends the connection; may be repeated. The next call opens it again.
function Agent:close()
  if self.channel then self.channel:close() end
  self.channel = nil
end

Agent.__close = Agent.close

-- The connection, opened where it is not.
function Agent:open()
  if not self.channel then
    self.channel = channels.open(self.options)
    self.version = self.channel.version
  end
  return self.channel.connection
end

local function new(options, patient)
  if type(options) ~= "table" or type(options.dir) ~= "string" then
    errors.raise {
      kind = "argument", code = "invalid",
      message = "agent.connect: `dir` is the directory of the machine's sockets",
    }
  end
  local own = { patient = patient }
  for name, value in pairs(options) do own[name] = value end
  own.timeout = own.timeout or CONNECT_SECONDS
  local self = setmetatable({ options = own }, Agent)
  self:open()
  return self
end

--- Connects.
-- @tparam table options `dir`: where the sockets of the machine are (`agent.0` and so on, or
--   `vsock`); `timeout` in seconds (10) for the agent to answer; `console`: a function that gives
--   the end of the guest's console, for errors
-- @treturn Agent
-- @raise {kind="agent"}: "timeout" when it does not answer, "gone" when the machine does not run,
--   "busy" when all ports are taken, "refused", "closed"
function M.connect(options)
  return new(options)
end

--- Waits until the agent answers first, as it does once the guest is up, and connects.
-- @tparam table options as for `connect`
-- @treturn Agent
-- @raise as `connect`
function M.wait(options)
  channels.prepare(options.dir)
  local self = new(options, true)
  self.options.patient = nil
  self.options.timeout = math.min(self.options.timeout, CONNECT_SECONDS)
  return self
end

-- Requests.

local function read_answer(self, request)
  local line = self.channel.connection:read_line()
  -- A greeting is that of another agent: the guest was reset.
  if not line or line:find "^moonport%-shim " then
    fail("closed", "the guest's agent closed the connection")
  end
  local body = line:match "^ok (.*)$"
  if body then return shim.record(body) end
  local code, message = line:match "^error (%S+) ?(.*)$"
  if code == "unknown-request" then
    fail("unsupported", ("the agent in the guest (version %s) does not know `%s`"):format(
      self.version, request), "deploy the service again: the guest then gets this version's")
  end
  fail(code or "protocol", message or ("the agent answered `%s`"):format(line))
end

-- What leaves the connection where a next request can go.
local function is_answer(err)
  return errors.is(err, "agent") and err.code ~= "closed" and err.code ~= "protocol"
end

-- Asks; without `seconds` for as long as it takes.
local function ask(self, request, seconds)
  local function work()
    self:open():write(request .. "\n")
    return read_answer(self, request)
  end
  local answer, why
  if seconds then
    answer, why = try(task.timeout, seconds, work)
  else
    answer, why = try(work)
  end
  if answer then return answer end
  if not is_answer(why) then self:close() end
  if errors.is(why, "task", "timeout") then
    channels.fail(self.options, "timeout",
      ("the guest's agent did not answer `%s` within %g s"):format(request, seconds), why)
  elseif errors.is(why, "net") then
    channels.fail(self.options, "closed", "the guest went away", why)
  end
  error(why, 0)
end

local function with_ladder(word, options)
  local words = { word }
  if options.signal then words[#words + 1] = "signal=" .. options.signal end
  if options.grace then
    words[#words + 1] = ("grace_ms=%d"):format(math.floor(options.grace * 1000 + 0.5))
  end
  return table.concat(words, " ")
end

-- How long a service may take to stop, by its spec, where the caller does not say.
local LONGEST_GRACE = 600

local function stop_seconds(options)
  return (options.grace or LONGEST_GRACE) + ANSWER_SECONDS
end

--- The record of the service, as `moonport.shim.state` gives it.
-- @treturn table
function Agent:status()
  return ask(self, "status", self.options.timeout)
end

--- Starts the service after its end; fine when it runs.
-- @treturn table its record
-- @raise {kind="agent", code="start-failed"}
function Agent:start()
  return ask(self, "start", ANSWER_SECONDS)
end

--- Stops the service in the guest; the guest goes on.
-- @tparam[opt] table options `grace` in seconds, `signal`
-- @treturn table its record
function Agent:stop(options)
  options = options or {}
  return ask(self, with_ladder("stop", options), stop_seconds(options))
end

--- Stops and starts the service.
-- @tparam[opt] table options as for `stop`
-- @treturn table its record
function Agent:restart(options)
  options = options or {}
  return ask(self, with_ladder("restart", options), stop_seconds(options))
end

--- Stops the service and ends the agent.
-- @tparam[opt] table options as for `stop`
-- @treturn table the service's record
function Agent:shutdown(options)
  options = options or {}
  local record = ask(self, with_ladder("shutdown", options), stop_seconds(options))
  self:close()
  return record
end

--- Sends a signal to the service's main process.
-- @tparam string signal such as "HUP"
-- @treturn table its record
function Agent:signal(signal)
  return ask(self, "signal " .. signal, ANSWER_SECONDS)
end

--- Waits until the service has ended for good.
-- @treturn table its record
function Agent:wait_end()
  return ask(self, "wait")
end

-- The records at every change, from now on. The connection is good for nothing else then.
local function changes(self)
  local first = ask(self, "events", self.options.timeout)
  return coroutine.wrap(function()
    coroutine.yield(first)
    while true do
      local line = self.channel.connection:read_line()
      if not line then channels.fail(self.options, "closed", "the guest went away") end
      local body = line:match "^event (.*)$"
      if body then coroutine.yield(shim.record(body)) end
    end
  end)
end

local function await(self, is_reached)
  local _ <close> = setmetatable({}, { __close = function() self:close() end })
  for record in changes(self) do
    if is_reached(record) then return record end
    if shim.has_ended(record) then
      fail("ended", "the service ended: " .. shim.describe_end(record))
    end
  end
end

--- Waits until the service runs.
-- @treturn table its record
-- @raise {kind="agent", code="ended"} when it ends for good before
function Agent:wait_running()
  return await(self, function(record) return record.state == "running" end)
end

--- Waits until the service says that it is ready, also when it ends before and is started again.
-- @tparam[opt] function note `note(reason)` is told what it says until then
-- @treturn table its record
function Agent:wait_ready(note)
  local _ <close> = setmetatable({}, { __close = function() self:close() end })
  for record in changes(self) do
    local why = shim.unready(record)
    if not why then return record end
    if note then note(why) end
  end
end

--- The guest's network.
-- @tparam[opt] table options `wait`: seconds to wait until it is up
-- @treturn table `up`: an interface has an address and a default route leads out; `address` of the
--   first interface that has one; `gateway`; `problem`: what is missing; `interfaces`, by name:
--   {mac, up, carrier, address, prefix}
function Agent:network(options)
  local wait = options and options.wait or 0
  local request = wait > 0 and ("network wait_ms=%d"):format(math.floor(wait * 1000)) or "network"
  return ask(self, request, self.options.timeout + wait)
end

--- Has the guest send one packet.
-- @tparam table packet {protocol, address, port, from}, as for `moonport.shim.probe`
-- @raise {kind="agent"}: an errno's name, or "unsupported" by an agent that is too old
function Agent:probe(packet)
  return ask(self, shim.probe_request(packet), self.options.timeout)
end

--- Runs a program in the guest, to its end: where and as whom the service runs, with its
-- environment. Whatever it writes comes unharmed; a slow reader holds it up, and never the service.
-- When the connection ends, by a cancel too, the program is hung up, and killed if it stays.
-- @tparam table options the program and its arguments as a list; and of the options of
--   @{moonport.process.run}: `stdin` (`"null"`, `"inherit"`, `{file = PATH}`, or a function that
--   gives the next bytes, and nil at the end), `input` (a string, a secret or such a function),
--   `stdout` and `stderr` (`"capture"`, `"inherit"`, `"null"`, `{file = PATH}` or a function that
--   takes the bytes; `stderr = "stdout"`), `limit`, `truncate`, `timeout`, `check = false`, `env`
--   (on top of the service's; `false` takes one away), `cwd`, `user` ({uid, gid, groups}); `tty`:
--   a terminal, true or `{rows=, columns=}`, to which that of the operator is passed on when
--   `stdin` and `stdout` are `"inherit"`
-- @treturn table `code` or `signal` ("SIGKILL"), `stdout`, `stderr`, `truncated`, `duration`
-- @raise {kind="process"}: "exit" and "signal" unless `check = false`, "ENOENT", "EACCES", "limit";
--   {kind="agent"}: "lost" when nobody can tell how it ended, "unsupported"
function Agent:exec(options)
  return exec.run(self, options)
end

--- Reads a file of the guest.
-- @tparam string path
-- @tparam[opt] integer limit in bytes (16 MiB)
-- @treturn string
-- @raise {kind="process", code="exit"} when it cannot be read
function Agent:read_file(path, limit)
  return self:exec { "cat", "--", path, limit = limit }.stdout
end

return M
