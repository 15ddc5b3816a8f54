--- The way of a packet through all rules of this host, ours and others': which chain drops it.
--
-- @module moonport.hypervisor.firewall.path
local foreign = require "moonport.hypervisor.firewall.foreign"
local problem = require "moonport.nft.problem"
local walk = require "moonport.hypervisor.firewall.walk"
local ways = require "moonport.hypervisor.firewall.ways"

local M = {}

--- An address that stands for any host beyond: it is nobody's (RFC 5737).
M.BEYOND = "192.0.2.1"
local BEYOND = M.BEYOND
local EPHEMERAL = 40000

local function published(record, port)
  for _, entry in ipairs(record.published or {}) do
    if entry.port == port then
      return entry
    end
  end
end

-- By direction: the packet, the hooks that it passes, and those where nobody leads it on.
local START = {}

-- From the guest to beyond this host.
function START.out(record, wanted, uplink)
  return {
    packet = { iifname = record.tap, saddr = record.guest, daddr = wanted.address or BEYOND,
      dport = wanted.port or 443, to_us = false },
    hooks = { "prerouting", "forward", "postrouting" },
    oifname = uplink,
  }
end

-- From the guest to this host.
function START.host(record, wanted)
  return {
    packet = { iifname = record.tap, saddr = record.guest, daddr = wanted.address or record.host,
      dport = wanted.port, to_us = true },
    hooks = { "prerouting", "input" },
  }
end

-- From beyond to a port that the guest publishes.
function START.inbound(record, wanted, uplink)
  local entry = published(record, wanted.port)
  local address = wanted.address or entry and entry.address ~= "0.0.0.0" and entry.address or BEYOND
  return {
    packet = { iifname = uplink, saddr = "192.0.2.2", daddr = address, dport = wanted.port,
      to_us = true },
    hooks = { "prerouting", "forward", "postrouting" },
    otherwise = { "prerouting", "input" },
    oifname = record.tap,
  }
end

-- From this host to a port that the guest publishes.
START["local"] = function(record, wanted)
  local entry = published(record, wanted.port)
  local address = wanted.address or entry and entry.address ~= "0.0.0.0" and entry.address
    or "127.0.0.1"
  return {
    packet = { oifname = "lo", saddr = "127.0.0.1", daddr = address, dport = wanted.port,
      to_us = true },
    hooks = { "output", "postrouting" },
    oifname = record.tap,
  }
end

-- From this host to the guest's own address.
function START.guest(record, wanted)
  return {
    packet = { oifname = record.tap, saddr = record.host, daddr = record.guest,
      dport = wanted.port, to_us = false },
    hooks = { "output", "postrouting" },
    oifname = record.tap,
  }
end

local DIRECTIONS = { out = START.out, host = START.host, ["in"] = START.inbound,
  ["local"] = START["local"], guest = START.guest }

-- After a translation the packet goes where the new address is.
local function route(follow, start, record)
  local packet = follow.packet
  if packet.status == "dnat" then
    packet.to_us = packet.daddr ~= record.guest
  end
  if start.oifname and not packet.to_us then
    packet.oifname = start.oifname
  end
end

--- Follows a packet.
-- @tparam table record of a VM
-- @tparam table wanted {direction = "out", "in", "host", "local" or "guest", protocol, port,
-- address}
-- @tparam table uplinks
-- @treturn table {verdict = "accept" or "drop", chain = the one that drops, policy, program,
-- steps = {{chain, what, rule, comment}}, certain, unread}
function M.follow(record, wanted, uplinks)
  local make = DIRECTIONS[wanted.direction]
  if not make then
    problem.unknown("direction", tostring(wanted.direction), DIRECTIONS)
  end
  local tables, unread = foreign.tables()
  local start = make(record, wanted, record.uplink or uplinks[1] or "uplink")
  local packet = start.packet
  packet.l4proto, packet.sport, packet.state = wanted.protocol or "tcp", EPHEMERAL, "new"
  local follow = walk.begin(packet)
  local hooks, index = start.hooks, 1
  while hooks[index] do
    if not walk.hook(follow, tables, hooks[index]) then
      local by = follow.dropped_by
      return { verdict = "drop", chain = by.chain, policy = by.policy, program = by.program,
        steps = follow.steps, certain = #follow.doubts == 0, unread = unread }
    end
    route(follow, start, record)
    -- Nobody led it on: it is for this host after all.
    if index == 1 and start.otherwise and packet.status ~= "dnat" then
      hooks = start.otherwise
    end
    index = index + 1
  end
  return { verdict = "accept", steps = follow.steps, certain = #follow.doubts == 0,
    unread = unread }
end

--- Follows what a VM is meant to be able to do, and tells what it cannot.
-- @tparam table record
-- @tparam table uplinks
-- @treturn table list of {what, verdict, chain, certain}
function M.probe(record, uplinks)
  local list = {}
  for _, way in ipairs(ways.of(record, BEYOND)) do
    if not way.closed then
      local found = M.follow(record, way.wanted, uplinks)
      list[#list + 1] = { what = way.what, verdict = found.verdict, chain = found.chain,
        certain = found.certain }
    end
  end
  return list
end

return M
