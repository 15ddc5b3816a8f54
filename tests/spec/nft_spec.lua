--- mp.nft against the kernel, in a network namespace of its own; the `nft` program is the witness.
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local nft = require "moonport.nft"
local process = require "moonport.process"
local task = require "moonport.task"

local FIXTURES = os.getenv "MP_SOURCE_DIR" .. "/tests/fixtures/nft/"

local function nft_says(...)
  return process.run({ "nft", ... }).stdout
end

-- The rules of a chain as `nft` prints them.
local function rules_by_nft(chain)
  local lines = {}
  for line in nft_says("-a", "list", "chain", "inet", "moon", chain):gmatch "[^\n]+" do
    local rule = line:match "^%s+(.-) # handle %d+$"
    if rule and not rule:match "^type " and not rule:match "^chain " then
      lines[#lines + 1] = (rule:gsub(" packets 0 bytes 0", ""))
    end
  end
  return lines
end

-- A rule as it is listed, without what the kernel adds.
local function bare(rule)
  local copy = {}
  for key, value in pairs(rule) do
    copy[key] = key ~= "handle" and value or nil
  end
  return copy
end

local function chain_of(name)
  for _, chain in ipairs(nft.table("moon").chains) do
    if chain.name == name then return chain end
  end
end

local function clean()
  nft.apply { { op = "destroy", table = { name = "moon" } } }
end

local function with_chain(rules)
  for _, rule in ipairs(rules) do rule.table, rule.chain = "moon", "c" end
  local ops = {
    { table = { name = "moon" } },
    { chain = { table = "moon", name = "x" } },
    { chain = { table = "moon", name = "c", hook = "forward" } },
    { counter = { table = "moon", name = "seen" } },
    { set = { table = "moon", name = "guests", type = { "ifname", "ipv4_addr" } } },
    { set = { table = "moon", name = "nets", type = "ipv4_addr", flags = "interval" } },
    { map = { table = "moon", name = "ways", type = "ifname", data = "verdict" } },
  }
  for _, rule in ipairs(rules) do ops[#ops + 1] = { rule = rule } end
  nft.apply(ops)
end

local SPOKEN = {
  { { iifname = "tap0", ct = { "established", "related" }, verdict = "accept" },
    'iifname "tap0" ct state established,related accept' },
  { { iifname = "tap*", oifname = { ne = "eth0" }, counter = true, verdict = "drop" },
    'iifname "tap*" oifname != "eth0" counter drop' },
  { { ip = { saddr = "10.0.0.0/8", daddr = { "192.168.0.1", "192.168.0.2" } }, verdict = "return" },
    "ip saddr 10.0.0.0/8 ip daddr { 192.168.0.1, 192.168.0.2 } return" },
  { { ip6 = { saddr = "fe80::/10" }, verdict = "jump x" }, "ip6 saddr fe80::/10 jump x" },
  { { tcp = { dport = "8000-8010" }, verdict = "goto x" }, "tcp dport 8000-8010 goto x" },
  { { udp = { dport = { 53, "100-200" } }, verdict = "accept" },
    "udp dport { 53, 100-200 } accept" },
  { { tcp = { flags = { mask = { "syn", "ack" }, value = "syn" } }, verdict = "continue" },
    "tcp flags syn / syn,ack continue" },
  { { mark = { mask = 0xff, value = 0x10 }, set = { ["ct.mark"] = "mark" } },
    "meta mark & 0x000000ff == 0x00000010 ct mark set meta mark" },
  { { ct = { status = "dnat", mark = 7 }, verdict = "accept" },
    "ct status dnat ct mark 0x00000007 accept" },
  { { icmp = { type = "echo-request" }, limit = "10/second", verdict = "accept" },
    "icmp type echo-request limit rate 10/second accept" },
  { { icmpv6 = { type = { "nd-neighbor-solicit", "nd-neighbor-advert" } }, verdict = "accept" },
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept" },
  { { log = { prefix = "moon: ", level = "info" }, counter = "seen" },
    'counter name "seen" log prefix "moon: " level info' },
  { { lookup = { key = { "iifname", "ip.saddr" }, set = "@guests" }, verdict = "accept" },
    "iifname . ip saddr @guests accept" },
  { { lookup = { key = { "ip.saddr", "tcp.dport" }, set = { { "10.0.0.1", 80 } }, ne = true } },
    "ip saddr . tcp dport != { 10.0.0.1 . 80 }" },
  { { ip = { saddr = "@nets" }, verdict = "drop" }, "ip saddr @nets drop" },
  { { vmap = { key = "iifname", map = "@ways" } }, "iifname vmap @ways" },
  { { vmap = { key = "ct.state", map = { established = "accept", invalid = "drop" } } },
    "ct state vmap { invalid : drop, established : accept }" },
  { { nfproto = "ipv6", verdict = "drop" }, "meta nfproto ipv6 drop" },
  { { l4proto = { "tcp", "udp" }, th = { dport = 53 }, verdict = "accept" },
    "meta l4proto { tcp, udp } th dport 53 accept" },
  { { l4proto = "6-17", th = { dport = 53 }, verdict = "accept" },
    "meta l4proto 6-17 th dport 53 accept" },
  { { iifname = { "tap*", "eth0" }, verdict = "accept" }, 'iifname { "eth0", "tap*" } accept' },
  { { iifname = "odd\\*", verdict = "accept" }, 'iifname "odd\\*" accept' },
  { { lookup = { key = { "iifname", "ip.saddr" }, set = { { "tap*", "10.0.0.0/8" } } } },
    'iifname . ip saddr { "tap*" . 10.0.0.0/8 }' },
  { { log = { prefix = "all ", flags = { "tcp sequence", "skuid" } } },
    'log prefix "all " flags tcp sequence flags skuid' },
  { { vmap = { key = "ip.saddr", map = { ["10.0.0.1"] = "accept", ["*"] = "drop" } } },
    "ip saddr vmap { 10.0.0.1 : accept, * : drop }" },
  { { ether = { saddr = "02:00:00:00:00:01" }, verdict = "accept" },
    "ether saddr 02:00:00:00:00:01 accept" },
  { { fib = { daddr = "local" }, verdict = "accept", comment = "to ourselves" },
    'fib daddr type local accept comment "to ourselves"' },
  { { { counter = true }, iifname = "a", verdict = "drop" }, 'counter iifname "a" drop' },
}

local TRANSLATED = {
  { { oifname = "eth0", ip = { saddr = "172.30.0.0/16" }, masquerade = true }, "post",
    'oifname "eth0" ip saddr 172.30.0.0/16 masquerade' },
  { { oifname = "eth1", snat = "1.2.3.4" }, "post", 'oifname "eth1" snat ip to 1.2.3.4' },
  { { l4proto = "tcp", masquerade = { port = "1024-65535", random = true } }, "post",
    "meta l4proto tcp masquerade to :1024-65535 random" },
  { { tcp = { dport = 80 }, dnat = "10.0.0.2:8080" }, "pre",
    "tcp dport 80 dnat ip to 10.0.0.2:8080" },
  { { udp = { dport = 53 }, dnat = { to = "10.0.0.2-10.0.0.9", persistent = true } }, "pre",
    "udp dport 53 dnat ip to 10.0.0.2-10.0.0.9 persistent" },
  { { tcp = { dport = 443 }, redirect = 8443 }, "pre", "tcp dport 443 redirect to :8443" },
  { { ip6 = { daddr = "::1" }, tcp = { dport = 5 }, dnat = "[fd00::2]:6" }, "pre",
    "ip6 daddr ::1 tcp dport 5 dnat ip6 to [fd00::2]:6" },
  { { dnat = { key = { "ip.daddr", "tcp.dport" }, map = "@published", port = true } }, "pre",
    "dnat ip to ip daddr . tcp dport map @published" },
}

local function add_nat(rules)
  local ops = {
    { table = { name = "moon" } },
    { map = { table = "moon", name = "published", type = { "ipv4_addr", "inet_service" },
      data = { "ipv4_addr", "inet_service" },
      elements = { { key = { "1.2.3.4", 80 }, data = { "10.0.0.2", 8080 } } } } },
    { chain = { table = "moon", name = "pre", type = "nat", hook = "prerouting",
      priority = "dstnat" } },
    { chain = { table = "moon", name = "post", type = "nat", hook = "postrouting",
      priority = "srcnat" } },
  }
  for _, each in ipairs(rules) do
    each[1].table, each[1].chain = "moon", each[2]
    ops[#ops + 1] = { rule = each[1] }
  end
  nft.apply(ops)
end

describe("nft", function()
  before_each(clean)
  after_each(clean)

  it("writes rules that the nft program prints as they are meant", function()
    local rules, expected = {}, {}
    for i, each in ipairs(SPOKEN) do rules[i], expected[i] = each[1], each[2] end
    with_chain(rules)
    assert.same(expected, rules_by_nft "c")
  end)

  it("writes rules as text as the nft program does", function()
    local rules = {}
    for i, each in ipairs(SPOKEN) do rules[i] = each[1] end
    with_chain(rules)
    for i, rule in ipairs(chain_of("c").rules) do
      assert.equal(SPOKEN[i][2], (nft.text(rule):gsub(" packets 0 bytes 0", "")))
    end
    clean()
    add_nat(TRANSLATED)
    local seen = { pre = 0, post = 0 }
    for _, each in ipairs(TRANSLATED) do
      local chain = each[2]
      seen[chain] = seen[chain] + 1
      assert.equal(each[3], nft.text(chain_of(chain).rules[seen[chain]]))
    end
  end)

  it("writes any ruleset of the nft program as text that it takes, and means the same", function()
    process.run { "nft", "-f", FIXTURES .. "ruleset.nft" }
    local before, input = nft.list(), {}
    for _, each in ipairs(before) do
      for _, chain in ipairs(each.chains) do
        input[#input + 1] = ("flush chain %s %s %s"):format(each.family, each.name, chain.name)
        for _, rule in ipairs(chain.rules) do
          input[#input + 1] = ("add rule %s %s %s %s"):format(each.family, each.name, chain.name,
            nft.text(rule, each.family))
        end
      end
    end
    process.run { "nft", "-f", "-", input = table.concat(input, "\n") .. "\n" }
    local function meaning(tables)
      local rules = {}
      for _, each in ipairs(tables) do
        for _, chain in ipairs(each.chains) do
          for _, rule in ipairs(chain.rules) do
            rules[#rules + 1] = { each.family, each.name, chain.name, bare(rule) }
          end
        end
      end
      return rules
    end
    assert.same(meaning(before), meaning(nft.list()))
    process.run { "nft", "flush", "ruleset" }
  end)

  it("writes translations that the nft program prints as they are meant", function()
    add_nat(TRANSLATED)
    local expected = { pre = {}, post = {} }
    for _, each in ipairs(TRANSLATED) do table.insert(expected[each[2]], each[3]) end
    assert.same(expected.pre, rules_by_nft "pre")
    assert.same(expected.post, rules_by_nft "post")
  end)

  it("tells an interface of iptables from those that begin with its name", function()
    process.run { "iptables-nft", "-A", "FORWARD", "-i", "tap1", "-o", "tap+", "-j", "ACCEPT" }
    local rule = nft.table("filter", "ip").chains[1].rules[1]
    assert.equal("tap1", rule.iifname)
    assert.equal("tap*", rule.oifname)
    process.run { "nft", "delete", "table", "ip", "filter" }
  end)

  it("lists the data that a rule was made from, with its handle", function()
    local rules = {}
    for i, each in ipairs(SPOKEN) do rules[i] = each[1] end
    with_chain(rules)
    for i, rule in ipairs(chain_of("c").rules) do
      assert.equal("integer", math.type(rule.handle))
      assert.same(nft.normal(SPOKEN[i][1]), bare(rule))
    end
  end)

  it("reads what the nft program wrote, and writes it back the same", function()
    process.run { "nft", "-f", FIXTURES .. "ruleset.nft" }
    local before, ops, undo = nft_says("list", "ruleset"), {}, {}
    for _, each in ipairs(nft.list()) do
      undo[#undo + 1] = { op = "delete", table = { family = each.family, name = each.name } }
      ops[#ops + 1] = { op = "add", table = each }
    end
    nft.apply(undo)
    assert.equal("", nft_says("list", "ruleset"))
    nft.apply(ops)
    -- Maps follow the sets: the order of a table's parts is not kept, what they are is.
    local function sorted(text)
      local parts = {}
      for part in (text .. "\n"):gmatch "(.-)\n\n?" do parts[#parts + 1] = part end
      table.sort(parts)
      return parts
    end
    assert.same(sorted(before), sorted(nft_says("list", "ruleset")))
    nft.apply(undo)
  end)

  -- Random rules of all that conditions and statements can be: what is listed is what was meant.
  it("gives back any rule", function()
    math.randomseed(20240501)
    local function one(list) return list[math.random(#list)] end
    local function some(list)
      local picked, seen = {}, {}
      for _ = 1, math.random(1, #list) do
        local value = one(list)
        if not seen[value] then picked[#picked + 1], seen[value] = value, true end
      end
      return picked
    end
    local function varied(list, ranges)
      local kind = math.random(5)
      if kind == 1 then return { ne = one(list) } end
      if kind == 2 then return some(list) end
      if kind == 3 then return { ne = some(list) } end
      if kind == 4 and ranges then return one(ranges) end
      return one(list)
    end
    local NAMES = { "lo", "eth0", "tap-1", "wlan*" }
    local PLAIN = { "lo", "eth0", "tap-1", "br0" }
    local ADDRESSES = { "10.0.0.1", "10.0.0.2", "192.168.7.9", "0.0.0.0", "255.255.255.255" }
    local NETS = { "10.0.0.0/8", "172.30.4.0/30", "10.0.0.7-10.0.0.11", "128.0.0.0/1" }
    local SIXES = { "fe80::1", "2001:db8::7", "::" }
    local PORTS = { 1, 22, 80, 443, 65535 }
    local SPANS = { "1-1023", "8000-8010" }
    local make = {
      iifname = function() return math.random(2) == 1 and one(NAMES) or varied(PLAIN) end,
      oifname = function() return varied(PLAIN) end,
      mark = function() return one { 1, { ne = 7 }, { mask = 0xf0, value = 0x20 }, { lt = 9 },
        { 1, 2 } } end,
      ct = function()
        return one { "new", { "established", "related" }, { status = "dnat" }, { mark = 5 },
          { direction = "reply", state = { ne = "invalid" } } }
      end,
      skuid = function() return one { 0, 1000, { ge = 1000 } } end,
      pkttype = function() return one { "host", "broadcast", { "broadcast", "multicast" } } end,
      counter = function() return one { true, "seen" } end,
      log = function() return one { true, "said ", { group = 3 },
        { level = "err", prefix = "x" } } end,
      limit = function() return one { "3/minute",
        { rate = 5, per = "hour", burst = 9, over = true } } end,
      set = function() return one { { mark = 9 }, { ["ct.mark"] = "mark" },
        { mark = 1, nftrace = 1 } } end,
      verdict = function() return one { "accept", "drop", "return", "jump x", "goto x" } end,
      lookup = function()
        return one { { key = { "iifname", "mark" }, set = { { "lo", 5 }, { "a", 6 } } },
          { key = { "oifname", "l4proto" }, set = { { "b", "tcp" } }, ne = true } }
      end,
    }
    local headers = {
      function(rule) rule.ip = { saddr = varied(ADDRESSES, NETS),
        daddr = varied(ADDRESSES, NETS) } end,
      function(rule) rule.ip6 = { saddr = varied(SIXES), hoplimit = 5 } end,
      function(rule) rule.tcp = { dport = varied(PORTS, SPANS) } end,
      function(rule) rule.udp = { sport = varied(PORTS, SPANS), dport = 53 } end,
      function(rule) rule.icmp = { type = one { "echo-request", { "echo-reply", 8 } } } end,
      function() end,
    }
    local function random_rule()
      local rule = {}
      for name, fn in pairs(make) do
        if math.random(3) == 1 then rule[name] = fn() end
      end
      one(headers)(rule)
      if math.random(4) == 1 then rule.comment = "number " .. math.random(99) end
      if math.random(6) == 1 then table.insert(rule, { iifname = one(PLAIN), counter = true }) end
      return rule
    end
    local rules = {}
    for i = 1, 250 do rules[i] = random_rule() end
    with_chain(rules)
    local listed = chain_of("c").rules
    assert.equal(#rules, #listed)
    for i, rule in ipairs(listed) do
      assert.same(nft.normal(rules[i]), bare(rule))
      assert.same(nft.normal(rules[i]), nft.normal(bare(rule)))
    end
  end)

  it("keeps sets of concatenated keys, intervals, timeouts, counters and comments", function()
    nft.apply {
      { table = { name = "moon", comment = "of the moon" } },
      { set = { table = "moon", name = "guests", type = { "ifname", "ipv4_addr" }, counter = true,
        comment = "who is there", elements = { { "tap0", "10.0.0.2" } } } },
      { set = { table = "moon", name = "nets", type = "ipv4_addr", flags = "interval",
        elements = { "10.0.0.0/9", "10.128.0.0/9", "192.168.0.1-192.168.0.7",
          "255.255.255.255" } } },
      { set = { table = "moon", name = "both", type = { "ipv4_addr", "inet_service" },
        flags = "interval",
        elements = { { "10.0.0.0/8", "80-90" }, { "1.2.3.4", 443 } } } },
      { set = { table = "moon", name = "soon", type = "ipv4_addr", timeout = 3600,
        elements = { { key = "1.2.3.4", timeout = 60, comment = "gone in a minute" } } } },
    }
    assert.equal("of the moon", nft.table("moon").comment)
    local by_name = {}
    for _, set in ipairs(nft.table("moon").sets) do by_name[set.name] = set end
    assert.same({ { key = { "tap0", "10.0.0.2" }, counter = { packets = 0, bytes = 0 } } },
      by_name.guests.elements)
    assert.equal("who is there", by_name.guests.comment)
    assert.same({ { key = "10.0.0.0/9" }, { key = "10.128.0.0/9" },
      { key = "192.168.0.1-192.168.0.7" }, { key = "255.255.255.255" } }, by_name.nets.elements)
    assert.same({ { key = { "1.2.3.4", 443 } }, { key = { "10.0.0.0/8", "80-90" } } },
      by_name.both.elements)
    local soon = by_name.soon.elements[1]
    assert.equal("gone in a minute", soon.comment)
    assert.equal(60, soon.timeout)
    assert.truthy(soon.expires > 0 and soon.expires <= 60)
    assert.equal(3600, by_name.soon.timeout)
    nft.apply { { op = "delete", elements = { table = "moon", set = "nets",
      elements = { "10.0.0.0/9" } } } }
    assert.truthy(nft_says("list", "set", "inet", "moon", "nets"):find "elements = { 10.128.0.0/9")
  end)

  it("holds names of many interfaces in sets of intervals alone", function()
    nft.apply { { table = { name = "moon" } },
      { set = { table = "moon", name = "s", type = "ifname", flags = "interval",
        elements = { "tap*", "lo" } } } }
    assert.truthy(nft_says("list", "set", "inet", "moon", "s"):find('{ "lo",%s+"tap%*" }'))
    assert.same({ { key = "lo" }, { key = "tap*" } }, nft.table("moon").sets[1].elements)
    local _, why = try(nft.apply, { { set = { table = "moon", name = "t", type = "ifname",
      elements = { "tap*" } } } })
    assert.truthy(why.message:find("`t` is `tap*`, which stands for many names", 1, true))
    assert.truthy(why.hint:find('flags = "interval"', 1, true))
  end)

  it("matches with packets whom a name with `*` stands for, also in a list", function()
    nft.apply { { table = { name = "moon" } },
      { chain = { table = "moon", name = "c", hook = "output" } },
      { rule = { table = "moon", chain = "c", oifname = { "l*", "eth0" }, counter = true } },
      { rule = { table = "moon", chain = "c", oifname = { "x*", "eth0" }, counter = true } } }
    process.run { "bash", "-c", "echo > /dev/udp/127.0.0.1/9" }
    local rules = chain_of("c").rules
    assert.is_true(rules[1].counter.packets > 0)
    assert.equal(0, rules[2].counter.packets)
  end)

  it("does all of a batch or nothing", function()
    with_chain {}
    local _, why = try(nft.apply, {
      { rule = { table = "moon", chain = "c", verdict = "accept" } },
      { op = "delete", elements = { table = "moon", set = "nets", elements = { "9.9.9.9" } } },
    })
    assert.truthy(errors.is(why, "nft", "ENOENT"))
    assert.equal(2, why.op)
    assert.same({}, chain_of("c").rules)
  end)

  it("names the rule that the kernel refused, with its data", function()
    with_chain {}
    local refused = { table = "moon", chain = "c", ip = { saddr = "@nobody" }, verdict = "drop" }
    local _, why = try(nft.apply, {
      { rule = { table = "moon", chain = "c", iifname = "a" } },
      { rule = refused },
    })
    assert.equal("nft", why.kind)
    assert.equal("ENOENT", why.code)
    assert.equal(2, why.op)
    assert.equal(refused, why.rule)
    assert.truthy(why.message:find("rule 2 of the chain `c` in `inet moon`", 1, true))
  end)

  local WRONG = {
    { { iifnam = "a" }, "no field `iifnam`", "did you mean `iifname`?" },
    { { ip = { sadr = "1.2.3.4" } }, "no field of `ip` `sadr`", "did you mean `saddr`?" },
    { { tcp = { dport = "http" } }, "`tcp.dport` is `http`; expected a port" },
    { { tcp = { dport = 70000 } }, "`tcp.dport` is `70000`; expected a port" },
    { { ip = { saddr = "10.0.0.1/8" } }, "an address in that network", "`10.0.0.0/8`" },
    { { ip = { saddr = "fe80::1" } }, "expected an IPv4 address" },
    { { iifname = "much-too-long-a-name" }, "expected the name of a network interface" },
    { { ct = { "establised" } }, "expected connection states" },
    { { verdict = "acept" }, "expected \"accept\"" },
    { { verdict = "jump" }, "expected \"accept\"" },
    { { limit = "fast" }, "expected such as \"10/second\"" },
    { { ip = { saddr = "1.2.3.4" }, ip6 = { daddr = "::1" } },
      "cannot be of `ipv4` and of `ipv6`" },
    { { reject = "softly" }, "no answer `softly`" },
    { { lookup = { key = { "iifname", "ip.sadr" }, set = "@x" } }, "no field of `ip` `sadr`" },
    { { mark = { mask = 1, value = 2 } }, "can never be" },
    { { udp = { dport = { "1-10", 5 } } }, "overlap" },
    { { iifname = "*" }, "every interface is", "leave it out" },
    { { iif = "eth0" }, "expected the index of a network interface (`iifname`" },
    { { verdict = "queue" }, "expected \"accept\"" },
    { { ct = { state = { mask = "new", value = 256 } } }, "can never be" },
  }
  it("checks rules before it sends them, and says what was expected", function()
    with_chain {}
    for _, each in ipairs(WRONG) do
      local rule = each[1]
      rule.table, rule.chain = "moon", "c"
      local _, why = try(nft.apply, { { rule = rule } })
      assert.truthy(errors.is(why, "nft", "invalid"), each[2])
      assert.truthy(why.message:find(each[2], 1, true), why.message)
      assert.truthy(why.message:find("rule 1 of the chain `c`", 1, true), why.message)
      if each[3] then assert.truthy(why.hint and why.hint:find(each[3], 1, true),
        tostring(why.hint)) end
    end
    assert.same({}, chain_of("c").rules)
  end)

  it("inserts, replaces and deletes by the handle that it told", function()
    with_chain {}
    local made = nft.apply({ { rule = { table = "moon", chain = "c", iifname = "a" } },
      { rule = { table = "moon", chain = "c", iifname = "b" } } }, { echo = true })
    assert.equal(2, #made)
    nft.apply {
      { op = "insert", rule = { table = "moon", chain = "c", iifname = "first" } },
      { op = "replace", rule = { table = "moon", chain = "c", handle = made[1].handle,
        iifname = "c" } },
      { op = "add", rule = { table = "moon", chain = "c", position = made[1].handle,
        iifname = "d" } },
      { op = "delete", rule = { table = "moon", chain = "c", handle = made[2].handle } },
    }
    assert.same({ 'iifname "first"', 'iifname "c"', 'iifname "d"' }, rules_by_nft "c")
    nft.apply { { op = "flush", chain = { table = "moon", name = "c" } } }
    assert.same({}, rules_by_nft "c")
  end)

  it("destroys what may be missing, and refuses to delete it", function()
    nft.apply { { op = "destroy", table = { name = "moon" } } }
    local _, why = try(nft.apply, { { op = "delete", table = { name = "moon" } } })
    assert.equal("ENOENT", why.code)
    assert.truthy(why.message:find("the table `inet moon`", 1, true))
  end)

  it("refuses a batch when the rules have changed since they were listed", function()
    with_chain {}
    local _, generation = nft.list { table = "moon" }
    nft.apply { { rule = { table = "moon", chain = "c", iifname = "a" } } }
    local _, why = try(nft.apply, { { rule = { table = "moon", chain = "c", iifname = "b" } } },
      { generation = generation })
    assert.equal("ERESTART", why.code)
    assert.same({ 'iifname "a"' }, rules_by_nft "c")
  end)

  it("tells who flushed the rules", function()
    with_chain {}
    local monitor <close> = nft.monitor()
    local child = process.spawn { "nft", "flush", "ruleset" }
    local event = monitor:next()
    child:wait()
    assert.equal("nft", event.process)
    -- The kernel tells ids of the initial PID namespace: in another one they are nobody's.
    local is_initial = fs.readlink "/proc/self/ns/pid" == "pid:[4026531836]"
    assert.equal(is_initial and child.pid or nil, event.pid)
    local gone
    for _, change in ipairs(event.changes) do
      gone = gone or change.what == "table" and change.gone and change.table == "moon"
    end
    assert.is_true(gone)
  end)

  it("tells which changes are ours", function()
    local monitor <close> = nft.monitor()
    with_chain {}
    assert.equal(nft.port(), monitor:next().port)
    local other <close> = nft.open()
    other:apply { { op = "delete", table = { name = "moon" } } }
    assert.equal(other:port(), monitor:next().port)
    assert.not_equal(nft.port(), other:port())
  end)

  -- Sends a datagram to a port of our own.
  local function send(port)
    process.run { "bash", "-c", ("echo x >/dev/udp/127.0.0.1/%d"):format(port), check = false }
  end

  local function with_trace(verdict)
    nft.apply {
      { table = { name = "moon" } },
      { chain = { table = "moon", name = "mark", hook = "output", priority = -400 } },
      { rule = { table = "moon", chain = "mark", udp = { dport = 7777 }, set = { nftrace = 1 } } },
      { chain = { table = "moon", name = "next" } },
      { rule = { table = "moon", chain = "next", udp = { dport = 7777 }, verdict = verdict } },
      { chain = { table = "moon", name = "out", hook = "output", policy = "drop" } },
      { rule = { table = "moon", chain = "out", verdict = "jump next" } },
    }
  end

  it("tells what each rule does with a packet that is traced", function()
    with_trace "drop"
    local trace <close> = nft.trace()
    send(7777)
    local steps, last = {}, {}
    while last.verdict ~= "drop" do
      last = trace:next()
      steps[#steps + 1] = ("%s %s %s"):format(last.what, last.chain, last.verdict or last.policy)
    end
    assert.same({ "rule mark continue", "policy mark accept", "rule out jump next",
      "rule next drop" }, steps)
    assert.equal(chain_of("next").rules[1].handle, last.handle)
    assert.equal("inet", last.family)
    assert.equal("moon", last.table)
  end)

  it("tells the packet with its first step, and a policy that drops it", function()
    with_trace "continue"
    local trace <close> = nft.trace()
    send(7777)
    local first = trace:next()
    assert.same({ protocol = "udp", saddr = "127.0.0.1", daddr = "127.0.0.1" }, first.ip)
    assert.equal(7777, first.udp.dport)
    assert.equal("ipv4", first.nfproto)
    assert.equal(1, first.oif)
    local last = first
    while last.policy ~= "drop" do
      assert.equal(first.id, last.id)
      last = trace:next()
    end
    assert.equal("policy", last.what)
    assert.equal("out", last.chain)
  end)

  it("reads whatever headers a packet has, whole or cut off", function()
    local step = require("moonport.nft.trace").step
    math.randomseed(7)
    for _ = 1, 3000 do
      local first = string.char(math.random(0, 255), 0, 0, 0, 0, 0, 17, 0, 64,
        ({ 1, 6, 17, 58, 132 })[math.random(5)])
      local bytes = {}
      for i = 1, math.random(0, 60) do bytes[i] = string.char(math.random(0, 255)) end
      local all = (first .. table.concat(bytes)):sub(1, math.random(0, 60))
      local found = step { id = 1, type = math.random(0, 5), family = math.random(0, 12),
        verdict = math.random(-6, 6), network = all, transport = table.concat(bytes) }
      assert.equal(1, found.id)
    end
    local whole = string.pack(">I1 I1 I2 I4 I1 I1 I2 I4 I4", 0x45, 0, 40, 0, 64, 6, 0, 0x0a000001,
      0xc0000201)
    local found = step { network = whole, transport = string.pack(">I2 I2", 61000, 443) }
    assert.same({ protocol = "tcp", saddr = "10.0.0.1", daddr = "192.0.2.1" }, found.ip)
    assert.same({ sport = 61000, dport = 443 }, found.tcp)
    assert.is_nil(step({ network = whole:sub(1, 19) }).ip)
  end)

  it("makes a table that goes with its socket, and that nobody else changes", function()
    local own = nft.open()
    own:apply { { table = { name = "mine", owner = true } } }
    assert.is_true(nft.table("mine").owner)
    local _, why = try(nft.apply, { { op = "delete", table = { name = "mine" } } })
    assert.truthy(errors.is(why, "nft", "EPERM"))
    own:close()
    assert.is_nil(nft.table "mine")
  end)

  it("ends a wait for events when it is closed or cancelled", function()
    local monitor = nft.monitor()
    local waiting = task.spawn(function() return monitor:next() end)
    task.sleep(0)
    monitor:close()
    assert.is_nil(waiting:await())
    local other <close> = nft.monitor()
    local _, why = try(task.timeout, 0.05, function() return other:next() end)
    assert.equal("timeout", why.code)
    nft.apply { { table = { name = "moon" } } }
    assert.equal("moon", other:next().changes[1].table)
  end)

  it("acts in another network namespace", function()
    local name = "mp-nft-spec"
    process.run { "ip", "netns", "add", name }
    local handle <close> = nft.open { netns = name }
    handle:apply { { table = { name = "there" } } }
    assert.equal("there", handle:list()[1].name)
    assert.same({}, nft.list())
    assert.truthy(process.run({ "ip", "netns", "exec", name, "nft", "list",
      "tables" }).stdout:find "there")
    process.run { "ip", "netns", "delete", name }
  end)

  it("holds thousands of elements in one transaction", function()
    local elements = {}
    for i = 1, 5000 do
      elements[i] = { key = { "tap" .. i, ("10.%d.%d.1"):format(i // 256, i % 256) } }
    end
    nft.apply { { table = { name = "moon" } }, { set = { table = "moon", name = "guests",
      type = { "ifname", "ipv4_addr" }, elements = elements } } }
    assert.equal(5000, #nft.table("moon").sets[1].elements)
  end)

  it("acts in the families of ip, ip6, bridge and netdev", function()
    process.run { "nft", "flush", "ruleset" }
    nft.apply {
      { table = { family = "netdev", name = "n" } },
      { chain = { family = "netdev", table = "n", name = "c", hook = "ingress", device = "lo" } },
      { rule = { family = "netdev", table = "n", chain = "c", ip = { saddr = "1.2.3.4" },
        verdict = "drop" } },
      { table = { family = "bridge", name = "b" } },
      { chain = { family = "bridge", table = "b", name = "c", hook = "forward", policy = "drop" } },
      { rule = { family = "bridge", table = "b", chain = "c", ip = { saddr = "1.2.3.4" },
        verdict = "accept" } },
      { table = { family = "ip6", name = "s" } },
      { chain = { family = "ip6", table = "s", name = "c", hook = "input",
        priority = "filter - 5" } },
      { rule = { family = "ip6", table = "s", chain = "c", tcp = { dport = 5 },
        verdict = "accept" } },
    }
    local text = nft_says("list", "ruleset")
    for _,
      words in ipairs { "type filter hook ingress device \"lo\" priority filter; policy accept;",
      "priority filter; policy drop;", "ip saddr 1.2.3.4 accept", "priority filter - 5",
      "tcp dport 5 accept" } do
      assert.truthy(text:find(words, 1, true), words)
    end
    process.run { "nft", "flush", "ruleset" }
  end)

  it("refuses misspelt options instead of passing them over", function()
    for _, call in ipairs {
      function() nft.open { netsn = "x" } end, function() nft.monitor { netsn = "x" } end,
      function() nft.list { tabel = "moon" } end, function() nft.list "moon" end,
      function() nft.apply({}, { genration = 5 }) end,
    } do
      local _, why = try(call)
      assert.truthy(errors.is(why, "nft", "invalid"), tostring(why))
    end
  end)

  it("refuses what a family does not have before it asks the kernel", function()
    for _, each in ipairs {
      { "arp", { tcp = { dport = 5 } }, "the family `arp` sees no packets of `tcp`" },
      { "arp", { ip = { saddr = "1.2.3.4" } }, "the family `arp` sees no packets of `ipv4`" },
      { "bridge", { masquerade = true }, "the family `bridge` translates no addresses" },
      { "netdev", { dnat = "1.2.3.4" }, "the family `netdev` translates no addresses" },
      { "ip", { ip6 = { saddr = "::1" } }, "cannot be of `ipv4` and of `ipv6`" },
      { "ip6", { dnat = "1.2.3.4" }, "another family than the table's" },
    } do
      local rule = each[2]
      rule.family, rule.table, rule.chain = each[1], "moon", "c"
      local _, why = try(nft.check, { { rule = rule } })
      assert.truthy(errors.is(why, "nft", "invalid"), tostring(why))
      assert.truthy(why.message:find(each[3], 1, true), why.message)
    end
    nft.check { { rule = { family = "arp", table = "moon", chain = "c",
      arp = { operation = "request" }, verdict = "drop" } } }
  end)

  it("changes nothing while a plan is made", function()
    local _, why = try(task.read_only, nft.apply, { { table = { name = "moon" } } })
    assert.truthy(errors.is(why, "gate", "refused"))
    assert.is_nil(task.read_only(nft.table, "moon"))
  end)
end)
