--- The driver of QEMU with a real guest under TCG: what others do not have, or not so.
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/vm_helper.lua")
local errors = require "moonport.errors"
local events = require "moonport.vm.events"
local fs = require "moonport.fs"
local net = require "moonport.net"
local process = require "moonport.process"
local shim = require "moonport.shim"
local sys = require "moonport.sys"
local task = require "moonport.task"
local vm = require "moonport.vm"

describe("qemu:", function()
  local bench

  before_each(function() bench = helper.bench() end)
  after_each(function() bench:close() end)

  it("keeps what the guest says: the service's output apart from the console", function()
    local machine <close> = bench:start { channel = { "agent.0" } }
    helper.wait_up(machine)
    local said = helper.console(machine, "echo from the console; "
      .. "cat /sys/class/virtio-ports/*/name")
    assert.matches("stderr F from the console", said)
    assert.matches("moonport.agent.0", said)
    helper.wait_log(machine, "stdout F microvm: service")
  end)

  it("shows disks by their names, read-only ones too, and lets others come and go", function()
    local machine <close> = bench:start {
      disks = { { id = "fixed", path = bench:disk "fixed", readonly = true } },
    }
    helper.wait_up(machine)
    local list = "echo $(cat /sys/block/vda/serial) is $(cat /sys/block/vda/ro)"
    assert.matches("F fixed is 1\r?\n", helper.console(machine, list))
    machine:add_disk { id = "later", path = bench:disk "later" }
    helper.console(machine, "until [ -e /sys/block/vdb/serial ]; do :; done; "
      .. "echo got $(cat /sys/block/vdb/serial)")
    helper.wait_log(machine, "got later")
    machine:remove "later"
    helper.console(machine, "ls /sys/block | grep -c vd > /tmp/n; echo left $(cat /tmp/n)")
    helper.wait_log(machine, "left 1")
    local _, why = try(machine.add_disk, machine, { id = "fixed", path = bench:disk "twice" })
    assert.is_true(errors.is(why, "qmp", "refused"), tostring(why))
    machine:add_disk { id = "later", path = bench:disk "later" }
  end)

  it("says when there is no room for another disk", function()
    local machine <close> = bench:start { hotplug = 1, paused = true }
    machine:add_disk { id = "one", path = bench:disk "one" }
    local _, why = try(machine.add_disk, machine, { id = "two", path = bench:disk "two" })
    assert.is_true(errors.is(why, "vm", "full"), tostring(why))
  end)

  it("adds processors and memory, up to what it was made for", function()
    local machine <close> = bench:start { max_cpus = 2, max_memory = 512 << 20 }
    helper.wait_up(machine)
    machine:resize { cpus = 2, memory = 384 << 20 }
    assert.equal(2, machine:info().cpus)
    assert.equal(384 << 20, machine:info().memory)
    helper.console(machine,
      "until [ -e /sys/devices/system/cpu/cpu1 ]; do :; done; echo cpu1 is in")
    helper.wait_log(machine, "F cpu1 is in")
    local _, why = try(machine.resize, machine, { cpus = 3 })
    assert.is_true(errors.is(why, "vm", "limit"), tostring(why))
    _, why = try(machine.resize, machine, { memory = 256 << 20 })
    assert.is_true(errors.is(why, "vm", "unsupported"), tostring(why))
  end)

  -- A directory with 2 MiB of room; nil, and the test is pending, where none can be made.
  local function small_directory()
    local small = fs.join(bench.dir, "small")
    fs.mkdirs(small)
    local mount = { "mount", "-t", "tmpfs", "-o", "size=2m", "none", small }
    if sys.euid() == 0 and try(process.run, mount) then return small end
    pending "no tmpfs can be mounted"
  end

  it("goes on when there is no room for its snapshot, and leaves none behind", function()
    local small = small_directory()
    if not small then return end
    local machine <close> = bench:start()
    helper.wait_up(machine)
    local _, why = try(machine.snapshot, machine, small)
    assert.is_true(errors.is(why, "vm", "snapshot"), tostring(why))
    assert.matches("room", why.hint)
    assert.equal("running", machine:info().state)
    assert.same({}, fs.list(small))
    process.run { "umount", small }
  end)

  it("pauses a guest whose disk has no room on the host, says which, and goes on", function()
    local small = small_directory()
    if not small then return end
    fs.sparse(fs.join(small, "data.img"), 8 << 20)
    local machine <close> = bench:start { disks = { { id = "full", path = small .. "/data.img" } } }
    helper.wait_up(machine)
    local terminal <close> = assert(io.open(machine:console(), "r+"))
    terminal:write "dd if=/dev/urandom of=/dev/vda bs=1M count=6 conv=fsync; echo dd en''ded\n"
    terminal:flush()
    helper.wait_event(machine, "disk-error")
    local info = machine:info()
    assert.equal("paused", info.state)
    assert.equal("disk-full", info.reason)
    assert.equal("full", info.disks[1].disk)
    process.run { "mount", "-o", "remount,size=16m", small }
    machine:resume()
    helper.wait_log(machine, "\n[^\n]*F dd ended")
    machine:kill()
    process.run { "umount", small }
  end)

  it("tells of a guest that panics", function()
    local machine <close> = bench:start { append = "mp.panic" }
    assert.equal("guest-panic", machine:wait(30).reason)
    assert.matches("Kernel panic", helper.log(machine))
  end)

  it("takes no more than its share of the disk, whatever happens, and its end is known",
    function()
      local machine <close> = bench:start { paused = true }
      local path = fs.join(machine.plan.spec.dir, machine.driver.events_file)
      local function written() return fs.stat(path).size end
      while written() < 3 << 20 do
        machine:resume()
        machine:pause()
      end
      machine:resume()
      machine:shutdown()
      assert.equal("host-quit", machine:wait(30).reason)
      -- As QEMU left it: nothing was cut off, and its place is still where it was.
      assert.is_true(written() > 3 << 20)
      assert.is_true(tonumber(process.run({ "stat", "-c", "%b", path }).stdout) * 512 <= 1 << 20)
      local found = events.all(machine.driver, machine.plan.spec.dir)
      local last = {}
      for at = #found - 2, #found do last[#last + 1] = found[at].what end
      assert.same({ "paused", "resumed", "ended" }, last)
      assert.is_true(#found > 2000)
    end)

  it("ends with a guest that reboots, where that is asked for", function()
    local machine <close> = bench:start { on_reboot = "exit" }
    helper.wait_up(machine)
    local terminal <close> = assert(io.open(machine:console(), "r+"))
    terminal:write "reboot -f\n"
    terminal:flush()
    assert.equal("guest-reset", machine:wait(30).reason)
  end)

  it("killed from outside is told so, and its sockets are no obstacle", function()
    local machine <close> = bench:start()
    local record = shim.find(machine.shim)
    process.signal(sys.identity(record.service.pid), "KILL")
    assert.equal("vmm-killed", machine:wait(30).reason)
    assert.is_true(fs.exists(machine.dir .. "/qmp.0")) -- stale
    local plan = machine.plan
    local again <close> = vm.start(plan, bench:intent(plan.spec.name))
    assert.equal("running", again:info().state)
  end)

  it("whose supervisor is killed ends with it, and is told as lost", function()
    local machine <close> = bench:start()
    local record = shim.find(machine.shim)
    local monitor = sys.identity(record.service.pid)
    process.signal(sys.identity(record.shim.pid), "KILL")
    sys.wait_gone(monitor)
    assert.equal("vmm-lost", machine:ended().reason)
  end)

  it("is started again by its supervisor, with a record that begins anew", function()
    local machine <close> = bench:start({}, { restart = { policy = "always", backoff = 0.1 } })
    assert.is_true(machine.plan.restartable)
    local first = shim.find(machine.shim).service.pid
    local follower <close> = machine:events { since = "now" }
    process.signal(sys.identity(first), "KILL")
    repeat local event = follower:next() until event.what == "started"
    assert.not_equal(first, shim.find(machine.shim).service.pid)
  end)

  it("that runs is not started a second time in its place", function()
    local machine <close> = bench:start()
    local other = bench:intent "other"
    fs.mkdirs(other.dir)
    local _, why = try(vm.start, machine.plan, other)
    assert.is_true(errors.is(why, "vm", "running"), tostring(why))
    assert.equal("running", machine:info().state)
  end)

  it("that does not start says why", function()
    local _, why = try(bench.start, bench, { kernel = "/etc/passwd" })
    assert.is_true(errors.is(why, "vm", "start"), tostring(why))
    _, why = try(bench.start, bench, { disks = { { id = "no", path = "/nowhere/disk" } } },
      { restart = { policy = "on-failure", backoff = 60 } })
    assert.is_true(errors.is(why, "vm", "start"), tostring(why))
    assert.matches("/nowhere/disk", why.message)
    assert.matches("log", why.hint)
    assert.is_true(shim.has_ended(shim.find(bench.made[2]))) -- nothing tries on
  end)

  it("serves several who ask at once", function()
    local machine <close> = bench:start()
    local others = {}
    for i = 1, 6 do
      others[i] = function()
        local other <close> = vm.connect { dir = machine.dir }
        return other:info().state
      end
    end
    assert.equal("running", machine:info().state)
    local states = task.all(others)
    assert.equal(6, #states)
    for _, state in ipairs(states) do assert.equal("running", state) end
  end)

  it("is asked without changing anything", function()
    local machine <close> = bench:start()
    assert.equal("running", task.read_only(function()
      local other <close> = vm.connect { dir = machine.dir }
      return other:info().state
    end))
    local _, why = try(task.read_only, function() machine:pause() end)
    assert.is_true(errors.is(why, "gate", "refused"), tostring(why))
  end)

  it("runs as a user of its own, confined", function()
    if sys.euid() ~= 0 then
      pending "only root can give it another user"
      return
    end
    local kernel, initramfs = fs.join(bench.dir, "kernel"), fs.join(bench.dir, "initramfs")
    fs.copy(helper.guest().kernel, kernel, { mode = "0644" })
    fs.copy(helper.guest().initramfs, initramfs, { mode = "0644" })
    -- It may not get to moonport's own place: a clone in root's home.
    local copy = fs.join(bench.dir, "moonport-shim")
    fs.copy(shim.program(), copy, { mode = "0755" })
    fs.chmod(bench.dir, "0711")
    local machine <close> = bench:start {
      user = { uid = 65534, gid = 65534 }, kernel = kernel, initramfs = initramfs,
      programs = { ["moonport-shim"] = copy },
    }
    helper.wait_up(machine) -- and so its console could be recorded
    local pid = shim.find(machine.shim).service.pid
    local status = fs.read(("/proc/%d/status"):format(pid))
    assert.matches("Uid:\t65534\t65534\t65534\t65534", status)
    assert.matches("CapEff:\t0000000000000000", status)
    assert.matches("NoNewPrivs:\t1", status)
    assert.matches("Seccomp:\t2", status)
    assert.equal(65534, fs.stat(machine.dir).uid)
  end)

  it("shares directories: what is read-only nobody in the guest can change", function()
    if sys.euid() ~= 0 or not vm.virtiofsd() then
      pending "needs root and virtiofsd"
      return
    end
    local keys, data = fs.join(bench.dir, "keys"), fs.join(bench.dir, "data")
    fs.mkdirs(keys)
    fs.mkdirs(data)
    fs.write(fs.join(keys, "key"), "the key")
    local machine <close> = bench:start {
      filesystems = {
        { tag = "keys", path = keys }, { tag = "data", path = data, readonly = false },
      },
      append = "mp.fs=keys,/mnt/keys mp.fs=data,/mnt/data",
    }
    helper.wait_up(machine)
    local said = helper.console(machine, "echo $(cat /mnt/keys/key) is read; "
      .. "echo x > /mnt/keys/key; mount -o remount,rw /mnt/keys; echo x > /mnt/keys/new; "
      .. "rm /mnt/keys/key; echo from the guest > /mnt/data/new; sync")
    assert.matches("F the key is read", said)
    assert.matches("Read%-only file system", said)
    assert.equal("the key", fs.read(fs.join(keys, "key")))
    assert.same(1, #fs.list(keys))
    assert.equal("from the guest\n", fs.read(fs.join(data, "new")))
    machine:kill()
    for _, helper_intent in ipairs(vm.helpers(machine.plan, machine.shim)) do
      assert.is_true(shim.has_ended(shim.wait_end(helper_intent)))
    end
  end)

  it("leaves a socket alone that somebody answers on, and what is no socket", function()
    local plan = vm.plan(bench:spec())
    fs.mkdirs(plan.spec.dir)
    fs.write(plan.spec.dir .. "/qmp.1", "a file")
    local _, why = try(vm.prepare, plan)
    assert.is_true(errors.is(why, "vm", "in-the-way"), tostring(why))
    fs.remove(plan.spec.dir .. "/qmp.1")
    local listener <close> = net.listen { unix = plan.spec.dir .. "/qmp.1" }
    _, why = try(vm.prepare, plan)
    assert.is_true(errors.is(why, "vm", "running"), tostring(why))
    assert.is_true(fs.exists(plan.spec.dir .. "/qmp.1"))
    listener:close()
  end)
end)
