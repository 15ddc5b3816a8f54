--- What a rule can match: each field's name in rule data, its type, and how the kernel loads it.
--
-- A field is written as a path: `iifname`, `ip.saddr` for `ip = { saddr = ... }`. The order here is
-- the order in which the matches of a rule stand in the kernel.
--
-- @module moonport.nft.fields
local types = require "moonport.nft.types"

local M = {}

local LINK, NETWORK, TRANSPORT = 0, 1, 2

-- Fields in their order, and by name.
local list, by_name = {}, {}

local function add(name, type_name, load, needs, options)
  local field = options or {}
  field.name, field.type, field.load, field.needs = name, types.get(type_name), load, needs or {}
  field.order = #list + 1
  list[field.order], by_name[name] = field, field
end

local function meta(name, type_name, key)
  add(name, type_name, { "meta", key = key })
end

local function ct(name, type_name, key)
  add("ct." .. name, type_name, { "ct", key = key })
end

local function payload(name, type_name, base, offset, needs, options)
  local load = { "payload", base = base, offset = offset, len = types.get(type_name).size }
  add(name, type_name, load, needs, options)
end

meta("iif", "iface_index", 4)
meta("iifname", "ifname", 6)
meta("iiftype", "iface_type", 8)
meta("iifgroup", "devgroup", 21)
meta("oif", "iface_index", 5)
meta("oifname", "ifname", 7)
meta("oiftype", "iface_type", 9)
meta("oifgroup", "devgroup", 22)
meta("ibrname", "ifname", 17)
meta("obrname", "ifname", 18)
meta("pkttype", "pkt_type", 19)
meta("mark", "mark", 3)
meta("skuid", "uid", 10)
meta("skgid", "gid", 11)
meta("protocol", "ether_type", 1)
meta("nfproto", "nf_proto", 15)

local ETHER = { iiftype = "ether" }
payload("ether.daddr", "ether_addr", LINK, 0, ETHER)
payload("ether.saddr", "ether_addr", LINK, 6, ETHER)
payload("ether.type", "ether_type", LINK, 12, ETHER)

local ARP = { protocol = "arp" }
payload("arp.operation", "arp_op", NETWORK, 6, ARP)
payload("arp.saddr_ether", "ether_addr", NETWORK, 8, ARP)
payload("arp.saddr_ip", "ipv4_addr", NETWORK, 14, ARP)
payload("arp.daddr_ip", "ipv4_addr", NETWORK, 24, ARP)

local IP = { nfproto = "ipv4" }
payload("ip.saddr", "ipv4_addr", NETWORK, 12, IP)
payload("ip.daddr", "ipv4_addr", NETWORK, 16, IP)
payload("ip.protocol", "inet_proto", NETWORK, 9, IP)
payload("ip.ttl", "integer8", NETWORK, 8, IP)
payload("ip.length", "integer16", NETWORK, 2, IP)

local IP6 = { nfproto = "ipv6" }
payload("ip6.saddr", "ipv6_addr", NETWORK, 8, IP6)
payload("ip6.daddr", "ipv6_addr", NETWORK, 24, IP6)
payload("ip6.nexthdr", "inet_proto", NETWORK, 6, IP6)
payload("ip6.hoplimit", "integer8", NETWORK, 7, IP6)
payload("ip6.length", "integer16", NETWORK, 4, IP6)

add("fib.saddr", "fib_addrtype", { "fib", result = 3, flags = 1 })
add("fib.daddr", "fib_addrtype", { "fib", result = 3, flags = 2 })

meta("l4proto", "inet_proto", 16)

local function ports(name)
  local needs = name ~= "th" and { l4proto = name } or nil
  payload(name .. ".sport", "inet_service", TRANSPORT, 0, needs)
  payload(name .. ".dport", "inet_service", TRANSPORT, 2, needs)
end
ports "tcp"
payload("tcp.flags", "tcp_flag", TRANSPORT, 13, { l4proto = "tcp" })
ports "udp"
ports "sctp"
ports "th"

local ICMP = { nfproto = "ipv4", l4proto = "icmp" }
payload("icmp.type", "icmp_type", TRANSPORT, 0, ICMP)
payload("icmp.code", "icmp_code", TRANSPORT, 1, ICMP)
local ICMPV6 = { nfproto = "ipv6", l4proto = "icmpv6" }
payload("icmpv6.type", "icmpv6_type", TRANSPORT, 0, ICMPV6)
payload("icmpv6.code", "icmpv6_code", TRANSPORT, 1, ICMPV6)

ct("state", "ct_state", 0)
ct("direction", "ct_dir", 1)
ct("status", "ct_status", 2)
ct("mark", "mark", 3)

--- Where conditions on several fields at once (`lookup`) stand: after the single ones.
M.LOOKUP = #list + 1
--- Statements come after all conditions.
M.STATEMENTS = #list + 2

--- All fields, in their order.
-- @treturn table
function M.all()
  return list
end

--- A field by its path.
-- @tparam string name
-- @treturn ?table {name, type, load, needs, order}
function M.get(name)
  return by_name[name]
end

-- The groups (`ip`, `tcp`, `ct`, ...) and the fields of each: name -> {field -> true}; a field
-- outside of all is `true`.
local groups
local function tree()
  if not groups then
    groups = {}
    for name in pairs(by_name) do
      local group, member = name:match "^(%w+)%.(.+)$"
      if group then
        groups[group] = groups[group] or {}
        groups[group][member] = true
      else
        groups[name] = true
      end
    end
  end
  return groups
end

--- The groups and what is in each.
-- @treturn table name -> true (a field), or a table of names
function M.tree()
  return tree()
end

local PARTS = { payload = { "base", "offset", "len" }, fib = { "result", "flags" },
  meta = { "key" }, ct = { "key" } }

local function signature(load)
  local words = { load[1] }
  for i, part in ipairs(PARTS[load[1]]) do
    words[i + 1] = tostring(load[part])
  end
  return table.concat(words, " ")
end

-- Several fields have one load: what the rule has said about the protocol decides between them.
local by_load
local function candidates(load)
  if not by_load then
    by_load = {}
    for _, field in ipairs(list) do
      local key = signature(field.load)
      by_load[key] = by_load[key] or {}
      table.insert(by_load[key], field)
    end
  end
  return by_load[signature(load)] or {}
end

local function suits(field, known)
  for need, value in pairs(field.needs) do
    if known[need] ~= value then
      return false
    end
  end
  return true
end

--- The field that an expression loads.
-- @tparam table load the expression
-- @tparam table known what the rule has matched before: `nfproto`, `l4proto`, `protocol`, ...
-- @treturn ?table nil where it is none of ours
function M.loaded(load, known)
  local found
  for _, field in ipairs(candidates(load)) do
    if suits(field, known) and (not found or next(field.needs)) then
      found = field
    end
  end
  return found
end

return M
