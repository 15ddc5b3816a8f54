local task = require "moonport.task"
local errors = require "moonport.errors"

--- Runs a function while nothing may be changed; returns the error.
local function refused(fn)
  local ok, err = pcall(task.read_only, fn)
  assert.is_false(ok)
  return err
end

local function assert_refused(name, fn)
  local err = refused(fn)
  assert.is_true(errors.is(err, "gate", "refused"), name .. ": " .. tostring(err))
  assert.truthy(err.message:find("`" .. name .. "`", 1, true), tostring(err))
end

describe("the effect gate", function()
  local path

  before_each(function()
    path = os.tmpname()
  end)

  after_each(function()
    os.remove(path)
  end)

  it("refuses stock io and os writers, naming the call", function()
    for _, mode in ipairs { "w", "a", "r+", "w+b" } do
      assert_refused("io.open", function() io.open(path, mode) end)
    end
    assert_refused("io.output", function() io.output(path) end)
    assert_refused("io.popen", function() io.popen("true") end)
    assert_refused("io.tmpfile", function() io.tmpfile() end)
    assert_refused("os.execute", function() os.execute("true") end)
    assert_refused("os.remove", function() os.remove(path) end)
    assert_refused("os.rename", function() os.rename(path, path .. "2") end)
    assert_refused("os.tmpname", function() os.tmpname() end)
    assert_refused("package.loadlib", function() package.loadlib("/lib/x.so", "*") end)
  end)

  it("refuses to write through a handle that was opened before it was shut", function()
    local file <close> = assert(io.open(path, "w"))
    assert_refused("file:write", function() file:write("x") end)
    io.output(file)
    local err = refused(function() io.write("x") end)
    io.output(io.stdout)
    assert.equal("gate", err.kind)
    file:flush()
    assert.equal(0, file:seek("end"))
  end)

  it("loads no C module while shut", function()
    local err = refused(function() require "cjson" end)
    assert.truthy(tostring(err):find("C modules are not loaded", 1, true))
  end)

  it("lets reading and speaking to the terminal pass", function()
    task.read_only(function()
      local file <close> = assert(io.open(path))
      assert.equal("", file:read("a"))
      io.stderr:write("")
      os.getenv("HOME")
      os.time()
    end)
  end)

  it("lets a program that only prints a firewall's rules be run, with no arguments", function()
    local process = require "moonport.process"
    local program = "/usr/sbin/iptables-legacy-save"
    if process.which(program) then
      task.read_only(process.run, { program, check = false })
    end
    assert_refused("process.run", function() process.run { program, "-M", "/bin/true" } end)
    assert_refused("process.run", function() process.run { "iptables-legacy-save" } end)
  end)

  it("holds for the tasks begun inside, and not for those beside", function()
    assert_refused("os.remove", function()
      task.all { function() os.remove(path) end }
    end)
    task.all {
      function()
        task.read_only(function() task.sleep(0.01) end)
      end,
      function()
        local file <close> = assert(io.open(path, "w"))
        file:write("while another plans")
      end,
    }
    local file <close> = assert(io.open(path))
    assert.equal("while another plans", file:read("a"))
  end)

  it("is open again afterwards", function()
    refused(function() os.remove(path) end)
    assert.truthy(os.rename(path, path))
  end)
end)
