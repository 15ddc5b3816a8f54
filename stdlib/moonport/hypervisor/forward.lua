--- A local port that leads to one of a guest.
-- @module moonport.hypervisor.forward

local core = require "moonport.core.task"
local errors = require "moonport.errors"
local log = require "moonport.log"
local net = require "moonport.net"
local task = require "moonport.task"

local M = {}

local CONNECT_SECONDS = 10

local Forward = {}
Forward.__index = Forward
Forward.__close = function(self) self:close() end

-- A direction that has ended is told to the other side; what comes back is still passed on.
local function copy(from, to)
  for bytes in function() return from:read() end do to:write(bytes) end
  to:shutdown()
end

local function carry(self, client)
  local guest <close> = net.connect { host = self.to, port = self.to_port,
    timeout = CONNECT_SECONDS }
  task.all {
    function() copy(client, guest) end,
    function() copy(guest, client) end,
  }
end

-- That one of both ends is gone is no failure of the others.
local function serve(self, accepted)
  local client <close> = accepted
  local _, why = try(carry, self, client)
  if not why or errors.is(why, "net", "ECONNRESET") or errors.is(why, "net", "EPIPE")
    or errors.is(why, "task", "cancelled") then
    return
  end
  log.warn("a forwarded connection failed: " .. tostring(why.message or why), {
    guest = self.to, port = self.to_port,
  })
end

local function accept_all(self)
  while not self.closed do
    local client, why = try(self.listener.accept, self.listener)
    if client then
      task.contained(serve, self, client)
    elseif not self.closed then
      error(why, 0)
    end
  end
end

--- Ends it, with its connections. `<close>` does it.
function Forward:close()
  if self.closed then return end
  self.closed = true
  self.owner:cancel("the forward was closed")
  self.listener:close()
  pcall(self.owner.await, self.owner)
end

--- Listens, and leads each connection to the guest until it is closed.
-- @tparam table options `address`, `port` (0: any free one); `to`, `to_port`: the guest's
-- @treturn table {address, port, close}
-- @raise {kind="net", code="EADDRINUSE"}
function M.open(options)
  local listener = net.listen { host = options.address, port = options.port }
  local forward = setmetatable({
    listener = listener, address = options.address, port = listener:port(),
    to = options.to, to_port = options.to_port,
  }, Forward)
  forward.owner = core.spawn("cp", accept_all, forward)
  return forward
end

return M
