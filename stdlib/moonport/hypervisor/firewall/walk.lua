--- What rules do with a packet: rulesets as data (as `nft.list` gives them) applied to a packet
-- that is only described.
--
-- A packet is {iifname, oifname, saddr, daddr, l4proto, sport, dport, state, status, mark, to_us};
-- what it does not say is unknown. A rule whose conditions are unknown counts as not matching, and
-- is remembered: what comes out is then not certain.
--
-- @module moonport.hypervisor.firewall.walk
local address = require "moonport.nft.address"
local nft = require "moonport.nft"

local M = {}

local DEPTH = 32

-- -- Values -------------------------------------------------------------------------------------

-- Three values: true, false, and nil for unknown.
local function negate(value)
  if value == nil then
    return nil
  end
  return not value
end

local function within_address(value, range)
  local bytes = address.read(value, 4)
  local head, bits = range:match "^(.-)/(%d+)$"
  if head then
    local mask = address.mask(tonumber(bits), 4)
    local net = address.read(head, 4)
    return net ~= nil and bytes ~= nil and address.combine(bytes, mask,
      function(a, b) return a & b end) == net
  end
  local from, to = range:match "^(.-)%-(.+)$"
  from, to = from and address.read(from, 4), to and address.read(to, 4)
  if from and to and bytes then
    return from <= bytes and bytes <= to
  end
end

local function within_number(value, range)
  local from, to = range:match "^(%d+)%-(%d+)$"
  if from then
    return tonumber(from) <= value and value <= tonumber(to)
  end
end

local function equals(value, wanted)
  if value == wanted then
    return true
  elseif type(wanted) ~= "string" then
    return false
  elseif type(value) == "number" then
    return within_number(value, wanted) or false
  elseif wanted:sub(-1) == "*" then
    return value:sub(1, #wanted - 1) == wanted:sub(1, -2)
  end
  return within_address(value, wanted) or false
end

local function any(value, list)
  for _, each in ipairs(list) do
    if equals(value, each) then
      return true
    end
  end
  return false
end

-- -- Sets ---------------------------------------------------------------------------------------

local function set_named(tables, name)
  return tables.sets[name]
end

local function key_matches(key, values)
  if type(key) ~= "table" then
    return equals(values[1], key)
  end
  for i, each in ipairs(key) do
    if not equals(values[i], each) then
      return false
    end
  end
  return true
end

local function find_element(elements, values)
  for _, element in ipairs(elements) do
    local key = element
    if type(element) == "table" and element.key ~= nil then
      key = element.key
    end
    if key == "*" or key_matches(key, values) then
      return element
    end
  end
end

local function elements_of(scope, set)
  if type(set) ~= "string" then
    return set
  end
  local found = set_named(scope, set:sub(2))
  return found and not found.unreadable and found.elements or nil
end

-- -- Fields -------------------------------------------------------------------------------------

local function port_of(packet, protocol, name)
  if packet.l4proto ~= protocol and protocol ~= "th" then
    return false
  end
  return packet[name]
end

-- The packet's value for a field; false where it has none at all.
local function value_of(packet, field)
  local group, member = field:match "^(%w+)%.(.+)$"
  if field == "iifname" or field == "oifname" then
    return packet[field] == nil and "" or packet[field]
  elseif field == "mark" then
    return packet.mark or 0
  elseif field == "l4proto" or field == "ip.protocol" then
    return packet.l4proto
  elseif field == "nfproto" then
    return "ipv4"
  elseif field == "protocol" or field == "ether.type" then
    return "ip"
  elseif field == "pkttype" then
    return "host"
  elseif field == "ip.saddr" or field == "ip.daddr" then
    return packet[member]
  elseif field == "fib.daddr" then
    return packet.to_us ~= nil and (packet.to_us and "local" or "unicast") or nil
  elseif group == "tcp" or group == "udp" or group == "th" then
    return (member == "sport" or member == "dport") and port_of(packet, group, member) or nil
  elseif group == "ip6" or group == "icmp" or group == "icmpv6" or group == "arp" then
    return false
  end
  return nil
end

local FLAGS = { ["ct.state"] = "state", ["ct.status"] = "status" }

local function has_flag(packet, field, wanted)
  local value = packet[FLAGS[field]] or "none"
  return any(value, type(wanted) == "table" and wanted or { wanted })
end

local function compare(scope, packet, field, wanted)
  if type(wanted) == "table" and wanted.ne ~= nil and wanted.mask == nil then
    return negate(compare(scope, packet, field, wanted.ne))
  elseif FLAGS[field] then
    return (type(wanted) ~= "table" or wanted[1] ~= nil) and has_flag(packet, field, wanted)
      or false
  end
  local value = value_of(packet, field)
  if value == nil then
    return nil
  elseif value == false then
    return false
  elseif type(wanted) == "string" and wanted:sub(1, 1) == "@" then
    local elements = elements_of(scope, wanted)
    return elements and find_element(elements, { value }) ~= nil
  elseif type(wanted) ~= "table" then
    return equals(value, wanted)
  elseif wanted[1] ~= nil then
    return any(value, wanted)
  elseif wanted.mask and math.type(value) == "integer" and math.type(wanted.mask) == "integer" then
    local masked = value & wanted.mask
    if wanted.ne ~= nil then
      return masked ~= wanted.ne
    end
    return masked == wanted.value
  elseif type(value) == "number" then
    return (not wanted.lt or value < wanted.lt) and (not wanted.gt or value > wanted.gt)
      and (not wanted.le or value <= wanted.le) and (not wanted.ge or value >= wanted.ge)
  end
  return nil
end

local function values_of(packet, key)
  local values = {}
  for i, field in ipairs(type(key) == "table" and key or { key }) do
    local value = value_of(packet, field)
    if FLAGS[field] then
      value = packet[FLAGS[field]] or "none"
    end
    if value == nil or value == false then
      return nil, value == false
    end
    values[i] = value
  end
  return values
end

local function looked_up(scope, packet, lookup)
  local values, absent = values_of(packet, lookup.key)
  local elements = elements_of(scope, lookup.set)
  if absent then
    return false
  elseif not values or not elements then
    return nil
  end
  local found = find_element(elements, values) ~= nil
  return found ~= (lookup.ne or false)
end

-- -- Rules --------------------------------------------------------------------------------------

local STATEMENTS = {
  limit = true, quota = true, counter = true, log = true, set = true, notrack = true, vmap = true,
  snat = true, dnat = true, masquerade = true, redirect = true, reject = true, verdict = true,
  handle = true, comment = true, other = true, lookup = true, table = true, chain = true,
  family = true, position = true,
}

-- Combines conditions: false wins over unknown, and that over true.
local function both(a, b)
  if a == false or b == false then
    return false
  elseif a == nil or b == nil then
    return nil
  end
  return true
end

local function group_matches(scope, packet, name, value)
  local all = true
  if name == "ct" and (type(value) ~= "table" or value[1] ~= nil) then
    return compare(scope, packet, "ct.state", value)
  end
  for member, wanted in pairs(value) do
    all = both(all, compare(scope, packet, name .. "." .. member, wanted))
  end
  return all
end

local GROUPS = { ip = true, ip6 = true, tcp = true, udp = true, th = true, sctp = true, ct = true,
  ether = true, arp = true, icmp = true, icmpv6 = true, fib = true }

local function part_matches(scope, packet, part)
  local all = true
  for _, each in ipairs(part) do
    all = both(all, part_matches(scope, packet, each))
  end
  for name, value in pairs(part) do
    if type(name) == "string" and GROUPS[name] then
      all = both(all, group_matches(scope, packet, name, value))
    elseif type(name) == "string" and not STATEMENTS[name] then
      all = both(all, compare(scope, packet, name, value))
    end
  end
  for _, lookup in ipairs(part.lookup and (part.lookup.key and { part.lookup } or part.lookup)
    or {}) do
    all = both(all, looked_up(scope, packet, lookup))
  end
  return all
end

-- Whether what we cannot read refuses the packet, or is a condition that we do not know.
local function unreadable(rule)
  local refuses, unknown = false, false
  for _, name in ipairs(rule.other or {}) do
    if name == "target REJECT" or name == "target DROP" then
      refuses = true
    elseif not name:find "^target " then
      unknown = true
    end
  end
  return refuses, unknown
end

local function matches(scope, packet, rule)
  local all = part_matches(scope, packet, rule)
  local _, unknown = unreadable(rule)
  if unknown or rule.limit or rule.quota then
    all = both(all, nil)
  end
  return all
end

-- -- Translation --------------------------------------------------------------------------------

local function translated(scope, packet, target)
  if not target.map then
    return { target.to, target.port }
  end
  local values = values_of(packet, target.key)
  local elements = values and elements_of(scope, target.map)
  local element = elements and find_element(elements, values)
  if element then
    return type(element.data) == "table" and element.data or { element.data }
  end
end

local function translate(scope, packet, rule)
  if rule.dnat then
    local to = translated(scope, packet, rule.dnat)
    if not to then
      return nil
    end
    packet.daddr = to[1] and to[1]:match "^[^-/]+" or packet.daddr
    packet.dport = math.tointeger(tonumber(to[2])) or packet.dport
    packet.status = "dnat"
    return ("led to %s:%s"):format(packet.daddr, tostring(packet.dport))
  elseif rule.redirect then
    packet.daddr, packet.to_us, packet.status = "127.0.0.1", true, "dnat"
    return "led to this host itself"
  end
  return rule.masquerade and "hidden behind this host's address" or "given another source"
end

-- -- Chains -------------------------------------------------------------------------------------

local function verdict_of(rule)
  local refuses = unreadable(rule)
  if refuses or rule.reject then
    return "drop"
  end
  return rule.verdict
end

local function vmap_verdict(scope, packet, vmap)
  local values = values_of(packet, vmap.key)
  local elements = values and elements_of(scope, vmap.map)
  local element = elements and find_element(elements, values)
  return element and element.data
end

local run_chain

local function note(walk, scope, chain, rule, what)
  walk.steps[#walk.steps + 1] = {
    chain = ("%s %s %s"):format(scope.family, scope.name, chain.name),
    rule = rule and rule.handle, comment = rule and rule.comment, what = what,
  }
end

-- What a rule that matches does: "accept", "drop", "return", or nil to go on.
local function act(walk, scope, chain, rule, depth)
  local verdict = rule.vmap and vmap_verdict(scope, walk.packet, rule.vmap) or verdict_of(rule)
  if rule.dnat or rule.snat or rule.masquerade or rule.redirect then
    local what = translate(scope, walk.packet, rule)
    if what then
      note(walk, scope, chain, rule, what)
      return "accept"
    end
    return nil
  end
  local word, target = tostring(verdict):match "^(%l+)%s*(%S*)$"
  if word == "drop" then
    note(walk, scope, chain, rule, "dropped")
    walk.dropped_by = walk.steps[#walk.steps]
    return "drop"
  elseif word == "accept" then
    note(walk, scope, chain, rule, "accepted")
    return "accept"
  elseif word == "return" then
    return "return"
  elseif word == "jump" or word == "goto" then
    local result = run_chain(walk, scope, target, depth + 1)
    if result ~= nil and result ~= "return" then
      return result
    end
    return word == "goto" and "return" or nil
  end
end

function run_chain(walk, scope, name, depth)
  local chain = scope.by_name[name]
  if not chain or depth > DEPTH then
    return nil
  end
  for _, rule in ipairs(chain.rules) do
    local matched = matches(scope, walk.packet, rule)
    local does = verdict_of(rule) or rule.vmap
    if matched == nil and does and does ~= "continue" then
      walk.doubts[#walk.doubts + 1] = ("%s %s %s"):format(scope.family, scope.name, chain.name)
    elseif matched then
      local result = act(walk, scope, chain, rule, depth)
      if result then
        return result
      end
    end
  end
end

-- -- Hooks --------------------------------------------------------------------------------------

local function scope_of(table_)
  local scope = { family = table_.family, name = table_.name, sets = {}, by_name = {},
    program = table_.program }
  for _, kind in ipairs { "sets", "maps" } do
    for _, set in ipairs(table_[kind] or {}) do
      scope.sets[set.name] = set
    end
  end
  for _, chain in ipairs(table_.chains) do
    scope.by_name[chain.name] = chain
  end
  return scope
end

local SEES_IPV4 = { inet = true, ip = true }

-- The base chains of a hook, in the order in which the kernel runs them.
local function base_chains(tables, hook)
  local list = {}
  for _, table_ in ipairs(tables) do
    local sees = SEES_IPV4[table_.family] and not table_.dormant
    for _, chain in ipairs(sees and table_.chains or {}) do
      if chain.hook == hook then
        list[#list + 1] = { table = table_, chain = chain, order = #list,
          priority = nft.priority(table_.family, chain.priority or 0) }
      end
    end
  end
  table.sort(list, function(a, b)
    if a.priority ~= b.priority then
      return a.priority < b.priority
    end
    return a.order < b.order
  end)
  return list
end

--- Begins to follow a packet.
-- @tparam table packet
-- @treturn table {packet, steps, doubts}
function M.begin(packet)
  return { packet = packet, steps = {}, doubts = {}, scopes = {} }
end

--- Runs the chains of a hook.
-- @tparam table walk
-- @tparam table tables as `nft.list` gives them
-- @tparam string hook
-- @treturn boolean false where the packet was dropped: `walk.dropped_by` says by which chain
function M.hook(walk, tables, hook)
  local mapped = walk.translated_at == hook
  for _, base in ipairs(base_chains(tables, hook)) do
    local scope = walk.scopes[base.table] or scope_of(base.table)
    walk.scopes[base.table] = scope
    -- The first translation of a connection is the one that holds.
    local skip = base.chain.type == "nat" and mapped
    local before = #walk.steps
    local result = not skip and run_chain(walk, scope, base.chain.name, 0)
    if result == "drop" then
      walk.dropped_by.program = base.table.program
      return false
    elseif not skip and result ~= "accept" and base.chain.policy == "drop" then
      note(walk, scope, base.chain, nil, "dropped by its policy")
      walk.dropped_by = walk.steps[#walk.steps]
      walk.dropped_by.policy, walk.dropped_by.program = true, base.table.program
      return false
    end
    if base.chain.type == "nat" and result == "accept" and #walk.steps > before then
      mapped, walk.translated_at = true, hook
    end
  end
  return true
end

return M
