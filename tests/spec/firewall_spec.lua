--- The firewall of VMs, shown with packets: guests are namespaces behind interfaces of a host.
local errors = require "moonport.errors"
local firewall = require "moonport.hypervisor.firewall"
local fs = require "moonport.fs"
local json = require "moonport.json"
local nft = require "moonport.nft"
local process = require "moonport.process"

local here = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/firewall_helper.lua")

local function flush()
  process.run { "nft", "flush", "ruleset" }
end

local function put(state, record)
  here.keep(state, record)
  firewall.add(state, record)
end

local function counted(state, id, set)
  local packets = 0
  for _, each in ipairs(firewall.counters(state, id)) do
    packets = packets + (each.set == set and each.packets or 0)
  end
  return packets
end

local UPLINK, OUTSIDE = "203.0.113.1", "203.0.113.2"

describe("the firewall of VMs", function()
  local state, one, two

  setup(function()
    here.host()
    one, two = here.guest(1), here.guest(2)
    here.guest(10)
    here.serve("net", 80)
    here.serve("g1", 7000, 7001)
    here.serve("g2", 7000)
    here.serve("g10", 7000)
    here.serve(nil, "127.0.0.1:8545", "0.0.0.0:8600", "203.0.113.1:9100")
  end)
  teardown(here.clean)

  before_each(function()
    flush()
    state = here.state()
  end)
  after_each(function()
    state:close()
    flush()
  end)

  it("lets a guest out by the uplink, hides its address, and lets the answers back in", function()
    put(state, here.record(1))
    assert.equal(UPLINK, here.ask("g1", OUTSIDE, 80))
    assert.truthy(counted(state, "d1-1", "egress") > 0)
  end)

  it("lets a guest out only where it may", function()
    put(state, here.record(1, { egress = false }))
    put(state, here.record(2, { uplink = "elsewhere" }))
    assert.equal("timeout", here.drops("g1", OUTSIDE, 80))
    assert.equal("timeout", here.drops("g2", OUTSIDE, 80))
    assert.truthy(counted(state, "d1-1", "refused") > 0)
  end)

  it("keeps two guests from each other, also by the host's address", function()
    put(state, here.record(1))
    put(state, here.record(2, { published = { { protocol = "tcp", address = "0.0.0.0", port = 7100,
      guest_port = 7000 } } }))
    assert.equal("timeout", here.drops("g1", two.guest, 7000))
    assert.equal("timeout", here.drops("g2", one.guest, 7000))
    assert.equal("timeout", here.drops("g1", UPLINK, 7100))
    assert.equal("timeout", here.drops("g1", one.host, 7100))
  end)

  it("lets a guest reach a peer, and not the peer the guest", function()
    put(state, here.record(2))
    put(state, here.record(1, { peers = { "d2" } }))
    assert.equal(one.guest, here.ask("g1", two.guest, 7000))
    assert.equal("timeout", here.drops("g2", one.guest, 7000))
  end)

  it("keeps a guest from the host's other ports", function()
    put(state, here.record(1))
    assert.equal("timeout", here.drops("g1", one.host, 8600))
    assert.equal("timeout", here.drops("g1", UPLINK, 8600))
    assert.equal("timeout", here.drops("g1", UPLINK, 9100))
    assert.equal("timeout", here.drops("g1", "127.0.0.1", 8600):gsub("ECONNREFUSED", "timeout"))
  end)

  it("leads a listed port to the host's loopback, and no other there", function()
    put(state, here.record(1, { host_ports = { { protocol = "tcp", port = 8545,
      loopback = true } } }))
    assert.equal(one.guest, here.ask("g1", one.host, 8545))
    assert.equal("timeout", here.drops("g1", one.host, 8600))
    put(state, here.record(2))
    assert.equal("timeout", here.drops("g2", two.host, 8545))
  end)

  it("opens no loopback port to packets that go to 127.0.0.1 themselves", function()
    put(state, here.record(1, { host_ports = { { protocol = "tcp", port = 8545,
      loopback = true } } }))
    -- The guest routes 127.0.0.0/8 out of its interface, which route_localnet makes possible.
    here.run("g1", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; "
      .. "ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via " .. one.host)
    local before = counted(state, "d1-1", "spoofed")
    assert.equal("timeout", here.drops("g1", "127.0.0.1", 8545))
    assert.truthy(counted(state, "d1-1", "spoofed") > before)
    here.run("g1", "sh", "-c", "ip route del 127.0.0.0/8; ip addr add 127.0.0.1/8 dev lo")
  end)

  it("lets a guest reach a listed port at the host's other addresses", function()
    put(state, here.record(1, { host_ports = { { protocol = "tcp", port = 9100,
      loopback = false } } }))
    assert.equal(one.guest, here.ask("g1", UPLINK, 9100))
  end)

  it("publishes_to_this_host_alone_by_default: a port at 127.0.0.1 is reached from here only",
    function()
    put(state, here.record(1, { published = { { protocol = "tcp", address = "127.0.0.1",
      port = 7200,
      guest_port = 7000 } } }))
    assert.equal(one.host, here.ask(nil, "127.0.0.1", 7200))
    assert.equal("timeout", here.drops("net", UPLINK, 7200):gsub("ECONNREFUSED", "timeout"))
    assert.equal("timeout", here.drops("net", one.guest, 7000))
  end)

  it("publishes a port at an address, and at all of them", function()
    put(state, here.record(1, { published = {
      { protocol = "tcp", address = UPLINK, port = 7300, guest_port = 7000 },
      { protocol = "tcp", address = "0.0.0.0", port = 7001 } } }))
    assert.equal(OUTSIDE, here.ask("net", UPLINK, 7300))
    assert.equal(OUTSIDE, here.ask("net", UPLINK, 7001))
    assert.equal(one.host, here.ask(nil, "127.0.0.1", 7001))
    -- What is not published stays closed, though the way to the guest is known.
    assert.equal("timeout", here.drops("net", one.guest, 7000))
  end)

  it("drops what a guest sends from an address that is not its own", function()
    put(state, here.record(1))
    here.run("g1", "ip", "address", "add", "172.30.0.10/32", "dev", "eth0")
    here.run("g1", "ip", "route", "replace", "default", "via", one.host, "src", "172.30.0.10")
    assert.equal("timeout", here.drops("g1", OUTSIDE, 80))
    assert.truthy(counted(state, "d1-1", "spoofed") > 0)
    here.run("g1", "ip", "route", "replace", "default", "via", one.host)
    here.run("g1", "ip", "address", "del", "172.30.0.10/32", "dev", "eth0")
  end)

  -- All of it is reached while there are no rules: it is they that close it.
  it("leaves_IPv6_closed: to the host, beyond it, to other guests, and from beyond", function()
    local function add(where, link, address)
      here.run(where, "ip", "-6", "address", "add", address .. "/64", "dev", link, "nodad")
    end
    process.run { "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding" }
    for n, tap in ipairs { "tap1", "tap2" } do
      add(nil, tap, ("fd00:%d::1"):format(n))
      add("g" .. n, "eth0", ("fd00:%d::2"):format(n))
      here.run("g" .. n, "ip", "-6", "route", "add", "default", "via", ("fd00:%d::1"):format(n))
    end
    add(nil, "up0", "fd00:9::1")
    add("net", "eth0", "fd00:9::2")
    here.run("net", "ip", "-6", "route", "add", "fd00::/16", "via", "fd00:9::1")
    here.serve(nil, ":::8602")
    for _, where in ipairs { "net", "g1", "g2" } do here.serve(where, ":::7602") end
    local WAYS = { { "g1", "fd00:1::1", 8602 }, { "g1", "fd00:9::1", 8602 },
      { "g1", "fd00:9::2", 7602 }, { "g1", "fd00:2::2", 7602 }, { "net", "fd00:1::2", 7602 },
      { nil, "fd00:1::2", 7602 } }
    for i = 1, #WAYS do
      assert.equal("nobody", here.ask(WAYS[i][1], WAYS[i][2], WAYS[i][3]), "way " .. i)
    end
    put(state, here.record(1, { published = {
      { protocol = "tcp", address = "0.0.0.0", port = 7602 } } }))
    put(state, here.record(2, { peers = { "d1" } }))
    for i = 1, #WAYS do
      assert.equal("timeout", here.drops(WAYS[i][1], WAYS[i][2], WAYS[i][3]), "way " .. i)
    end
    assert.truthy(counted(state, "d1-1", "spoofed") > 0)
  end)

  it("leaves_VM_10_alone_when_VM_1_is_removed", function()
    put(state, here.record(10, { published = { { protocol = "tcp", address = "127.0.0.1",
      port = 7400,
      guest_port = 7000 } } }))
    put(state, here.record(1, { published = { { protocol = "tcp", address = "127.0.0.1",
      port = 7401,
      guest_port = 7000 } } }))
    firewall.remove(state, "d1-1")
    assert.equal("172.30.0.41", here.ask(nil, "127.0.0.1", 7400))
    assert.equal(UPLINK, here.ask("g10", OUTSIDE, 80))
    assert.equal("ECONNREFUSED", here.ask(nil, "127.0.0.1", 7401))
    assert.same({}, firewall.verify(state))
    firewall.remove(state, "d10-1")
    assert.same({}, nft.list {})
  end)

  it("adds the rules of a site in a chain of the VM's own", function()
    put(state, here.record(2))
    put(state, here.record(1, { rules = {
      { iifname = "tap1", oifname = "tap2", tcp = { dport = 7000 }, verdict = "accept" } } }))
    assert.equal(one.guest, here.ask("g1", two.guest, 7000))
    firewall.remove(state, "d1-1")
    assert.same({}, firewall.verify(state))
  end)

  -- PAINS row 5
  it("puts_in_nothing_that_a_reboot_or_a_crash_left: the table is what the state says", function()
    put(state, here.record(1))
    -- As a saved ruleset brings it back: a port of a VM that is gone.
    local name = "moonport-" .. state.uuid:sub(1, 8)
    process.run { "nft", "add", "element", "inet", name, "published",
      "{ 203.0.113.1 . tcp . 7500 : 172.30.0.6 . 7000 }" }
    process.run { "nft", "add", "element", "inet", name, "inbound", "{ 172.30.0.6 . tcp . 7000 }" }
    assert.equal(OUTSIDE, here.ask("net", UPLINK, 7500))
    assert.equal(2, #firewall.verify(state))
    assert.is_true(firewall.ensure(state))
    assert.is_true(here.drops("net", UPLINK, 7500) ~= OUTSIDE)
    assert.is_false(firewall.ensure(state))
  end)

  -- PAINS row 6
  it("mends_what_was_flushed, in one transaction", function()
    put(state, here.record(1))
    put(state, here.record(2))
    flush()
    assert.equal(1, #firewall.verify(state))
    assert.is_true(firewall.ensure(state))
    assert.equal(UPLINK, here.ask("g1", OUTSIDE, 80))
    assert.equal("timeout", here.drops("g1", two.guest, 7000))
    assert.same({}, firewall.verify(state))
  end)

  it("mends rules that somebody changed", function()
    put(state, here.record(1))
    local name = "moonport-" .. state.uuid:sub(1, 8)
    process.run { "nft", "insert", "rule", "inet", name, "to_host", "accept" }
    assert.equal(one.guest, here.ask("g1", one.host, 8600))
    assert.is_true(firewall.ensure(state))
    assert.equal("timeout", here.drops("g1", one.host, 8600))
  end)

  it("gives a port to the newer of two revisions, and back when that is taken out", function()
    local ports = { { protocol = "tcp", address = "127.0.0.1", port = 7600, guest_port = 7000 } }
    put(state, here.record(1, { published = ports }))
    put(state, here.record(2, { id = "d1-2", deployment = "d1", revision = 2, published = ports }))
    assert.equal(two.host, here.ask(nil, "127.0.0.1", 7600))
    firewall.remove(state, "d1-2")
    assert.equal(one.host, here.ask(nil, "127.0.0.1", 7600))
  end)

  it("refuses a port that another deployment has, by its name", function()
    local ports = { { protocol = "tcp", address = "127.0.0.1", port = 7600, guest_port = 7000 } }
    put(state, here.record(1, { published = ports }))
    local _, why = try(put, state, here.record(2, { published = ports }))
    assert.truthy(errors.is(why, "firewall", "refused"))
    assert.truthy(why.message:find("published by `vm1`", 1, true))
    assert.equal(one.host, here.ask(nil, "127.0.0.1", 7600))
  end)

  it("follows the default route", function()
    put(state, here.record(1))
    process.run { "ip", "route", "del", "default" }
    firewall.ensure(state)
    assert.equal("timeout", here.drops("g1", OUTSIDE, 80))
    process.run { "ip", "route", "add", "default", "via", OUTSIDE }
    assert.is_true(firewall.ensure(state))
    assert.equal(UPLINK, here.ask("g1", OUTSIDE, 80))
  end)

  it("takes out by id what no deployment has any more", function()
    local record = here.record(1, { rules = { { counter = true } } })
    put(state, record)
    put(state, here.record(2))
    state.db:run "DELETE FROM resources WHERE deployment = 'd1'"
    local orphans = firewall.resource.orphans(state)
    assert.equal(1, #orphans)
    assert.equal("d1-1", orphans[1].identity.id)
    firewall.resource.remove(orphans[1].identity)
    assert.same({}, firewall.resource.orphans(state))
    assert.same({}, firewall.verify(state))
    assert.equal(UPLINK, here.ask("g2", OUTSIDE, 80))
  end)

  -- PAINS row 7
  local DOCKER = [[
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
]]
  local function docker(restore)
    process.run { restore, input = DOCKER }
  end

  local CTX = { id = "d1", tag = "d1-1", warn = function() end }

  local function check(wanted)
    CTX.state, CTX.store = state, state.uuid
    return firewall.check(CTX, wanted)
  end

  it("finds_and_names_the_chain_of_Docker_that_would_drop_its_packets", function()
    docker "iptables-nft-restore"
    local _, why = try(check, { egress = true, published = {}, host_ports = {} })
    assert.truthy(errors.is(why, "firewall", "refused"))
    assert.truthy(why.message:find("Docker: the chain `ip filter FORWARD` drops", 1, true),
      why.message)
    assert.truthy(why.hint:find("DOCKER-USER", 1, true))
    -- Which is what packets say, too.
    put(state, here.record(1))
    assert.equal("timeout", here.drops("g1", OUTSIDE, 80))
    local path = firewall.path(state, "d1-1", { direction = "out" })
    assert.equal("drop", path.verdict)
    assert.equal("ip filter FORWARD", path.chain)
  end)

  it("finds it where legacy iptables has it, which nftables does not see", function()
    docker "iptables-legacy-restore"
    local blockers = firewall.blockers()
    assert.equal("Docker", blockers[1].program)
    assert.equal("ip filter FORWARD", blockers[1].chain)
    assert.is_true(blockers[1].certain)
    put(state, here.record(1))
    assert.equal("timeout", here.drops("g1", OUTSIDE, 80))
    local child = process.spawn { os.getenv "MOONPORT", "watch", "--state", state.dir,
      stdout = "pipe" }
    local said = {}
    for line in function() return child:read_line() end do
      said[#said + 1] = line
      if line:find("legacy iptables has rules", 1, true) then break end
    end
    child:close()
    assert.matches("the kernel tells of no change of them", said[#said], 1, true)
    process.run { "iptables-legacy", "-P", "FORWARD", "ACCEPT" }
    assert.same({}, firewall.blockers())
    assert.equal(UPLINK, here.ask("g1", OUTSIDE, 80))
    process.run { "iptables-legacy", "-F" }
    process.run { "iptables-legacy", "-X" }
  end)

  it("accepts its packets in DOCKER-USER on consent alone, and takes that back", function()
    docker "iptables-nft-restore"
    CTX.planning = true
    assert.same({}, check { foreign = "insert", egress = true })
    assert.is_nil(process.run({ "nft", "list", "ruleset" }).stdout:find("mp-", 1, true))
    CTX.planning = false
    check { foreign = "insert", egress = true }
    check { foreign = "insert", egress = true }
    local listed = process.run({ "nft", "list", "chain", "ip", "filter", "DOCKER-USER" }).stdout
    local _, times = listed:gsub("moonport/" .. state.uuid:gsub("%-", "%%-"), "")
    assert.equal(2, times)
    assert.same({}, firewall.blockers())
    put(state, here.record(1))
    firewall.remove(state, "d1-1")
    assert.equal("Docker", firewall.blockers()[1].program)
  end)

  -- Docker empties its chains when it starts, and a reboot takes all of it.
  it("accepts them there again after a reload took that, and only where it was allowed", function()
    local mp_rules = function()
      local text = process.run({ "nft", "list", "chain", "ip", "filter", "DOCKER-USER" }).stdout
      return select(2, text:gsub("mp%-", ""))
    end
    docker "iptables-nft-restore"
    put(state, here.record(1))
    assert.is_false(firewall.ensure(state))
    assert.equal(0, mp_rules())
    put(state, here.record(2, { foreign = "insert" }))
    assert.truthy(firewall.verify(state)[1]:find("`ip filter FORWARD` drops", 1, true))
    assert.is_true(firewall.ensure(state))
    assert.equal(2, mp_rules())
    assert.same({}, firewall.verify(state))
    assert.is_false(firewall.ensure(state))
    local child = process.spawn { os.getenv "MOONPORT", "watch", "-o", "json", "--state", state.dir,
      stdout = "pipe" }
    local function until_event(kind, what)
      for line in function() return child:read_line() end do
        local said = json.decode(line)
        if said.type == kind and said.what == what then return said end
      end
    end
    assert.truthy(until_event "watching")
    docker "iptables-nft-restore"
    assert.truthy(until_event("mended", "others"))
    assert.equal(2, mp_rules())
    child:close()
    process.run { "nft", "flush", "ruleset" }
  end)

  it("names firewalld and ufw, and rules that refuse in other programs' tables", function()
    process.run { "nft", "add table inet firewalld; add chain inet firewalld filter_FORWARD "
      .. "{ type filter hook forward priority filter + 10; }; "
      .. "add rule inet firewalld filter_FORWARD ct state { established, related } accept; "
      .. "add rule inet firewalld filter_FORWARD drop" }
    assert.equal("firewalld", firewall.blockers()[1].program)
    flush()
    process.run { "nft",
      "add table inet mine; add chain inet mine in { type filter hook input priority 0; "
      .. "policy drop; }; add rule inet mine in tcp dport 8545 iifname lo accept" }
    local found = firewall.blockers { egress = false,
      host_ports = { { protocol = "tcp", port = 8545, loopback = true } } }
    assert.equal("inet mine in", found[1].chain)
    assert.truthy(found[1].what:find "8545")
    flush()
    assert.same({}, firewall.blockers())
  end)

  it("follows packets as the kernel does", function()
    local fields = { host_ports = { { protocol = "tcp", port = 8545, loopback = true } },
      published = {
      { protocol = "tcp", address = UPLINK, port = 7300, guest_port = 7000 },
      { protocol = "tcp", address = "127.0.0.1", port = 7301, guest_port = 7000 } } }
    put(state, here.record(1, fields))
    local function verdict(packet)
      return firewall.path(state, "d1-1", packet).verdict
    end
    assert.equal("accept", verdict { direction = "out" })
    assert.equal("accept", verdict { direction = "host", port = 8545 })
    assert.equal("drop", verdict { direction = "host", port = 8600 })
    assert.equal("accept", verdict { direction = "in", port = 7300 })
    assert.equal("accept", verdict { direction = "local", port = 7301 })
    local other = firewall.path(state, "d1-1", { direction = "out", address = two.guest })
    assert.equal("accept", other.verdict) -- by the uplink, as far as anybody can tell
    local refused = firewall.path(state, "d1-1", { direction = "host", port = 8600 })
    assert.equal(("inet moonport-%s to_host"):format(state.uuid:sub(1, 8)), refused.chain)
    assert.is_true(refused.certain)
    for _, each in ipairs(firewall.probe(state, "d1")) do
      assert.equal("accept", each.verdict, each.what)
    end
    flush()
    firewall.ensure(state)
    process.run { "nft",
      "add table ip bad; add chain ip bad f { type filter hook forward priority -5; }; "
      .. "add rule ip bad f ip daddr 172.30.0.0/16 drop" }
    local probed = firewall.probe(state, "d1")
    assert.equal("accept", probed[1].verdict)
    assert.equal("ip bad f", probed[3].chain)
    assert.equal("timeout", here.drops("net", UPLINK, 7300))
  end)

  -- PAINS row 6, by the command
  it("is_mended_by_watch, which tells who flushed it", function()
    put(state, here.record(1))
    local child = process.spawn { os.getenv "MOONPORT", "watch", "-o", "json", "--state", state.dir,
      stdout = "pipe" }
    local function event(kind)
      local line = child:read_line()
      while line do
        local said = json.decode(line)
        if said.type == kind then return said end
        line = child:read_line()
      end
    end
    assert.truthy(event "watching")
    local nft_child = process.spawn { "nft", "flush", "ruleset" }
    local mended = event "mended"
    assert.equal("flushed", mended.what)
    assert.equal("nft", mended.process)
    local is_initial = fs.readlink "/proc/self/ns/pid" == "pid:[4026531836]"
    assert.equal(is_initial and nft_child.pid or nil, mended.pid)
    nft_child:wait()
    assert.equal(UPLINK, here.ask("g1", OUTSIDE, 80))
    process.run { "nft",
      "add table ip bad; add chain ip bad f { type filter hook forward priority 0; "
      .. "policy drop; }" }
    local blocked = event "blocked"
    assert.equal("ip bad f", blocked.chain)
    process.run { "nft", "delete", "table", "ip", "bad" }
    assert.equal("ip bad f", event("unblocked").chain)
    process.run { "ip", "route", "del", "default" }
    assert.equal("route", event("mended").what)
    process.run { "ip", "route", "add", "default", "via", OUTSIDE }
    assert.equal("route", event("mended").what)
    child:close()
    assert.same({}, firewall.verify(state))
  end)

  -- There the kernel's process ids are other processes'.
  it("is mended by watch in a container, which tells the name alone of who flushed it", function()
    put(state, here.record(1))
    local child = process.spawn { "unshare", "--pid", "--fork", "--mount-proc", "--kill-child",
      os.getenv "MOONPORT", "watch", "--state", state.dir, stdout = "pipe" }
    assert.matches(" watching$", child:read_line())
    process.run { "nft", "flush", "ruleset" }
    assert.matches(" mended: the firewall was flushed by `nft`$", child:read_line())
    process.run { "ip", "route", "del", "default" }
    assert.matches(" was for another default route$", child:read_line())
    process.run { "ip", "route", "add", "default", "via", OUTSIDE }
    assert.matches(" was for another default route$", child:read_line())
    child:close()
    assert.same({}, firewall.verify(state))
  end)

  it("is looked at by doctor, which names the chain that drops a packet", function()
    put(state, here.record(1, { published = {
      { protocol = "tcp", address = "127.0.0.1", port = 7301, guest_port = 7000 } } }))
    local function doctor(...)
      return process.run({ os.getenv "MOONPORT", "doctor", "--state", state.dir, "-o", "json",
        check = false,
        ... })
    end
    local function row(result, name)
      for _, each in ipairs(json.decode(result.stdout)) do
        if each.check == name then return each end
      end
    end
    assert.equal("nothing stands in the way of virtual machines' packets",
      row(doctor(), "firewall").found)
    assert.equal(0, doctor("vm1").code)
    process.run { "nft",
      "add table ip bad; add chain ip bad f { type filter hook forward priority 0; "
      .. "policy drop; }" }
    local said = doctor "vm1"
    assert.equal(1, said.code)
    assert.truthy(row(said, "packets").found:find("dropped by the chain `ip bad f`", 1, true))
    assert.truthy(row(doctor(), "firewall").found:find("`ip bad f`", 1, true))
    flush()
    assert.truthy(row(doctor(), "firewall").found:find("is missing", 1, true))
  end)
end)
