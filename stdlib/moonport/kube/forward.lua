--- Local ports that lead to ports of pods.
--
--     local web <close> = cluster:forward({ service = "web" }, 80)
--     print(http.get(("http://%s:%d/healthz"):format(web.address, web.port)).status)
-- @submodule moonport.kube

local core = require "moonport.core.task"
local errors = require "moonport.errors"
local net = require "moonport.net"
local options_of = require "moonport.kube.options"
local paths = require "moonport.kube.paths"
local sessions = require "moonport.kube.exec.session"
local targets = require "moonport.kube.forward.target"
local task = require "moonport.task"

local M = {}

local DATA, ERROR = 0, 1 -- channels; the first message of each is the port, in two bytes
local PROTOCOL = "v4.channel.k8s.io"
local PING = 10      -- seconds
local PATIENCE = 30  -- seconds that a connection waits for a pod that is ready
local LINGER = 10    -- seconds for an answer after the client has said that it sends no more
local WORDS = 4096   -- bytes of what the server says is wrong
local PAUSE = 0.5    -- seconds after a connection could not be accepted

-- What went wrong with one connection; the others go on.
local function note(self, err)
  self.failed = self.failed + 1
  self.last_error = err
  if self.on_error then return self.on_error(err) end
  require("moonport.log").warn("a forwarded connection failed: " .. tostring(err.message or err), {
    target = self.target.what, port = self.port,
  })
end

-- One connection.

local function dial(self, pod, port)
  local path = paths.of(sessions.pods, self.target.namespace, pod, "portforward")
  local ws, err = try(self.cluster.client.websocket, self.cluster.client, {
    path = ("%s?ports=%d"):format(path, port), protocols = { PROTOCOL }, ping = PING,
    may_stall = true,
  })
  if ws then return ws end
  error(sessions.refusal(err, {
    cluster = self.cluster, verb = ("reach port %d of"):format(port), resource = sessions.pods,
    name = pod, namespace = self.target.namespace,
  }), 0)
end

local function raise_unreachable(pod, port, words)
  local refused = words:find("connection refused", 1, true) ~= nil
  errors.raise {
    kind = "kube", code = "unreachable", pod = pod, pod_port = port, server_message = words,
    message = ("port %d of pod `%s` cannot be reached: %s"):format(port, pod,
      refused and "connection refused" or words:match("^%s*(.-)%s*$")),
    hint = refused and "nothing listens there on the pod's loopback; is it another port, or not up "
      .. "yet?" or nil,
  }
end

-- What the client sends. WebSockets end both directions together, so that after the client's end
-- the answer is waited for as long as it keeps coming.
local function copy_up(client, ws, state)
  for bytes in function() return client:read() end do
    ws:send("\0" .. bytes)
  end
  local before
  repeat
    before = state.moved
    task.sleep(LINGER)
  until state.moved == before
end

local function pass_up(client, ws, state)
  pcall(copy_up, client, ws, state) -- it fails where one of the two ends is gone
  ws:close(1000, "", 1)
end

local function pass_down(client, ws, state, pod, port)
  local announced, words = {}, ""
  for message in ws:messages() do
    local channel, bytes = message:byte(1), message:sub(2)
    if not announced[channel] and #bytes >= 2 then
      announced[channel] = true
      bytes = bytes:sub(3)
    end
    state.moved = state.moved + #bytes
    if channel == ERROR then
      words = (words .. bytes):sub(1, WORDS)
    elseif channel == DATA and bytes ~= "" then
      client:write(bytes)
    end
  end
  if words ~= "" then raise_unreachable(pod, port, words) end
end

local function carry(self, client)
  local pod, port = self.target:find()
  self.pod = pod
  local ws <close> = dial(self, pod, port)
  task.scope(function()
    local state = { moved = 0 }
    local up = task.contained(pass_up, client, ws, state)
    pass_down(client, ws, state, pod, port)
    up:cancel("the pod has ended the connection")
  end)
end

-- That a client is gone is its own affair.
local function serve(self, accepted)
  local client <close> = accepted
  local ok, err = pcall(carry, self, client)
  if ok or errors.is(err, "task", "cancelled") or errors.is(err, "net") then return end
  note(self, err)
end

local function accept_all(self)
  while not self.closed do
    local client, err = try(self.listener.accept, self.listener)
    if client then
      task.contained(serve, self, client)
    elseif errors.is(err, "task", "cancelled") then
      error(err, 0)
    elseif not self.closed then
      note(self, err)
      task.sleep(PAUSE)
    end
  end
end

--- A local port that leads into the cluster. Fields: `address` and `port`, where it listens; `pod`,
-- to which the latest connection went; `failed`, the number of connections that could not be made
-- or broke, and `last_error`.
-- @type Forward
local Forward = {}
Forward.__index = Forward
Forward.__name = "moonport.kube.forward"
Forward.__close = function(self) self:close() end

function Forward:__tostring()
  return ("forward of %s:%d to %s"):format(self.address, self.port, self.target.what)
end

--- Ends it, with all its connections. `<close>` does it.
function Forward:close()
  if self.closed then return end
  self.closed = true
  self.owner:cancel("the forward was closed")
  self.listener:close()
  pcall(self.owner.await, self.owner)
end

--- @section end

local KNOWN = { address = "name", local_port = "count", on_error = "function" }

--- Listens on a local port, each connection to which goes to a port of a pod, until it is closed.
-- What is forwarded to is found for each connection: when a pod is replaced, new connections go to
-- the new one; while none is ready they wait for it for half a minute. What goes wrong with one
-- connection ends no other.
-- @function Cluster:forward
-- @tparam string|table target a pod's name; `{service = NAME}`, whose port is led to the pod's as
--   the service does; or `{labels = ...}`: the newest of these pods that is ready
-- @tparam integer|string port of the pod or the service, by number or by name
-- @tparam[opt] table options `local_port` (any free one), `address` ("127.0.0.1"), `namespace`;
--   `on_error`: called with what went wrong with a connection, which is logged else
-- @treturn Forward for a `<close>` variable
-- @raise {kind="kube"}: `"not_found"`, `"no_port"`; {kind="net"}: "EADDRINUSE"
function M.forward(self, target, port, options)
  options = options_of.check("cluster:forward", options, KNOWN)
  local address = options.address or "127.0.0.1"
  local found = targets.new(self, target, port, options.namespace or self.namespace, PATIENCE)
  found:check()
  local listener = net.listen { host = address, port = options.local_port or 0 }
  local forward = setmetatable({
    cluster = self, target = found, listener = listener, on_error = options.on_error,
    address = address, port = listener:port(), failed = 0,
  }, Forward)
  forward.owner = core.spawn("cp", accept_all, forward)
  return forward
end

return M
