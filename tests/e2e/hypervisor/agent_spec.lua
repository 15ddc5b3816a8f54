--- The agent in a guest, over the virtio-serial ports of a real one.
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local net = require "moonport.net"
local task = require "moonport.task"

local machines = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/e2e/hypervisor/guest_machine.lua")

local machine, guest

setup(function()
  machine = machines.start { cmdline = "mp.net=-,172.30.9.2/30,172.30.9.1", spec = {
    networks = {},
  } }
  guest = machine:wait()
end)

teardown(function()
  if guest then guest:close() end
  if machine then machine:stop() end
end)

local function rejects(kind, code, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err, kind, code), tostring(err))
  return err
end

describe("exec in a guest", function()
  it("gives a program its input and the caller its outputs and exit code", function()
    local result = guest:exec {
      "sh", "-c", "cat; echo trouble >&2; exit 7", input = "a\\b\nc\0d\r\n", check = false,
    }
    assert.are.equal("a\\b\nc\0d\r\n", result.stdout)
    assert.are.equal("trouble\n", result.stderr)
    assert.are.equal(7, result.code)
  end)

  it("tells of a signal, of a program that is not there and of one that failed", function()
    local result = guest:exec { "sh", "-c", "kill -9 $$", check = false }
    assert.are.equal("SIGKILL", result.signal)
    assert.is_nil(result.code)
    rejects("process", "ENOENT", guest.exec, guest, { "no-such-program" })
    rejects("process", "EACCES", guest.exec, guest, { "/etc/passwd" })
    local err = rejects("process", "exit", guest.exec, guest, {
      "sh", "-c", "echo why >&2; exit 3",
    })
    assert.are.equal(3, err.exit_code)
    assert.truthy(err.message:find("why", 1, true))
    -- And the connection is as good as before.
    assert.are.equal("running", guest:status().state)
  end)

  it("runs it with the service's environment, changed as told, and in a directory", function()
    local result = guest:exec {
      "sh", "-c", 'printf "%s\\n" "$HOME,$GIVEN,$PATH"; pwd', cwd = "/etc",
      env = { GIVEN = "x\ny\\", HOME = false },
    }
    assert.are.equal(",x\ny\\,/bin:/sbin\n/etc\n", result.stdout)
  end)

  it("gives a large input and output to the byte", function()
    local bytes = crypto.random(1000000):rep(3)
    local result = guest:exec { "cat", input = bytes }
    assert.are.equal(crypto.hash("sha256", bytes), crypto.hash("sha256", result.stdout))
  end)

  it("runs two at a time, on a port each", function()
    local other <close> = machine:agent()
    local results = task.all {
      function() return guest:exec { "sh", "-c", "read x; echo one $x", input = "1\n" }.stdout end,
      function() return other:exec { "sh", "-c", "read x; echo two $x", input = "2\n" }.stdout end,
    }
    assert.are.equal("one 1\n", results[1])
    assert.are.equal("two 2\n", results[2])
  end)

  it("has a terminal of a size", function()
    local result = guest:exec {
      "sh", "-c", "stty size; test -t 0 && test -t 2 && echo terminal",
      tty = { rows = 33, columns = 99 },
    }
    assert.are.equal("33 99\r\nterminal\r\n", result.stdout)
  end)

  it("holds a program up whose output nobody takes, and nobody else", function()
    local seen, first = 0, task.event()
    local more = task.event()
    local other <close> = machine:agent()
    task.scope(function()
      local slow = task.spawn(guest.exec, guest, {
        "sh", "-c", "head -c 2000000 /dev/zero", stdout = function(bytes)
          seen = seen + #bytes
          first:set()
          more:wait()
        end,
      })
      first:wait()
      assert.are.equal("hello\n", other:exec({ "echo", "hello" }).stdout)
      more:set()
      slow:await()
    end)
    assert.are.equal(2000000, seen)
  end)

  it("hangs a program up whose caller goes away in the middle", function()
    local path = "/tmp/hung-up"
    local err = rejects("task", "timeout", guest.exec, guest, {
      "sh", "-c", ("trap '' PIPE; trap 'echo hung up >%s; exit' HUP; while :; do sleep 1; done")
        :format(path), timeout = 1,
    })
    assert.truthy(err)
    guest:exec { "sh", "-c", ("until [ -s %s ]; do sleep 0.1; done"):format(path) }
  end)

  it("ends a program's input while that does not read, and stops when it ends", function()
    local result = guest:exec {
      "sh", "-c", "exec <&-; echo done", input = ("x"):rep(1000000),
    }
    assert.are.equal("done\n", result.stdout)
  end)

  it("passes a secret on without showing it", function()
    local made = require("moonport.core.secret").new("s3cr\net\\word", { env = "X" })
    local result = guest:exec { "sh", "-c", "printf %s \"$TOKEN\" | wc -c; wc -c",
      env = { TOKEN = made }, input = made }
    assert.are.equal("12\n12\n", result.stdout)
  end)
end)

describe("a port", function()
  it("serves who comes after one that left a torn message", function()
    guest:close()
    local left = { "exec\nspec version=1", "exec input=1\nspec half a rec", "sta", "in x" }
    for _, torn in ipairs(left) do
      local connection <close> = net.connect { unix = machine.dir .. "/agent.0" }
      connection:write("\nhello torn\n" .. torn)
      connection:close()
      assert.are.equal("running", guest:status().state)
      guest:close()
    end
  end)

  it("serves who comes after one that left in the middle of output", function()
    for _ = 1, 3 do
      do
        local connection <close> = net.connect { unix = machine.dir .. "/agent.0" }
        connection:write "\nhello torn\nexec\nspec version=1\0arg=yes\0end=1\0\nrun\n"
        connection:read_line()
      end
      assert.are.equal("running", guest:status().state)
      guest:close()
    end
    assert.are.equal("", guest:exec({ "sh", "-c", "ps | grep [y]es", check = false }).stdout)
  end)

  it("is not given to two at the same time, and who holds the last one is named", function()
    local held <close> = setmetatable({}, { __close = function(list)
      for _, one in ipairs(list) do one:close() end
    end })
    guest:close()
    for index = 1, 8 do held[index] = machine:agent() end
    local err = rejects("agent", "busy", machine.agent, machine, { timeout = 1 })
    assert.truthy(err.message:find("8 ports", 1, true))
  end)

  it("can be asked in a plan for what changes nothing, and for nothing else", function()
    guest:close()
    task.read_only(function()
      local reader <close> = machine:agent()
      assert.are.equal("running", reader:status().state)
      assert.is_false(reader:network().up)
    end)
    rejects("gate", "refused", task.read_only, function()
      local reader <close> = machine:agent()
      reader:stop()
    end)
    rejects("gate", "refused", task.read_only, function()
      local reader <close> = machine:agent()
      reader:exec { "true" }
    end)
  end)
end)

describe("the service in a guest", function()
  it("is stopped, started and restarted, and its end waited for", function()
    local waiting <close> = machine:agent()
    task.scope(function()
      local ended = task.spawn(waiting.wait_end, waiting)
      assert.are.equal("exited", guest:stop({ grace = 5 }).state)
      assert.are.equal("exited", ended:await().state)
    end)
    assert.are.equal("running", guest:start().state)
    assert.are.equal("running", guest:wait_running().state)
    local before = guest:status().service.pid
    assert.are_not.equal(before, guest:restart({ grace = 5 }).service.pid)
    -- What runs beside it is none of it.
    assert.are.equal("still here\n", guest:exec({ "echo", "still here" }).stdout)
  end)

  it("leaves alone what is run beside it", function()
    local other <close> = machine:agent()
    task.scope(function()
      local restarted = false
      local beside = task.spawn(guest.exec, guest, {
        "sh", "-c", "read x; echo $x", input = function()
          if restarted then return nil end
          restarted = true
          other:restart { grace = 1 }
          return "survived\n"
        end,
      })
      assert.are.equal("survived\n", beside:await().stdout)
    end)
  end)

  it("has its output recorded by the host's supervisor, as it comes", function()
    local log = machine:log()
    assert.truthy(log:find(" stdout F microvm: service\n", 1, true), log)
    assert.truthy(log:find(" stdout F microvm: trouble\n", 1, true), log)
    assert.truthy(log:find(" stderr F [^\n]*microvm: up"), log)
  end)
end)

describe("an error", function()
  it("says that the machine does not run", function()
    local dir = os.getenv "SANDBOX" .. "/nothing"
    fs.mkdirs(dir)
    local connect = require("moonport.hypervisor.agent").connect
    local err = rejects("agent", "gone", connect, { dir = dir })
    assert.truthy(err.message:find("does not run", 1, true))
  end)

  it("shows the end of the console when the guest does not answer", function()
    local silent = machines.start { cmdline = "mp.noagent" }
    local _ <close> = setmetatable({}, { __close = function() silent:stop() end })
    local err = rejects("agent", "timeout", silent.wait, silent, {
      timeout = 1, console = function() return { "Kernel panic", "the end" } end,
    })
    assert.truthy(err.hint:find("Kernel panic\nthe end", 1, true))
  end)

  it("says that the guest went away while a program ran", function()
    guest:close()
    local err = rejects("agent", "lost", guest.exec, guest, {
      "sh", "-c", "echo c >/proc/sysrq-trigger; sleep 100",
    })
    assert.truthy(err.message:find("unknown", 1, true))
  end)
end)
