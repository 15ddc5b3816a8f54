local checks = require "moonport.hypervisor.checks"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/hypervisor_helper.lua")
local hypervisor = require "moonport.hypervisor.manifest"
local manifest = require "moonport.manifest"
local schema = require "moonport.schema"

local only, fine = helper.only, helper.fine

local function vm(fields)
  return { hypervisor = fields }
end

local function warned(part, fields)
  for _, text in ipairs(checks.warnings(helper.manifest(fields))) do
    if text:find(part, 1, true) then return end
  end
  error(("no warning holds `%s`"):format(part))
end

describe("the manifest of a virtual machine", function()
  it("needs nothing but a program", function()
    local data = helper.manifest {}
    assert.equal("auto", data.hypervisor.driver)
    assert.equal(20 << 30, data.hypervisor.disk.size)
    assert.equal("/srv/squaring", data.binary)
    assert.same({}, checks.warnings(data))
  end)

  it("needs a program", function()
    manifest.register_target("hypervisor", hypervisor)
    local ok, err = pcall(manifest.build, {
      { name = "manifest", raw = { name = "x", target = "hypervisor" } },
    })
    assert.is_false(ok)
    assert.truthy(err.message:find("needs `binary` or `command`", 1, true))
    fine { command = { "/usr/sbin/nginx" } }
  end)

  it("has every field documented", function()
    for _, row in ipairs(schema.describe(hypervisor)) do
      assert.truthy(row.doc and #row.doc > 0, row.path .. " is not documented")
      assert.truthy(#row.doc < 110, row.path .. " is documented at length")
    end
  end)

  it("has one who says where it tells that it is ready", function()
    fine { ready = { notify = true } }
    fine { env = { NOTIFY_SOCKET = "/run/mine" }, ready = { tcp = "127.0.0.1:1" } }
    only("env.NOTIFY_SOCKET", "`ready.notify` sets NOTIFY_SOCKET",
      { ready = { notify = true }, env = { NOTIFY_SOCKET = "/run/mine" } })
  end)

  it("names the nearest field for one that does not exist", function()
    only("hypervisor.drivr", "did you mean `driver`?", vm { drivr = "qemu" })
    only("hypervisor.network.publsh", "did you mean `publish`?", vm { network = { publsh = {} } })
  end)

  it("tells the line of what is wrong", function()
    manifest.register_target("hypervisor", hypervisor)
    local ok, err = pcall(manifest.build, { {
      name = "manifest", base = "/srv",
      raw = { name = "x", target = "hypervisor", binary = "./x", data_dir = "/data" },
      locate = function(path) return "x.lua", path == "data_dir" and 7 or 1 end,
    } })
    assert.is_false(ok)
    assert.truthy(err.message:find("x.lua:7:", 1, true), err.message)
  end)

  it("may stand in a manifest for another target", function()
    manifest.register_target("hypervisor", hypervisor)
    local loaded = manifest.build { {
      name = "manifest",
      raw = { name = "x", target = "native", binary = "./x", hypervisor = { driver = "qemu" } },
    } }
    assert.equal("qemu", loaded.data.hypervisor.driver)
  end)

  describe("and its image", function()
    it("has one source", function()
      only("hypervisor.image.path", "cannot stand beside `name`",
        vm { image = { name = "debian:12", path = "/x.img" } })
      only("hypervisor.image", "names no image", vm { image = { sha256 = ("a"):rep(64) } })
      fine(vm { image = { url = "https://example.org/x.qcow2", sha256 = ("0"):rep(64) } })
    end)

    it("has a checksum of 64 digits", function()
      only("hypervisor.image.sha256", "64 hexadecimal digits",
        vm { image = { path = "/x.img", sha256 = "abc" } })
    end)

    it("may be left out for a kernel with an initramfs, and only then", function()
      fine(vm { kernel = "/vmlinuz", initrd = "/initrd" })
      fine(vm { kernel = "/vmlinuz", image = { path = "/x.img" } })
      only("hypervisor.kernel", "a kernel alone finds nothing to run", vm { kernel = "/vmlinuz" })
      only("hypervisor.initrd", "belongs to a `hypervisor.kernel`", vm { initrd = "/initrd" })
    end)
  end)

  describe("and its machine", function()
    it("fits the driver", function()
      only("hypervisor.machine", "is a machine of QEMU",
        vm { driver = "cloud-hypervisor", machine = "q35" })
      only("hypervisor.accel", "KVM alone", vm { driver = "cloud-hypervisor", accel = "tcg" })
      fine(vm { driver = "qemu", machine = "microvm", accel = "tcg" })
    end)

    it("has memory for a kernel", function()
      only("limits.memory", "its kernel alone needs 48MiB", { limits = { memory = "16MiB" } })
    end)
  end)

  describe("and its network", function()
    it("publishes on loopback unless told otherwise, and warns where it is told", function()
      local data = helper.manifest(vm { network = { publish = { { port = 8080 } } } })
      assert.equal("127.0.0.1", data.hypervisor.network.publish[1].address)
      assert.same({}, checks.warnings(data))
      warned("past the host's own firewall",
        vm { network = { publish = { { port = 8080, address = "0.0.0.0" } } } })
    end)

    it("publishes a port once", function()
      only("hypervisor.network.publish[2].port", "published twice",
        vm { network = { publish = { { port = 80 }, { port = 80, address = "0.0.0.0" } } } })
      fine(vm { network = { publish = { { port = 80 }, { port = 80, protocol = "udp" } } } })
      fine(vm { network = {
        publish = { { port = 80 }, { port = 80, address = "10.0.0.1", guest_port = 81 } },
      } })
    end)

    it("has addresses where addresses are wanted", function()
      only("hypervisor.network.nameservers[1]", "must be an IPv4 address",
        vm { network = { nameservers = { "dns.example" } } })
    end)

    it("has no peer in itself", function()
      only("hypervisor.network.peers[1]", "no peer of its own",
        vm { network = { peers = { "squaring" } } })
    end)
  end)

  it("shares each directory under a tag and a place of its own", function()
    local share = { tag = "a", path = "/srv/a", mount = "/a" }
    only("hypervisor.shares[2].tag", "two shares have the tag `a`",
      vm { shares = { share, { tag = "a", path = "/srv/b", mount = "/b" } } })
    only("hypervisor.shares[2].mount", "two shares are mounted at `/a`",
      vm { shares = { share, { tag = "b", path = "/srv/b", mount = "/a" } } })
    only("hypervisor.shares[1].tag", "moonport's own",
      vm { shares = { { tag = "keystore", path = "/srv/a", mount = "/a" } } })
    assert.is_true(helper.manifest(vm { shares = { share } }).hypervisor.shares[1].readonly)
  end)

  it("refuses what only a host has", function()
    only("user", "which the guest does not have", { user = "squaring" })
    only("data_dir", "a disk of its own", { data_dir = "/srv/data" })
    fine { user = "1000" }
    fine { user = "root" }
  end)

  it("warns of what does not hold in a VM", function()
    warned("`limits.pids` does not hold", { limits = { pids = 100 } })
    warned("the guest sees 2", { limits = { cpus = 1.5 } })
    warned("do nothing without an image", vm {
      kernel = "/vmlinuz", initrd = "/initrd", cloud_init = { packages = { "curl" } },
    })
  end)
end)
