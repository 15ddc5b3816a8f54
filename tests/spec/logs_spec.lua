local fs = require "moonport.fs"
local logs = require "moonport.logs"
local task = require "moonport.task"

describe("a service's log", function()
  local dir, guard -- luacheck: ignore guard

  before_each(function()
    dir, guard = fs.temp_dir()
  end)

  after_each(function()
    fs.remove_tree(dir)
    guard = nil -- luacheck: ignore
  end)

  local clock = 0

  -- Appends records as the supervisor writes them.
  local function write(text, tag, stream, name)
    clock = clock + 1
    local time = ("2026-01-01T00:00:%02d.%09dZ"):format(clock // 60 % 60, clock)
    local line = ("%s %s %s %s\n"):format(time, stream or "stdout", tag or "F", text)
    fs.append(fs.join(dir, name or "log"), line)
    return time
  end

  local function rotate()
    for index = 8, 1, -1 do
      local from = fs.join(dir, "log." .. index)
      if fs.exists(from) then fs.rename(from, fs.join(dir, "log." .. index + 1)) end
    end
    fs.rename(fs.join(dir, "log"), fs.join(dir, "log.1"))
  end

  local function texts(options)
    options.dir = dir
    local list = {}
    for record in logs.read(options) do list[#list + 1] = record.text end
    return list
  end

  it("is read across rotation, oldest first", function()
    write "one"
    rotate()
    write "two"
    rotate()
    write "three"
    assert.same({ "one", "two", "three" }, texts {})
  end)

  it("gives its last lines, from however many files", function()
    for number = 1, 5 do
      write(tostring(number))
      rotate()
    end
    write "6"
    assert.same({ "5", "6" }, texts { tail = 2 })
    assert.same({ "6" }, texts { tail = 1 })
    assert.same({ "1", "2", "3", "4", "5", "6" }, texts { tail = 100 })
    assert.same({}, texts { tail = 0 })
  end)

  it("joins the parts of long lines, by stream", function()
    write("first ", "P")
    write("other", "F", "stderr")
    write("and last", "F")
    assert.same({ "other", "first and last" }, texts {})
    assert.same({ "other" }, texts { stream = "stderr" })
  end)

  it("begins at a time", function()
    write "before"
    local time = write "from here"
    write "after"
    assert.same({ "from here", "after" }, texts { since = time })
  end)

  it("is empty where nothing was written", function()
    assert.same({}, texts {})
  end)

  it("is followed while it grows, across rotation, until the service has ended", function()
    write "1"
    local over, got = false, {}
    local reader = task.spawn(function()
      for record in logs.read { dir = dir, follow = true, ended = function() return over end } do
        got[#got + 1] = record.text
      end
    end)
    for number = 2, 30 do
      task.sleep(0.002)
      if number % 7 == 0 then rotate() end
      write(tostring(number))
    end
    over = true
    fs.write(fs.join(dir, "state.json"), "{}")
    task.timeout(10, function() reader:await() end)
    local expected = {}
    for number = 1, 30 do expected[number] = tostring(number) end
    assert.same(expected, got)
  end)

  it("marks where output was rotated away before it was read", function()
    write "1"
    local over, got = false, {}
    local reader = task.spawn(function()
      for record in logs.read { dir = dir, follow = true, ended = function() return over end } do
        got[#got + 1] = record.gap and "gap" or record.text
      end
    end)
    while #got == 0 do task.sleep(0.005) end
    -- All at once, as far as the reader can see: the watch wakes it only after this.
    local moved = fs.join(dir, "log")
    os.rename(moved, moved .. ".gone")
    local file = assert(io.open(moved, "w"))
    file:write("2026-01-01T00:01:00.000000000Z stdout F later\n")
    file:close()
    over = true
    fs.write(fs.join(dir, "state.json"), "{}")
    task.timeout(10, function() reader:await() end)
    assert.same({ "1", "gap", "later" }, got)
  end)

  it("tells times as seconds and back", function()
    for _, time in ipairs { 0, 951782400, 1772000000.5, 4102444800 } do
      assert.equal(time, logs.seconds(logs.timestamp(time)))
    end
    assert.equal("1970-01-01T00:00:00.000000000Z", logs.timestamp(0))
    assert.equal(951782400, logs.seconds "2000-02-29T00:00:00.000000000Z")
  end)
end)
