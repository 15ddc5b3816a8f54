--- What `moonport doctor NAME` tells of packets that are really sent: guests are namespaces behind
-- interfaces of a host, and what the agent would send, the shim sends in there.
local firewall = require "moonport.hypervisor.firewall"
local doctor = require "moonport.hypervisor.firewall.doctor"
local errors = require "moonport.errors"
local nft = require "moonport.nft"
local process = require "moonport.process"
local shim = require "moonport.shim"
local sys = require "moonport.sys"
local task = require "moonport.task"
local trace = require "moonport.hypervisor.firewall.trace"

local here = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/firewall_helper.lua")

local OUTSIDE = "203.0.113.2"

local function run_nft(commands)
  process.run { "nft", "-f", "-", input = commands .. "\n" }
end

local function flush()
  run_nft "flush ruleset"
end

local THEIRS = "add table inet theirs; add chain inet theirs ahead "
  .. "{ type filter hook forward priority 10; policy drop; }"

-- As the agent of guest `n` sends.
local function guest(n)
  return function(packet, from)
    shim.probe { protocol = packet.protocol, address = packet.daddr, port = packet.port,
      from = from, netns = "/run/netns/mpfw-g" .. n }
  end
end

local RECORD = {
  host_ports = { { protocol = "tcp", port = 8545, loopback = true },
    { protocol = "udp", port = 9000 } },
  published = {
    { protocol = "tcp", address = "127.0.0.1", port = 7200, guest_port = 7000 },
    { protocol = "tcp", address = "0.0.0.0", port = 7300, guest_port = 7000 } },
}

local OUT = "from the guest out by the uplink"
local HOST = "from the guest to this host's port 8545/tcp"
local UDP = "from the guest to this host's port 9000/udp"
local LOCAL = "to the published port 127.0.0.1:7200/tcp"
local READY = "from this host to the guest's port 7000/tcp"
local ANY = "to the published port 0.0.0.0:7300/tcp"
local CLOSED = "from the guest to this host's port 22/tcp, which it may not reach"

describe("the ways of a VM's packets", function()
  local state

  setup(function()
    here.host()
    here.guest(1)
    here.guest(2)
    here.serve("net", 80)
  end)
  teardown(here.clean)

  before_each(function()
    flush()
    state = here.state()
    firewall.add(state, here.keep(state, here.record(1, RECORD)))
  end)
  after_each(function()
    state:close()
    flush()
  end)

  local function look(about)
    about = about or { guest = guest(1), ports = { 7000 } }
    return doctor.rows(state, "d1", about)
  end

  -- The row of a way.
  local function row(rows, what)
    for _, each in ipairs(rows) do
      if each.found:find(what .. ":", 1, true) == 1 then return each end
    end
    error("no row tells of " .. what)
  end

  local function assert_dropped(what, chain, words, about)
    local found = row(look(about), what)
    assert.equal("failed", found.result, found.found)
    assert.equal("packet", found.how)
    assert.equal(chain, found.chain)
    assert.truthy(found.found:find(("dropped by the chain `%s`%s"):format(chain, words), 1, true),
      found.found)
    return found
  end

  local function ours(chain)
    return ("inet moonport-%s %s"):format(state.uuid:sub(1, 8), chain)
  end

  it("are told by packets that were sent, with the interface by which they left", function()
    local rows = look()
    for _, each in ipairs(rows) do assert.equal("ok", each.result, each.found) end
    assert.equal("7 packets sent and followed", rows[1].found)
    assert.equal(OUT .. ": leaves by `up0`", row(rows, OUT).found)
    assert.equal(HOST .. ": arrives", row(rows, HOST).found)
    assert.equal(UDP .. ": arrives", row(rows, UDP).found)
    assert.equal(LOCAL .. ": leaves by `tap1`", row(rows, LOCAL).found)
    assert.equal(READY .. ": leaves by `tap1`", row(rows, READY).found)
    assert.equal("tap1", row(rows, ANY .. " from this host").interface)
    assert.equal("rules", row(rows, ANY).how)
    assert.equal(("%s: stays closed: dropped by the chain `%s`, by its rule `%s`"):format(CLOSED,
      ours "to_host", "iifname @refused drop"), row(rows, CLOSED).found)
  end)

  it("leave the rules as they were", function()
    local function listed()
      return (process.run({ "nft", "list", "ruleset" }).stdout:gsub("packets %d+ bytes %d+", ""))
    end
    local before = listed()
    look()
    assert.equal(before, listed())
  end)

  -- PAINS row 7
  it("name another table's chain that drops by its policy", function()
    run_nft(THEIRS)
    assert.equal("timeout", here.drops("g1", OUTSIDE, 80))
    local found = assert_dropped(OUT, "inet theirs ahead", ", by its policy")
    assert.truthy(found.hint)
    assert.equal("ok", row(look(), HOST).result)
  end)

  it("name the chain of Docker, by iptables-nft", function()
    process.run { "iptables-nft-restore", input = [[
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
]] }
    local found = assert_dropped(OUT, "ip filter FORWARD", " of Docker, by its policy")
    assert.truthy(found.hint:find("DOCKER-USER", 1, true))
  end)

  it("name a rule of iptables that refuses, though only xtables can read it", function()
    process.run { "iptables-nft", "-A", "FORWARD", "-i", "tap1", "-m", "comment", "--comment", "no",
      "-j", "REJECT" }
    assert_dropped(OUT, "ip filter FORWARD",
      ', by its rule `iifname "tap1" counter xt match "comment" xt target "REJECT"`')
  end)

  it("name the rule in the middle of a chain, as nft writes it", function()
    run_nft [[
      table ip theirs {
        chain sub {
          tcp dport 80 accept
          ip saddr 172.30.0.0/16 tcp dport { 443, 8443 } counter drop comment "no web"
          accept
        }
        chain ahead {
          type filter hook forward priority -10; policy accept;
          iifname "lo" accept
          jump sub
        }
      }]]
    assert.equal("203.0.113.1", here.ask("g1", OUTSIDE, 80))
    assert_dropped(OUT, "ip theirs sub", ", by its rule `ip saddr 172.30.0.0/16 tcp dport "
      .. '{ 443, 8443 } counter drop comment "no web"`')
  end)

  it("name our own chain, where an element of ours is gone", function()
    run_nft(("delete element inet moonport-%s egress { tap1 }"):format(state.uuid:sub(1, 8)))
    assert.equal("timeout", here.drops("g1", OUTSIDE, 80))
    local found = assert_dropped(OUT, ours "through", ", by its rule `iifname @refused drop`")
    assert.truthy(found.hint:find("moonport restore", 1, true))
  end)

  it("name what drops on the way into this host, and out of it", function()
    run_nft [[table ip theirs {
      chain inp { type filter hook input priority 20; policy accept; udp dport 9000 drop; }
      chain out { type filter hook output priority 20; oifname "tap1" tcp dport 7000 drop; }
    }]]
    local rows = look()
    assert.equal("ip theirs inp", row(rows, UDP).chain)
    assert.equal("ip theirs out", row(rows, READY).chain)
    assert.equal("ok", row(rows, HOST).result)
  end)

  it("name what drops the answer, where the packet itself gets through", function()
    run_nft [[table ip theirs {
      chain out { type filter hook output priority 20; oifname "tap1" tcp sport 8545 drop; }
      chain inp { type filter hook input priority 20; iifname "tap1" tcp sport 7000 drop; }
    }]]
    local rows = look()
    local found = row(rows, HOST)
    assert.equal("failed", found.result)
    assert.equal(HOST .. ": arrives, and its answer is dropped by the chain `ip theirs out`, "
      .. 'by its rule `oifname "tap1" tcp sport 8545 drop`', found.found)
    assert.truthy(row(rows, READY).found:find("leaves by `tap1`, and its answer is dropped by the "
      .. "chain `ip theirs inp`", 1, true), row(rows, READY).found)
    assert.equal("ok", row(rows, UDP).result)
  end)

  it("are told by the rules where legacy iptables drops, which no trace shows", function()
    process.run { "iptables-legacy", "-P", "FORWARD", "DROP" }
    local found = row(look(), OUT)
    process.run { "iptables-legacy", "-P", "FORWARD", "ACCEPT" }
    assert.equal("failed", found.result)
    assert.truthy(found.found:find("lost after the chain `" .. ours "dnat", 1, true), found.found)
    assert.truthy(found.found:find("`ip filter FORWARD`", 1, true), found.found)
  end)

  it("say that the kernel itself drops, where no chain does", function()
    process.run { "ip", "route", "add", "blackhole", "192.0.2.0/24" }
    local found = row(look(), OUT)
    process.run { "ip", "route", "del", "blackhole", "192.0.2.0/24" }
    assert.equal("failed", found.result)
    assert.truthy(found.found:find("no chain dropped it", 1, true), found.found)
    assert.truthy(found.hint:find("ip route get", 1, true))
  end)

  it("say that what must stay closed is open", function()
    run_nft(("insert rule inet moonport-%s to_host accept"):format(state.uuid:sub(1, 8)))
    local found = row(look(), CLOSED)
    assert.equal("failed", found.result)
    assert.equal(CLOSED .. ": arrives, and must not", found.found)
  end)

  it("say that the guest sent a packet that never came", function()
    here.run("g1", "nft", "add table ip own; add chain ip own o "
      .. "{ type filter hook output priority 0; policy drop; }")
    local found = row(look(), OUT)
    here.run("g1", "nft", "delete", "table", "ip", "own")
    assert.equal("failed", found.result)
    assert.truthy(found.found:find("never came in by `tap1`", 1, true), found.found)
  end)

  it("say that the guest has no route there", function()
    here.run("g1", "ip", "route", "del", "default")
    local found = row(look(), OUT)
    here.run("g1", "ip", "route", "add", "default", "via", "172.30.0.5")
    assert.equal("failed", found.result)
    assert.truthy(found.found:find("cannot be sent", 1, true), found.found)
  end)

  it("are told by the rules where the guest cannot be asked, and say so", function()
    run_nft(THEIRS)
    local rows = look { why = { message = "its agent does not answer" }, ports = { 7000 } }
    assert.equal("warning", rows[1].result)
    assert.equal("3 packets sent and followed, others not: its agent does not answer; "
      .. "their ways are told by what the rules say", rows[1].found)
    local found = row(rows, OUT)
    assert.equal("rules", found.how)
    assert.equal("failed", found.result)
    assert.truthy(found.found:find("dropped by the chain `inet theirs ahead`", 1, true))
    assert.equal("packet", row(rows, LOCAL).how)
  end)

  it("are told by the rules where the agent breaks off", function()
    local rows = look { guest = function()
      errors.raise { kind = "agent", code = "unsupported", message = "the agent does not know it" }
    end }
    assert.truthy(rows[1].found:find("the agent does not know it", 1, true))
    assert.equal("rules", row(rows, OUT).how)
  end)

  it("take CAP_NET_ADMIN, which is said", function()
    local result = process.run { "setpriv", "--bounding-set", "-net_admin", "--inh-caps",
      "-net_admin", os.getenv "MOONPORT", "doctor", "vm1", "--state", state.dir, check = false }
    assert.equal(0, result.code, result.stderr)
    assert.truthy(result.stdout:find("packets %s*warning%s* cannot be followed"), result.stdout)
    assert.truthy(result.stdout:find("CAP_NET_ADMIN", 1, true))
  end)

  it("do not disturb each other when many are followed at once", function()
    firewall.add(state, here.keep(state, here.record(2)))
    local all = {}
    for i = 1, 6 do
      all[i] = function()
        return doctor.rows(state, i % 2 == 0 and "d2" or "d1",
          { guest = guest(i % 2 == 0 and 2 or 1) })
      end
    end
    for _, rows in ipairs(task.all(all)) do
      for _, each in ipairs(rows) do assert.equal("ok", each.result, each.found) end
    end
    assert.equal(1, #nft.list())
  end)

  it("leave no table when the command is killed", function()
    process.run { "iptables-legacy", "-P", "OUTPUT", "DROP" } -- it waits for what never comes
    local steps <close> = nft.trace()
    local child <close> = process.spawn { os.getenv "MOONPORT", "doctor", "vm1",
      "--state", state.dir, stdout = "null", stderr = "null" }
    -- Both packets to published ports are under way: it has started its last program.
    local name, seen, count = nil, {}, 0
    while count < 2 do
      local step = steps:next()
      name = name or step.table
      if step.chain == "out" and not seen[step.id] then seen[step.id], count = true, count + 1 end
    end
    assert.truthy(name:find("moonport-trace-", 1, true), name)
    assert.truthy(nft.table(name))
    child:kill "SIGKILL"
    child:wait()
    process.run { "iptables-legacy", "-P", "OUTPUT", "ACCEPT" }
    assert.is_nil(nft.table(name))
  end)

  it("sweep what a killed command left where the kernel does not", function()
    local dead = process.spawn { "true" }
    local who = sys.identity(dead.pid)
    dead:wait()
    local prefix = "moonport-trace-" .. state.uuid:sub(1, 8)
    local function made(name, pid, start)
      local comment = ("%d %d %s"):format(pid, start, who.boot_id)
      nft.apply { { table = { name = name, comment = comment } } }
    end
    local me, OTHER = sys.identity(), "moonport-trace-00000000-other"
    made(prefix .. "-dead", who.pid, who.start)
    made(prefix .. "-live", me.pid, me.start)
    made(OTHER, who.pid, who.start)
    local orphans = firewall.resource.orphans(state)
    assert.equal(1, #orphans)
    assert.truthy(orphans[1].what:find(prefix .. "-dead", 1, true))
    firewall.resource.remove(orphans[1].identity)
    assert.is_nil(nft.table(prefix .. "-dead"))
    made(prefix .. "-dead", who.pid, who.start)
    look()
    assert.is_nil(nft.table(prefix .. "-dead"))
    assert.truthy(nft.table(prefix .. "-live"))
    assert.truthy(nft.table(OTHER))
    assert.same({}, trace.abandoned(state.uuid))
  end)
end)
