-- A program that runs in a pod, over a WebSocket: channels, and how it ends.

local errors = require "moonport.errors"
local json = require "moonport.json"
local paths = require "moonport.kube.paths"
local status = require "moonport.kube.status"

local M = {}

-- What the server calls its protocols. Only the newer can end a program's input.
local V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"

local STDIN, STDOUT, STDERR, STATUS, RESIZE = 0, 1, 2, 3, 4
local CLOSE = "\255"

local PIECE = 32768 -- bytes of a message
local AHEAD = 256 << 10 -- bytes of input that may be under way on V4
local STATUS_MOST = 1 << 20 -- bytes of how it ended
-- Seconds; three times as long and silent means dead. Not less: what a program has written may
-- wait at a server that has no time just now, and where the program has ended meanwhile, a ping
-- through the proxies of older servers would take it back.
local PING = 30

local pods = { group = "", version = "v1", name = "pods", singular = "pod", namespaced = true }
M.pods = pods

local Session = {}
Session.__index = Session

-- What errors tell of.
local function about_of(cluster, target)
  return {
    cluster = cluster, verb = ("run `%s` in"):format(target.command[1]), resource = pods,
    name = target.pod, namespace = target.namespace,
  }
end

-- command=a&command=b&container=c&stdin=true
local function query_of(target)
  local parts = {}
  for _, word in ipairs(target.command) do
    parts[#parts + 1] = "command=" .. paths.escape(word)
  end
  if target.container then parts[#parts + 1] = "container=" .. paths.escape(target.container) end
  for _, name in ipairs { "stdin", "stdout", "stderr", "tty" } do
    if target[name] then parts[#parts + 1] = name .. "=true" end
  end
  return table.concat(parts, "&")
end

-- A server that has none of the protocols says so with an empty 403, before it runs anything.
local function is_about_protocol(err)
  return err.status == 403 and not err.body:find("{", 1, true)
end

local function raise_input_cannot_end(target)
  errors.raise {
    kind = "kube", code = "stdin_cannot_end",
    message = ("`%s` was not run in pod `%s`: its input has to end, and this server has no way to "
      .. "tell it so"):format(target.command[1], target.pod),
    hint = "Kubernetes can since 1.30 (exec protocol v5). Leave its input out, give it a terminal, "
      .. "or, where it knows by itself how much it reads, say `stdin_ends = false`",
  }
end

-- A refusal in the words of the API.
function M.refusal(err, about)
  if not errors.is(err, "websocket", "refused") then return err end
  return status.error_of({ status = err.status, reason = err.reason }, err.body, about)
end

-- Begins to run it.
--   target: `pod`, `namespace`, `container`, `command` (list); `stdin`, `stdout`, `stderr`, `tty`:
--   which of them it has; `must_end`: its input has to end
function M.open(cluster, target)
  local path = paths.of(pods, target.namespace, target.pod, "exec") .. "?" .. query_of(target)
  local ws, err = try(cluster.client.websocket, cluster.client, {
    path = path, protocols = target.must_end and { V5 } or { V5, V4 }, ping = PING,
    may_stall = target.stdin,
  })
  if not ws then
    if target.must_end and err.status and is_about_protocol(err) then
      raise_input_cannot_end(target)
    end
    error(M.refusal(err, about_of(cluster, target)), 0)
  end
  return setmetatable({
    ws = ws, cluster = cluster, target = target, can_end = ws.protocol == V5,
    ahead = 0,
  }, Session)
end

-- Input.

local function send(self, channel, bytes)
  return self.ws:send(string.char(channel) .. bytes)
end

-- On V4 it is the container engine that answers, behind proxies each of which drops what it holds
-- of one direction once the other breaks. Where much input is still under way when the program
-- ends, the news of its end is so lost. A pong says that the engine has taken all before it.
local function give(self, bytes)
  send(self, STDIN, bytes)
  if self.can_end then return end
  self.ahead = self.ahead + #bytes
  if self.ahead >= AHEAD then
    self.ahead = 0
    self.ws:ping()
  end
end

-- Bytes (a string or a secret) for its input; waits while it does not read.
function Session:write(bytes)
  if type(bytes) ~= "string" or #bytes <= PIECE then return give(self, bytes) end
  for at = 1, #bytes, PIECE do give(self, bytes:sub(at, at + PIECE - 1)) end
end

-- Its input ends. A terminal gets the character that means so.
function Session:finish()
  if self.target.tty then
    send(self, STDIN, "\4")
  elseif self.can_end then
    self.ws:send(CLOSE .. string.char(STDIN))
  end
end

function Session:resize(rows, columns)
  send(self, RESIZE, json.encode { Width = columns, Height = rows })
end

-- Output.

-- How the pod is, for who has lost it.
local function fate_of(self)
  local target = self.target
  local pod, err = try(self.cluster.get, self.cluster, "pods", target.pod,
    { namespace = target.namespace, timeout = 5, retries = 0 })
  if errors.is(err, "task", "cancelled") then error(err, 0) end
  if errors.is(err, "kube", "not_found") then return "the pod is gone" end
  if not pod then return "the server does not tell how the pod is" end
  local phase = pod.status and pod.status.phase or "unknown"
  if pod.metadata.deletionTimestamp then return "the pod is being deleted" end
  if phase ~= "Running" then return "the pod is " .. phase end
  return "the pod runs; what it began may run on"
end

-- Nobody can tell any more how it ended. why: how the connection did.
local function raise_lost(self, why, cause)
  local target = self.target
  errors.raise {
    kind = "kube", code = "lost", exit = "unknown", cause = cause,
    message = ("the connection to `%s` in pod `%s` ended before it did; its exit code is unknown: "
      .. "%s"):format(target.command[1], target.pod, why),
    hint = fate_of(self),
  }
end

-- The next message; nil once it has said how it ended, with a good-bye or without.
local function receive(self)
  local ok, message, code, reason = pcall(self.ws.receive, self.ws)
  if ok and message then return message end
  if not ok and errors.is(message, "task", "cancelled") then error(message, 0) end
  if self.status then return nil end
  if not ok then raise_lost(self, message.message or tostring(message), message) end
  raise_lost(self, ("the server closed it with code %d%s"):format(code,
    reason ~= "" and ": " .. reason or ""))
end

-- The next bytes: the channel (1 or 2) and the bytes; nil at the end.
function Session:next()
  while true do
    local message = receive(self)
    if not message then return nil end
    local channel = message:byte(1)
    if channel == STATUS then
      self.status = ((self.status or "") .. message:sub(2)):sub(1, STATUS_MOST)
    elseif (channel == STDOUT or channel == STDERR) and #message > 1 then
      return channel, message:sub(2)
    end
  end
end

-- What a terminal that is passed on reads: both outputs are one there.
function Session:read()
  local _, bytes = self:next()
  return bytes
end

-- The end.

local function exit_code(said)
  local details = type(said.details) == "table" and said.details or {}
  for _, cause in ipairs(type(details.causes) == "table" and details.causes or {}) do
    if cause.reason == "ExitCode" then return math.tointeger(tonumber(cause.message)) end
  end
end

-- The runtime's words for a program that is not there, or that may not be run.
local function start_error(self, said)
  local words = tostring(said.message)
  local code = (words:find("executable file not found", 1, true)
      or words:find("no such file or directory", 1, true)) and "ENOENT"
    or words:find("permission denied", 1, true) and "EACCES"
  if not code or not words:find("exec", 1, true) then return nil end
  local target = self.target
  return errors.new {
    kind = "process", code = code, server_message = words,
    message = ("`%s` %s in pod `%s`"):format(target.command[1],
      code == "ENOENT" and "was not found" or "may not be run", target.pod),
  }
end

-- How it ended, once `next` has given nil: its exit code. Raises where it did not begin.
function Session:result()
  local said = json.decode(self.status)
  if said.status == "Success" then return 0 end
  local code = exit_code(said)
  if code then return code end
  error(start_error(self, said) or status.from_status(said, about_of(self.cluster, self.target)), 0)
end

function Session:close()
  self.ws:close(1000, "", 1)
end

-- Without a good-bye: what is not done is not wanted any more.
Session.__close = function(self)
  local _ <close> = self.ws
end

return M
