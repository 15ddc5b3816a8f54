local errors = require "moonport.errors"
local fs = require "moonport.fs"
local process = require "moonport.process"
local secret = require "moonport.core.secret"
local sys = require "moonport.sys"
local task = require "moonport.task"

local function read_file(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

local function fds()
  return #fs.list "/proc/self/fd"
end

-- SIGKILL takes a moment where nobody waits for the process.
local function wait_until_gone(identity)
  while sys.is_alive(identity) do task.sleep(0.001) end
end

describe("process.run", function()
  it("gives code, outputs and durations", function()
    local result = process.run { "sh", "-c", "echo out; echo err >&2" }
    assert.equal(0, result.code)
    assert.is_nil(result.signal)
    assert.equal("out\n", result.stdout)
    assert.equal("err\n", result.stderr)
    assert.truthy(result.duration >= 0 and result.cpu >= 0)
  end)

  it("raises on another code, with what the program said last", function()
    local result, err = try(process.run, { "sh", "-c", "echo out; echo why >&2; exit 3" })
    assert.is_nil(result)
    assert.is_true(errors.is(err, "process", "exit"))
    assert.equal("`sh` exited with code 3: why", err.message)
    assert.same({ 3, "out\n", "why\n" }, { err.exit_code, err.stdout, err.stderr })
    assert.truthy(err.where:find("process_spec.lua:", 1, true))
    assert.equal(3, process.run({ "sh", "-c", "exit 3", check = false }).code)
  end)

  it("raises on a signal", function()
    local _, err = try(process.run, { "sh", "-c", "kill -KILL $$" })
    assert.is_true(errors.is(err, "process", "signal"))
    assert.equal("SIGKILL", err.signal)
  end)

  it("passes hostile arguments and variables unchanged", function()
    local hostile = { "a\nb", "'\"`", "$(reboot)", ";|&", "grüße 🌕", "", "-n",
      ("x"):rep(100 * 1024) }
    local argv = { "sh", "-c", "printf '%s|' \"$@\"; printf %s \"$VALUE\"", "sh" }
    table.move(hostile, 1, #hostile, #argv + 1, argv)
    argv.env = { VALUE = hostile[3] .. hostile[1] }
    local expected = table.concat(hostile, "|") .. "|" .. hostile[3] .. hostile[1]
    assert.equal(expected, process.run(argv).stdout)
  end)

  it("refuses what the kernel would cut short or misread, by name", function()
    for message, options in pairs {
      ["an argument has a NUL"] = { "echo", "a\0b" },
      ["`X` has a NUL"] = { "echo", env = { X = "a\0b" } },
      ["`A=B` cannot be the name"] = { "echo", env = { ["A=B"] = "x" } },
      ["argument 1 is a table"] = { "echo", {} },
      ["no option `shell`"] = { "echo", shell = true },
      ["no option `detached`"] = { "echo", detached = true },
      ["`timeout` wants seconds"] = { "echo", timeout = -1 },
      ["`stdin` cannot be \"pipe\""] = { "echo", stdin = "pipe" },
    } do
      local _, err = try(process.run, options)
      assert.is_true(errors.is(err, "argument", "invalid"), message)
      assert.truthy(err.message:find(message, 1, true), err.message)
    end
  end)

  it("adds to the environment, takes away from it, or replaces it", function()
    local function env_of(options)
      options[1] = "env"
      return "\n" .. process.run(options).stdout
    end
    local out = env_of { env = { NEW = "1", HOME = false } }
    assert.truthy(out:find("\nNEW=1\n", 1, true))
    assert.truthy(out:find("\nPATH=", 1, true))
    assert.is_nil(out:find("\nHOME=", 1, true))
    assert.equal("\nONLY=2\n", env_of { env = { ONLY = 2 }, clean_env = true })
    assert.equal("\n", env_of { clean_env = true })
  end)

  it("reveals a secret to variables and input, never to arguments", function()
    local token = secret.new("process-s3cret", { file = "/x" })
    local out = process.run({ "sh", "-c", "printf %s $T; cat", env = { T = token }, input = token })
    assert.equal("process-s3cretprocess-s3cret", out.stdout)
    local _, err = try(process.run, { "echo", token })
    assert.is_true(errors.is(err, "secret", "refused"))
    assert.equal("argument 1 of `echo` is a secret", err.message)
  end)

  it("feeds input of any size, and does not mind who does not read it", function()
    local input = ("0123456789abcdef"):rep(64 * 1024)
    assert.equal(input, process.run({ "cat", input = input }).stdout)
    assert.equal(0, process.run({ "true", input = input }).code)
  end)

  it("runs elsewhere, with outputs in files", function()
    local path = os.tmpname()
    process.run { "pwd", cwd = "/proc", stdout = { file = path } }
    process.run { "sh", "-c", "echo two >&2; echo three", stdout = { file = path, append = true },
      stderr = "stdout" }
    assert.equal("/proc\ntwo\nthree\n", read_file(path))
    os.remove(path)
  end)

  it("says why a program could not be started", function()
    local _, err = try(process.run, { "no-such-program-here" })
    assert.is_true(errors.is(err, "process", "ENOENT"))
    assert.truthy(err.hint:find("looked in ", 1, true))
    _, err = try(process.run, { "/etc/passwd" })
    assert.is_true(errors.is(err, "process", "EACCES"))
  end)

  it("changes the user, or says what is missing", function()
    local result, refused = try(process.run, { "id", "-un", user = "nobody" })
    if sys.euid() == 0 then
      assert.equal("nobody\n", result.stdout)
    else
      assert.is_true(errors.is(refused, "process", "EPERM"))
    end
    local _, err = try(process.run, { "id", user = "no-such-user" })
    assert.is_true(errors.is(err, "user", "unknown"))
  end)

  it("stops at the limit, or keeps the beginning", function()
    local _, err = try(process.run, { "yes", limit = 100 })
    assert.is_true(errors.is(err, "process", "limit"))
    assert.equal(100, #err.stdout)
    local result = process.run { "seq", "1000000", limit = 4, truncate = true }
    assert.same({ "1\n2\n", true }, { result.stdout, result.truncated })
  end)

  it("stops after the timeout and keeps what was written", function()
    local options = { "sh", "-c", "echo begun; exec sleep 1000", timeout = 0.5 }
    local _, err = try(process.run, options)
    assert.is_true(errors.is(err, "process", "timeout"))
    assert.equal("begun\n", err.stdout)
  end)

  it("is stopped when its task is cancelled", function()
    local path = os.tmpname()
    local running = task.contained(process.run, { "sh", "-c", "echo $$ > $F; exec sleep 1000",
      env = { F = path } })
    local pid
    repeat
      task.sleep(0.001)
      pid = tonumber(read_file(path))
    until pid
    local identity = sys.identity(pid)
    running:cancel()
    pcall(running.await, running)
    wait_until_gone(identity)
    os.remove(path)
  end)

  it("runs two hundred at once, keeps them apart and leaks nothing", function()
    local before = fds()
    local runs = {}
    for i = 1, 200 do
      runs[i] = function()
        local out = process.run({ "sh", "-c", "echo $1", "sh", tostring(i) }).stdout
        assert(out == i .. "\n", out)
      end
    end
    task.all(runs)
    -- The last one's descriptors are closed in the loop's next turn.
    task.timeout(5, function()
      while fds() > before do task.sleep(0.001) end
    end)
  end)
end)

describe("process.spawn", function()
  it("talks by lines", function()
    local p <close> = process.spawn { "cat" }
    p:write "one\ntwo\n"
    assert.equal("one", p:read_line())
    p:write "three"
    p:close_stdin()
    local lines = {}
    for line in p:lines() do lines[#lines + 1] = line end
    assert.same({ "two", "three" }, lines)
    assert.is_nil(p:read())
    assert.equal(0, p:wait().code)
    assert.equal(0, p.exited.code)
  end)

  it("reads both outputs at once", function()
    local p <close> = process.spawn { "sh", "-c", "echo a; echo b >&2; read x; echo $x",
      stderr = "pipe" }
    local out, err = table.unpack(task.all {
      function() return p:read_line() end,
      function() return p.stderr:read_line() end,
    })
    assert.same({ "a", "b" }, { out, err })
    p.stdin:write "c\n"
    assert.equal("c\n", p:read_all())
  end)

  it("is stopped, with its whole group, at the end of its scope", function()
    local leader, child
    do
      local p <close> = process.spawn { "sh", "-c", "trap '' TERM; sleep 1000 & echo $!; wait",
        grace = 0.02 }
      child = sys.identity(tonumber(p:read_line()))
      leader = p:identity()
      assert.is_true(sys.is_alive(leader) and sys.is_alive(child))
    end
    wait_until_gone(leader)
    wait_until_gone(child)
  end)

  it("is stopped when the task that has it fails", function()
    local leader
    local ok = pcall(function()
      local p <close> = process.spawn { "sleep", "1000" }
      leader = p:identity()
      error "on purpose"
    end)
    assert.is_false(ok)
    wait_until_gone(leader)
  end)

  it("tells how it was stopped", function()
    local p <close> = process.spawn { "sh", "-c",
      "trap 'exit 7' TERM; echo; while :; do read x; done" }
    p:read_line()
    assert.equal(7, p:stop(10).code)
    assert.is_false(p:kill())
  end)

  it("is signalled by name", function()
    local p <close> = process.spawn { "sleep", "1000" }
    assert.is_true(p:kill "USR1")
    assert.equal("SIGUSR1", p:wait().signal)
    local _, err = try(p.kill, p, "SIGFOO")
    assert.is_true(errors.is(err, "argument", "invalid"))
  end)

  it("does not block on output that nobody reads", function()
    local p <close> = process.spawn { "sh", "-c", "seq 300000; seq 300000 >&2", stderr = "pipe" }
    assert.equal(0, p:wait().code)
    assert.equal("1", p:read_line())
    local _, err = try(p.read_all, p)
    assert.is_true(errors.is(err, "net", "limit"))
  end)

  it("has a terminal if asked", function()
    local p <close> = process.spawn { "sh", "-c", "stty size; stty -echo; read x; echo got $x",
      pty = { rows = 33, columns = 77 } }
    assert.equal("33 77", p:read_line())
    p:resize(10, 20)
    p:write "hello\n"
    local rest = p:read_all()
    assert.truthy(rest:find("got hello\r\n", 1, true))
  end)

  it("limits resources", function()
    local p <close> = process.spawn { "sh", "-c", "ulimit -n", rlimits = { nofile = 33 } }
    assert.equal("33", p:read_line())
  end)

  it("lets a detached process go", function()
    local p = process.spawn { "sleep", "1000", detached = true }
    local identity = p:identity()
    p:close()
    assert.is_true(sys.is_alive(identity))
    assert.is_true(process.signal(identity, "SIGKILL"))
    wait_until_gone(identity)
    assert.is_false(process.signal(identity, "SIGKILL"))
  end)

  it("cannot be used when it is closed", function()
    local p = process.spawn { "cat" }
    local stdin = p.stdin
    p:close()
    p:close()
    for _, call in ipairs { p.wait, p.read, p.write } do
      local _, err = try(call, p, "x")
      assert.is_true(errors.is(err, "process", "closed"))
    end
    local _, err = try(stdin.write, stdin, "x")
    assert.is_true(errors.is(err, "net", "closed"))
  end)

  it("wakes who reads when it is closed", function()
    local p = process.spawn { "cat" }
    local reader = task.contained(function() return p:read() end)
    task.sleep(0)
    p:close()
    local ok, err = pcall(reader.await, reader)
    assert.is_false(ok)
    assert.equal("cancelled", err.code)
  end)

  it("lives for as long as somebody reads from it, whoever has dropped the handle", function()
    local function loud(command)
      return process.spawn { "sh", "-c", command, stdout = "pipe" }
    end
    local count = 0
    for _ in loud("for i in 1 2 3 4; do echo $i; sleep 0.01; done"):lines() do
      count = count + 1
      collectgarbage()
    end
    assert.equal(4, count)
    local stdout = loud("sleep 0.02; echo end").stdout
    collectgarbage()
    assert.equal("end\n", stdout:read_all())
    local collector = task.spawn(function()
      while true do
        collectgarbage()
        task.sleep(0.001)
      end
    end)
    assert.equal("end\n", loud("sleep 0.02; echo end"):read_all())
    collector:cancel()
  end)
end)

describe("process.which", function()
  it("finds what would be run", function()
    assert.equal("/bin/sh", process.which("sh", "/nonexistent:/bin"))
    assert.is_nil(process.which("sh", "/nonexistent:relative"))
    assert.equal("./x", process.which "./x")
  end)
end)

describe("behind a shut gate", function()
  local function refused(name, fn)
    local ok, err = pcall(task.read_only, fn)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "gate", "refused"), tostring(err))
    assert.truthy(err.message:find("`" .. name .. "`", 1, true), err.message)
  end

  it("nothing starts, and nothing is signalled or written to", function()
    local p <close> = process.spawn { "cat" }
    refused("process.run", function() process.run { "true" } end)
    refused("process.spawn", function() process.spawn { "true" } end)
    refused("process:kill", function() p:kill() end)
    refused("process:stop", function() p:stop() end)
    refused("stream:write", function() p:write "x" end)
    refused("process.signal", function() process.signal(p:identity(), "TERM") end)
  end)

  it("a program that gives a credential runs", function()
    local out = task.read_only(function()
      return process.run({ "echo", "token", purpose = "credential" }).stdout
    end)
    assert.equal("token\n", out)
  end)
end)
