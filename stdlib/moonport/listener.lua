--- Who listens on a port of this host, and where: what the kernel says in /proc.
-- @module moonport.listener

local fs = require "moonport.fs"

local M = {}

-- The kernel's states of sockets that take what comes.
local LISTENING, UNCONNECTED = "0A", "07"

-- `0100007F` -> `127.0.0.1`: the bytes of a word are in the machine's order (little-endian here).
local function ipv4(hex)
  local bytes = {}
  for pair in hex:gmatch "%x%x" do table.insert(bytes, 1, tostring(tonumber(pair, 16))) end
  return table.concat(bytes, ".")
end

local function ipv6(hex)
  if hex == ("0"):rep(32) then return "::" end
  if hex == ("0"):rep(24) .. "01000000" then return "::1" end
  local mapped = hex:match("^" .. ("0"):rep(16) .. "FFFF0000(%x%x%x%x%x%x%x%x)$")
  if mapped then return ipv4(mapped) end
  local groups = {}
  for word in hex:gmatch("%x%x%x%x%x%x%x%x") do
    local a, b, c, d = word:match("(%x%x)(%x%x)(%x%x)(%x%x)")
    groups[#groups + 1] = (d .. c):lower()
    groups[#groups + 1] = (b .. a):lower()
  end
  return table.concat(groups, ":")
end

--- The sockets that listen on a port, of a table of the kernel. Pure.
-- @tparam string text of /proc/net/tcp or /proc/net/tcp6
-- @tparam integer port
-- @tparam[opt] string wanted_state
-- @treturn {{address,inode},...}
function M.parse(text, port, wanted_state)
  local found = {}
  local wanted = ("%04X"):format(port)
  for line in text:gmatch "[^\n]+" do
    local hex, at, state, rest = line:match("^%s*%d+: (%x+):(%x+) %x+:%x+ (%x%x) (.*)$")
    if hex and at == wanted and state == (wanted_state or LISTENING) then
      local inode = rest:match("^%S+ %S+ %S+%s+%d+%s+%d+ (%d+)")
      found[#found + 1] = { address = #hex == 8 and ipv4(hex) or ipv6(hex), inode = inode }
    end
  end
  return found
end

local function read(path)
  return try(fs.read, path) or ""
end

-- The process that has a socket; nil where it is another account's.
local function process_of(inode)
  local wanted = ("socket:[%s]"):format(inode)
  for _, entry in ipairs(try(fs.list, "/proc") or {}) do
    if entry.name:find "^%d+$" then
      local dir = "/proc/" .. entry.name
      for _, fd in ipairs(try(fs.list, dir .. "/fd") or {}) do
        if try(fs.readlink, dir .. "/fd/" .. fd.name) == wanted then
          return tonumber(entry.name), (read(dir .. "/comm"):gsub("%s+$", ""))
        end
      end
    end
  end
end

--- Finds who listens on a TCP port.
-- @tparam integer port
-- @treturn ?table {address, pid, name}; without pid and name where that is not to be seen
function M.find(port)
  for _, path in ipairs { "/proc/net/tcp", "/proc/net/tcp6" } do
    local socket = M.parse(read(path), port)[1]
    if socket then
      local pid, name = process_of(socket.inode)
      return { address = socket.address, pid = pid, name = name }
    end
  end
end

local PROTOCOLS = {
  tcp = { LISTENING, "/proc/net/tcp", "/proc/net/tcp6" },
  udp = { UNCONNECTED, "/proc/net/udp", "/proc/net/udp6" },
}
local ANY = { ["0.0.0.0"] = true, ["::"] = true }

--- Finds who has a port of an IPv4 address, or of all of them.
-- @tparam string protocol "tcp" or "udp"
-- @tparam string address "0.0.0.0": any
-- @tparam integer port
-- @treturn ?table {address, pid, name}, as `find` gives it
function M.at(protocol, address, port)
  local sources = PROTOCOLS[protocol]
  for index = 2, #sources do
    for _, socket in ipairs(M.parse(read(sources[index]), port, sources[1])) do
      local has_ipv4 = ANY[socket.address] or socket.address:find("^[%d.]+$")
      if has_ipv4 and (ANY[socket.address] or ANY[address] or socket.address == address) then
        local pid, name = process_of(socket.inode)
        return { address = socket.address, pid = pid, name = name }
      end
    end
  end
end

--- A listener for people.
-- @tparam ?table listener
-- @treturn string such as "`node` (pid 4711)"
function M.describe(listener)
  if not (listener and listener.pid) then return "what listens there" end
  return ("`%s` (pid %d)"):format(listener.name, listener.pid)
end

return M
