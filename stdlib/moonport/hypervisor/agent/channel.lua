--- A line to the agent in a guest: a virtio-serial port of our own, or a vsock connection.
--
-- A port has no connections: whoever opens it may find what another one left, in both directions.
-- So each line begins with a `hello` and a word of its own, and what comes before the answer that
-- holds this word is not for us. Ports are locked, so that two commands never talk over one.
-- @module moonport.hypervisor.agent.channel

local clock = require "moonport.clock"
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local net = require "moonport.net"
local task = require "moonport.task"

local M = {}

local VSOCK_PORT = 1024
local FIRST_WAIT, MOST_WAIT = 0.05, 1 -- seconds between two tries where nothing tells of a change

local function fail(code, message, hint, cause)
  errors.raise { kind = "agent", code = code, message = message, hint = hint, cause = cause }
end

--- Raises an error of the agent, with the end of the guest's console as the hint.
-- @tparam table options of `connect`
-- @tparam string code
-- @tparam string message
-- @param[opt] cause
function M.fail(options, code, message, cause)
  local tail = options.console and try(options.console)
  if type(tail) == "table" then tail = table.concat(tail, "\n") end
  if tail == "" then tail = nil end
  fail(code, message, tail and "the guest's console ends with:\n" .. tail, cause)
end

local function ports_of(dir)
  local ports = {}
  for _, entry in ipairs(try(fs.list, dir) or {}) do
    local number = entry.name:match "^agent%.(%d+)$"
    if number then ports[#ports + 1] = tonumber(number) end
  end
  table.sort(ports)
  return ports
end

local function port_path(dir, number)
  return fs.join(dir, "agent." .. number)
end

local function lock_path(dir, number)
  return port_path(dir, number) .. ".lock"
end

-- A lock's file cannot be made while nothing may be changed; such a port is as good as taken.
local function try_lock(path, options)
  local lock, why = try(fs.lock, path, options)
  if lock then return lock end
  if errors.is(why, "fs", "held") or errors.is(why, "gate") then return nil, why end
  error(why, 0)
end

-- A free port and its lock. When all are taken, waits for the last one.
local function take_port(options, ports)
  local why
  for _, number in ipairs(ports) do
    local lock, refused = try_lock(lock_path(options.dir, number))
    if lock then return port_path(options.dir, number), lock end
    why = refused
  end
  if errors.is(why, "gate") then error(why, 0) end
  local last = ports[#ports]
  local lock, held = try_lock(lock_path(options.dir, last), { wait = options.timeout / 2 })
  if lock then return port_path(options.dir, last), lock end
  fail("busy", ("all %d ports of the guest's agent are in use"):format(#ports),
    held.message, held)
end

-- cloud-hypervisor leads a connection to its socket on to a port of the guest.
local function ask_for_vsock(connection)
  connection:write(("CONNECT %d\n"):format(VSOCK_PORT))
  local answer = connection:read_line()
  if not (answer and answer:find "^OK ") then
    fail("refused", "nobody in the guest listens on vsock port " .. VSOCK_PORT)
  end
end

local function dial(path, is_vsock)
  local connection, why = try(net.connect, { unix = path, asks = "agent", timeout = 5 })
  if not connection then
    if not errors.is(why, "net") then error(why, 0) end
    fail("gone", ("nobody is at the other end of `%s`: the virtual machine does not run"):format(
      path), nil, why)
  end
  if is_vsock then
    local ok, refused = pcall(ask_for_vsock, connection)
    if not ok then
      connection:close()
      error(refused, 0)
    end
  end
  return connection
end

local function greet(connection)
  local word = crypto.hex(crypto.random(8))
  connection:write(("\nhello %s\n"):format(word))
  for line in connection:lines() do
    local protocol, version = line:match("^moonport%-shim (%d+) (%S+) " .. word .. "$")
    if protocol then return tonumber(protocol), version end
  end
  fail("closed", "the guest's agent closed the connection")
end

local Channel = {}
Channel.__index = Channel

--- Ends it; may be repeated.
function Channel:close()
  if self.connection then self.connection:close() end
  if self.lock then self.lock:release() end
  self.connection, self.lock = nil, nil
end

Channel.__close = Channel.close

local function open_once(options)
  local ports = ports_of(options.dir)
  local vsock = fs.join(options.dir, "vsock")
  local channel = setmetatable({}, Channel)
  local _ <close> = setmetatable({}, { __close = function()
    if not channel.version then channel:close() end
  end })
  if #ports > 0 then
    local path
    path, channel.lock = take_port(options, ports)
    channel.connection = dial(path, false)
  elseif fs.exists(vsock) then
    channel.connection = dial(vsock, true)
  else
    fail("gone", ("`%s` holds no channel to a guest: the virtual machine does not run"):format(
      options.dir))
  end
  channel.protocol, channel.version = greet(channel.connection)
  return channel
end

-- What may become better while a machine starts.
local NOT_YET = { gone = true, refused = true, closed = true }

local function open_patiently(options)
  local wait = FIRST_WAIT
  while true do
    local channel, why = try(open_once, options)
    if channel then return channel end
    if not (errors.is(why, "agent") and NOT_YET[why.code]) then error(why, 0) end
    task.sleep(wait)
    wait = math.min(2 * wait, MOST_WAIT)
  end
end

--- Opens one. On a port this waits until the guest opens its end: no need to ask again and again.
-- @tparam table options `dir`, `timeout`, `console`, and `patient`: also wait for what is not there
--   yet
-- @treturn channel `connection`, `protocol`, `version`
-- @raise {kind="agent"}: "timeout", "gone", "refused", "busy", "closed"
function M.open(options)
  local began = clock.monotonic()
  local channel, why = try(task.timeout, options.timeout,
    options.patient and open_patiently or open_once, options)
  if channel then return channel end
  if errors.is(why, "task", "timeout") then
    M.fail(options, "timeout", ("the guest's agent did not answer within %g s"):format(
      math.floor((clock.monotonic() - began) * 10 + 0.5) / 10), why)
  elseif errors.is(why, "agent") and why.code ~= "busy" and not why.hint then
    M.fail(options, why.code, why.message, why)
  end
  error(why, 0)
end

--- Makes the files of the locks, so that the guest can be asked while nothing may be changed.
-- @tparam string dir
function M.prepare(dir)
  for _, number in ipairs(ports_of(dir)) do
    local lock = try_lock(lock_path(dir, number))
    if lock then lock:release() end
  end
end

return M
