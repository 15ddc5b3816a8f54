local boot_source = require "moonport.hypervisor.boot_source"
local environment = require "moonport.hypervisor.environment"
local guest_config = require "moonport.hypervisor.guest_config"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/hypervisor_helper.lua")
local network = require "moonport.hypervisor.network"
local places = require "moonport.hypervisor.places"
local ready = require "moonport.hypervisor.ready"
local resource = require "moonport.hypervisor.resource"
local shim = require "moonport.shim"
local spec = require "moonport.hypervisor.spec"

local RPC = {
  http_rpc_url = "http://127.0.0.1:8545", ws_rpc_url = "ws://localhost:8546/ws",
  bootnodes = { "/ip4/127.0.0.1/udp/30333/p2p/Qm", "/dns/boot.example/tcp/30333" },
}

local function with(base, more)
  local copy = {}
  for key, value in pairs(base) do copy[key] = value end
  for key, value in pairs(more) do copy[key] = value end
  return copy
end

local function machine(fields, more)
  return spec.build(helper.context(fields), with({
    boot = { kernel = "/k", initrd = "/i", cmdline = "console=ttyS0" },
    disks = { service = { path = "/s.img" }, data = { path = "/d.img" } },
    lease = helper.LEASE, cid = 70000, driver = "qemu", machine = "q35", accel = "tcg",
  }, more or {}))
end

describe("the machine of a revision", function()
  it("is plain data that any driver takes", function()
    assert.same({
      name = "squaring-4f3c2b1a-3", driver = "qemu", machine = "q35", accel = "tcg",
      cpus = 1, memory = 512 << 20, shared_memory = false,
      kernel = "/k", initramfs = "/i", cmdline = "console=ttyS0",
      disks = {
        { id = "service", path = "/s.img", format = "raw", readonly = true, direct = false,
          backing = false },
        { id = "data", path = "/d.img", format = "raw", readonly = false, direct = false,
          backing = false },
      },
      networks = { { id = "net0", tap = "mp-0123456789", mac = "02:11:22:33:44:55" } },
      channel = {
        "agent.0", "agent.1", "agent.2", "agent.3", "agent.4", "agent.5", "agent.6", "agent.7",
      },
      filesystems = {}, dir = "/run/moonport/0c5a3ad2/4f3c2b1a/r3",
      sandbox = true,
    }, machine())
  end)

  it("has a vsock where the driver has one of its own", function()
    local made = machine({}, { driver = "cloud-hypervisor", machine = "cloud-hypervisor" })
    assert.same({ cid = 70000, socket = "/run/moonport/0c5a3ad2/4f3c2b1a/r3/vsock" }, made.vsock)
    assert.is_nil(made.channel)
    assert.is_nil(made.machine)
  end)

  it("has the memory and the processors that the manifest limits it to", function()
    local made = machine { limits = { memory = "300MiB", cpus = 2.5 } }
    assert.equal(300 << 20, made.memory)
    assert.equal(3, made.cpus)
    assert.equal(301 << 20, machine({ limits = { memory = (300 << 20) + 1 } }).memory)
  end)

  it("has a data disk of the size asked for, of `limits.storage`, or of 10 GiB", function()
    assert.equal(10 << 30, spec.data_size(helper.manifest {}))
    assert.equal(1 << 30, spec.data_size(helper.manifest { limits = { storage = "1GiB" } }))
    local both = { limits = { storage = "1GiB" }, hypervisor = { data = { size = "64MiB" } } }
    assert.equal(64 << 20, spec.data_size(helper.manifest(both)))
  end)

  it("knows an overlay of an image from a disk of its own", function()
    local made = machine({}, { disks = {
      root = { path = "/r.img", format = "qcow2", backing = "/image.raw" },
      service = { path = "/s.img" },
    } })
    assert.same({ id = "root", path = "/r.img", format = "qcow2", readonly = false,
      direct = false, backing = true }, made.disks[1])
  end)

  it("shares memory only where directories are shared", function()
    local fields = {
      keystore = "/keys",
      hypervisor = { shares = { { tag = "a", path = "/srv/a", mount = "/a", readonly = false } } },
    }
    local made = machine(fields, { keystore = true })
    assert.is_true(made.shared_memory)
    assert.same({
      { tag = "keystore", path = "/keys", readonly = true },
      { tag = "a", path = "/srv/a", readonly = false },
    }, made.filesystems)
  end)
end)

describe("what is booted", function()
  it("is a known image where the manifest names nothing", function()
    assert.same({ name = "debian:12" }, boot_source.wanted(helper.manifest {}))
  end)

  it("is no image at all where there are a kernel and an initramfs", function()
    local fields = { hypervisor = { kernel = "/k", initrd = "/i" } }
    assert.is_nil(boot_source.wanted(helper.manifest(fields)))
  end)

  it("gets its addresses on the command line where that asks for them", function()
    local text = "ip={address}::{gateway}:{netmask}:{hostname} mac={mac} {prefix} {other}"
    assert.equal("ip=172.30.0.6::172.30.0.5:255.255.255.252:web mac=02:11:22:33:44:55 30 {other}",
      boot_source.expand(text, helper.LEASE, "web"))
  end)

  it("has a console first of all", function()
    local data = helper.manifest {}
    assert.equal("console=ttyS0", boot_source.cmdline(data, helper.LEASE, { arch = "x86_64" }))
    local line = boot_source.cmdline(data, helper.LEASE,
      { root = "PARTUUID=1234", arch = "aarch64" })
    assert.equal("root=PARTUUID=1234 ro console=ttyAMA0", line)
    line = boot_source.cmdline(data, helper.LEASE, { root = true, driver = "cloud-hypervisor" })
    assert.equal("root=/dev/vda1 ro console=ttyS0 systemd.mask=serial-getty@hvc0.service", line)
  end)
end)

describe("the service in the guest", function()
  it("sees this host where the manifest says loopback", function()
    local env = environment.variables(helper.manifest(RPC), "172.30.0.5")
    assert.equal("http://172.30.0.5:8545", env.HTTP_RPC_URL)
    assert.equal("ws://172.30.0.5:8546/ws", env.WS_RPC_URL)
    assert.equal("/ip4/172.30.0.5/udp/30333/p2p/Qm,/dns/boot.example/tcp/30333", env.BOOTNODES)
    assert.equal("/mnt/data", env.DATA_DIR)
  end)

  it("finds its keystore where there is one", function()
    assert.is_nil(environment.variables(helper.manifest {}).KEYSTORE_URI)
    local env = environment.variables(helper.manifest { keystore = "/keys" })
    assert.equal("/mnt/keystore", env.KEYSTORE_URI)
  end)

  it("keeps every value as data, whatever is in it", function()
    local hostile = "'\"; $(reboot) `reboot`\n& \\"
    local ctx = helper.context { env = { HOSTILE = hostile }, args = { test_mode = true } }
    local text = shim.encode(environment.service(ctx, "172.30.0.5"))
    assert.truthy(text:find("\0env=HOSTILE=" .. hostile .. "\0", 1, true))
    assert.truthy(text:find("\0arg=/run/moonport/service/blueprint\0arg=run\0arg=--test-mode\0", 1,
      true))
  end)

  it("runs as root of its guest, or as the number that the manifest gives", function()
    assert.is_nil(environment.service(helper.context {}).user)
    assert.same({ uid = 1000, gid = 1000 },
      environment.service(helper.context { user = "1000" }).user)
  end)

  it("is not started again in registration mode", function()
    local ctx = helper.context { registration = { output = "/out.json" } }
    local service = environment.service(ctx)
    assert.equal("no", service.restart.policy)
    assert.equal("true", service.env.REGISTRATION_MODE_ON)
    assert.equal("/mnt/data/registration.json", service.env.REGISTRATION_OUTPUT_PATH)
  end)
end)

describe("the firewall's record", function()
  it("opens the ports of loopback addresses, and no others", function()
    local record = network.record(helper.context(RPC), helper.LEASE, {})
    assert.same({
      { protocol = "tcp", port = 8545, loopback = true },
      { protocol = "tcp", port = 8546, loopback = true },
      { protocol = "udp", port = 30333, loopback = true },
    }, record.host_ports)
    assert.equal("4f3c2b1a-3", record.id)
    assert.is_true(record.egress)
    assert.same({}, record.published)
  end)

  it("opens a port of another address of this host without leading it to loopback", function()
    local ctx = helper.context { http_rpc_url = "http://10.1.2.3:8545" }
    assert.same({}, network.record(ctx, helper.LEASE, {}).host_ports)
    local record = network.record(ctx, helper.LEASE, { addresses = { ["10.1.2.3"] = true } })
    assert.same({ { protocol = "tcp", port = 8545, loopback = false } }, record.host_ports)
  end)

  it("opens each port once", function()
    local ctx = helper.context {
      http_rpc_url = "http://127.0.0.1:8545", ws_rpc_url = "ws://127.0.0.1:8545",
      hypervisor = { network = { host_ports = { 8545, 9000 } } },
    }
    assert.same({
      { protocol = "tcp", port = 8545, loopback = true },
      { protocol = "tcp", port = 9000, loopback = true },
    }, network.record(ctx, helper.LEASE, {}).host_ports)
  end)

  it("publishes ports as the manifest says", function()
    local ctx = helper.context { hypervisor = { network = {
      egress = false, publish = { { port = 8080 }, { port = 53, guest_port = 5353,
        protocol = "udp", address = "10.0.0.1" } },
    } } }
    local record = network.record(ctx, helper.LEASE, { peers = { "aaaaaaaa" }, uplink = "eth1" })
    assert.same({
      { protocol = "tcp", address = "127.0.0.1", port = 8080, guest_port = 8080 },
      { protocol = "udp", address = "10.0.0.1", port = 53, guest_port = 5353 },
    }, record.published)
    assert.is_false(record.egress)
    assert.same({ "aaaaaaaa" }, record.peers)
    assert.equal("eth1", record.uplink)
  end)
end)

describe("the readiness of a guest", function()
  it("is asked for at its address where the manifest says loopback", function()
    local asked = ready.translate({
      http = "http://127.0.0.1:9464/readyz", tcp = "localhost:9000", timeout = 5,
    }, "172.30.0.6")
    assert.equal("http://172.30.0.6:9464/readyz", asked.http)
    assert.equal("172.30.0.6:9000", asked.tcp)
    assert.equal(5, asked.timeout)
  end)

  it("is asked for elsewhere where the manifest says so", function()
    local asked = ready.translate({ http = "http://10.0.0.1/", tcp = "10.0.0.1:1" }, "172.30.0.6")
    assert.equal("http://10.0.0.1/", asked.http)
    assert.equal("10.0.0.1:1", asked.tcp)
  end)
end)

describe("what cloud-init is told", function()
  it("is the guest's own addresses, found by its MAC address", function()
    local told = guest_config.cloud_init(helper.context {
      keystore = "/keys", hypervisor = { network = { nameservers = { "9.9.9.9" } } },
    })
    assert.equal("squaring", told.hostname)
    assert.equal("02:11:22:33:44:55", told.mac)
    assert.equal("172.30.0.6", told.address)
    assert.equal(30, told.prefix)
    assert.equal("172.30.0.5", told.gateway)
    assert.same({ "9.9.9.9" }, told.nameservers)
    assert.equal("disk", told.keystore)
  end)

  it("changes with the files of the manifest", function()
    local function inputs(sha256)
      return guest_config.cloud_init(helper.context({}, {
        inputs = { binary = { path = "/b", sha256 = sha256 } },
      })).inputs
    end
    assert.same({ "binary=aa" }, inputs "aa")
    assert.same({ "binary=bb" }, inputs "bb")
  end)

  it("has name servers that a guest can ask", function()
    assert.same({ "10.0.0.1", "8.8.8.8" }, guest_config.parse_nameservers(
      "# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\n"
        .. "search lan\n nameserver\t8.8.8.8 \n"))
  end)
end)

describe("a keystore", function()
  local vm, sys = require "moonport.vm", require "moonport.sys"
  local virtiofsd, euid = vm.virtiofsd, sys.euid
  local uid, program

  before_each(function()
    uid, program = 0, "/usr/libexec/virtiofsd"
    vm.virtiofsd = function() return program end
    sys.euid = function() return uid end
  end)

  after_each(function() vm.virtiofsd, sys.euid = virtiofsd, euid end)

  local function way(fields)
    fields.keystore = fields.keystore or "/keys"
    return guest_config.keystore(helper.manifest(fields))
  end

  it("is the directory itself where virtiofsd is here, else a copy on the disk", function()
    assert.equal("virtiofs", way {})
    program = nil
    assert.equal("disk", way {})
  end)

  it("is a copy where the guest or the service could not use the directory", function()
    assert.equal("disk", way { user = "1000" })
    assert.equal("disk", way { hypervisor = { kernel = "/k", initrd = "/i" } })
    uid = 1000
    assert.equal("disk", way {})
  end)

  it("is what the manifest says, and nothing where there is none", function()
    assert.equal("disk", way { hypervisor = { keystore = "disk" } })
    assert.equal("virtiofs",
      way { hypervisor = { keystore = "virtiofs", kernel = "/k", initrd = "/i" } })
    assert.is_nil(guest_config.keystore(helper.manifest {}))
  end)

  it("is what the first step has found, for all that comes after", function()
    local fields = { keystore = "/keys" }
    local ctx = helper.context(fields, { results = { prerequisites = { keystore = "virtiofs" } } })
    assert.equal("virtiofs", guest_config.cloud_init(ctx).keystore)
    assert.equal("disk", guest_config.cloud_init(helper.context(fields)).keystore)
  end)
end)

describe("the places of a machine", function()
  it("are those of the deployment, and of the revision where they are its own", function()
    local ctx = helper.context {}
    assert.equal("/state/deployments/squaring/vm/3/root.img", places.disk(ctx, "root"))
    assert.equal("/state/deployments/squaring/data/data.img", places.data_disk(ctx))
    assert.equal("/run/moonport/0c5a3ad2/4f3c2b1a/r3", places.sockets(ctx))
  end)

  it("keep a data disk apart that outlives the deployment", function()
    local ctx = helper.context { hypervisor = { data = { keep = true } } }
    assert.equal("/state/kept/squaring/data.img", places.data_disk(ctx))
  end)
end)

describe("a supervisor whose deployment is gone", function()
  local BASE = "/run/moonport/0c5a3ad2"
  local function owner(...)
    return (resource.of_words({ ... }, BASE))
  end

  it("is known by its arguments", function()
    assert.equal("4f3c2b1a", owner("/usr/libexec/moonport/moonport-shim", "run", "--dir", "/d",
      "--socket", BASE .. "/4f3c2b1a/shim.sock", "--spec-fd", "0"))
  end)

  it("is not one of another store, nor another program", function()
    assert.is_nil(owner("moonport-shim", "run", "--dir", "/d", "--socket",
      "/run/moonport/0c5a3ad29/4f3c2b1a/shim.sock"))
    assert.is_nil(owner("moonport-shim", "exec", "--", "x"))
    assert.is_nil(owner("grep", "run", "--dir", "/d", "--socket", BASE .. "/4f3c2b1a/shim.sock"))
  end)
end)
