--- The ways that a VM's packets are meant to have, and one that they must not.
--
-- @module moonport.hypervisor.firewall.ways
local layout = require "moonport.hypervisor.firewall.layout"

local M = {}

-- Ports of this host that somebody would miss if a guest reached them; the first that it may not.
local CLOSED = { 22, 80, 443, 8080 }

-- Whoever is asked by TCP answers, if only to refuse.
local function answer(entry, back)
  return entry.protocol == "tcp" and back or nil
end

local function to_host(record, entry, what)
  return {
    what = what:format(entry.port, entry.protocol),
    wanted = { direction = "host", protocol = entry.protocol, port = entry.port },
    from = "guest",
    packet = { protocol = entry.protocol, iifname = record.tap, saddr = record.guest,
      daddr = record.host, port = entry.port, back = answer(entry, { daddr = record.guest }) },
  }
end

local function out(record, beyond)
  return {
    what = "from the guest out by the uplink",
    wanted = { direction = "out" },
    from = "guest",
    packet = { protocol = "tcp", iifname = record.tap, saddr = record.guest, daddr = beyond,
      port = 443 },
  }
end

local function published(record, entry, from)
  local address = entry.address == "0.0.0.0" and "127.0.0.1" or entry.address
  local name = ("to the published port %s:%d/%s"):format(entry.address, entry.port, entry.protocol)
  if from == "beyond" then
    return { what = name, from = "beyond",
      wanted = { direction = "in", protocol = entry.protocol, port = entry.port } }
  end
  return {
    what = layout.is_local(entry) and name or name .. " from this host",
    wanted = { direction = "local", protocol = entry.protocol, port = entry.port },
    from = "host",
    packet = { protocol = entry.protocol, daddr = address, port = entry.port,
      back = answer(entry, { iifname = record.tap, saddr = record.guest }) },
  }
end

local function to_guest(record, port)
  return {
    what = ("from this host to the guest's port %d/tcp"):format(port),
    wanted = { direction = "guest", protocol = "tcp", port = port },
    from = "host",
    packet = { protocol = "tcp", daddr = record.guest, port = port,
      back = { iifname = record.tap, saddr = record.guest } },
  }
end

-- A port of this host that the manifest does not list. Rules of a site may open any.
local function closed(record)
  local listed = {}
  for _, entry in ipairs(record.host_ports or {}) do
    listed[entry.port] = true
  end
  for _, port in ipairs(record.rules and #record.rules > 0 and {} or CLOSED) do
    if not listed[port] then
      local way = to_host(record, { port = port, protocol = "tcp" },
        "from the guest to this host's port %d/%s, which it may not reach")
      way.closed = true
      return way
    end
  end
end

--- The ways of a VM.
-- @tparam table record
-- @tparam string beyond an address that is not on this host nor next to it
-- @tparam ?table ports of the guest that this host's probes ask
-- @treturn table list of {what, from = "guest", "host" or "beyond", wanted (as for
-- `firewall.path`), packet ({protocol, iifname, saddr, daddr, port}; nil from beyond), closed}
function M.of(record, beyond, ports)
  local list = {}
  if record.egress then
    list[1] = out(record, beyond)
  end
  for _, entry in ipairs(record.host_ports or {}) do
    list[#list + 1] = to_host(record, entry, "from the guest to this host's port %d/%s")
  end
  for _, entry in ipairs(record.published or {}) do
    if not layout.is_local(entry) then
      list[#list + 1] = published(record, entry, "beyond")
    end
    list[#list + 1] = published(record, entry, "host")
  end
  for _, port in ipairs(ports or {}) do
    list[#list + 1] = to_guest(record, port)
  end
  list[#list + 1] = closed(record)
  for _, way in ipairs(list) do
    way.closed = way.closed or false
  end
  return list
end

return M
