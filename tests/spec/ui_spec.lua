local secret = require "moonport.core.secret"
local ui = require "moonport.ui"

local rows = {
  { name = "web", state = "running", pid = 17 },
  { name = "数据库", state = "failed", pid = 123456 },
  { name = "empty" },
}

describe("ui tables", function()
  it("align columns by what is seen, not by bytes", function()
    assert.equal(table.concat({
      "NAME    STATE       PID",
      "web     running      17",
      "数据库  failed   123456",
      "empty   -             -",
    }, "\n"), ui.format_table(rows, { "name", "state", { "pid", align = "right" } }))
  end)

  it("take titles and formats", function()
    assert.equal("Process\n#17", ui.format_table({ rows[1] }, {
      { "pid", title = "Process", format = function(value) return "#" .. value end },
    }))
  end)

  it("fit the width by shortening the widest column", function()
    local long = { { id = "a", text = ("x"):rep(50), note = "short" } }
    assert.equal("ID  TEXT        NOTE\na   xxxxxxxxx…  short",
      ui.format_table(long, { "id", "text", "note" }, { width = 21 }))
  end)

  it("have no spaces at the end of a line", function()
    for line in ui.format_table(rows, { "name", "state" }):gmatch("[^\n]+") do
      assert.is_nil(line:find(" $"))
    end
  end)

  it("colour cells where asked, without moving columns", function()
    local shown = ui.format_table(rows, {
      { "state", colour = function(value) return value == "failed" and "red" or nil end }, "pid",
    }, { colour = true })
    assert.truthy(shown:find("\27[31mfailed\27[0m   123456", 1, true))
    assert.truthy(shown:find("\nrunning  17\n", 1, true))
  end)

  it("show control characters of a cell", function()
    assert.equal("NAME\na\\x1b[2J\\nb", ui.format_table({ { name = "a\27[2J\nb" } }, { "name" }))
  end)

  it("mask secrets", function()
    secret.new("table-s3cret", { env = "X" })
    assert.equal("NAME           N\npass ***       1\nlonger than *  2", ui.format_table({
      { name = "pass table-s3cret", n = 1 }, { name = "longer than *", n = 2 },
    }, { "name", "n" }))
  end)
end)

describe("ui", function()
  it("writes no escape codes where there is no terminal", function()
    assert.is_false(ui.is_terminal())
    assert.is_nil(ui.width())
    assert.equal("text", ui.colour("red", "text"))
  end)

  it("takes --yes for an answer", function()
    assert.is_true(ui.confirm("remove all?", { yes = true }))
  end)

  it("refuses to guess an answer without a terminal", function()
    local result, err = try(ui.confirm, "remove all?")
    assert.is_nil(result)
    assert.equal("usage", err.code)
    assert.truthy(err.hint:find("--yes", 1, true))
  end)
end)

describe("ui progress", function()
  local task = require "moonport.task"

  local function lines_of(fn)
    local real, written = io.stderr, {}
    local function keep(_, ...) written[#written + 1] = table.concat { ... } end
    rawset(io, "stderr", { write = keep })
    local ok, err = pcall(fn, written)
    rawset(io, "stderr", real)
    if not ok then error(err, 0) end
    return table.concat(written)
  end

  it("returns what the function returns and says nothing about short work", function()
    local written = lines_of(function()
      assert.same({ 1, nil, 3 }, { ui.progress("quick", function() return 1, nil, 3 end) })
    end)
    assert.equal("", written)
  end)

  it("tells plain lines about work of more than a second", function()
    local written = lines_of(function(lines)
      ui.progress("build", function(progress)
        progress:say("compiling")
        progress:advance(1, 2)
        task.timeout(60, function()
          while #lines == 0 do task.sleep(0.05) end
        end)
      end)
    end)
    assert.truthy(written:match("^build %.%.%.\nbuild: done in [%d.]+ s\n$"))
  end)

  it("tells of a failure and passes it on", function()
    local written = lines_of(function()
      local ok, err = pcall(ui.progress, "build", function() error("broken", 0) end,
        { always = true })
      assert.is_false(ok)
      assert.equal("broken", err)
    end)
    assert.truthy(written:match("^build: failed after "))
  end)

  it("tells of an interruption as that", function()
    local written = lines_of(function()
      local work = task.spawn(ui.progress, "build", function() task.sleep(60) end,
        { always = true })
      task.sleep(0)
      work:cancel()
      pcall(work.await, work)
      task.sleep(0)
    end)
    assert.truthy(written:match("^build: interrupted after "), written)
  end)

  it("leaves no task behind", function()
    task.scope(function() ui.progress("quick", function() end) end)
  end)
end)
