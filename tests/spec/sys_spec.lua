local errors = require "moonport.errors"
local process = require "moonport.process"
local sys = require "moonport.sys"
local task = require "moonport.task"

describe("sys", function()
  it("knows the host as its own tools do", function()
    assert.equal(process.run({ "uname", "-n" }).stdout, sys.hostname() .. "\n")
    assert.equal(process.run({ "uname", "-m" }).stdout, sys.uname().machine .. "\n")
    assert.equal(process.run({ "id", "-u" }).stdout, sys.euid() .. "\n")
    assert.equal(process.run({ "nproc" }).stdout, sys.cpus() .. "\n")
    assert.equal(process.run({ "getconf", "PAGESIZE" }).stdout, sys.page_size() .. "\n")
    assert.truthy(sys.boot_id():match("^%x+%-%x+%-%x+%-%x+%-%x+$"))
    local memory = sys.memory()
    assert.truthy(memory.available <= memory.total)
    assert.is_false(sys.secure)
  end)

  it("knows its capabilities by name", function()
    local have = {}
    for _, name in ipairs(sys.capabilities()) do have[name] = true end
    assert.equal(have.CAP_NET_ADMIN or false, sys.has_capability "CAP_NET_ADMIN")
    assert.equal(have.CAP_NET_ADMIN or false, sys.has_capability "net_admin")
    local _, err = try(sys.has_capability, "CAP_FLY")
    assert.is_true(errors.is(err, "argument", "invalid"))
  end)

  it("tells the time by two clocks", function()
    assert.truthy(math.abs(sys.time() - os.time()) < 5)
    local before = sys.monotonic()
    task.sleep(0.01)
    assert.truthy(sys.monotonic() > before)
  end)

  it("reads the environment", function()
    assert.equal(os.getenv "PATH", sys.env "PATH")
    assert.is_nil(sys.env "MOONPORT_NO_SUCH_VARIABLE")
  end)
end)

describe("an identity", function()
  it("is of one process for ever", function()
    local identity = sys.identity()
    assert.equal(sys.pid(), identity.pid)
    assert.is_true(sys.is_alive(identity))
    identity.start = identity.start - 1
    assert.is_false(sys.is_alive(identity))
    local _, err = try(sys.is_alive, { pid = 1 })
    assert.is_true(errors.is(err, "argument", "invalid"))
  end)

  it("keeps a recycled pid from being signalled", function()
    local p <close> = process.spawn { "sleep", "1000" }
    local identity = p:identity()
    identity.start = identity.start - 1
    assert.is_false(process.signal(identity, "SIGKILL"))
    assert.is_nil(p.exited)
  end)
end)

describe("sys.signals", function()
  it("gives signals in the order of a loop, to one who waits", function()
    local signals <close> = sys.signals { "SIGUSR1", "SIGUSR2" }
    local me = sys.identity()
    task.all {
      function()
        assert.equal("SIGUSR1", signals:wait())
        process.signal(me, "SIGUSR2")
        for name in signals do
          assert.equal("SIGUSR2", name)
          signals:close()
        end
      end,
      function() process.signal(me, "SIGUSR1") end,
    }
  end)

  it("keeps those that come while nobody waits", function()
    local signals <close> = sys.signals { "SIGHUP" }
    process.signal(sys.identity(), "SIGHUP")
    task.sleep(0.01)
    assert.equal("SIGHUP", signals:wait())
  end)

  it("can be cancelled, and ends when it is closed", function()
    local signals = sys.signals { "SIGUSR1" }
    local ok, err = pcall(task.timeout, 0.01, signals.wait, signals)
    assert.is_false(ok)
    assert.equal("timeout", err.code)
    local waiting = task.contained(function() return signals:wait() end)
    task.sleep(0)
    signals:close()
    assert.is_nil(waiting:await())
    assert.is_nil(signals:wait())
  end)

  it("does not take what ends the program", function()
    for _, name in ipairs { "SIGINT", "SIGTERM", "SIGKILL", "SIGSEGV" } do
      local _, err = try(sys.signals, { name })
      assert.is_true(errors.is(err, "sys", "invalid"))
    end
  end)
end)
