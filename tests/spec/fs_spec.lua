local fs = require "moonport.fs"
local task = require "moonport.task"
local secret = require "moonport.secret"

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

describe("fs", function()
  local dir

  before_each(function() dir = fs.temp_dir { prefix = "fs-spec-" } end)
  after_each(function() fs.remove_tree(dir) end)

  it("writes and reads whole files with the mode that was asked for", function()
    local path = dir .. "/file"
    fs.write(path, "bytes \0 of any kind", { mode = "0600" })
    assert.equal("bytes \0 of any kind", fs.read(path))
    assert.equal(tonumber("600", 8), fs.stat(path).mode)
    fs.write(path, "again")
    assert.equal(tonumber("600", 8), fs.stat(path).mode)
    fs.append(path, " and more")
    assert.equal("again and more", fs.read(path))
    assert.equal("EEXIST", failure(fs.write, path, "x", { exclusive = true }).code)
    assert.equal("limit", failure(fs.read, path, { limit = 3 }).code)
    assert.equal(1, #fs.list(dir))
  end)

  it("raises errors that name the path", function()
    local err = failure(fs.read, dir .. "/none")
    assert.equal("fs", err.kind)
    assert.equal("ENOENT", err.code)
    assert.matches(dir .. "/none", err.message, 1, true)
    assert.equal("invalid", failure(fs.write, dir .. "/a\0b", "x").code)
    assert.equal("invalid", failure(fs.write, dir .. "/a", "x", { mode = "rw" }).code)
    assert.equal("invalid", failure(fs.write, "", "x").code)
    assert.equal("invalid", failure(fs.write, dir .. "/a", {}).code)
  end)

  it("writes a secret's value, which no message then shows", function()
    local path = dir .. "/token"
    fs.write(dir .. "/source", "s3cr3t-value\n")
    fs.write(path, secret.file(dir .. "/source"), { mode = "0600" })
    assert.matches("s3cr3t-value", fs.read(path), 1, true)
  end)

  it("makes, describes, renames and removes", function()
    fs.mkdirs(dir .. "/a/b/c", "0750")
    assert.equal("directory", fs.stat(dir .. "/a/b").type)
    assert.equal(tonumber("750", 8), fs.stat(dir .. "/a/b").mode)
    fs.write(dir .. "/a/file", "x")
    fs.rename(dir .. "/a/file", dir .. "/a/moved")
    assert.is_false(fs.exists(dir .. "/a/file"))
    assert.is_true(fs.exists(dir .. "/a/moved"))
    assert.is_false(fs.exists(dir .. "/a/moved/below"))
    fs.symlink("moved", dir .. "/a/link")
    fs.symlink("b", dir .. "/a/link", { replace = true })
    assert.equal("b", fs.readlink(dir .. "/a/link"))
    assert.equal("link", fs.stat(dir .. "/a/link", { follow = false }).type)
    assert.equal(fs.realpath(dir) .. "/a/b", fs.realpath(dir .. "/a/link"))
    fs.remove(dir .. "/a/moved")
    fs.remove(dir .. "/a/moved", { if_exists = true })
    assert.equal("ENOENT", failure(fs.remove, dir .. "/a/moved").code)
    fs.remove_tree(dir .. "/a")
    fs.remove_tree(dir .. "/a")
    assert.same({}, fs.list(dir))
  end)

  it("copies and says how", function()
    fs.write(dir .. "/from", ("x"):rep(100000), { mode = "0640" })
    local done = fs.copy(dir .. "/from", dir .. "/to")
    assert.is_truthy(done.method == "copy" or done.method == "reflink")
    assert.equal(fs.read(dir .. "/from"), fs.read(dir .. "/to"))
    assert.equal(tonumber("640", 8), fs.stat(dir .. "/to").mode)
    local err = failure(fs.copy, dir .. "/from", dir .. "/to", { exclusive = true })
    assert.equal("EEXIST", err.code)
  end)

  it("walks in a stable order, without following links", function()
    fs.mkdirs(dir .. "/b/inner")
    fs.mkdirs(dir .. "/a")
    fs.write(dir .. "/b/inner/deep", "")
    fs.write(dir .. "/a/file", "")
    fs.symlink(dir, dir .. "/a/loop")
    local function names(options)
      local found = {}
      for entry in fs.walk(dir, options) do found[#found + 1] = entry.relative end
      return found
    end
    assert.same({ "a", "a/file", "a/loop", "b", "b/inner", "b/inner/deep" }, names())
    assert.same({ "a", "b" }, names { depth = 1 })
    assert.same({ "a", "a/file", "a/loop", "b", "b/inner" },
      names { enter = function(entry) return entry.name ~= "inner" end })
  end)

  it("removes temporary things at the end of their block", function()
    local path, file
    do
      local inner, guard <close> = fs.temp_dir()
      fs.write(inner .. "/x", "x")
      path = guard.path
      local temporary, also <close> = fs.temp_file { parent = dir }
      file = temporary
      assert.equal(temporary, also.path)
      assert.is_true(fs.exists(path) and fs.exists(file))
    end
    assert.is_false(fs.exists(path))
    assert.is_false(fs.exists(file))
  end)

  it("locks between holders, and waits no longer than asked", function()
    local path = dir .. "/lock"
    local lock = fs.lock(path)
    local err = failure(fs.lock, path)
    assert.equal("held", err.code)
    assert.equal("held", failure(fs.lock, path, { wait = 0.01 }).code)
    local waiter = task.spawn(function()
      local second <close> = fs.lock(path, { wait = true })
      return second ~= nil
    end)
    task.sleep(0)
    lock:release()
    lock:release()
    assert.is_true(waiter:await())
    do
      local third <close> = fs.lock(path, { shared = true })
      local fourth <close> = fs.lock(path, { shared = true })
      assert.is_truthy(third and fourth)
    end
    fs.lock(path):release()
  end)

  it("gives up waiting for a lock when cancelled", function()
    local path = dir .. "/lock"
    local lock <close> = fs.lock(path)
    assert.is_truthy(lock)
    local err = failure(task.timeout, 0.01, function() fs.lock(path, { wait = true }) end)
    assert.equal("timeout", err.code)
  end)

  it("tells of changes in a directory", function()
    local watch <close> = fs.watch(dir)
    local waiting = task.spawn(function() return watch:next() end)
    task.sleep(0)
    fs.append(dir .. "/log", "line\n")
    local change = waiting:await()
    assert.equal("log", change.name)
    fs.rename(dir .. "/log", dir .. "/log.1")
    local seen = {}
    for next_change in watch do
      seen[next_change.name] = next_change.kind
      if next_change.name == "log.1" then break end
    end
    assert.equal("rename", seen["log.1"])
    assert.equal("ENOENT", failure(fs.watch, dir .. "/none").code)
  end)

  it("ends a watch's loop when it is closed", function()
    local watch = fs.watch(dir)
    local count = task.spawn(function()
      local found = 0
      for _ in watch do found = found + 1 end
      return found
    end)
    task.sleep(0)
    watch:close()
    assert.equal(0, count:await())
  end)

  it("works at once where lua cannot wait", function()
    fs.write(dir .. "/b", "")
    fs.write(dir .. "/a", "")
    local sizes = { "b", "a" }
    table.sort(sizes, function(one, other)
      return fs.stat(dir .. "/" .. one).size == fs.stat(dir .. "/" .. other).size and one < other
    end)
    assert.same({ "a", "b" }, sizes)
    local text = ("a"):gsub("a", function(name) return tostring(fs.exists(dir .. "/" .. name)) end)
    assert.equal("true", text)
  end)

  it("refuses every writer while nothing may be changed, and no reader", function()
    fs.write(dir .. "/file", "x")
    local path, other = dir .. "/file", dir .. "/other"
    local writers = {
      append = { path, "x" }, chmod = { path, "0644" }, chown = { path, 0 }, copy = { path, other },
      mkdirs = { other }, remove = { path }, remove_tree = { path }, rename = { path, other },
      symlink = { path, other }, temp_dir = {}, temp_file = {}, write = { path, "y" },
    }
    for name, arguments in pairs(writers) do
      local err = failure(task.read_only, function() fs[name](table.unpack(arguments)) end)
      assert.equal("gate", err.kind, name)
      assert.matches("fs." .. name, err.message, 1, true)
    end
    assert.equal("x", task.read_only(function()
      assert.is_true(fs.exists(path) and #fs.list(dir) == 1 and fs.stat(path).size == 1)
      return fs.read(path)
    end))
  end)

  it("knows paths as text", function()
    assert.equal("a/b/c", fs.join("a", "b/", "c"))
    assert.equal("/c", fs.join("a", "/c"))
    assert.equal("a", fs.dirname "a/b")
    assert.equal("b", fs.basename "a/b")
    assert.equal(".gz", fs.extension "a.tar.gz")
    assert.equal("b", fs.normalize "a/../b/.")
    assert.equal("/x/b", fs.absolute("../b", "/x/a"))
    assert.equal(fs.cwd() .. "/a", fs.absolute "a")
    assert.equal("../b", fs.relative("/x/b", "/x/a"))
    assert.equal(os.getenv "HOME" .. "/a", fs.expand "~/a")
  end)

  it("refuses what others can change", function()
    fs.write(dir .. "/file", "", { mode = "0644" })
    fs.check_trusted(dir .. "/file")
    fs.chmod(dir .. "/file", "0666")
    local err = failure(fs.check_trusted, dir .. "/file")
    assert.equal("untrusted", err.code)
    assert.is_truthy(err.hint)
  end)
end)
