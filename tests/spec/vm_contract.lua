--- What every driver keeps, whichever it is: `return function(start)`, with `start(with)` giving a
-- running machine, and `wait_up(machine)` returning when its guest heeds a power button.
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local vm = require "moonport.vm"

return function(name, context)
  describe(name .. ": the interface", function()
    local bench

    before_each(function() bench = context.bench() end)
    after_each(function() bench:close() end)

    it("makes a machine, boots it, pauses, resumes and reboots it, and tells its state", function()
      local machine <close> = context.start(bench, { paused = true, cpus = 2 })
      if machine:info().state == "empty" then machine:create(machine.plan.spec) end
      local info = machine:info()
      assert.equal("created", info.state)
      assert.equal(2, info.cpus)
      assert.equal(256 << 20, info.memory)
      machine:boot()
      assert.equal("running", machine:info().state)
      machine:boot()
      machine:pause()
      assert.equal("paused", machine:info().state)
      machine:resume()
      assert.equal("running", machine:info().state)
      machine:reboot()
      assert.equal("running", machine:info().state)
      assert.is_nil(machine:ended())
    end)

    it("is found again by its directory alone", function()
      local machine <close> = context.start(bench)
      local again <close> = vm.connect { dir = machine.dir }
      assert.equal("running", again:info().state)
      assert.equal(machine.can, again.can)
    end)

    it("tells a guest that switched itself off from a monitor that was told to end", function()
      local first <close> = context.start(bench)
      if first.can.verbs.power_button then
        context.wait_up(first)
        first:power_button()
        assert.equal("guest-shutdown", first:wait(30).reason)
        assert.equal("ended", first:info().state)
        assert.equal("guest-shutdown", first:info().reason)
      else
        local _, why = try(first.power_button, first)
        assert.is_true(errors.is(why, "vm", "unsupported"), tostring(why))
        assert.matches("qemu q35", why.hint)
      end
      local second <close> = context.start(bench)
      second:shutdown()
      assert.equal("host-quit", second:wait(30).reason)
      second:shutdown() -- has ended: fine
    end)

    it("tells a monitor that was killed", function()
      local machine <close> = context.start(bench)
      machine:kill()
      assert.equal("vmm-killed", machine:wait().reason)
      local _, why = try(machine.pause, machine)
      assert.is_true(errors.is(why, "vm", "not-running"), tostring(why))
      assert.equal("vmm-killed", why.reason)
    end)

    it("tells what happens, also to whoever comes later", function()
      local machine <close> = context.start(bench)
      machine:pause()
      machine:resume()
      local seen = {}
      local follower <close> = machine:events()
      repeat
        local event = follower:next()
        seen[event.what] = true
      until event.what == "resumed"
      assert.is_true(seen.started and seen.paused)
    end)

    it("has a terminal for its console", function()
      local machine <close> = context.start(bench, { console = "pty" })
      assert.matches("^/dev/pts/%d+$", machine:console())
      assert.equal(machine:console(), machine:info().console)
    end)

    it("takes a snapshot, goes on, and is restored from it under another TAP's name", function()
      local machine <close> = context.start(bench)
      context.wait_up(machine)
      local dir = fs.join(bench.dir, "snapshot")
      fs.mkdirs(dir)
      machine:snapshot(dir)
      assert.equal("running", machine:info().state)
      machine:kill()
      local restored <close> = context.start(bench, { restore = true })
      restored:restore(dir)
      assert.equal("running", restored:info().state)
    end)
  end)
end
