--- Addresses of this host as what runs apart from it sees them.
--
-- An RPC endpoint or a boot node on the loopback of this host is reached from a pod or a virtual
-- machine by another address. Whatever else an address holds stays as it is, byte by byte.
-- @module moonport.endpoint

local M = {}

local DEFAULT_PORT = { http = 80, ws = 80, https = 443, wss = 443 }

--- True for an IPv4 address in dotted form.
-- @tparam string text
-- @treturn boolean
function M.is_ipv4(text)
  local parts = { text:match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$") }
  for _, part in ipairs(parts) do
    if tonumber(part) > 255 then return false end
  end
  return #parts == 4
end

--- True for what can only be an IPv6 address (its groups are not counted: who uses it does).
-- @tparam string text
-- @treturn boolean
function M.is_ipv6(text)
  return text:find("^[%x:]*:[%x:.]*$") ~= nil and text:find(":", 1, true) ~= nil
end

--- True for a name or address that leads back to the host itself.
-- @tparam string host without brackets
-- @treturn boolean
function M.is_loopback(host)
  host = host:lower()
  if host == "localhost" or host:find("%.localhost$") or host == "::1" or host == "::" then
    return true
  end
  local mapped = host:match("^::ffff:([%d.]+)$") or host
  return M.is_ipv4(mapped) and (mapped:find("^127%.") ~= nil or mapped == "0.0.0.0")
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
  local family = M.is_ipv4(address) and "ip4" or M.is_ipv6(address) and "ip6" or "dns"
  local text = "/" .. family .. "/" .. address
  if parts.port then
    text = text .. "/" .. parts.protocol .. "/" .. port_there(host, tonumber(parts.port))
  end
  return text .. parts.rest
end

local function parse(text)
  local url = split_url(text)
  if url then return url, translate_url, url_port(url), "tcp" end
  local multi = split_multiaddress(text)
  if multi then
    return multi, translate_multiaddress, tonumber(multi.port), multi.protocol or "tcp"
  end
end

--- Where an address leads.
-- @tparam string text a URL or a multiaddress
-- @treturn ?table {host, port, protocol} (`protocol` is "tcp" or "udp"); nil for what is neither
function M.target(text)
  local parts, _, port, protocol = parse(text)
  return parts and { host = parts.host, port = port, protocol = protocol }
end

--- An address of the host's loopback as it is seen from elsewhere.
-- @tparam string text a URL or a multiaddress
-- @tparam table host {address, ports}: how this host is reached from there; `ports` maps a port of
-- the host to the one there, where it differs
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

--- Where the addresses of a manifest lead, in their order.
-- @tparam table manifest the manifest's data
-- @treturn {{host,port,protocol,name,from},...} `name` tells the field, `from` is the address
function M.targets(manifest)
  local list = {}
  for _, source in ipairs(sources(manifest)) do
    local name, text = table.unpack(source, 1, 2)
    local target = text and M.target(text)
    if target and target.port then
      target.name, target.from = name, text
      list[#list + 1] = target
    end
  end
  return list
end

return M
