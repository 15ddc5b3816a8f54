--- The types of what rules match and sets hold: a name, nftables' number for it, the size in bytes,
-- and both ways between a Lua value and the bytes that the kernel compares.
--
-- @module moonport.nft.types
local address = require "moonport.nft.address"
local problem = require "moonport.nft.problem"

local M = {}

local ALL = {}

-- A type of whole numbers, some with names. `host`: in the machine's byte order.
local function integers(name, code, size, expected, options)
  options = options or {}
  local format = (options.host and "=I" or ">I") .. size
  local names, numbers = {}, options.names or {}
  for text, number in pairs(numbers) do
    -- Of two names for a number, the one listed as preferred is shown.
    if not names[number] or (options.preferred or {})[text] then
      names[number] = text
    end
  end
  local limit = options.limit or (size >= 8 and math.maxinteger or (1 << size * 8) - 1)
  ALL[name] = {
    name = name,
    code = code,
    size = size,
    host = options.host,
    bits = options.bits,
    expected = expected,
    names = numbers,
    integer = true,
    encode = function(value)
      local number = numbers[value] or math.tointeger(value)
      if type(value) == "string" and not numbers[value] then
        number = value:match "^0x%x+$" and tonumber(value) or value:match "^%d+$"
          and tonumber(value)
      end
      if number and number >= 0 and number <= limit then
        return string.pack(format, number)
      end
    end,
    decode = function(bytes)
      local number = string.unpack(format, bytes)
      return names[number] or number
    end,
  }
end

local function addresses(name, code, size, expected)
  ALL[name] = {
    name = name,
    code = code,
    size = size,
    expected = expected,
    ranges = true,
    encode = function(value)
      return type(value) == "string" and address.read(value, size) or nil
    end,
    decode = address.show,
  }
end

addresses("ipv4_addr", 7, 4, 'an IPv4 address such as "10.0.0.1"')
addresses("ipv6_addr", 8, 16, 'an IPv6 address such as "fe80::1"')
addresses("ether_addr", 9, 6, 'an Ethernet address such as "02:00:00:00:00:01"')

local function padded(text, byte)
  return text .. byte:rep(16 - #text)
end

-- Names that end in `*` stand for all that begin so: `wild` gives their first and their last. One
-- that really ends so is written `\\*`, as `nft` has it.
ALL.ifname = {
  name = "ifname",
  code = 41,
  size = 16,
  host = true,
  expected = "the name of a network interface (1 to 15 bytes)",
  encode = function(value)
    local name = type(value) == "string" and value:gsub("\\%*$", "*")
    local is_name = name and #name > 0 and #name < 16 and not name:find "[%s/:%z]"
    if is_name and (name ~= value or name:sub(-1) ~= "*") then
      return padded(name, "\0")
    end
  end,
  decode = function(bytes)
    return (bytes:match("^[^%z]*"):gsub("%*$", "\\*"))
  end,
  wild = function(value)
    local begin = type(value) == "string" and value:match "^([^%s/:%z]+)%*$"
    if begin and #begin < 16 and begin:sub(-1) ~= "\\" then
      return padded(begin, "\0"), padded(begin, "\xff")
    end
  end,
  -- The other way; nil for what is no such span.
  show_wild = function(from, to)
    local begin = from:match "^[^%z]+"
    if begin and from == padded(begin, "\0") and to == padded(begin, "\xff") then
      return begin .. "*"
    end
  end,
}

local PROTOCOLS = {
  icmp = 1, igmp = 2, tcp = 6, udp = 17, dccp = 33, gre = 47, esp = 50, ah = 51, icmpv6 = 58,
  comp = 108, sctp = 132, udplite = 136, ["ipv6-icmp"] = 58,
}
integers("inet_proto", 12, 1, 'a protocol such as "tcp" or its number',
  { names = PROTOCOLS, preferred = { icmpv6 = true } })
integers("inet_service", 13, 2, "a port from 0 to 65535", {})
integers("nf_proto", 2, 1, '"ipv4" or "ipv6"', { names = { ipv4 = 2, ipv6 = 10 } })
integers("ether_type", 10, 2, 'an Ethernet type such as "ip", "arp", "ip6" or its number', {
  names = { ip = 0x0800, arp = 0x0806, ip6 = 0x86dd, vlan = 0x8100 },
})
integers("arp_op", 11, 2, "an ARP operation", { names = { request = 1, reply = 2 } })
integers("icmp_type", 14, 1, "an ICMP type or its number", {
  names = {
    ["echo-reply"] = 0, ["destination-unreachable"] = 3, ["source-quench"] = 4, redirect = 5,
    ["echo-request"] = 8, ["router-advertisement"] = 9, ["router-solicitation"] = 10,
    ["time-exceeded"] = 11, ["parameter-problem"] = 12, ["timestamp-request"] = 13,
    ["timestamp-reply"] = 14,
  },
})
integers("icmpv6_type", 29, 1, "an ICMPv6 type or its number", {
  names = {
    ["destination-unreachable"] = 1, ["packet-too-big"] = 2, ["time-exceeded"] = 3,
    ["parameter-problem"] = 4, ["echo-request"] = 128, ["echo-reply"] = 129,
    ["mld-listener-query"] = 130, ["mld-listener-report"] = 131, ["mld-listener-done"] = 132,
    ["nd-router-solicit"] = 133, ["nd-router-advert"] = 134, ["nd-neighbor-solicit"] = 135,
    ["nd-neighbor-advert"] = 136, ["nd-redirect"] = 137, ["mld2-listener-report"] = 143,
  },
})
integers("icmp_code", 32, 1, "an ICMP code", {})
integers("icmpv6_code", 33, 1, "an ICMPv6 code", {})
integers("mark", 19, 4, "a mark: a number of 32 bits", { host = true })
integers("iface_index", 20, 4,
  "the index of a network interface (`iifname` and `oifname` are matched by name)", { host = true })
integers("iface_type", 21, 2, "the type of a network interface",
  { host = true, names = { ether = 1, loopback = 772, none = 65534 } })
integers("uid", 23, 4, "a user's number", { host = true })
integers("gid", 24, 4, "a group's number", { host = true })
integers("devgroup", 35, 4, "an interface group's number", { host = true, names = { default = 0 } })
integers("pkt_type", 31, 1, 'a packet type: "host", "broadcast", "multicast", "other"',
  { names = { host = 0, unicast = 0, broadcast = 1, multicast = 2, other = 3 },
    preferred = { host = true } })
integers("ct_dir", 27, 1, '"original" or "reply"', { names = { original = 0, reply = 1 } })
integers("ct_state", 26, 4,
  'connection states: "established", "related", "new", "invalid", "untracked", or a list of them',
  { host = true, bits = true,
    names = { invalid = 1, established = 2, related = 4, new = 8, untracked = 64 } })
integers("ct_status", 28, 4, 'a connection\'s status: "snat", "dnat", "assured", ..., or a list',
  { host = true, bits = true,
    names = { expected = 1, ["seen-reply"] = 2, assured = 4, confirmed = 8, snat = 16, dnat = 32,
      dying = 512 } })
integers("tcp_flag", 15, 1, 'TCP flags: "syn", "ack", "fin", "rst", ..., or a list of them',
  { bits = true,
    names = { fin = 1, syn = 2, rst = 4, psh = 8, ack = 16, urg = 32, ecn = 64, cwr = 128 } })
integers("fib_addrtype", 38, 4, 'the kind of an address: "local", "unicast", "broadcast", ...',
  { host = true,
    names = { unspec = 0, unicast = 1, ["local"] = 2, broadcast = 3, anycast = 4, multicast = 5,
      blackhole = 6, unreachable = 7, prohibit = 8 } })
-- Numbers without a type of their own.
integers("integer8", 4, 1, "a number from 0 to 255")
integers("integer16", 4, 2, "a number from 0 to 65535")
integers("integer32", 4, 4, "a number of 32 bits", { host = true })

--- A type by its name.
-- @tparam string name
-- @treturn table
function M.get(name)
  return ALL[name] or problem.unknown("type", name, ALL)
end

--- What a key is made of, as rules and definitions write it: one name, or a list of names.
-- @tparam table list of types or fields
-- @return
function M.names(list)
  if #list == 1 then
    return list[1].name
  end
  local names = {}
  for i, each in ipairs(list) do
    names[i] = each.name
  end
  return names
end

local by_code

--- A type by nftables' number for it and its size in bytes.
-- @tparam integer code
-- @tparam ?integer size
-- @treturn ?table nil where it is not known here
function M.by_code(code, size)
  if not by_code then
    by_code = {}
    for _, each in pairs(ALL) do
      if each.code ~= 4 then
        by_code[each.code] = each
      end
    end
  end
  if code == 4 then
    return ALL["integer" .. (size or 0) * 8]
  end
  return by_code[code]
end

local function bits_of(t, value, where)
  local all = 0
  for _, each in ipairs(type(value) == "table" and value or { value }) do
    local bit = t.names[each] or math.tointeger(each)
    if not bit or bit < 0 or bit >> t.size * 8 ~= 0 then
      problem.expected(where, each, t.expected)
    end
    all = all | bit
  end
  if all == 0 then
    problem.expected(where, value, t.expected)
  end
  return all
end

local function format_of(t)
  return (t.host and "=I" or ">I") .. t.size
end

--- The bits that a word, a number or a list of these names, as bytes.
-- @tparam table t a type whose values are sets of bits
-- @param value
-- @tparam string where the field, for errors
-- @treturn string
function M.encode_bits(t, value, where)
  return string.pack(format_of(t), bits_of(t, value, where))
end

--- The words for bits, sorted by the bits; a number where one has none.
-- @tparam table t
-- @tparam string bytes
-- @return a word, or a list of words, or a number
function M.decode_bits(t, bytes)
  local number = string.unpack(format_of(t), bytes)
  local words, rest = {}, number
  for text, bit in pairs(t.names) do
    if number & bit ~= 0 then
      words[#words + 1], rest = text, rest & ~bit
    end
  end
  if rest ~= 0 or number == 0 then
    return number
  end
  table.sort(words, function(a, b)
    return t.names[a] < t.names[b]
  end)
  return #words == 1 and words[1] or words
end

-- What stands for many names, where there is room for one.
local function refuse_wild(t, value, where)
  if t.wild and value == "*" then
    problem.raise(("`%s` is `*`, which every interface is"):format(where), "leave it out")
  elseif t.wild and t.wild(value) then
    problem.raise(("`%s` is `%s`, which stands for many names"):format(where, value),
      'a set or map with `flags = "interval"` holds such')
  end
end

--- The bytes of one value.
-- @tparam table t
-- @param value
-- @tparam string where the field, for errors
-- @treturn string
function M.encode(t, value, where)
  local bytes = t.encode(value)
  if bytes then
    return bytes
  elseif t.bits then
    return M.encode_bits(t, value, where)
  end
  refuse_wild(t, value, where)
  problem.expected(where, value, t.expected)
end

--- The value of bytes.
-- @tparam table t
-- @tparam string bytes
-- @return
function M.decode(t, bytes)
  if t.bits then
    return M.decode_bits(t, bytes)
  end
  return t.decode(bytes)
end

-- "10.0.0.0/8"
local function prefix(t, value, where)
  local head, bits = value:match "^(.+)/(%d+)$"
  bits = math.tointeger(tonumber(bits or ""))
  if not head or not t.ranges then
    return nil
  end
  local bytes = t.encode(head)
  if not bytes or bits > t.size * 8 then
    problem.expected(where, value, t.expected .. ', a prefix such as "10.0.0.0/8" or a range')
  end
  local mask = address.mask(bits, t.size)
  local first = address.combine(bytes, mask, function(a, b)
    return a & b
  end)
  if first ~= bytes then
    problem.raise(
      ("`%s` is `%s`, an address in that network"):format(where, value),
      ("the network is `%s/%d`"):format(address.show(first), bits)
    )
  end
  return { from = first, to = address.last(first, mask), mask = mask, bits = bits }
end

-- "80-90", "10.0.0.1-10.0.0.9"
local function range(t, value, where)
  local from, to = value:match "^(.-)%-(.+)$"
  from, to = from and t.encode(from), to and t.encode(to)
  if not from or not to or not (t.ranges or t.integer) then
    return nil
  end
  local low, high = from, to
  if t.host then
    low, high = from:reverse(), to:reverse()
  end
  if low > high then
    problem.raise(("`%s` is `%s`, which ends before it begins"):format(where, value))
  end
  return { from = from, to = to }
end

--- A value, a prefix or a range as bytes.
-- @tparam table t
-- @param value
-- @tparam string where the field, for errors
-- @treturn table {from, to}; of a prefix also `mask` and `bits`, of "tap*" also `wild`
function M.span(t, value, where)
  local one = t.encode(value)
  if one then
    return { from = one, to = one }
  end
  local first, last
  if t.wild then
    first, last = t.wild(value)
  end
  if first then
    return { from = first, to = last, wild = true }
  elseif type(value) == "string" then
    local span = prefix(t, value, where) or range(t, value, where)
    if span and span.bits == t.size * 8 then
      return { from = span.from, to = span.to }
    elseif span then
      return span
    end
  end
  refuse_wild(t, value, where)
  local expected = t.expected
  if t.ranges then
    expected = expected .. ', a prefix such as "10.0.0.0/8" or a range'
  elseif t.name == "inet_service" then
    expected = expected .. ', or a range such as "80-90"'
  end
  problem.expected(where, value, expected)
end

--- The text of a span: a value, a prefix where it is one, or a range.
-- @tparam table t
-- @tparam string from
-- @tparam string to
-- @return
function M.show_span(t, from, to)
  if from == to then
    return t.decode(from)
  end
  local wild = t.show_wild and t.show_wild(from, to)
  if wild then
    return wild
  elseif t.ranges then
    local mask = address.combine(from, to, function(a, b)
      return ~(a ~ b)
    end)
    local bits = address.bits(mask)
    local whole = bits and address.last(from, mask) == to
      and address.combine(from, mask, function(a, b) return a & b end) == from
    if whole then
      return ("%s/%d"):format(address.show(from), bits)
    end
  end
  -- What lies between two names is known by numbers.
  local show = t.integer and function(bytes)
    return string.unpack(format_of(t), bytes)
  end or t.decode
  return ("%s-%s"):format(show(from), show(to))
end

return M
