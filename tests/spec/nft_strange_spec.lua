--- What other programs have in nftables must never keep us from reading it: all of a host's rules
-- are listed before a VM is deployed. Real ones as the `nft` program writes them, and expressions
-- that nobody would write.
local decompile = require "moonport.nft.decompile"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local nft = require "moonport.nft"
local process = require "moonport.process"
local sets = require "moonport.nft.sets"
local types = require "moonport.nft.types"

local FIXTURES = os.getenv "MP_SOURCE_DIR" .. "/tests/fixtures/nft/"

local TABLE = [[
table inet odd {
  map m { type ipv4_addr : verdict; elements = { 1.2.3.4 : accept, * : drop }; }
  set rest { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, * }; }
  set named { type ifname; flags interval; elements = { "tap*", "eth0" }; }
  set typed { typeof ip dscp; elements = { 1, 2 }; }
  map spans { type inet_service : interval ipv4_addr; flags interval;
    elements = { 80 : 10.0.0.1-10.0.0.9 }; }
  set dyn { type ipv4_addr; size 65535; flags dynamic,timeout; timeout 1m; }
  set ca { type ipv4_addr; flags interval; }
  map cnt { type ipv4_addr : counter; }
  map mk { type ipv4_addr : mark; elements = { 1.2.3.4 : 0x5 }; }
  counter c1 { packets 1 bytes 2 }
  quota q1 { over 25 mbytes }
  limit l1 { rate 400/minute }
  ct helper h { type "ftp" protocol tcp; }
  chain x { }
  chain c { type filter hook input priority 0; }
  chain again { }
  chain pre { type nat hook prerouting priority dstnat; }
}
]]

local function nft_says(...)
  return process.run({ check = false, "nft", ... }).stdout
end

-- The rules of a chain as `nft` prints them.
local function printed(chain)
  local lines = {}
  for line in nft_says("list", "chain", "inet", "odd", chain):gmatch "\t\t([^\n]+)" do
    if not line:find "^type " then lines[#lines + 1] = line end
  end
  return lines
end

local function by_name(list)
  local found = {}
  for _, each in ipairs(list) do found[each.name] = each end
  return found
end

describe("rules of others", function()
  before_each(function()
    process.run { "nft", "flush", "ruleset" }
    process.run { "nft", "-f", "-", input = TABLE }
  end)
  after_each(function() process.run { "nft", "flush", "ruleset" } end)

  it("are listed, and what has a form is what nft means by it", function()
    local taken = 0
    for line in fs.read(FIXTURES .. "strange.rules"):gmatch "[^\n]+" do
      -- Not every kernel has all of it.
      local result = line:sub(1, 1) ~= "#"
        and process.run { "nft", "add rule inet odd c " .. line, check = false }
      taken = taken + (result and result.code == 0 and 1 or 0)
    end
    assert.is_true(taken > 50)
    local listed = by_name(nft.table("odd").chains).c.rules
    local texts, ops, expected = printed "c", {}, {}
    assert.equal(#texts, #listed)
    for i, rule in ipairs(listed) do
      if not rule.other then
        rule.handle, rule.table, rule.chain = nil, "odd", "again"
        ops[#ops + 1], expected[#expected + 1] = { rule = rule }, texts[i]
      end
    end
    assert.is_true(#ops > 25)
    nft.apply(ops)
    assert.same(expected, printed "again")
  end)

  it("are told as unknown where we would read them wrong", function()
    for _, line in ipairs {
      "tcp dport set 80", "ip dscp set cs1", "meta mark set ip saddr map @mk", "ct count over 10",
      "ip dscp cs1 accept", "meta length 1-500 accept", "ct original ip saddr 1.2.3.4 accept",
      "counter name ip saddr map @cnt", "vlan id 5 accept", "fib saddr . iif oif missing drop",
    } do
      process.run { "nft", "add rule inet odd c " .. line }
    end
    process.run { "nft", "add rule inet odd pre ip daddr 1.2.3.4 dnat ip prefix to 10.0.0.0/24" }
    local chains = by_name(nft.table("odd").chains)
    for i, rule in ipairs(chains.c.rules) do assert.is_truthy(rule.other, printed("c")[i]) end
    assert.is_truthy(chains.pre.rules[1].other)
  end)

  it("have sets with all that sets can have", function()
    local there = nft.table "odd"
    local found, maps = by_name(there.sets), by_name(there.maps)
    assert.same({ { key = "1.2.3.4", data = "accept" }, { key = "*", data = "drop" } },
      maps.m.elements)
    assert.same({ { key = "10.0.0.0/8" }, { key = "*" } }, found.rest.elements)
    assert.same({ { key = "eth0" }, { key = "tap*" } }, found.named.elements)
    assert.is_true(found.typed.unreadable and maps.spans.unreadable)
    nft.apply { { table = { name = "moon" } },
      { map = { table = "moon", name = "m", type = "ipv4_addr", data = "verdict",
        elements = maps.m.elements } },
      { set = { table = "moon", name = "rest", type = "ipv4_addr", flags = "interval",
        elements = found.rest.elements } },
      { set = { table = "moon", name = "named", type = "ifname", flags = "interval",
        elements = found.named.elements } } }
    for _, each in ipairs { { "map", "m" }, { "set", "rest" }, { "set", "named" } } do
      local before = nft_says("list", each[1], "inet", "odd", each[2]):gsub("inet odd", "")
      local after = nft_says("list", each[1], "inet", "moon", each[2]):gsub("inet moon", "")
      assert.equal(before, after)
    end
  end)
end)

-- -- What nobody would write ----------------------------------------------------------------------

local ROUNDS = 6000
local random = math.random

local function one(list)
  return list[random(#list)]
end

local function bytes(sizes)
  local list = {}
  for i = 1, one(sizes) do
    list[i] = string.char(one { 0, 0, 0, 1, 2, 10, 64, 255, random(0, 255) })
  end
  return table.concat(list)
end

local function data()
  return bytes { 0, 1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 12, 16, 16, 16, 20 }
end

local function register()
  return one { 0, 1, 1, 1, 2, 3, 4, 8, 9, 10, 12, 23, 99, -1 }
end

local function perhaps(fn)
  return random(2) == 1 and fn() or nil
end

local function ports(name)
  return function()
    return { name, flags = random(0, 127), port = perhaps(register), port_end = perhaps(register) }
  end
end

local function loads(name, keys)
  return function()
    return { name, key = random(0, keys), dreg = random(4) > 1 and register() or nil,
      sreg = random(4) == 1 and register() or nil, direction = random(9) == 1 and 1 or nil }
  end
end

local EXPRESSIONS = {
  meta = loads("meta", 30), ct = loads("ct", 20), masq = ports "masq", redir = ports "redir",
  payload = function()
    return { "payload", base = random(0, 4), offset = one { 0, 2, 5, 6, 8, 9, 12, 13, 16, 24 },
      len = one { 1, 2, 3, 4, 6, 16 }, dreg = register(), sreg = random(9) == 1 and 1 or nil }
  end,
  fib = function()
    return { "fib", result = random(0, 4), flags = random(0, 8), dreg = register() }
  end,
  cmp = function() return { "cmp", sreg = register(), op = random(-1, 6), data = data() } end,
  range = function()
    return { "range", sreg = register(), op = random(0, 2), from = data(), to = data() }
  end,
  bitwise = function()
    return { "bitwise", sreg = register(), dreg = register(), len = random(16),
      op = one { 0, 0, 0, 1, 2 }, mask = data(), xor = one { "\0\0\0\0", data() } }
  end,
  byteorder = function()
    return { "byteorder", sreg = register(), dreg = register(), op = random(0, 1), len = random(8),
      size = random(8) }
  end,
  lookup = function()
    return { "lookup", set = one { "a", "m", "gone", "__set1" }, sreg = register(),
      dreg = perhaps(register), flags = random(0, 2) }
  end,
  immediate = function()
    return { "immediate", dreg = register(), data = perhaps(data), verdict = random(-6, 5),
      chain = one { "x", nil } }
  end,
  nat = function()
    return { "nat", type = random(0, 2), family = one { 2, 10, 7 }, flags = random(0, 127),
      address = register(), address_end = perhaps(register), port = perhaps(register),
      port_end = perhaps(register) }
  end,
  objref = function() return { "objref", type = random(3), name = one { "c", nil } } end,
  limit = function()
    return { "limit", rate = random(9), unit = one { 1, 60, 7 }, burst = random(9),
      type = random(0, 2), flags = random(0, 2) }
  end,
  quota = function()
    return { "quota", bytes = random(9), consumed = random(2), flags = random(3) }
  end,
  log = function()
    return { "log", prefix = "x", level = random(0, 10), group = one { 1, nil },
      flags = random(0, 127) }
  end,
  reject = function() return { "reject", type = random(0, 4), code = random(0, 20) } end,
  counter = function() return { "counter", packets = 1, bytes = 2 } end,
  match = function() return { "match", name = "state" } end,
}

local NAMES = {}
for name in pairs(EXPRESSIONS) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

local function expression()
  local made = EXPRESSIONS[one(NAMES)]()
  local parts = {}
  for part in pairs(made) do parts[#parts + 1] = part ~= 1 and part or nil end
  table.sort(parts)
  if #parts > 0 and random(6) == 1 then made[one(parts)] = nil end
  return made
end

local FAMILIES = { "inet", "ip", "ip6", "bridge", "netdev" }

describe("expressions that nobody would write", function()
  before_each(function() math.randomseed(20240502) end)

  it("are read, and what is told without doubt can be written", function()
    local known = { a = { elements = {} }, __set1 = { anonymous = true,
      shape = { key = { types.get "ipv4_addr" } }, elements = { { key = "1.2.3.4" } } } }
    for _ = 1, ROUNDS do
      local list, family = {}, one(FAMILIES)
      for i = 1, random(8) do list[i] = expression() end
      local rule = decompile.rule(list, family, known)
      if not rule.other then
        local normal = nft.normal(rule, family)
        assert.same(normal, nft.normal(normal, family))
      end
    end
  end)

  it("do not stop the reading of sets", function()
    for _ = 1, ROUNDS do
      local shape = sets.read { key_type = one { 7, 41, 7 << 6 | 13, 12 << 6 | 13, 0, 999, 26,
        41 << 6 | 7 }, key_len = random(20), flags = random(0, 255),
        data_type = one { 7, 0xffffff00, 13, 0, 55 }, data_len = random(8),
        object_type = random(2) }
      local elements = {}
      for i = 1, random(4) do
        elements[i] = { key = random(8) > 1 and data() or nil, key_end = perhaps(data),
          data = perhaps(data), flags = random(0, 2), verdict = one { random(-6, 4), nil },
          userdata = perhaps(data), timeout = one { 5, nil } }
      end
      local read = shape and sets.decode(shape, elements)
      assert.is_true(read == nil or type(read) == "table" or read == false)
    end
  end)

  -- What a script writes: an error that names it, or something that can be sent.
  it("make errors of nft, whatever stands in a rule", function()
    local VALUES = { true, false, 0, -1, 1.5, 1 << 40, "", "*", "a*", "@", "@x", "10.0.0.0/8",
      "::1", "-", "1-", "/", "accept", "jump", "\0", ("x"):rep(200), {}, { 1 }, { "a", "b" },
      { ne = 1 }, { ne = {} }, { mask = 1 }, { mask = 1, value = 2 }, { lt = "x" }, { {} },
      { key = "ip.saddr", map = {} }, { key = 1, set = 2 }, { key = { "ip.saddr" }, set = { "x" } },
      { { key = 1 } }, { rate = 1 }, { port = {} }, { to = 5 } }
    local FIELDS = { "iifname", "iif", "mark", "l4proto", "protocol", "ip", "ip6", "tcp", "ct",
      "icmp", "fib", "lookup", "limit", "quota", "counter", "log", "set", "vmap", "snat", "dnat",
      "redirect", "masquerade", "reject", "verdict", "comment", "notrack", "ether", "nonsense", 1 }
    local MEMBERS = { "saddr", "dport", "flags", "state", "mark", "type", "x" }
    for _ = 1, ROUNDS do
      local rule = {}
      for _ = 1, random(3) do
        local value = one(VALUES)
        rule[one(FIELDS)] = random(2) == 1 and { [one(MEMBERS)] = value } or value
      end
      rule.table, rule.chain = "t", "c"
      local _, why = try(nft.check, { { rule = rule } })
      assert.is_true(why == nil or errors.is(why, "nft", "invalid"), tostring(why))
    end
  end)
end)
