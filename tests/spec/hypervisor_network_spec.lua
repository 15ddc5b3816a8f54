--- Leases and TAPs of virtual machines, in a network namespace of the test's own.
local errors = require "moonport.errors"
local forwarding = require "moonport.hypervisor.forwarding"
local fs = require "moonport.fs"
local gc = require "moonport.gc"
local journal = require "moonport.engine.journal"
local lease = require "moonport.hypervisor.lease"
local netlink = require "moonport.netlink"
local site = require "moonport.site"
local state = require "moonport.state"
local subnets = require "moonport.hypervisor.subnets"
local sys = require "moonport.sys"
local tap = require "moonport.hypervisor.tap"
local task = require "moonport.task"

local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/hypervisor_helper.lua")

local dir, store

local function refusal(kind, code, ...)
  local ok, why = pcall(...)
  assert.is_false(ok, "nothing was raised")
  assert.is_true(errors.is(why, kind, code), tostring(why))
  return why
end

local REVISION = {
  digest = "d", recipe = "r", files = {}, manifest = {}, origins = {}, inputs = {},
}

-- A context of a new revision of a deployment, as steps get it.
local function revision_of(id, config, fields)
  if not store:deployment(id) then
    store:add_deployment { id = id, name = id, target = "hypervisor" }
    fs.mkdirs(store:deployment_dir(id))
  end
  local number = store:add_revision(id, REVISION)
  return helper.context(fields, {
    name = id, id = id, store = store.uuid, state = store, revision = number,
    tag = ("%s-%d"):format(id, number), mark = ("moonport/%s/%s"):format(store.uuid, id),
    config = config or {}, intents = { data = {} }, planning = false,
  })
end

-- Runs a step as the engine does: its intent is in the journal before it acts.
local function run_step(ctx, name, part, apply)
  local book = journal.open(store, store:deployment(ctx.id), ctx.revision)
  local intent, made = task.read_only(part.allocate, ctx)
  book:begin({ name = name, scope = "revision" }, 1, intent, made)
  ctx.intents[name] = intent
  if apply ~= false then part.apply(ctx, intent) end
  return intent
end

local function undo_step(ctx, name, part)
  part.undo(ctx, ctx.intents[name])
  local sql = "UPDATE journal SET state = 'undone' WHERE deployment = ? AND step = ?"
  store.db:run(sql, ctx.id, name)
end

local function give_up(ctx)
  store:abandon(store:deployment(ctx.id))
end

-- A deployment that nothing knows of any more, but for what it made.
local function forget(ctx)
  store:forget_deployment(store:deployment(ctx.id))
  fs.remove_tree(store:deployment_dir(ctx.id))
end

local function make(id, config)
  local ctx = revision_of(id, config)
  run_step(ctx, "lease", lease)
  run_step(ctx, "tap", tap)
  return ctx
end

local function taps()
  local names = {}
  for _, link in ipairs(netlink.links { kind = "tap" }) do names[#names + 1] = link.name end
  return names
end

before_each(function()
  dir = fs.temp_dir()
  store = state.open { dir = dir .. "/state" }
end)

after_each(function()
  local links = {}
  for _, link in ipairs(netlink.links()) do
    if link.kind == "tap" or link.kind == "bridge" then links[#links + 1] = link.name end
  end
  netlink.delete_links(links)
  store:close()
  fs.remove_tree(dir)
end)

describe("a lease", function()
  it("is a /30 whose ends are the host's and the guest's, and comes back the same", function()
    local ctx = revision_of "a"
    local one = lease.allocate(ctx)
    local first, last = subnets.range(one.subnet)
    assert.equal(3, last - first)
    assert.same({ subnets.text(first + 1), subnets.text(first + 2) }, { one.host, one.guest })
    assert.match("^02:%x%x:%x%x:%x%x:%x%x:%x%x$", one.mac)
    assert.match("^mp%-%x+$", one.tap)
    assert.is_true(#one.tap <= 15)
    assert.same(one, lease.allocate(ctx))
    lease.apply(ctx, one)
    lease.undo(ctx, one)
    assert.same({}, store:leases())
  end)

  it("of each revision is its own, so that one can serve while the next is made", function()
    local one, two = lease.allocate(revision_of "a"), lease.allocate(revision_of "a")
    assert.not_equal(one.subnet, two.subnet)
    assert.not_equal(one.tap, two.tap)
    assert.not_equal(one.mac, two.mac)
  end)

  -- The reference gives every TAP a /24 around single addresses: the second VM is in the first's.
  it("never overlaps another one", function()
    local seen = {}
    for index = 1, 40 do
      local first, last = subnets.range(lease.allocate(revision_of("vm" .. index)).subnet)
      for number = first, last do
        assert.is_nil(seen[number])
        seen[number] = true
      end
    end
  end)

  it("passes over what interfaces and routes of this host use", function()
    local config = { network = { pool = "10.66.0.0/28" } }
    netlink.add_link { name = "br0", kind = "bridge", up = true, addresses = { "10.66.0.1/29" } }
    netlink.add_route { dst = "10.66.0.8/30", type = "blackhole" }
    local intent = lease.allocate(revision_of("a", config))
    assert.equal("10.66.0.12/30", intent.subnet)
    local why = refusal("hypervisor", "exhausted", lease.allocate, revision_of("b", config))
    for _, text in ipairs {
      "10%.66%.0%.12/30: deployment `a`", "10%.66%.0%.1/29: interface `br0`",
      "10%.66%.0%.8/30: route",
    } do
      assert.match(text, why.message)
    end
    assert.equal(3, #why.holders)
    netlink.delete_route { dst = "10.66.0.8/30", type = "blackhole" }
    assert.equal("10.66.0.8/30", lease.allocate(revision_of("b", config)).subnet)
  end)

  it("notices what the host takes into use meanwhile", function()
    local uses <close> = subnets.uses()
    netlink.add_link { name = "br0", kind = "bridge", up = true }
    assert.is_nil(uses:conflict "10.66.0.0/30")
    netlink.add_address("br0", "10.66.0.2/24")
    assert.is_true(uses:refresh())
    assert.equal("interface `br0`", uses:conflict("10.66.0.0/30").what)
    assert.is_nil(uses:conflict("10.66.0.0/30", "br0"))
  end)

  it("whose subnet the host uses by now is refused by name when it is to be used", function()
    local ctx = revision_of "a"
    local intent = lease.allocate(ctx)
    netlink.add_link {
      name = "br0", kind = "bridge", up = true, addresses = { intent.host .. "/24" } }
    assert.match("`br0`", refusal("hypervisor", "conflict", lease.apply, ctx, intent).message)
  end)

  it("that revisions hold which are gone is reclaimed before the pool is said to be used up",
    function()
      local config = { network = { pool = "10.66.0.0/29" } }
      local dead = revision_of("a", config)
      lease.allocate(dead)
      give_up(dead) -- killed between the lease and its intent, and given up by the next command
      local served = revision_of("b", config)
      run_step(served, "lease", lease)
      store:activate(store:deployment "b")
      assert.equal(2, #store:leases())
      local intent = lease.allocate(revision_of("c", config))
      assert.not_equal(served.intents.lease.subnet, intent.subnet)
      refusal("hypervisor", "exhausted", lease.allocate, revision_of("d", config))
    end)

  -- The reference keeps them in memory: after its restart it gives the same address to another VM.
  it("is in the store, so that no other command takes it for another VM, also after a reboot",
    function()
      local ctx = revision_of "a"
      local intent = lease.allocate(ctx)
      store:close()
      store = state.open { dir = dir .. "/state" }
      assert.same(intent.subnet, store:leases()[1].value)
      store.boot_id = "after-a-reboot"
      assert.not_equal(intent.subnet, lease.allocate(revision_of "b").subnet)
      ctx.state = store
      assert.same(intent, lease.allocate(ctx))
    end)

  -- Elsewhere leases pile up at every crash until nothing is left.
  it("of commands that were killed again and again never uses the pool up", function()
    local config = { network = { pool = "10.66.0.0/29" } }
    for _ = 1, 20 do
      local ctx = revision_of("a", config)
      lease.allocate(ctx)
      give_up(ctx)
    end
    assert.is_true(#store:leases() <= 2)
  end)

  it("goes with its deployment, and is in the database again after that was lost", function()
    local ctx = revision_of "a"
    local intent = run_step(ctx, "lease", lease)
    store.db:run "DELETE FROM leases"
    lease.apply(ctx, intent)
    assert.equal(intent.subnet, store:leases()[1].value)
    store:forget_deployment(store:deployment "a")
    assert.same({}, store:leases())
  end)
end)

describe("a TAP", function()
  it("is made with its mark, address and settings, is kept when made again, and goes", function()
    local ctx = make "a"
    local intent = ctx.intents.tap
    local link = netlink.link(intent.name)
    assert.equal(("moonport/%s/a/%d"):format(store.uuid, ctx.revision), link.alias)
    assert.same({ "tap", true, sys.euid() }, { link.kind, link.up, link.owner })
    assert.is_true(link.vnet_hdr and link.persistent)
    assert.equal(1, link.ipv4.rp_filter)
    assert.equal(1, link.ipv4.forwarding)
    local addresses = netlink.addresses { link = intent.name }
    assert.equal(1, #addresses) -- no link-local one of IPv6 either
    assert.equal(ctx.intents.lease.host .. "/30", addresses[1].address)
    assert.equal(link.index, tap.apply(ctx, intent).index)
    undo_step(ctx, "tap", tap)
    tap.undo(ctx, intent)
    assert.same({}, taps())
  end)

  it("lets packets for the loopback through only where the manifest needs that", function()
    local ports = { hypervisor = { network = { host_ports = { 8545 } } } }
    local far = { http_rpc_url = "http://198.51.100.7:8545", ws_rpc_url = "ws://198.51.100.7:8545" }
    for _, case in ipairs { { ports, 1 }, { far, 0 } } do
      local ctx = revision_of("a" .. case[2], nil, case[1])
      run_step(ctx, "lease", lease)
      local intent = run_step(ctx, "tap", tap)
      assert.equal(case[2], netlink.link(intent.name).ipv4.route_localnet)
    end
  end)

  it("with its mark that is not as it was wanted is made anew", function()
    local ctx = revision_of "a"
    run_step(ctx, "lease", lease)
    local intent = run_step(ctx, "tap", tap, false)
    netlink.add_link { name = intent.name, kind = "tap", alias = intent.alias }
    tap.apply(ctx, intent)
    assert.equal(intent.address, netlink.addresses({ link = intent.name })[1].address)
  end)

  it("with its name and another mark is left alone and named", function()
    local ctx = revision_of "a"
    run_step(ctx, "lease", lease)
    local intent = run_step(ctx, "tap", tap, false)
    netlink.add_link { name = intent.name, kind = "tap", alias = intent.alias .. "0" }
    assert.match(intent.name, refusal("hypervisor", "conflict", tap.apply, ctx, intent).message, 1,
      true)
    tap.undo(ctx, intent)
    assert.same({ intent.name }, taps())
  end)

  -- The reference finds a VM's things by a part of their names: VM 1's end takes VM 10's.
  it("of revision 1 is not that of revision 10", function()
    local mark = ("moonport/%s/a/"):format(store.uuid)
    netlink.add_link { name = "mp-one", kind = "tap", alias = mark .. "1" }
    netlink.add_link { name = "mp-ten", kind = "tap", alias = mark .. "10" }
    tap.resource.remove { name = "mp-ten", alias = mark .. "1" }
    tap.resource.remove { name = "mp-one", alias = mark .. "1" }
    assert.same({ "mp-ten" }, taps())
  end)

  -- Elsewhere a crash in between leaves interfaces that nobody knows.
  it("is in the kernel with its mark or not at all, whenever its maker dies", function()
    local process = require "moonport.process"
    local events <close> = netlink.monitor { "link" }
    for _ = 1, 5 do
      local maker <close> = process.spawn {
        fs.realpath "/proc/self/exe", "run", "-e", [[
          local netlink = require "moonport.netlink"
          for i = 1, 1000 do
            netlink.add_link { name = "mp-die" .. i, kind = "tap", up = true, alias = "moonport/x",
              addresses = { "10.66.0.1/30" } }
          end
        ]], stderr = "null" }
      repeat local event = events:next() until event.link and event.link.name:find "^mp%-die"
      maker:kill "SIGKILL"
      maker:wait()
      local names = {}
      for _, link in ipairs(netlink.links { kind = "tap" }) do
        if link.name:find "^mp%-die" then
          names[#names + 1] = link.name
          assert.equal("moonport/x", link.alias)
        end
      end
      netlink.delete_links(names)
    end
  end)

  it("that two stores would give one subnet is refused for whoever comes second", function()
    local ctx = revision_of "a"
    run_step(ctx, "lease", lease)
    local intent = run_step(ctx, "tap", tap, false)
    netlink.add_link { name = "mp-other", kind = "tap", addresses = { intent.address } }
    assert.match("mp%-other", refusal("hypervisor", "conflict", tap.apply, ctx, intent).message)
    assert.same({ "mp-other" }, taps())
  end)
end)

describe("TAPs that nobody has", function()
  local function sweep(dry)
    return gc.run({ state = store, site = site.open { dir = dir } }, { dry = dry })
  end

  it("are found by their mark and removed by gc, and no others", function()
    local kept = make "kept"
    local lost = { make "lost", make "lost2", make "lost3" }
    for _, ctx in ipairs(lost) do forget(ctx) end
    netlink.add_link { name = "other", kind = "tap" }
    netlink.add_link { name = "other-store", kind = "tap",
      alias = "moonport/00000000-0000-4000-8000-000000000000/lost/1" }
    local found = tap.resource.orphans(store)
    assert.equal(3, #found)
    store.db:run("UPDATE deployments SET phase = 'active', revision = 1, pending = NULL")
    assert.equal(3, #sweep(true))
    assert.equal(6, #taps())
    for _, row in ipairs(sweep(false)) do assert.equal("removed", row.action) end
    assert.same({ kept.intents.tap.name, "other", "other-store" }, taps())
    assert.same({}, sweep(false))
  end)

  it("of a revision that was taken back are found, those of one that is being made are not",
    function()
      local ctx = make "a"
      assert.same({}, tap.resource.orphans(store))
      store.db:run "UPDATE journal SET state = 'undone'"
      give_up(ctx)
      assert.equal(1, #tap.resource.orphans(store))
    end)

  -- Elsewhere they pile up until a bridge is full and nothing can be deployed.
  it("are named once there are as many as may be, and gc makes room", function()
    local config = { network = { max_taps = 3 } }
    for index = 1, 3 do forget(make("lost" .. index, config)) end
    local ctx = revision_of("a", config)
    local why = refusal("hypervisor", "refused", tap.plan, ctx)
    assert.match("3 TAPs of moonport's, 3 of them", why.message)
    for _, name in ipairs(taps()) do assert.match(name, why.message, 1, true) end
    assert.match("moonport gc", why.hint)
    run_step(ctx, "lease", lease)
    local intent = run_step(ctx, "tap", tap, false)
    refusal("hypervisor", "refused", tap.apply, ctx, intent)
    sweep(false)
    tap.apply(ctx, intent)
    assert.equal(1, #taps())
  end)
end)

describe("a published port", function()
  local net = require "moonport.net"
  local network = require "moonport.hypervisor.network"

  local function check(entry)
    entry.protocol, entry.address = entry.protocol or "tcp", entry.address or "127.0.0.1"
    local ctx = revision_of("a", nil,
      { hypervisor = { network = { egress = false, publish = { entry } } } })
    ctx.warn = function() end
    task.read_only(network.check, ctx)
  end

  -- Else the port would lead to the guest, and the program never hear of it again.
  it("that a program of this host listens on is refused, naming it", function()
    local own <close> = net.listen { host = "127.0.0.1", port = 0 }
    local port = own:port()
    for _, entry in ipairs { { port = port }, { port = port, address = "0.0.0.0" } } do
      local why = refusal("hypervisor", "refused", check, entry)
      assert.match(("port %s:%d/tcp cannot be published: `"):format(entry.address, port),
        why.message, 1, true)
      assert.match("(pid " .. sys.pid() .. ") has it, at 127.0.0.1", why.message, 1, true)
    end
    check { port = port, protocol = "udp" }
    check { port = port, address = "198.51.100.7" }
    own:close()
    check { port = port }
  end)

  it("of UDP is looked for among sockets of UDP, and IPv6's that take IPv4 too", function()
    local listener = require "moonport.listener"
    local line = "  0: %s:1F90 %s:0000 %s 00000000:00000000 00:00000000 00000000    0     0 77 2"
    local any6, any4 = ("0"):rep(32), ("0"):rep(8)
    assert.same({ { address = "::", inode = "77" } },
      listener.parse(line:format(any6, any6, "07"), 8080, "07"))
    assert.same({}, listener.parse(line:format(any4, any4, "0A"), 8080, "07"))
    local all <close> = net.listen { host = "::", port = 0 }
    assert.equal("::", listener.at("tcp", "127.0.0.1", all:port()).address)
    local six <close> = net.listen { host = "::1", port = 0 }
    assert.is_nil(listener.at("tcp", "0.0.0.0", six:port()))
  end)
end)

describe("IP forwarding", function()
  local function write(value)
    local file = assert(io.open(forwarding.FILE, "w"))
    file:write(value)
    file:close()
  end

  it("that is off is refused, and switched on only where that was allowed", function()
    write "0\n"
    local ctx = revision_of "a"
    ctx.warn = function() end
    assert.match("sysctl %-w net.ipv4.ip_forward=1",
      refusal("hypervisor", "refused", forwarding.check, ctx).hint)
    assert.is_false(forwarding.is_on())
    ctx.manifest.hypervisor.network.forwarding = "enable"
    ctx.planning = true
    task.read_only(forwarding.check, ctx)
    assert.is_false(forwarding.is_on())
    ctx.planning = false
    forwarding.check(ctx)
    assert.is_true(forwarding.is_on())
    write "0\n"
    local by_site = revision_of("b", { network = { forwarding = "enable" } })
    by_site.warn = ctx.warn
    forwarding.check(by_site)
    assert.is_true(forwarding.is_on())
  end)

  -- A reboot switches it off again, whoever had it on.
  it("is on again when services are restored, where it may be; else it is told", function()
    write "0\n"
    local ctx, said = revision_of "a", {}
    ctx.warn = function(_, ...) said[#said + 1] = string.format(...) end
    assert.is_false(forwarding.mend(ctx))
    assert.is_false(forwarding.is_on())
    assert.match("needs it for its way out", said[1])
    ctx.manifest.hypervisor.network.forwarding = "enable"
    assert.is_true(forwarding.mend(ctx))
    assert.is_true(forwarding.is_on())
    assert.is_false(forwarding.mend(ctx))
    assert.equal(1, #said)
  end)

  it("is not asked for by a guest that reaches this host alone", function()
    write "0\n"
    local ctx = revision_of("a", nil, { hypervisor = { network = { egress = false } } })
    forwarding.check(ctx)
    assert.is_false(forwarding.is_on())
    write "1\n"
  end)
end)

describe("the privileges that are needed", function()
  local capabilities = require "moonport.hypervisor.capabilities"
  local process = require "moonport.process"

  it("are enough for us here, and CAP_NET_ADMIN is the only one that has to be", function()
    capabilities.check()
    local needed = {}
    for _, row in ipairs(capabilities.list()) do
      if row.needed then needed[#needed + 1] = row.capability end
    end
    assert.same({ "net_admin" }, needed)
  end)

  it("are named with the commands that give them to one group's users", function()
    local line = capabilities.setcap_line "/usr/bin/moonport"
    assert.match("chgrp moonport /usr/bin/moonport", line, 1, true)
    assert.match("chmod 0750", line)
    assert.match("setcap cap_net_admin%+ep /usr/bin/moonport$", line)
  end)

  local MAKE = [[
    local capabilities = require "moonport.hypervisor.capabilities"
    local netlink = require "moonport.netlink"
    local _, why = try(capabilities.check)
    if why then print(why.code, why.hint) return end
    netlink.add_link { name = "mp-cap", kind = "tap", up = true, alias = "moonport/x/a/1",
      addresses = { "10.77.0.1/30" }, ipv4 = { route_localnet = true } }
    print "made"
    netlink.delete_link "mp-cap"
  ]]

  -- Without everything else that root has.
  local function with_only(capability, code)
    local wanted = capability and "-all,+" .. capability or "-all"
    return process.run { "setpriv", "--bounding-set", wanted, "--inh-caps", wanted,
      fs.realpath "/proc/self/exe", "run", "-e", code or MAKE, check = false,
      env = { ASAN_OPTIONS = "detect_leaks=0" } }
  end

  it("but CAP_NET_ADMIN do not read legacy iptables, which is told and not passed over", function()
    if not process.which "setpriv" or not process.which "iptables-legacy" then
      return pending "no setpriv, or no legacy iptables"
    end
    process.run { "iptables-legacy", "-P", "FORWARD", "DROP" }
    local said = process.run { "setpriv", "--bounding-set", "-all,+net_admin", "--inh-caps",
      "-all,+net_admin", fs.realpath "/proc/self/exe", "run", "-e", [[
        print(select(2, require("moonport.hypervisor.firewall.iptables").legacy()))]],
      env = { ASAN_OPTIONS = "detect_leaks=0" } }.stdout
    process.run { "iptables-legacy", "-P", "FORWARD", "ACCEPT" }
    assert.match("legacy iptables has rules, and `iptables%-legacy%-save` cannot read them", said)
    local told
    for _, row in ipairs(capabilities.list()) do told = told or row.capability == "net_raw" end
    assert.is_true(told)
  end)

  it("make a TAP without anything else of root's", function()
    if not process.which "setpriv" then return pending "no setpriv" end
    assert.equal("made\n", with_only("net_admin").stdout)
    assert.match("^refused\t.*setcap cap_net_admin%+ep", with_only(nil).stdout)
  end)

  it("are told by doctor: what is missing, how to get it, and what is done without", function()
    if not process.which "setpriv" then return pending "no setpriv" end
    local ask = [[print(require("moonport.hypervisor.doctor").rights())]]
    assert.equal("all that VMs take\n", process.run {
      fs.realpath "/proc/self/exe", "run", "-e", ask }.stdout)
    assert.match("^enough; without CAP_SETUID, and so they run as you; ",
      with_only("net_admin", ask).stdout)
    assert.match("takes CAP_NET_ADMIN, which you do not have\t.*setcap cap_net_admin%+ep",
      with_only(nil, ask).stdout)
  end)
end)
