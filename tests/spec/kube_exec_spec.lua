-- Programs run by the exec protocol v5, against the double of tests/fixtures/websocket_double.c,
-- which runs them on this host: the clusters that tests can have are too old for it.
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local kube = require "moonport.kube"
local secret = require "moonport.secret"
local task = require "moonport.task"

local double = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/websocket_double.lua")

local MIB = 1 << 20

describe("a program in a pod", function()
  local server, cluster, dir

  before_each(function()
    server = double.start()
    cluster = kube.connect {
      kubeconfig = "/dev/null", server = ("http://127.0.0.1:%d"):format(server.port), cache = false,
    }
    dir = fs.temp_dir()
  end)

  after_each(function()
    cluster:close()
    server.close()
    fs.remove_tree(dir)
  end)

  local function exec(command) return cluster:exec("pod", command) end

  it("ends when its input does", function()
    local result = exec { "cat", input = "some\0bytes\255\n" }
    assert.same({ 0, "some\0bytes\255\n", "" }, { result.code, result.stdout, result.stderr })
    assert.equal("", exec({ "cat", input = "" }).stdout)
    local path = fs.join(dir, "in")
    fs.write(path, "from a file")
    assert.equal("from a file", exec({ "cat", stdin = { file = path } }).stdout)
    local pieces = { "one ", "", "two ", "three" }
    local function produce()
      task.sleep(0)
      return table.remove(pieces, 1)
    end
    assert.equal("one two three", exec({ "cat", stdin = produce }).stdout)
    assert.equal(os.getenv "PATH", exec({ "cat", input = secret.env "PATH" }).stdout)
  end)

  it("gives its outputs apart or together, to files and functions", function()
    local both = { "sh", "-c", "echo out; echo err >&2" }
    local function with(options)
      return exec(table.move(both, 1, 3, 1, options))
    end
    local result = with {}
    assert.same({ "out\n", "err\n" }, { result.stdout, result.stderr })
    result = with { stderr = "stdout" }
    assert.equal(8, #result.stdout)
    assert.is_nil(result.stderr)
    local path, seen = fs.join(dir, "out"), {}
    with { stdout = { file = path }, stderr = function(bytes) seen[#seen + 1] = bytes end }
    assert.equal("out\n", fs.read(path))
    assert.equal("err\n", table.concat(seen))
    result = with { stdout = "null", stderr = "null" }
    assert.is_nil(result.stdout)
  end)

  it("raises with what it said when it fails, unless that is asked for", function()
    local _, err = try(exec, { "sh", "-c", "echo first; echo why >&2; exit 7" })
    assert.is_true(errors.is(err, "process", "exit"))
    assert.same({ 7, "first\n", "why\n" }, { err.exit_code, err.stdout, err.stderr })
    assert.is_truthy(err.message:find "code 7: why")
    assert.equal(7, exec({ "sh", "-c", "exit 7", check = false }).code)
    assert.equal(137, exec({ "sh", "-c", "kill -9 $$", check = false }).code)
  end)

  it("carries 100 MiB each way at once, unharmed and in little memory", function()
    local block = {}
    for i = 0, 255 do block[#block + 1] = string.char(i) end
    block = table.concat(block):rep(256)
    local sent, got, ok = 0, 0, true
    collectgarbage()
    local before, most = collectgarbage "count", 0
    exec {
      "cat", stdin = function()
        if sent == 100 * MIB then return nil end
        sent = sent + #block
        return block
      end,
      stdout = function(bytes)
        local at = got % 256 + 1
        ok = ok and bytes == block:sub(at, at + #bytes - 1)
        got = got + #bytes
        most = math.max(most, collectgarbage "count")
      end,
    }
    assert.is_true(ok)
    assert.equal(100 * MIB, got)
    assert.is_true(most - before < 16 * 1024, ("%.0f KiB"):format(most - before))
  end)

  it("may end before it has read its input", function()
    local endless = ("x"):rep(MIB)
    local result = exec { "head", "-c", "5", stdin = function() return endless end }
    assert.same({ 0, "xxxxx" }, { result.code, result.stdout })
  end)

  -- Where much is under way when it ends, the proxies of older servers lose how it ended.
  it("has little of its input under way on servers before 1.30", function()
    local block, given = ("x"):rep(32 << 10), 0
    local result = exec {
      "sh", "-c", "sleep 0.5; exit 3", namespace = "old", check = false, stdin_ends = false,
      stdin = function()
        given = given + #block
        return block
      end,
    }
    assert.equal(3, result.code)
    assert.is_true(given <= 512 << 10, given .. " bytes")
    given = 0
    result = exec {
      "sh", "-c", "head -c 8000000 | wc -c", namespace = "old", stdin_ends = false,
      stdin = function()
        given = given + #block
        return given <= 8 << 20 and block or nil
      end,
    }
    assert.equal("8000000", result.stdout:match "%d+")
  end)

  it("is limited in what is kept of it", function()
    local big = { "head", "-c", "100000", "/dev/zero", limit = 1000 }
    local _, err = try(exec, big)
    assert.is_true(errors.is(err, "process", "limit"))
    big.truncate = true
    local result = exec(big)
    assert.same({ 1000, true }, { #result.stdout, result.truncated })
  end)

  it("gets variables, but none that is a secret", function()
    local result = exec { "sh", "-c", "echo $MOON-$GONE-$TERM",
      env = { MOON = "full moon", GONE = false, TERM = "dumb" } }
    assert.equal("full moon--dumb\n", result.stdout)
    local _, err = try(exec, { "true", env = { KEY = secret.env "PATH" } })
    assert.equal("secret", err.kind)
  end)

  it("can be timed out and cancelled, and the next one runs", function()
    local _, err = try(exec, { "sleep", "60", timeout = 0.05 })
    assert.is_true(errors.is(err, "task", "timeout"))
    local running = task.contained(exec, { "sleep", "60" })
    task.sleep(0.02)
    running:cancel()
    assert.equal("again\n", exec({ "echo", "again" }).stdout)
  end)

  it("whose connection is lost has an unknown exit code", function()
    local lost = task.contained(exec, { "sh", "-c", "echo begun; sleep 60",
      stdout = function() server.close() end })
    local _, err = try(lost.await, lost)
    assert.is_true(errors.is(err, "kube", "lost"), tostring(err))
    assert.equal("unknown", err.exit)
    assert.is_truthy(err.message:find("without a good-bye, %d.* s after it was last heard of")
      or err.message:find("%d s after it was last heard of"), err.message)
    server = double.start()
  end)

  it("is refused without a command, with wrong options, and while nothing may change", function()
    for _, command in ipairs {
      {}, { 1, {} }, { "true", stdout = "nowhere" }, { "true", stdin = 7 }, { "true", input = {} },
      { "true", input = "a", stdin = "null" }, { "true", shell = true }, { "true", env = { 1 } },
      { "true", env = { ["-S"] = "x" } }, { "a=b", env = { A = "x" } },
    } do
      local _, err = try(exec, command)
      assert.equal("argument", err and err.kind, tostring(err))
    end
    local _, err = try(cluster.exec, cluster, "a/b", { "true" })
    assert.equal("argument", err.kind)
    _, err = try(task.read_only, exec, { "touch", fs.join(dir, "made") })
    assert.is_true(errors.is(err, "gate", "refused"))
    assert.is_false(fs.exists(fs.join(dir, "made")))
  end)
end)
