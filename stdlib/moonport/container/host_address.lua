--- By which address pods reach this host, and whether what they are to reach there can be reached.
-- @module moonport.container.host_address

local address = require "moonport.container.address"
local errors = require "moonport.errors"
local listener = require "moonport.listener"
local net = require "moonport.net"
local syntax = require "moonport.container.syntax"

local M = {}

local CONNECT_SECONDS = 3
-- Addresses that nobody has (RFC 5737, RFC 3849): the way there is the default route's.
local ELSEWHERE = { "192.0.2.1", "2001:db8::1" }

local DEFAULT_PORT = { https = 443, http = 80 }

-- Host and port of the API server.
local function place_of(server)
  local scheme, authority = server:match("^(%a+)://([^/]*)")
  if not scheme then return nil end
  local host, port = authority:match("^%[(.-)%]:?(%d*)$")
  if not host then host, port = authority:match("^([^:]*):?(%d*)$") end
  return host, tonumber(port) or DEFAULT_PORT[scheme:lower()]
end

-- The address that a connection to the API server comes from.
local function towards(server)
  local host, port = place_of(server)
  if not host then return nil end
  local ok, from = try(net.connect, {
    host = host, port = port, timeout = CONNECT_SECONDS, probe = true,
  })
  return ok and from or nil
end

local function by_default_route()
  for _, elsewhere in ipairs(ELSEWHERE) do
    local from = try(net.source_address, elsewhere)
    if from and not address.is_loopback(from) then return from end
  end
end

--- Finds this host's address as pods see it: what the manifest or the site says; else the address
-- that connections to the API server come from; where that is a loopback (a cluster on this
-- machine), the one of the default route.
-- @tparam ?string wanted what manifest or site say: an address or a name
-- @tparam string server URL of the API server
-- @treturn string
-- @treturn boolean true where somebody has said so
-- @raise {kind="container", code="host_address"} when there is none
function M.find(wanted, server)
  if wanted then return wanted, true end
  local from = towards(server)
  if from and not address.is_loopback(from) then return from, false end
  from = by_default_route()
  if from then return from, false end
  errors.raise {
    kind = "container", code = "host_address",
    message = "this host has no address by which pods could reach it",
    hint = "set `container.host_address`, or `kube.host_address` in the site's config.lua",
  }
end

--- True for an address, false for a name.
-- @tparam string text
-- @treturn boolean
function M.is_address(text)
  return syntax.is_ipv4(text) or syntax.is_ipv6(text)
end

local function answers(host, port)
  return try(net.connect, { host = host, port = port, timeout = CONNECT_SECONDS, probe = true })
    ~= nil
end

--- What is wrong about a port that pods are to reach on this host, found out by connecting to it.
-- @tparam string host this host's address
-- @tparam table port {port, protocol, from}
-- @treturn ?table {message, hint, certain}; `certain`: it listens, and only on a loopback
function M.trouble(host, port)
  if port.protocol ~= "TCP" or answers(host, port.port) then return nil end
  if not (answers("127.0.0.1", port.port) or answers("::1", port.port)) then
    return {
      message = ("nothing listens on port %d of this host, where `%s` leads"):format(port.port,
        port.from),
      hint = "the service will find it once it is there",
    }
  end
  local who = listener.find(port.port)
  return {
    certain = true,
    message = ("%s listens on %s:%d alone; pods reach this host at %s, where that port is closed")
      :format(listener.describe(who), who and who.address or "127.0.0.1", port.port, host),
    hint = ("let it listen on %s or on all addresses (ganache, anvil: `--host 0.0.0.0`; geth: "
      .. "`--http.addr 0.0.0.0`), or name an endpoint that pods reach in place of `%s`")
      :format(host, port.from),
  }
end

return M
