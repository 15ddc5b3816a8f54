--- WebSockets: messages both ways over one connection.
--
--     local ws <close> = websocket.connect("ws://127.0.0.1:8546/", { ping = 15 })
--     ws:send('{"id":1,"method":"eth_subscribe","params":["newHeads"]}', "text")
--     for message in ws:messages() do print(message) end
--
-- A call suspends only its task. A slow peer holds up who sends to it, a slow reader holds up the
-- peer: little is kept in memory either way. With `ping`, a peer that is silent for three times as
-- long is dead, and everything that waits for it raises.
--
-- Connecting is refused while nothing may be changed (a plan), since nobody can tell what will be
-- said.
--
-- Errors are `{kind="websocket"}` with the code `refused` (the server answered the upgrade with
-- another `status`; what it said is in `body`), `protocol`, `closed` (without a good-bye, or too
-- late to send), `timeout`, `limit`, `busy`, `invalid`, `library`; and those of `http` where there
-- is no connection.
--
-- Options:
--
-- - `protocols`: list of names to offer, the best first; `ws.protocol` is the one that was chosen
-- - `ping`: seconds without a byte after which the peer is pinged (none)
-- - `max_message`: bytes of a message that comes (16 MiB)
-- - `buffer`: bytes of messages that wait for their reader before the peer is held up (256 KiB)
-- - `may_stall`: true where the peer may rightly stop reading: its silence then counts only when
--   its TCP is silent as well
-- - `timeout`: seconds for the whole opening (30); `connect_timeout` (10)
-- - `headers`, `ca`, `ca_pem`, `cert`, `cert_pem`, `key`, `key_pem`, `key_password`, `server_name`,
--   `insecure`, `unix`, `proxy`: as for `mp.http`
-- @module moonport.websocket

local core = require "moonport.core.websocket"
local errors = require "moonport.errors"

local M = {}

local OWN = { protocols = true, ping = true, max_message = true, buffer = true, may_stall = true }
local OF_HTTP = {
  timeout = true, connect_timeout = true, headers = true, ca = true, ca_pem = true, cert = true,
  cert_pem = true, key = true, key_pem = true, key_password = true, server_name = true,
  insecure = true, unix = true, proxy = true,
}

local function unknown(name)
  local names = {}
  for _, list in ipairs { OWN, OF_HTTP } do
    for known in pairs(list) do names[#names + 1] = known end
  end
  table.sort(names)
  errors.raise {
    kind = "argument", code = "invalid",
    message = ("websocket: there is no option `%s`"):format(tostring(name)),
    hint = require("moonport.nearest").hint(tostring(name), names),
  }
end

local function split(url, options)
  local http, own = { url = url }, {}
  for name, value in pairs(options or {}) do
    if not OWN[name] and not OF_HTTP[name] then unknown(name) end
    (OWN[name] and own or http)[name] = value
  end
  return http, own
end

--- Connects.
-- @tparam string url `ws://`, `wss://`, `http://` or `https://`
-- @tparam[opt] table options those listed above
-- @treturn WebSocket
-- @raise {kind="websocket"}, {kind="http"}; {kind="gate"} while nothing may be changed
function M.connect(url, options)
  return core.connect(split(url, options))
end

--- An open WebSocket. Fields: `protocol` (nil: none was chosen) and `url`, as it may be shown.
-- `local ws <close> = ...` ends it at once, without a good-bye.
-- @type WebSocket
local WebSocket = core.methods

--- Sends a message; returns when it was handed on to the network. Several tasks may send: each
-- message goes out whole, in order.
-- @function WebSocket:send
-- @tparam string|secret bytes
-- @tparam[opt="binary"] string kind "binary" or "text" (UTF-8)
-- @treturn WebSocket itself

--- Waits for the next message. One task at a time.
-- @function WebSocket:receive
-- @treturn ?string nil once the peer has closed, and all its messages have been received
-- @treturn string|integer "binary" or "text"; else the code of the close (1005: it gave none)
-- @treturn ?string the reason for the close
-- @raise {kind="websocket"}: "closed" when the connection ended without a good-bye, "timeout" when
-- the peer is silent

--- The messages up to the close, for a `for` loop.
-- @treturn function iterator of bytes and kind
function WebSocket:messages()
  return function() return self:receive() end
end

--- Pings the peer and waits until it answers.
-- @function WebSocket:ping

--- Says good-bye, waits for the peer's, and closes. What was sent before goes out first; what comes
-- meanwhile is thrown away. Closing again is fine.
-- @function WebSocket:close
-- @tparam[opt=1000] integer code 1000, or 3000 to 4999
-- @tparam[opt=""] string reason at most 123 bytes
-- @tparam[opt=5] number timeout seconds for the peer's good-bye
-- @treturn boolean false when it did not come

return M
