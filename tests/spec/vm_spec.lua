--- Machines as they are planned: no monitor is started here, but for the trial of KVM.
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/vm_helper.lua")
local capabilities = require "moonport.vm.capabilities"
local choose = require "moonport.vm.choose"
local ending = require "moonport.vm.ending"
local errors = require "moonport.errors"
local events = require "moonport.vm.events"
local fs = require "moonport.fs"
local json = require "moonport.json"
local kvm = require "moonport.vm.kvm"
local machine = require "moonport.vm.machine"
local sys = require "moonport.sys"
local task = require "moonport.task"
local vm = require "moonport.vm"

-- Programs that are never run.
local PROGRAMS = {
  ["qemu-system-x86_64"] = "/bin/true", ["qemu-system-aarch64"] = "/bin/true",
  ["cloud-hypervisor"] = "/bin/true", virtiofsd = "/bin/true",
}

local function spec(with)
  local made = {
    name = "box", driver = "qemu", accel = "tcg", memory = 256 << 20, kernel = "/boot/vmlinuz",
    arch = "x86_64", dir = "/run/box", programs = PROGRAMS,
  }
  for key, value in pairs(with or {}) do made[key] = value or nil end
  return made
end

local function words(plan)
  return "\n" .. table.concat(plan.argv, "\n") .. "\n"
end

local function refused(with)
  local _, why = try(vm.plan, spec(with))
  return assert(why, "it was taken")
end

describe("a machine's plan", function()
  it("refuses what no machine has, and names the nearest", function()
    assert.matches("`cpu`.*`cpus`", refused({ cpu = 2 }).message)
    assert.matches("memory", refused({ memory = "much" }).message)
    assert.matches("MAC address", refused({
      networks = { { id = "net0", tap = "tap0", mac = "no" } } }).message)
    assert.matches("two disks are called `a`", refused({
      disks = { { id = "a", path = "/1" }, { id = "a", path = "/2" } } }).message)
    assert.matches("below `cpus`", refused({ cpus = 4, max_cpus = 2 }).message)
  end)

  it("refuses a directory whose sockets would have too long a path, before anything is made",
    function()
      local dir = "/run/" .. ("x"):rep(100)
      for _, driver in ipairs { "qemu", "cloud-hypervisor" } do
        local accel = driver == "qemu" and "tcg" or "kvm"
        local why = refused { dir = dir, driver = driver, accel = accel }
        assert.is_true(errors.is(why, "vm", "socket-path"), tostring(why))
        assert.matches("107 are allowed", why.message)
      end
      assert.is_false(fs.exists(dir))
      -- The longest that fits, fits.
      vm.plan(spec { dir = "/" .. ("x"):rep(107 - #"/qmp.0" - 1) })
    end)

  it("changes nothing, and starts nothing where nothing may be changed", function()
    local plan = task.read_only(vm.plan, spec { accel = "auto", kernel = helper.guest().kernel })
    assert.truthy(#plan.reasons > 0)
    assert.is_false(fs.exists(plan.spec.dir))
  end)

  it("tells why of each driver none can be the one", function()
    local why = refused { driver = "auto", accel = "kvm", arch = "riscv64" }
    assert.is_true(errors.is(why, "schema"), tostring(why))
    why = refused { driver = "cloud-hypervisor" }
    assert.is_true(errors.is(why, "vm", "no-driver"), tostring(why))
    assert.matches("cannot run without KVM", why.message)
    local other = sys.uname().machine == "x86_64" and "aarch64" or "x86_64"
    why = refused { driver = "cloud-hypervisor", arch = other, accel = "auto" }
    assert.matches("only the host's architecture", why.message)
  end)

  it("of another architecture than the host's has TCG, and says so", function()
    local other = sys.uname().machine == "x86_64" and "aarch64" or "x86_64"
    local plan = vm.plan(spec { driver = "auto", accel = "auto", arch = other })
    assert.equal("tcg", plan.accel)
    assert.equal("qemu", plan.driver)
    assert.matches("the host's processor", plan.reasons[#plan.reasons])
  end)
end)

describe("qemu's command line", function()
  it("has no device that was not asked for, and is confined", function()
    local plan = vm.plan(spec())
    local text = words(plan)
    assert.matches("\n%-nodefaults\n%-no%-user%-config\n", text)
    assert.matches("\n%-sandbox\non,obsolete=deny,elevateprivileges=deny,spawn=deny", text)
    assert.not_matches("virtio%-net", text)
    assert.not_matches("virtio%-blk", text)
    assert.matches("\n%-accel\ntcg,thread=multi\n%-cpu\nmax\n", text)
  end)

  it("cannot be changed by a name", function()
    local plan = vm.plan(spec { dir = "/run/a,b=c", disks = {
      { id = "root", path = '/srv/a,if=none"}.img' } } })
    local text = words(plan)
    assert.matches("path=/run/a,,b=c/qmp.0,server=on", text)
    local disk
    for i, word in ipairs(plan.argv) do
      if word == "-blockdev" then disk = json.decode(plan.argv[i + 1]) end
    end
    assert.equal('/srv/a,if=none"}.img', disk.file.filename)
    assert.is_true(errors.is(refused { name = "a,debug-threads=on" }, "schema"))
  end)

  it("gives a qcow2 image a backing file only where that is allowed", function()
    local function node(backing)
      local plan = vm.plan(spec { disks = {
        { id = "root", path = "/srv/root.qcow2", format = "qcow2", backing = backing } } })
      for i, word in ipairs(plan.argv) do
        if word == "-blockdev" then return json.decode(plan.argv[i + 1]) end
      end
    end
    assert.equal(json.null, node(false).backing)
    assert.is_nil(node(true).backing)
  end)

  it("has a disk read-only all the way down", function()
    local node = require("moonport.vm.qemu.command").blockdev {
      id = "a", path = "/a", format = "raw", readonly = true }
    assert.same({ true, true }, { node["read-only"], node.file["read-only"] })
    assert.is_nil(node.discard)
  end)

  it("names a TAP and runs no script", function()
    local plan = vm.plan(spec { networks = {
      { id = "net0", tap = "mp-0123456789", mac = "52:54:00:00:00:01" } } })
    assert.matches("\ntap,id=net0,ifname=mp%-0123456789,script=no,downscript=no,vhost=off\n",
      words(plan))
  end)

  it("shares memory where a file system is shared", function()
    local plan = vm.plan(spec { filesystems = { { tag = "keystore", path = "/srv/keys" } } })
    assert.is_true(plan.restartable)
    assert.matches("memory%-backend=memory", words(plan))
    assert.matches('"share":true', words(plan))
    assert.matches("vhost%-user%-fs%-pci", words(plan))
  end)

  it("is another one for each machine type", function()
    local micro = words(vm.plan(spec { machine = "microvm" }))
    assert.matches("\nmicrovm,.*pit=on,pic=on,rtc=on,acpi=off\n", micro)
    assert.matches("virtio%-serial%-device", micro)
    assert.not_matches("pcie%-root%-port", micro)
    local virt = words(vm.plan(spec { arch = "aarch64" }))
    assert.matches("\nvirt,", virt)
    assert.matches("pvpanic%-pci", virt)
    assert.matches("pcie%-root%-port", virt)
    assert.not_matches("x%-option%-roms", virt)
    assert.matches("\n/bin/true\n%-name\n", virt)
  end)
end)

describe("an aarch64 machine", function()
  local uname = sys.uname

  before_each(function()
    sys.uname = function() return { machine = "aarch64" } end
  end)
  after_each(function() sys.uname = uname end)

  it("is `virt` of qemu, or cloud-hypervisor's, on a host of its kind", function()
    local plan = vm.plan(spec { arch = false, accel = "kvm" })
    assert.same({ "qemu", "virt", "kvm" }, { plan.driver, plan.machine, plan.accel })
    assert.matches("\n%-cpu\nhost\n", words(plan))
    assert.matches("\nvirt,dump%-guest%-core=off,usb=off,gic%-version=max\n", words(plan))
    local other = vm.plan(spec { arch = false, driver = "auto", accel = "kvm" })
    assert.same({ "cloud-hypervisor", "kvm" }, { other.driver, other.accel })
  end)

  it("has no machine types of another processor", function()
    assert.matches("has no processor of `aarch64`",
      refused { arch = false, machine = "q35", driver = "auto" }.message)
  end)

  it("is tried with the console that it has", function()
    assert.matches("console=ttyAMA0", kvm.cmdline "aarch64")
    assert.matches("console=ttyS0", kvm.cmdline "x86_64")
  end)
end)

describe("capabilities", function()
  it("name for each verb that a machine lacks one that has it", function()
    local lacks = 0
    for _, row in ipairs(vm.capabilities) do
      for verb in pairs(capabilities.verbs) do
        local _, why = try(capabilities.require, row, "verbs", verb)
        assert.equal(row.verbs[verb] == nil, why ~= nil)
        if why then
          lacks = lacks + 1
          assert.is_true(errors.is(why, "vm", "unsupported"))
          assert.matches("^use .*%w.*, which can$", why.hint)
          assert.truthy(#capabilities.having("verbs", verb) > 0)
        end
      end
    end
    assert.truthy(lacks > 0)
  end)

  it("are those of methods that every machine has", function()
    local opened = machine.open { dir = "/nowhere", driver = "qemu" }
    for verb in pairs(capabilities.verbs) do
      assert.equal("function", type(opened[verb]), verb)
    end
  end)

  it("refuse a verb before anything is connected to", function()
    local opened = vm.connect {
      dir = "/nowhere", driver = "qemu", machine = "microvm", accel = "tcg" }
    for _, verb in ipairs { "add_disk", "remove", "resize", "power_button" } do
      local _, why = try(opened[verb], opened, "x")
      assert.is_true(errors.is(why, "vm", "unsupported"), tostring(why))
      assert.matches("qemu q35", why.hint)
    end
  end)
end)

describe("a machine that is not there", function()
  it("is told as such", function()
    for _, driver in ipairs { "qemu", "cloud-hypervisor" } do
      local opened <close> = vm.connect { dir = "/nowhere", driver = driver }
      assert.equal("unknown", opened:info().state)
      local _, why = try(opened.pause, opened)
      assert.is_true(errors.is(why, "vm", "not-running"), tostring(why))
      _, why = try(opened.wait, opened)
      assert.is_true(errors.is(why, "vm", "invalid"), tostring(why))
    end
  end)

  it("of which nothing is noted asks for its driver", function()
    local _, why = try(vm.connect, { dir = "/nowhere" })
    assert.is_true(errors.is(why, "vm", "invalid"), tostring(why))
  end)
end)

describe("a monitor's record", function()
  local driver = machine.driver "qemu"
  local dir

  before_each(function() dir = fs.temp_dir() end)
  after_each(function() fs.remove_tree(dir) end)

  local function qemu(...)
    local text = '{"QMP": {}}\r\n{"return": {}}\r\n' .. table.concat({ ... }, "\r\n") .. "\r\n"
    fs.write(fs.join(dir, driver.events_file), text)
  end

  local function shutdown(reason)
    return ('{"timestamp": {"seconds": 5, "microseconds": 0}, "event": "SHUTDOWN", '
      .. '"data": {"guest": true, "reason": "%s"}}'):format(reason)
  end

  local function ended(exit, state)
    return ending.of(driver, dir, exit ~= false and {
      state = state or "exited", exit = exit, shim = {} } or nil)
  end

  it("and its supervisor's give one reason", function()
    qemu(shutdown "guest-shutdown")
    assert.equal("guest-shutdown", ended({ code = 0 }).reason)
    qemu(shutdown "host-signal")
    assert.equal("host-signal", ended({ code = 0 }).reason)
    qemu('{"event": "GUEST_PANICKED", "data": {"action": "poweroff"}}', shutdown "guest-panic")
    assert.equal("guest-panic", ended({ code = 0 }).reason)
    qemu()
    assert.equal("vmm-error", ended({ code = 1 }).reason)
    assert.same({ reason = "vmm-killed", oom = true }, ended { signal = "KILL", oom = true })
    assert.equal("vmm-lost", ended(nil, "lost").reason)
    assert.equal("unknown", ended(false).reason)
    -- It was told to end, and killed before it did.
    qemu(shutdown "host-qmp-quit")
    assert.equal("vmm-killed", ended({ signal = "KILL" }).reason)
    for _, reason in ipairs(ending.reasons) do assert.equal("string", type(reason)) end
  end)

  it("is nothing while it runs", function()
    qemu(shutdown "guest-shutdown")
    assert.is_nil(ended(nil, "running"))
  end)

  it("may be cut anywhere, and be nonsense", function()
    local text = '{"QMP": {}}\r\nnonsense\r\n[1]\r\n' .. shutdown "guest-reset" .. "\r\n"
    for cut = 0, #text do
      local first, rest = driver.parse_events(text:sub(1, cut))
      local second = driver.parse_events(rest .. text:sub(cut + 1))
      assert.equal(2, #first + #second)
    end
    local other = machine.driver "cloud-hypervisor"
    text = '{\n "source": "vm",\n "event": "booted \\"}\\\\",\n "properties": {"a": "{"}\n}\n\n{"x'
    for cut = 0, #text do
      local first, rest = other.parse_events(text:sub(1, cut))
      local second, left = other.parse_events(rest .. text:sub(cut + 1))
      assert.equal(1, #first + #second)
      assert.equal('{"x', left)
    end
  end)

  it("that is not a file is none", function()
    local path = fs.join(dir, driver.events_file)
    for _, target in ipairs { "/dev/zero", "/nowhere", dir } do
      fs.symlink(target, path, { replace = true })
      assert.equal("vmm-error", ended({ code = 1 }).reason)
    end
  end)

  it("is followed while it grows, and when it begins anew", function()
    qemu()
    local follower <close> = events.follow(driver, dir)
    assert.equal("started", follower:next().what)
    local path = fs.join(dir, driver.events_file)
    fs.append(path, '{"event": "STOP"}\r')
    fs.append(path, '\n{"event": "RESUME"}\r\n')
    assert.equal("paused", follower:next().what)
    assert.equal("resumed", follower:next().what)
    local file = io.open(path, "w")
    file:write '{"QMP": {}}\r\n'
    file:close()
    assert.equal("started", follower:next().what)
  end)

  local function line(number, what)
    return ('{"event": "%s", "data": {"n": %d, "pad": "%s"}}\r\n'):format(what, number,
      ("x"):rep(1000))
  end

  -- As a supervisor leaves it: a hole up to the middle of a message.
  local function write_with_hole(path, size, from)
    local file <close> = io.open(path, "r+")
    file:seek("set", size)
    file:write((line(from, "STOP") .. line(from + 1, "RESUME")):sub(5))
  end

  it("of which the older ones are a hole goes on behind it, for a reader and for a follower",
    function()
      qemu()
      local path = fs.join(dir, driver.events_file)
      local follower <close> = events.follow(driver, dir)
      assert.equal("started", follower:next().what)
      fs.append(path, line(1, "STOP"):sub(1, 100)) -- it has read half of this one
      follower:_look()
      -- First a hole that is read through, then one so large that its beginning is not looked at.
      for round, size in ipairs { 1 << 20, 64 << 20 } do
        write_with_hole(path, size, round * 10)
        local event = follower:next()
        assert.same({ "resumed", round * 10 + 1 }, { event.what, event.data.n })
        local found = events.all(driver, dir)
        assert.same({ "resumed", round * 10 + 1 }, { found[#found].what, found[#found].data.n })
        assert.equal(1, #found)
      end
      fs.append(path, line(99, "STOP"))
      assert.equal(99, follower:next().data.n)
    end)

  it("is read whole behind a hole, where a message has several lines", function()
    local other = machine.driver "cloud-hypervisor"
    local object = '{\n  "source": "vm",\n  "event": "%s",\n'
      .. '  "properties": {\n    "a": "{"\n  }\n}\n\n'
    local file <close> = io.open(fs.join(dir, other.events_file), "w")
    file:seek("set", 5 << 20)
    -- From within the text of a message on.
    file:write((object:format "paused"):sub(-14), object:format "resumed", object:format "booted")
    file:flush()
    local found = events.all(other, dir)
    assert.same({ "resumed", "booted", nil }, { found[1].what, found[2].what, found[3] })
  end)
end)

describe("the trial of KVM", function()
  local dir

  before_each(function() dir = fs.temp_dir() end)
  after_each(function() fs.remove_tree(dir) end)

  local function program(body)
    local path = fs.join(dir, "qemu-system-x86_64")
    fs.write(path, "#!/bin/sh\necho run >>'" .. dir .. "/runs'\n" .. body, { mode = "0755" })
    return path
  end

  local function runs()
    local text = try(fs.read, fs.join(dir, "runs")) or ""
    return select(2, text:gsub("run\n", ""))
  end

  local function probe(body, timeout)
    fs.write(fs.join(dir, "kernel"), "a kernel")
    return kvm.probe {
      driver = "qemu", machine = "q35", program = program(body), kernel = fs.join(dir, "kernel"),
      timeout = timeout, cache = fs.join(dir, "cache"),
    }
  end

  if vm.has_kvm() then
    it("believes a kernel's first line, and is not made twice in one boot of the host", function()
      local found = probe "echo SeaBIOS; echo '[    0.000000] Linux version 6.1'; exec sleep 100"
      assert.is_true(found.works, found.reason)
      found = probe "exit 1"
      assert.is_true(found.works and found.cached)
      assert.equal(1, runs())
    end)

    it("tells a kernel that hangs from a monitor that ends, with its words", function()
      local found = probe("echo SeaBIOS; exec sleep 100", 0.3)
      assert.is_false(found.works)
      assert.matches("printed nothing", found.reason)
      fs.remove_tree(fs.join(dir, "cache"))
      found = probe "echo 'failed to set MSR' >&2; exit 1"
      assert.is_false(found.works)
      assert.matches("failed to set MSR", found.reason)
    end)

    it("is left for later where nothing may be started", function()
      fs.write(fs.join(dir, "kernel"), "a kernel")
      local wanted = {
        driver = "qemu", machine = "q35", program = program "exit 1",
        kernel = fs.join(dir, "kernel"), cache = fs.join(dir, "cache"),
      }
      local found = task.read_only(kvm.probe, wanted)
      assert.is_nil(found.works)
      assert.matches("not tried yet", found.reason)
      assert.equal(0, runs())
    end)
  end

  it("is the reason for the choice that is shown", function()
    local plan = vm.plan(spec {
      accel = "auto", kernel = helper.guest().kernel, arch = sys.uname().machine,
      programs = {},
    })
    assert.matches("^" .. plan.accel .. ": ", plan.reasons[#plan.reasons])
  end)

  it("is made with the program that was chosen", function()
    assert.equal("/bin/true", (choose.program("qemu", { arch = "x86_64", programs = PROGRAMS })))
  end)
end)
