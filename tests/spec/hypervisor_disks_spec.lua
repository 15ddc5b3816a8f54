--- What a guest is given: cloud-init's disk, the service disk, the data disk.
local cloudinit = require "moonport.hypervisor.cloudinit"
local data_disk = require "moonport.hypervisor.data_disk"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local secret = require "moonport.core.secret"
local seed = require "moonport.hypervisor.seed"
local service_disk = require "moonport.hypervisor.service_disk"
local units = require "moonport.hypervisor.units"
local yaml = require "moonport.yaml"

local disks = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/disks_helper.lua")
local read_fat, content, sha256 = disks.read_fat, disks.content, disks.sha256

-- What shells, YAML, systemd and Lua would each make something else of.
local NASTY = "'\"; $(touch /pwned) `id` ${HOME} %n \\ # : - & * ! | > @ { [ , no 0x1 \u{e9}"

local function input(changes)
  local made = {
    hostname = "squaring", mac = "02:11:22:33:44:55",
    address = "172.30.0.6", gateway = "172.30.0.5",
    nameservers = { "192.0.2.53" }, keystore = "disk", inputs = { spec = "1" },
  }
  for name, value in pairs(changes or {}) do made[name] = value end
  return made
end

local function user_data(changes)
  return yaml.decode(cloudinit.build(input(changes)).user_data)
end

local function file_of(data, path)
  for _, file in ipairs(data.write_files) do
    if file.path == path then return file.content end
  end
end

local function unit(data, name)
  return file_of(data, "/etc/systemd/system/" .. name)
end

describe("what cloud-init is told", function()
  it("matches the network by hardware address, and names no interface (row 22)", function()
    local built = cloudinit.build(input { mac = "52:54:00:12:34:56" })
    local network = yaml.decode(built.network_config)
    assert.same({
      version = 2,
      ethernets = { uplink = {
        match = { macaddress = "52:54:00:12:34:56" }, addresses = { "172.30.0.6/30" },
        gateway4 = "172.30.0.5",
        nameservers = { addresses = { "192.0.2.53" } },
        dhcp4 = false, dhcp6 = false, ["accept-ra"] = false,
      } },
    }, network)
    assert.is_nil(built.network_config:find("ens5", 1, true))
  end)

  it("keeps a hardware address of digits alone from becoming a number", function()
    local built = cloudinit.build(input { mac = "02:10:20:30:40:50" })
    assert.truthy(built.network_config:find('"02:10:20:30:40:50"', 1, true), built.network_config)
  end)

  it("has an instance-id that changes exactly when something has changed (row 22)", function()
    local function id(changes) return cloudinit.build(input(changes)).instance_id end
    local first, seen = id(), {}
    assert.equal(first, id())
    for what, changes in pairs {
      hostname = { hostname = "other" }, mac = { mac = "02:11:22:33:44:56" },
      address = { address = "172.30.0.10" }, gateway = { gateway = "172.30.0.9" },
      nameservers = { nameservers = {} }, packages = { packages = { "jq" } },
      docker = { docker = true }, keys = { ssh_keys = { "ssh-ed25519 AAAA me" } },
      keystore = { keystore = "virtiofs" }, service = { inputs = { spec = "2" } },
      site = { user_data = { timezone = "UTC" } }, user = { user = { name = "svc", uid = 990 } },
    } do
      local other = id(changes)
      assert.is_nil(seen[other], what)
      assert.not_equal(first, other, what)
      seen[other] = true
    end
    local meta = yaml.decode(cloudinit.build(input()).meta_data)
    assert.same({ ["instance-id"] = first, ["local-hostname"] = "squaring" }, meta)
  end)

  it("has the instance-id that was pinned", function()
    local built = cloudinit.build(input { instance_id = "mine-1" })
    assert.equal("mine-1", built.instance_id)
    assert.equal("mine-1", yaml.decode(built.meta_data)["instance-id"])
  end)

  it("mounts the service disk and the keystore, and starts the service, by units", function()
    local data = user_data()
    assert.equal([[
[Unit]
Description=moonport's service disk

[Mount]
What=/dev/disk/by-label/SERVICEDISK
Where=/run/moonport/service
Type=vfat
Options=ro,nodev,nosuid,fmask=0077,dmask=0077
]], unit(data, "run-moonport-service.mount"))
    local keystore = unit(data, "mnt-keystore.mount")
    assert.truthy(keystore:find("What=/run/moonport/service/keystore\n", 1, true))
    assert.truthy(keystore:find("Options=bind,ro\n", 1, true))
    local agent = unit(data, "moonport-agent.service")
    assert.truthy(agent:find("ExecStart=/run/moonport/service/moonport-shim agent --dir "
      .. "/run/moonport/agent --spec /run/moonport/service/service.spec\n", 1, true), agent)
    assert.truthy(agent:find("RequiresMountsFor=/run/moonport/service /mnt/data /mnt/keystore\n", 1,
      true), agent)
    assert.same({ "systemctl", "enable", "--now", "moonport-agent.service" },
      data.runcmd[#data.runcmd])
  end)

  it("has commands as lists of arguments alone", function()
    local data = user_data { docker = true, packages = { "jq" } }
    for _, command in ipairs(data.runcmd) do assert.equal("table", type(command)) end
    assert.is_nil(data.bootcmd)
  end)

  it("installs Docker as a package of the distribution, from no script of the network", function()
    local built = cloudinit.build(input { docker = true, packages = { "jq" } })
    local data = yaml.decode(built.user_data)
    assert.same({ "jq", "docker.io" }, data.packages)
    assert.is_nil(built.user_data:find("get.docker.com", 1, true))
    assert.is_nil(built.user_data:find("curl", 1, true))
    assert.is_nil(user_data().packages)
  end)

  it("formats the data disk once, and never one that holds a file system", function()
    local data = user_data()
    assert.same({ ["/dev/disk/by-id/virtio-data"] =
      { table_type = "gpt", layout = true, overwrite = false } }, data.disk_setup)
    assert.same({ {
      label = "data", filesystem = "ext4", device = "/dev/disk/by-id/virtio-data",
      partition = "any", overwrite = false,
    } }, data.fs_setup)
    assert.equal("/mnt/data", data.mounts[1][2])
    assert.is_nil(user_data({ data = false }).fs_setup)
  end)

  it("opens no account, unless there are keys for one", function()
    assert.same({ { name = "root", lock_passwd = true } }, user_data().users)
    local users = user_data({ ssh_keys = { "ssh-ed25519 AAAA me" } }).users
    assert.equal("moonport", users[2].name)
    assert.is_true(users[2].lock_passwd)
    assert.same({ "ssh-ed25519 AAAA me" }, users[2].ssh_authorized_keys)
  end)

  it("takes what a site adds: tables merged, lists after ours, commands before the service",
    function()
      local data = user_data {
        packages = { "jq" },
        user_data = {
          packages = { "vim" }, growpart = { mode = "off" }, timezone = "Europe/Berlin",
          runcmd = { { "true" } }, ssh_pwauth = true,
        },
      }
      assert.same({ "jq", "vim" }, data.packages)
      assert.equal("off", data.growpart.mode)
      assert.same({ "/", "/dev/disk/by-id/virtio-data-part1" }, data.growpart.devices)
      assert.equal("Europe/Berlin", data.timezone)
      assert.is_true(data.ssh_pwauth)
      assert.same({ "true" }, data.runcmd[#data.runcmd - 2])
    end)

  it("holds every value as it was written, and none as code", function()
    local data = user_data {
      user_data = { write_files = { { path = "/etc/motd", content = NASTY .. "\n" .. NASTY } } },
      ssh_keys = { "ssh-ed25519 AAAA " .. NASTY },
    }
    assert.equal(NASTY .. "\n" .. NASTY, file_of(data, "/etc/motd"))
    assert.equal("ssh-ed25519 AAAA " .. NASTY, data.users[2].ssh_authorized_keys[1])
  end)

  it("holds no secret, which the guest would keep in the open", function()
    local _, err = try(user_data, { user_data = { password = secret.new("hunter2", {}) } })
    assert.is_true(errors.is(err, "yaml", "secret"), tostring(err))
    assert.is_nil(tostring(err):find("hunter2", 1, true))
  end)

  it("mounts directories of the host where they are asked for", function()
    local data = user_data {
      keystore = "virtiofs",
      shares = { { tag = "models", mount = "/srv/my models", readonly = false } },
    }
    assert.truthy(unit(data, "mnt-keystore.mount"):find("What=keystore\n", 1, true))
    local share = unit(data, "srv-my\\x20models.mount")
    assert.truthy(share:find("Where=/srv/my models\nType=virtiofs\nOptions=rw,", 1, true), share)
    assert.truthy(unit(data, "moonport-agent.service"):find('"/srv/my models"', 1, true))
  end)
end)

describe("a unit", function()
  it("keeps a value one value", function()
    local function render(value)
      return units.render { { "Unit", { { "Description", value } } } }
    end
    assert.equal("[Unit]\nDescription=100%% $HOME\n", render "100% $HOME")
    for _, bad in ipairs { "a\nExecStart=/bin/sh", "a\rb", "goes on \\" } do
      assert.is_true(errors.is(select(2, try(render, bad)), "hypervisor", "invalid"))
    end
  end)

  it("quotes arguments so that systemd reads them as they were", function()
    assert.equal([[/bin/a "b c" "d\"e" "$$f" ""]],
      units.command { "/bin/a", "b c", 'd"e', "$f", "" })
  end)
end)

describe("the disk of", function()
  local dir, path

  before_each(function()
    dir = fs.temp_dir()
    path = fs.join(dir, "disk.img")
  end)

  after_each(function()
    fs.remove_tree(dir)
  end)

  it("cloud-init holds the three files under the name that it looks for", function()
    local built = cloudinit.build(input())
    seed.write(path, built)
    local found = read_fat(path)
    assert.equal("CIDATA", found.label)
    assert.same({
      ["user-data"] = sha256(built.user_data), ["meta-data"] = sha256(built.meta_data),
      ["network-config"] = sha256(built.network_config),
    }, found.paths)
    assert.equal(built.user_data, content(path, "user-data"))
    assert.equal("#cloud-config\n", built.user_data:sub(1, 14))
    assert.equal(384, fs.stat(path).mode)
  end)

  it("the service holds program, keystore and records, and no script", function()
    fs.write(fs.join(dir, "program"), "\127ELF program", { mode = "0755" })
    fs.write(fs.join(dir, "shim"), "\127ELF shim", { mode = "0755" })
    fs.mkdirs(dir .. "/keys/bls", "0700")
    fs.write(dir .. "/keys/Ecdsa.json", "{}", { mode = "0600" })
    fs.write(dir .. "/keys/bls/key", "k", { mode = "0400" })
    local spec = "env\0A=" .. NASTY .. "\nB=$(id)\0"
    service_disk.write(path, {
      binary = dir .. "/program", shim = dir .. "/shim", keystore = dir .. "/keys",
      spec = secret.new(spec, {}), files = { ["agent.conf"] = "a" },
    })
    local found = read_fat(path)
    assert.equal("SERVICEDISK", found.label)
    assert.same({
      blueprint = sha256 "\127ELF program", ["moonport-shim"] = sha256 "\127ELF shim",
      keystore = "dir", ["keystore/Ecdsa.json"] = sha256 "{}", ["keystore/bls"] = "dir",
      ["keystore/bls/key"] = sha256 "k", ["service.spec"] = sha256(spec),
      ["agent.conf"] = sha256 "a",
    }, found.paths)
    assert.equal(384, fs.stat(path).mode)
  end)

  it("the service refuses a symbolic link in a keystore, and names it", function()
    fs.mkdirs(dir .. "/keys", "0700")
    fs.symlink("/etc/shadow", dir .. "/keys/link")
    for _, fn in ipairs {
      function() service_disk.check_keystore(dir .. "/keys") end,
      function() service_disk.write(path, { keystore = dir .. "/keys" }) end,
    } do
      local _, err = try(fn)
      assert.is_true(errors.is(err, "keystore", "refused"))
      assert.truthy(err.message:find("/keys/link` is a symbolic link", 1, true), err.message)
    end
    assert.is_false(fs.exists(path))
  end)

  it("the service refuses names that it cannot hold before anything is made", function()
    fs.mkdirs(dir .. "/keys", "0700")
    fs.write(dir .. "/keys/a:b", "k")
    local _, err = try(service_disk.check_keystore, dir .. "/keys")
    assert.truthy(err.message:find("`keystore/a:b` cannot be put on a FAT disk", 1, true))
  end)
end)

describe("a data disk", function()
  local dir, path
  local MIB = 1 << 20

  before_each(function()
    dir = fs.temp_dir()
    path = fs.join(dir, "data", "data.img")
  end)

  after_each(function()
    fs.remove_tree(dir)
  end)

  local function write(text)
    local file <close> = assert(io.open(path, "r+"))
    file:write(text)
  end

  it("is sparse, private, and made once: what it holds outlives every prepare", function()
    assert.same({ size = 20 << 30 }, data_disk.make(path, 20 << 30))
    local stat = fs.stat(path)
    assert.equal(384, stat.mode)
    assert.is_true(stat.blocks * 512 < MIB)
    write "the guest's"
    assert.same({ size = 20 << 30, before = 20 << 30 }, data_disk.make(path, 20 << 30))
    assert.equal("the guest's", fs.read_at(path, 0, 11))
  end)

  it("grows and keeps what it holds", function()
    data_disk.make(path, 8 * MIB)
    write "data"
    assert.same({ { action = "change", what = "data disk " .. path, from = "8MiB",
      to = "16MiB" } }, data_disk.plan(path, 16 * MIB))
    assert.same({ size = 16 * MIB, before = 8 * MIB }, data_disk.make(path, 16 * MIB))
    assert.equal(16 * MIB, fs.stat(path).size)
    assert.equal("data", fs.read_at(path, 0, 4))
  end)

  it("never shrinks", function()
    data_disk.make(path, 16 * MIB)
    for _, fn in ipairs { data_disk.plan, data_disk.make } do
      local _, err = try(fn, path, 8 * MIB)
      assert.is_true(errors.is(err, "hypervisor", "refused"))
      local why = "has 16MiB, and is not cut to 8MiB"
      assert.truthy(err.message:find(why, 1, true), err.message)
    end
    assert.equal(16 * MIB, fs.stat(path).size)
  end)

  it("is told in a plan", function()
    assert.same({ { action = "create", what = "data disk " .. path, to = "8MiB" } },
      data_disk.plan(path, 8 * MIB))
    data_disk.make(path, 8 * MIB)
    assert.same({ { action = "keep", what = "data disk " .. path } }, data_disk.plan(path, 8 * MIB))
  end)
end)
