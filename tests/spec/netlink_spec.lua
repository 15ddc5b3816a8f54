local errors = require "moonport.errors"
local netlink = require "moonport.netlink"
local process = require "moonport.process"
local sys = require "moonport.sys"
local task = require "moonport.task"

local NAME = "mp-spec-" .. sys.pid()
local usable = sys.has_capability "sys_admin" and sys.has_capability "net_admin"

-- A test in a network namespace of its own.
local function in_namespace(what, fn)
  it(what, function()
    if not usable then return pending "making network namespaces takes CAP_SYS_ADMIN" end
    netlink.create_namespace(NAME)
    local ok, why = xpcall(function()
      local there <close> = netlink.open { netns = NAME }
      fn(there)
    end, function(e) return type(e) == "string" and debug.traceback(e) or e end)
    netlink.delete_namespace(NAME)
    if not ok then error(why, 0) end
  end)
end

local function refusal(code, ...)
  local ok, why = pcall(...)
  assert.is_false(ok)
  assert.is_true(errors.is(why, "netlink", code), tostring(why))
  return why.message
end

local function names(items)
  local list = {}
  for _, item in ipairs(items) do list[#list + 1] = item.name end
  return list
end

describe("links", function()
  in_namespace("of every kind are made, changed, found and deleted", function(net)
    net:add_link { name = "br0", kind = "bridge", up = true, address = "02:00:5e:00:00:01" }
    net:add_link { name = "v0", kind = "veth", master = "br0", up = true, peer = { name = "v1" } }
    local tap = net:add_link {
      name = "tap0", kind = "tap", up = true, mtu = 1400, alias = "moonport/a/b", owner = 1000,
      group = 1001, multi_queue = true, vnet_hdr = true, addresses = { "172.30.0.1/30" },
      ipv4 = { rp_filter = 1, route_localnet = true }, ipv6 = false,
    }
    assert.equal("tap", tap.kind)
    assert.equal("moonport/a/b", tap.alias)
    assert.same({ 1400, 1000, 1001 }, { tap.mtu, tap.owner, tap.group })
    assert.is_true(tap.up and tap.multi_queue and tap.vnet_hdr and tap.persistent)
    assert.same({ 1, 1 }, { tap.ipv4.rp_filter, tap.ipv4.route_localnet })
    assert.same({ "lo", "br0", "v1", "v0", "tap0" }, names(net:links()))
    assert.same({ "v0" }, names(net:links { master = "br0" }))
    local veth = net:link "v0"
    assert.same({ "br0", "v1" }, { veth.master, veth.parent })
    local index = net:link("br0").index
    assert.equal("br0", net:link(index).name)
    net:set_link(index, { mtu = 1450 })
    net:add_address(index, "10.3.3.1/24")
    assert.equal("10.3.3.1/24", net:addresses({ link = "br0", family = "inet" })[1].address)
    net:delete_address(index, "10.3.3.1/24")
    assert.equal(1450, net:link("br0").mtu)
    refusal("ENODEV", net.set_link, net, 4711, { up = true })
    net:set_link("v0", { master = false, up = false, mtu = 1300, name = "w0" })
    veth = net:link "w0"
    assert.is_nil(veth.master)
    assert.is_false(veth.up)
    assert.equal(1300, veth.mtu)
    net:delete_link "w0"
    assert.same({ "lo", "br0", "tap0" }, names(net:links()))
    assert.equal(2, net:delete_links { "br0", "tap0", "not-there" })
    assert.same({ "lo" }, names(net:links()))
  end)

  in_namespace("are what the ip program says they are", function(net)
    if not process.which "ip" then return pending "no ip" end
    net:add_link { name = "br0", kind = "bridge" }
    net:add_link { name = "v0", kind = "veth", peer = { name = "v1" } }
    net:add_link { name = "tap0", kind = "tap", up = true, mtu = 1400, master = "br0", owner = 4007,
      group = 4008, multi_queue = true, vnet_hdr = true, alias = ("x"):rep(255),
      address = "02:00:5e:00:00:07" }
    local said = process.run({ "ip", "-n", NAME, "-d", "-o", "link" }).stdout
    local lines = {}
    for line in said:gmatch "[^\n]+" do lines[line:match "^%d+: ([%w-]+)"] = line end
    for _, words in ipairs { "mtu 1400", "master br0", " multi_queue ", "vnet_hdr on", "user 4007",
      "group 4008", "02:00:5e:00:00:07", "UP", ("alias " .. ("x"):rep(255)), "tun type tap" } do
      assert.is_truthy(lines.tap0:find(words, 1, true), words .. " in " .. lines.tap0)
    end
    assert.is_truthy(lines.br0:find(" bridge ", 1, true))
    assert.is_truthy(lines.v0:find(" veth ", 1, true))
    -- And the other way: what ip made is listed so.
    process.run { "ip", "-n", NAME, "tuntap", "add", "tap9", "mode", "tap", "user", "7" }
    process.run { "ip", "-n", NAME, "link", "set", "dev", "tap9", "mtu", "1300", "alias", "by ip" }
    local made = net:link "tap9"
    assert.same({ "tap", 7, 1300, "by ip", false },
      { made.kind, made.owner, made.mtu, made.alias, made.up })
  end)

  in_namespace("are given by index wherever they are given by name", function(net)
    local bridge = net:add_link({ name = "br0", kind = "bridge", up = true }).index
    local tap = net:add_link({ name = "tap0", kind = "tap", master = bridge, up = true }).index
    assert.equal("br0", net:link(tap).master)
    net:set_link(tap, { master = false })
    net:set_link(tap, { master = bridge })
    assert.same({ "tap0" }, names(net:links { master = bridge }))
    net:add_address(bridge, "10.3.3.1/24")
    assert.equal("10.3.3.1/24", net:addresses({ link = bridge, family = "inet" })[1].address)
    net:add_route { dst = "10.4.0.0/16", link = bridge }
    assert.equal("br0", net:routes({ link = bridge, type = "unicast" })[1].link)
    net:replace_route { dst = "10.4.0.0/16", link = bridge }
    net:delete_route { dst = "10.4.0.0/16", link = bridge }
    net:add_neighbour(bridge, "10.3.3.2", "02:00:5e:00:00:01")
    local found = {}
    for _, each in ipairs(net:neighbours { link = bridge, family = "inet" }) do
      found[each.address] = each.hardware
    end
    assert.equal("02:00:5e:00:00:01", found["10.3.3.2"])
    refusal("ENODEV", net.add_link, net, { name = "tap1", kind = "tap", master = 4711 })
    net:delete_link(tap)
    refusal("ENODEV", net.link, net, "tap0")
  end)

  in_namespace("without IPv6 give themselves no address", function(net)
    net:add_link { name = "tap0", kind = "tap", up = true, ipv6 = false }
    assert.same({}, net:addresses { link = "tap0" })
    net:add_link { name = "tap1", kind = "tap", up = true }
    assert.equal("inet6", net:addresses({ link = "tap1" })[1].family)
  end)

  in_namespace("move to other namespaces, as do the ends of a cable", function(net)
    local other = NAME .. "-b"
    netlink.create_namespace(other)
    local there <close> = netlink.open { netns = other }
    local ok, why = pcall(function()
      net:add_link { name = "a0", kind = "veth", peer = { name = "b0", netns = other } }
      assert.equal("veth", there:link("b0").kind)
      there:set_link("b0", { netns = NAME })
      assert.equal("b0", net:link("a0").parent)
    end)
    netlink.delete_namespace(other)
    assert.is_true(ok, tostring(why))
  end)

  in_namespace("that cannot be made are refused by name, and nothing is left", function(net)
    net:add_link { name = "tap0", kind = "tap" }
    assert.match("`tap0`: File exists",
      refusal("EEXIST", net.add_link, net, { name = "tap0", kind = "tap" }))
    refusal("EEXIST", net.add_link, net, { name = "tap0", kind = "bridge" })
    refusal("ENODEV", net.add_link, net, { name = "tap1", kind = "tap", master = "nobody" })
    refusal("ENODEV", net.link, net, "tap1")
    -- The kernel would take the last one as a wish for any number.
    for _, name in ipairs { "longer-than-the-kernel", "", "a b", "a/b", "a:b", ".", "..",
      "tap%d" } do
      refusal("invalid", net.add_link, net, { name = name, kind = "tap" })
      refusal("invalid", net.set_link, net, "tap0", { name = name })
    end
    refusal("invalid", net.add_link, net, { name = "a", kind = "tap", alias = ("x"):rep(256) })
    assert.same({ "lo", "tap0" }, names(net:links()))
    refusal("ENODEV", net.delete_link, net, "tap1")
    refusal("ENODEV", net.set_link, net, "tap1", { up = true })
  end)

  in_namespace("are renamed only to names that are free", function(net)
    net:add_link { name = "tap0", kind = "tap" }
    net:add_link { name = "tap1", kind = "tap" }
    refusal("EEXIST", net.set_link, net, "tap0", { name = "tap1" })
    net:set_link("tap0", { name = "tap2" })
    assert.same({ "lo", "tap2", "tap1" }, names(net:links()))
  end)

  in_namespace("refuse with the kernel's own words", function(net)
    net:add_link { name = "tap0", kind = "tap" }
    assert.match("mtu greater than device maximum",
      refusal("EINVAL", net.set_link, net, "tap0", { mtu = 1000000 }))
  end)

  it("refuse options that they do not know", function()
    for _, options in ipairs {
      { name = "a", kind = "tap", tx = 1 }, { name = "a", kind = "gre" }, { kind = "tap" },
      { name = "a", kind = "tap", mtu = "big" }, { name = "a", kind = "bridge", owner = 1 },
      { name = "a", kind = "veth" }, { name = "a", kind = "vlan", link = "b" },
      { name = "a", kind = "tap", address = "02:00" .. ":0" },
      { name = "a", kind = "tap", addresses = { "10.0.0.1/40" } },
    } do
      assert.is_false(pcall(netlink.add_link, options))
    end
    assert.is_false(pcall(netlink.links, { colour = "red" }))
    local _, why = pcall(netlink.set_link, "lo", { mtuu = 5 })
    assert.match("no option `mtuu` here, but name, up, mtu,", why.message)
  end)

  -- One that is passed over acts in another namespace than was meant.
  it("refuse misspelt options instead of passing them over", function()
    for _, call in ipairs {
      function() netlink.open { netsn = "x" } end,
      function() netlink.monitor { "link", netsn = "x" } end,
      function() netlink.default_route { famly = "inet6" } end,
      function() netlink.routes { tabel = 7 } end,
      function() netlink.addresses { lnk = "lo" } end,
      function() netlink.add_address("lo", "10.0.0.1/32", { pear = "10.0.0.2" }) end,
      function() netlink.add_neighbour("lo", "10.0.0.1", "02:00:5e:00:00:01", { repl = 1 }) end,
      function() netlink.monitor { "links" } end,
      function() netlink.open "mp-nowhere" end,
    } do
      local ok, why = pcall(call)
      assert.is_false(ok)
      assert.is_true(errors.is(why, "argument"), tostring(why))
    end
    local _, why = pcall(netlink.open, { netsn = "x" })
    assert.match("did you mean `netns`", why.hint)
  end)
end)

describe("addresses, routes and neighbours", function()
  in_namespace("are added, listed and deleted", function(net)
    net:add_link { name = "tap0", kind = "tap", up = true, ipv6 = false }
    net:add_address("tap0", "172.30.0.1/30")
    net:add_address("tap0", "fd00::1/64")
    net:add_address("tap0", "10.1.1.1", { peer = "10.1.1.2" })
    local found = net:addresses { link = "tap0", family = "inet" }
    assert.same({ "172.30.0.1/30", "10.1.1.1/32" }, { found[1].address, found[2].address })
    assert.equal("10.1.1.2", found[2].peer)
    assert.match("Address already assigned",
      refusal("EEXIST", net.add_address, net, "tap0", "172.30.0.1/30"))
    net:delete_address("tap0", "fd00::1/64")
    refusal("EADDRNOTAVAIL", net.delete_address, net, "tap0", "fd00::1/64")

    assert.is_nil(net:default_route())
    net:add_route { dst = "default", via = "172.30.0.2", metric = 200 }
    net:add_route { dst = "default", via = "10.1.1.2", metric = 100 }
    net:add_route { dst = "10.9.0.0/16", type = "blackhole" }
    assert.equal("10.1.1.2", net:default_route().via)
    assert.equal("tap0", net:default_route().link)
    assert.equal("10.9.0.0/16", net:routes({ type = "blackhole" })[1].dst)
    refusal("EEXIST", net.add_route, net, { dst = "10.9.0.0/16", type = "blackhole" })
    net:replace_route { dst = "default", via = "172.30.0.2", metric = 100 }
    assert.equal("172.30.0.2", net:default_route().via)
    net:delete_route { dst = "default", metric = 100 }
    assert.equal(200, net:default_route().metric)
    refusal("ESRCH", net.delete_route, net, { dst = "10.77.0.0/16" })
    assert.match("`10.8.0.0/16`", refusal("ENETUNREACH", net.add_route, net,
      { dst = "10.8.0.0/16", via = "9.9.9.9" }))
    net:add_route { dst = "10.8.0.0/16", link = "tap0", table = 77 }
    assert.equal(77, net:routes({ table = 77 })[1].table)

    net:add_neighbour("tap0", "172.30.0.2", "02:00:5e:00:00:01")
    refusal("EEXIST", net.add_neighbour, net, "tap0", "172.30.0.2", "02:00:5e:00:00:02")
    net:add_neighbour("tap0", "172.30.0.2", "02:00:5e:00:00:02", { replace = true })
    local neighbour = net:neighbours({ link = "tap0", family = "inet" })[1]
    assert.same({ "172.30.0.2", "02:00:5e:00:00:02", "permanent" },
      { neighbour.address, neighbour.hardware, neighbour.state })
    net:delete_neighbour("tap0", "172.30.0.2")
    assert.same({}, net:neighbours { link = "tap0", family = "inet" })
  end)

  in_namespace("of addresses are changed: how long they live", function(net)
    net:add_link { name = "tap0", kind = "tap", up = true, ipv6 = false }
    net:add_address("tap0", "10.1.1.1/24", { valid = 3600, preferred = 1800 })
    local function found() return net:addresses({ link = "tap0" })[1] end
    assert.is_false(found().permanent)
    assert.is_true(found().valid > 3000 and found().valid <= 3600)
    assert.is_true(found().preferred <= 1800)
    net:add_address("tap0", "10.1.1.1/24", { replace = true })
    assert.is_true(found().permanent)
    assert.is_nil(found().valid)
    assert.equal(1, #net:addresses { link = "tap0" })
    assert.is_false(pcall(net.add_address, net, "tap0", "10.1.1.2/24",
      { valid = 1, preferred = 2 }))
  end)

  it("are read in a plan, and refused to be changed", function()
    if not usable then return pending "needs CAP_NET_ADMIN" end
    task.read_only(function()
      assert.equal("lo", netlink.link(1).name)
      local ok, why = pcall(netlink.add_link, { name = "tap0", kind = "tap" })
      assert.is_true(not ok and errors.is(why, "gate", "refused"))
    end)
  end)
end)

describe("namespaces", function()
  in_namespace("are those that `ip netns` knows, and programs run in them", function(net)
    local found = {}
    for _, name in ipairs(netlink.namespaces()) do found[name] = true end
    assert.is_true(found[NAME])
    refusal("EEXIST", netlink.create_namespace, NAME)
    net:add_link { name = "only-here", kind = "tap" }
    local listed = process.run { "cat", "/proc/net/dev", netns = NAME }
    assert.match("only%-here", listed.stdout)
    if process.which "ip" then
      local out = process.run { "ip", "-n", NAME, "-o", "link" }
      assert.match("only%-here", out.stdout)
      process.run { "ip", "netns", "delete", NAME }
      refusal("ENOENT", netlink.delete_namespace, NAME)
      process.run { "ip", "netns", "add", NAME }
    end
  end)

  in_namespace("are found by the pid of a process in them, too", function(net)
    net:add_link { name = "only-here", kind = "tap" }
    local child <close> = process.spawn {
      "sleep", "60", netns = "/run/netns/" .. NAME }
    local there <close> = netlink.open { netns = child.pid }
    assert.equal("tap", there:link("only-here").kind)
  end)

  it("that are not there are named", function()
    assert.match("`mp%-nowhere`", refusal("ENOENT", netlink.open, { netns = "mp-nowhere" }))
    refusal("invalid", netlink.create_namespace, "../etc")
  end)
end)

describe("a monitor", function()
  in_namespace("tells what comes, changes and goes", function(net)
    local events <close> = netlink.monitor { "link", "address", "route", "neighbour", netns = NAME }
    net:add_link { name = "tap0", kind = "tap", up = true, addresses = { "172.30.0.1/30" } }
    net:add_neighbour("tap0", "172.30.0.2", "02:00:5e:00:00:01")
    net:delete_link "tap0"
    local seen = {}
    for event in events do
      local what = event[event.what]
      local text = what.name or what.dst or what.address
      seen[("%s %s %s"):format(event.action, event.what, text)] = true
      if event.what == "link" and event.action == "del" then break end
    end
    for _, text in ipairs {
      "new link tap0", "new address 172.30.0.1/30", "new neighbour 172.30.0.2",
      "new route 172.30.0.0/30", "del link tap0",
    } do
      assert.is_true(seen[text], text)
    end
  end)

  in_namespace("says when it has lost some, and goes on", function(net)
    local events <close> = netlink.monitor { "address", netns = NAME, buffer = 4096 }
    net:add_link { name = "tap0", kind = "tap", up = true, ipv6 = false }
    -- More than is kept for a reader that sleeps, here and in the kernel.
    for i = 0, 999 do
      net:add_address("tap0", ("10.%d.%d.1/24"):format(i // 250, i % 250))
    end
    local lost, told = false, 0
    for event in events do
      told = told + 1
      if event.action == "lost" then
        lost = true
        break
      end
    end
    assert.is_true(lost)
    assert.is_true(told < 1000)
    -- Whoever hears of a loss looks again; here, for a sign that is made after it.
    local signs = 0
    local function make_sign()
      signs = signs + 1
      net:add_address("tap0", ("10.99.%d.1/24"):format(signs))
    end
    make_sign()
    for event in events do
      if event.action == "lost" then
        make_sign()
      elseif event.address.address:find "^10%.99%." then
        break
      end
    end
  end)

  in_namespace("that is closed ends its reader, and one that waits can be cancelled", function()
    local events = netlink.monitor { "link", netns = NAME }
    assert.is_nil(select(1, try(task.timeout, 0.02, events.next, events)))
    assert.is_nil(events:poll())
    local reader = task.spawn(function() return events:next() end)
    task.sleep(0)
    events:close()
    assert.is_nil(reader:await())
    assert.is_nil(events:next())
  end)
end)

describe("what TAPs are made by", function()
  it("is looked for in a plan", function()
    local ok, why = pcall(task.read_only, netlink.check_tap)
    assert.is_true(ok or errors.is(why, "netlink"), tostring(why))
  end)
end)

describe("a connection", function()
  in_namespace("serves many tasks, one after the other", function(net)
    local jobs = {}
    for i = 1, 20 do
      jobs[i] = function() net:add_link { name = "tap" .. i, kind = "tap" } end
    end
    task.all(jobs)
    assert.equal(21, #net:links())
  end)

  it("that is closed says so", function()
    local net = netlink.open()
    net:close()
    net:close()
    assert.match("closed", refusal("closed", net.links, net))
  end)
end)
