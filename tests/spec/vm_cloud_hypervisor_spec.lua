--- The driver of cloud-hypervisor: against the real one where it is on PATH and KVM runs its guest,
-- else against a double that holds every request against the published API.
local contract = assert(
  loadfile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/vm_contract.lua", "t", _ENV))()
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/vm_helper.lua")
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local sys = require "moonport.sys"
local vm = require "moonport.vm"

local DOUBLE = [[#!/bin/sh
export DOUBLE_VIOLATIONS='%s/violations' DOUBLE_REQUESTS='%s/requests' %s
exec '%s' run '%s/tests/fixtures/cloud_hypervisor_double.lua' "$@"
]]

local function double_in(bench, env)
  local path = fs.join(bench.dir, "cloud-hypervisor")
  fs.write(path, DOUBLE:format(bench.dir, bench.dir, env or "", fs.readlink "/proc/self/exe",
    os.getenv "MP_SOURCE_DIR"), { mode = "0755" })
  return path
end

local function violations(bench)
  local text = try(fs.read, fs.join(bench.dir, "violations")) or ""
  local own = (try(fs.read, fs.join(bench.dir, "violations.own")) or ""):gsub("fits\n", "")
  return text .. own
end

local function start(bench, with, env)
  with = with or {}
  with.driver, with.accel = "cloud-hypervisor", "kvm"
  with.programs = { ["cloud-hypervisor"] = double_in(bench, env) }
  return bench:start(with)
end

contract("cloud-hypervisor's double", {
  start = start, wait_up = function() end,
  bench = function()
    local bench = helper.bench()
    local close = bench.close
    function bench:close()
      local broken = violations(self)
      close(self)
      assert.equal("", broken)
    end
    return bench
  end,
})

describe("cloud-hypervisor's double:", function()
  local bench

  before_each(function() bench = helper.bench() end)
  after_each(function() bench:close() end)

  local function requests(action)
    local found = {}
    for line in fs.read(fs.join(bench.dir, "requests")):gmatch "[^\n]+" do
      local name, body = line:match "^%u+ (%S+) (.*)$"
      if name == action then found[#found + 1] = body ~= "" and json.decode(body) or {} end
    end
    return found
  end

  it("is given the machine in the API's own names", function()
    local machine <close> = start(bench, {
      cpus = 2, max_cpus = 4, max_memory = 512 << 20,
      disks = {
        { id = "root", path = bench:disk "root", format = "qcow2", backing = true },
        { id = "service", path = bench:disk "service", readonly = true, direct = true },
      },
      networks = { { id = "net0", tap = "mp-0123456789", mac = "52:54:00:00:00:01", queues = 2 } },
      vsock = { cid = 7 }, channel = { "agent.0" },
    })
    local config = requests "vm.create"[1]
    assert.same({ boot_vcpus = 2, max_vcpus = 4 }, config.cpus)
    assert.equal(256 << 20, config.memory.hotplug_size)
    assert.same({
      id = "disk-root", serial = "root", path = fs.join(bench.dir, "root.img"), readonly = false,
      direct = false, image_type = "Qcow2", backing_files = true,
    }, config.disks[1])
    assert.same({ true, true, false }, {
      config.disks[2].readonly, config.disks[2].direct, config.disks[2].backing_files })
    assert.same({ id = "net0", tap = "mp-0123456789", mac = "52:54:00:00:00:01", num_queues = 4 },
      config.net[1])
    assert.same({ cid = 7, socket = fs.join(machine.dir, "vsock") }, config.vsock)
    assert.same({ mode = "File", file = fs.join(machine.dir, "stderr") }, config.serial)
    assert.same({ mode = "File", file = fs.join(machine.dir, "stdout") }, config.console)
    assert.equal("", violations(bench))
    assert.matches("vsock", table.concat(machine.plan.reasons, "\n"))
    -- Both outputs are the supervisor's.
    helper.wait_log(machine, "stdout F the double's console")
    helper.wait_log(machine, "stderr F the double's console")
  end)

  it("is confined by landlock where the kernel's is new enough for it", function()
    local of_kernel = sys.landlock
    finally(function() sys.landlock = of_kernel end)
    for version = 2, 3 do
      sys.landlock = function() return version end
      local disk = { id = "root", path = bench:disk "root" }
      local machine <close> = start(bench, { disks = { disk } })
      local config = requests "vm.create"[1]
      assert.equal(version == 3 or nil, config.landlock_enable)
      assert.same(version == 3 and { { path = bench.dir, access = "rw" } } or nil,
        config.landlock_rules)
      assert.equal("", violations(bench))
      machine:kill()
      fs.remove_tree(machine.dir)
      fs.remove(fs.join(bench.dir, "requests"))
    end
  end)

  it("has a terminal instead of a record of its console", function()
    local machine <close> = start(bench, { console = "pty" })
    assert.equal("/dev/pts/4242", machine:console())
    assert.equal("", violations(bench))
    assert.matches("not recorded", table.concat(machine.plan.reasons, "\n"))
  end)

  it("has disks, processors and memory that come and go", function()
    local machine <close> = start(bench, { max_cpus = 4, max_memory = 1 << 30 })
    assert.equal("extra", machine:add_disk { id = "extra", path = bench:disk "extra" })
    assert.equal("extra", requests "vm.add-disk"[1].serial)
    machine:remove "extra"
    assert.same({ id = "disk-extra" }, requests "vm.remove-device"[1])
    local _, why = try(machine.remove, machine, "extra")
    assert.is_true(errors.is(why, "vm", "not-found"), tostring(why))
    machine:resize { cpus = 3, memory = 512 << 20 }
    assert.equal(3, machine:info().cpus)
    assert.equal(512 << 20, machine:info().memory)
    assert.equal("", violations(bench))
  end)

  it("is restored under the TAP that it has now", function()
    local function network(tap)
      return { { id = "net0", tap = tap, mac = "52:54:00:00:00:01" } }
    end
    local machine <close> = start(bench, { networks = network "mp-then" })
    local dir = fs.join(bench.dir, "snapshot")
    fs.mkdirs(dir)
    machine:snapshot(dir)
    local copy <close> = start(bench, { networks = network "mp-now", restore = true })
    copy:restore(dir, { networks = network "mp-now", paused = true })
    assert.equal("paused", copy:info().state)
    assert.equal("mp-now", copy.inner:get("vm.info").config.net[1].tap)
    assert.equal("", violations(bench))
  end)

  it("is left running when a snapshot fails, and its words are told", function()
    local machine <close> = start(bench, {}, "DOUBLE_REFUSE=vm.snapshot")
    local _, why = try(machine.snapshot, machine, bench.dir)
    assert.matches("The disk is full", why.message)
    assert.equal("running", machine:info().state)
  end)

  it("of a version that lacks what is relied upon is refused by name", function()
    local _, why = try(start, bench, {}, "DOUBLE_VERSION=v30.0.0")
    assert.is_true(errors.is(why, "vm", "version"), tostring(why))
    assert.matches("30.0.0", why.message)
  end)

  it("checks: what the API does not know is a violation", function()
    local machine <close> = start(bench)
    local _, why = try(machine.inner.put, machine.inner, "vm.resize", { vcpus = 2 })
    assert.is_true(errors.is(why, "vm", "rejected"), tostring(why))
    assert.matches("VmResize has no `vcpus`", violations(bench))
  end)
end)

describe("cloud-hypervisor:", function()
  it("is preferred where it is there and KVM works, and the choice is explained", function()
    local bench = helper.bench()
    local plan = vm.plan(bench:spec { driver = "auto", accel = "auto" })
    assert.truthy(#plan.reasons > 0)
    if not vm.has_kvm() or not require("moonport.process").which "cloud-hypervisor" then
      assert.equal("qemu", plan.driver)
      assert.matches("not cloud%-hypervisor", table.concat(plan.reasons, "\n"))
    end
    bench:close()
  end)
end)

local real = require("moonport.process").which "cloud-hypervisor"

local function start_real(bench, with)
  with = with or {}
  with.driver, with.accel = "cloud-hypervisor", "kvm"
  return bench:start(with)
end

-- What needs no guest that answers, and so holds under a KVM that runs none.
local function accepts_all()
  local bench

  before_each(function() bench = helper.bench() end)
  after_each(function() bench:close() end)

  it("takes the machine, and every verb but those that a guest has to heed", function()
    local machine <close> = start_real(bench, {
      cpus = 1, max_cpus = 2, max_memory = 512 << 20,
      disks = { { id = "root", path = bench:disk "root" },
        { id = "service", path = bench:disk "service", readonly = true } },
      vsock = { cid = 7001 },
    })
    assert.equal("running", machine:info().state)
    assert.equal(256 << 20, machine:info().memory)
    assert.equal(sys.landlock() >= 3, machine.inner:get("vm.info").config.landlock_enable)
    machine:pause()
    assert.equal("paused", machine:info().state)
    machine:resume()
    machine:add_disk { id = "extra", path = bench:disk "extra" }
    machine:remove "extra"
    machine:resize { cpus = 2, memory = 512 << 20 }
    machine:reboot()
    machine:power_button()
    assert.equal("running", machine:info().state)
    machine:shutdown()
    assert.equal("host-quit", machine:wait(30).reason)
  end)

  it("has a terminal, within what landlock lets it reach", function()
    local machine <close> = start_real(bench, {
      console = "pty", disks = { { id = "root", path = bench:disk "root" } },
    })
    assert.matches("^/dev/pts/%d+$", machine:console())
    assert.equal(sys.landlock() >= 3, machine.inner:get("vm.info").config.landlock_enable)
    machine:kill()
    assert.equal("vmm-killed", machine:wait().reason)
  end)
end

if real and vm.has_kvm() and sys.uname().machine == "x86_64" then
  describe("the real cloud-hypervisor", accepts_all)
  local probe = require("moonport.vm.kvm").probe {
    driver = "cloud-hypervisor", machine = "cloud-hypervisor", program = real,
    kernel = helper.guest().kernel,
  }
  if probe.works then
    contract("the real cloud-hypervisor", {
      bench = helper.bench, wait_up = helper.wait_up, start = start_real,
    })
  end
end
