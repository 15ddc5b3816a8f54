--- Addresses of this host as a pod sees them.
--
-- An RPC endpoint or a boot node on the loopback of this host is reached from a pod by another
-- address, which a Service gives. Whatever else an address holds stays as it is, byte by byte.
-- @module moonport.container.address

local syntax = require "moonport.container.syntax"

local M = {}

local DEFAULT_PORT = { http = 80, ws = 80, https = 443, wss = 443 }

--- True for a name or address that leads back to the host itself.
-- @tparam string host without brackets
-- @treturn boolean
function M.is_loopback(host)
  host = host:lower()
  if host == "localhost" or host:find("%.localhost$") or host == "::1" or host == "::" then
    return true
  end
  local mapped = host:match("^::ffff:([%d.]+)$") or host
  return syntax.is_ipv4(mapped) and (mapped:find("^127%.") ~= nil or mapped == "0.0.0.0")
end

-- The parts of a URL: what is before the host, the host without brackets, the port's digits (""
-- where there are none), and the rest. Nil for what is no URL with a host.
local function split_url(url)
  local scheme, authority, rest = url:match("^(%a[%w+.-]*)://([^/?#]*)(.*)$")
  if not scheme then return nil end
  local userinfo, place = authority:match("^(.*@)(.-)$")
  place = place or authority
  local host, port = place:match("^%[(.-)%]:?(%d*)$")
  if not host then host, port = place:match("^([^:]*):?(%d*)$") end
  if not host or host == "" then return nil end
  return {
    scheme = scheme:lower(), before = ("%s://%s"):format(scheme, userinfo or ""), host = host,
    port = port, rest = rest,
  }
end

local function bracketed(address)
  return address:find(":", 1, true) and "[" .. address .. "]" or address
end

local function port_there(host, port)
  return host.ports and host.ports[port] or port
end

local function url_port(parts)
  return tonumber(parts.port) or DEFAULT_PORT[parts.scheme]
end

local function translate_url(parts, host)
  local port = url_port(parts)
  local there = port and port_there(host, port)
  local shown = there and (parts.port ~= "" or there ~= port) and ":" .. there or ""
  return parts.before .. bracketed(host.address) .. shown .. parts.rest
end

-- A multiaddress such as `/ip4/127.0.0.1/tcp/30333/p2p/...`.
local function split_multiaddress(text)
  local family, host, rest = text:match("^/([%a]+%d?)/([^/]+)(.*)$")
  if not (family == "ip4" or family == "ip6" or family == "dns" or family == "dns4"
    or family == "dns6") then
    return nil
  end
  local protocol, port, tail = rest:match("^/(tcp)/(%d+)(.*)$")
  if not protocol then protocol, port, tail = rest:match("^/(udp)/(%d+)(.*)$") end
  return { host = host, protocol = protocol, port = port, rest = tail or rest }
end

local function translate_multiaddress(parts, host)
  local address = host.address
  local family = syntax.is_ipv4(address) and "ip4" or syntax.is_ipv6(address) and "ip6" or "dns"
  local text = "/" .. family .. "/" .. address
  if parts.port then
    text = text .. "/" .. parts.protocol .. "/" .. port_there(host, tonumber(parts.port))
  end
  return text .. parts.rest
end

local function parse(text)
  local url = split_url(text)
  if url then return url, translate_url, url_port(url), "TCP" end
  local multi = split_multiaddress(text)
  if multi then
    return multi, translate_multiaddress, tonumber(multi.port), (multi.protocol or "tcp"):upper()
  end
end

--- An address as a pod sees it.
-- @tparam string text a URL or a multiaddress
-- @tparam table host {address, ports}: how a pod reaches this host; `ports` maps a port of the host
-- to the one there, where it differs
-- @treturn string `text` itself where it does not lead to a loopback
function M.translate(text, host)
  local parts, translate = parse(text)
  if not parts or not M.is_loopback(parts.host) then return text end
  return translate(parts, host)
end

local function sources(manifest)
  local list = {
    { "http-rpc", manifest.http_rpc_url }, { "ws-rpc", manifest.ws_rpc_url },
  }
  for index, node in ipairs(manifest.bootnodes or {}) do
    list[#list + 1] = { "bootnode-" .. index, node }
  end
  return list
end

--- The ports of this host that a service is to reach: of loopback addresses, and
-- `container.host_ports`.
-- @tparam table manifest the manifest's data
-- @treturn {{port,protocol,name,from},...} each port once, named by its first use; `from` is the
-- address or the field that asks for it
function M.ports(manifest)
  local found, seen = {}, {}
  local function add(port, protocol, name, from)
    local key = port .. protocol
    if seen[key] then return end
    seen[key] = true
    found[#found + 1] = { port = port, protocol = protocol, name = name, from = from }
  end
  for _, source in ipairs(sources(manifest)) do
    local name, text = table.unpack(source, 1, 2)
    local parts, _, port, protocol = parse(text or "")
    if parts and port and M.is_loopback(parts.host) then add(port, protocol, name, text) end
  end
  for index, port in ipairs(manifest.container and manifest.container.host_ports or {}) do
    add(port, "TCP", "host-" .. port, ("container.host_ports[%d]"):format(index))
  end
  return found
end

return M
