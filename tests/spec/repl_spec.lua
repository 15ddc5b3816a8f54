local chunk = require "moonport.repl.chunk"
local commands = require "moonport.repl.commands"
local complete = require "moonport.repl.complete"
local doc = require "moonport.repl.doc"
local fs = require "moonport.fs"
local history = require "moonport.repl.history"
local secret = require "moonport.core.secret"
local show = require "moonport.repl.show"

describe("a chunk", function()
  local function compile(source) return chunk.compile(source, "=prompt") end

  it("is an expression or a statement", function()
    assert.equal(2, compile("1 + 1")())
    assert.same({ 1, 2 }, { compile("1, 2")() })
    assert.equal(3, compile("= 1 + 2")())
    assert.is_nil(compile("do end")())
    assert.equal(7, compile("return 7")())
  end)

  it("is incomplete where more could make it whole", function()
    for _, source in ipairs {
      "{", "f(", "1 +", "if x", "for i = 1, 2 do", "function f()", "x = {\n1,", "[[", "--[[",
      "do return end do", "x =", "a.b:", "'a\\",
    } do
      local fn, err = compile(source)
      assert.is_nil(fn)
      assert.equal("incomplete", err)
    end
  end)

  it("is wrong where nothing could", function()
    for _, source in ipairs { "x y", "end", "'text", "1 1", "for in", ")", "x = = 2", "break" } do
      local fn, err = compile(source)
      assert.is_nil(fn)
      assert.not_equal("incomplete", err)
      assert.truthy(err:find("^prompt:%d:"))
    end
  end)

  it("is text, never bytecode", function()
    local fn, err = compile(string.dump(function() end))
    assert.is_nil(fn)
    assert.not_equal("incomplete", err)
  end)

  it("keeps line numbers", function()
    local _, err = pcall(compile("x = 1\n\nerror('here')"))
    assert.equal("prompt:3: here", err)
  end)

  it("tells which locals are lost", function()
    assert.equal("x", chunk.lost_locals("local x = 1"))
    assert.equal("x, y", chunk.lost_locals("local x, y = f()"))
    assert.equal("f", chunk.lost_locals("local function f() end"))
    assert.equal("", chunk.lost_locals("x = 1"))
    assert.equal("", chunk.lost_locals("locale = 1"))
  end)
end)

describe("completion", function()
  local function candidates(line, pending)
    local _, list = complete.complete(line, #line, pending or "")
    return list
  end

  local function completed(line, pending)
    local start, list, suffix = complete.complete(line, #line, pending or "")
    if not list or #list ~= 1 then return nil end
    return line:sub(1, start) .. list[1] .. suffix
  end

  before_each(function()
    rawset(_G, "subject", {
      alpha = 1, alphabet = { deep = { end_of_it = true } }, run = function() end, [1] = "one",
      ["no name"] = 1, _hidden = 1,
    })
  end)
  after_each(function() rawset(_G, "subject", nil) end)

  it("finds globals and keywords", function()
    assert.equal("collectgarbage", completed("collectg"))
    assert.same({ "repeat" }, candidates("x = rep"))
    assert.equal("print(subject", completed("print(subj"))
  end)

  it("finds fields to any depth, and only those that are names", function()
    assert.same({ "alpha", "alphabet", "run" }, candidates("subject."))
    assert.equal("f(subject.alphabet.deep.end_of_it", completed("f(subject.alphabet.deep.e"))
    assert.same({ "_hidden" }, candidates("subject._"))
  end)

  it("finds methods", function()
    assert.same({ "run" }, candidates("subject:"))
    assert.equal("io.stdout:setvbuf", completed("io.stdout:setv"))
    rawset(_G, "subject", "text")
    assert.equal("subject:upper", completed("subject:upp"))
  end)

  it("finds what an object inherits", function()
    local base = setmetatable({ from_base = 1 }, { __index = { from_root = 2 } })
    rawset(_G, "subject", setmetatable({ own = 0 }, { __index = base }))
    assert.same({ "from_base", "from_root", "own" }, candidates("subject."))
  end)

  it("runs no code of the values it looks at", function()
    local function trap() error("ran") end
    local traps = { __index = trap, __pairs = trap, __len = trap, __eq = trap }
    rawset(_G, "subject", setmetatable({ own = 0 }, traps))
    assert.same({ "own" }, candidates("subject."))
    assert.is_nil(candidates("subject.missing.x"))
  end)

  it("does not follow a circle of metatables for ever", function()
    local circle = { name = 1 }
    setmetatable(circle, { __index = circle })
    rawset(_G, "subject", circle)
    assert.same({ "name" }, candidates("subject."))
  end)

  it("finds the names of modules", function()
    assert.equal('require "moonport.inspect"', completed('require "moonport.insp'))
    assert.equal("require('moonport.inspect'", completed("require('moonport.insp"))
    assert.equal("mp.inspect", (function()
      rawset(_G, "mp", require "moonport")
      local result = completed("mp.insp")
      rawset(_G, "mp", nil)
      return result
    end)())
  end)

  it("finds files in strings", function()
    local directory = fs.temp_dir()
    fs.mkdirs(directory .. "/inner")
    for _, name in ipairs { "one.lua", "other.lua", ".hidden" } do
      fs.write(directory .. "/" .. name, "")
    end
    assert.equal('f("' .. directory .. '/inner/', completed('f("' .. directory .. "/in"))
    assert.equal('f("' .. directory .. '/one.lua"', completed('f("' .. directory .. "/on"))
    assert.equal("f([[" .. directory .. "/one.lua", completed("f([[" .. directory .. "/on"))
    local line = 'x = "' .. directory .. "/"
    local _, _, _, labels = complete.complete(line, #line, "")
    assert.same({ "inner/", "one.lua", "other.lua" }, labels)
    assert.equal(".load " .. directory .. "/one.lua ", completed(".load " .. directory .. "/on"))
    fs.remove_tree(directory)
  end)

  it("tells strings from code", function()
    assert.equal('x = "a\\"b" .. subject.run', completed('x = "a\\"b" .. subject.ru'))
    assert.equal("x = '\"' .. subject.run", completed("x = '\"' .. subject.ru"))
    assert.equal("[[a\"]] .. subject.run", completed('[[a"]] .. subject.ru'))
    assert.equal("subject.run", completed("subject.ru", 'x = "done" --[[ "\n]]\n'))
    assert.is_nil(candidates("subject.ru", 'x = [[\n'))
  end)

  it("finds commands and what they take", function()
    assert.equal(".load ", completed(".lo"))
    assert.equal(".doc task.sleep", completed(".doc task.sle"))
    assert.equal(".doc mp.task.sleep", completed(".doc mp.task.sle"))
    assert.equal(".type subject.run", completed(".type subject.ru"))
  end)

  it("indents an empty line", function()
    assert.equal("    ", completed("  "))
  end)

  it("survives any input", function()
    local pieces = {
      '"', "'", "[[", "]]", "--", "[=[", "\\", ".", ":", "(", "x", " ", "\xff", "é", "\0",
      "require", "subject", ".load ", ".doc ", "\n", "%", "[", "-",
    }
    math.randomseed(1)
    for _ = 1, 3000 do
      local words = {}
      for i = 1, math.random(8) do words[i] = pieces[math.random(#pieces)] end
      local line = table.concat(words)
      local pending = math.random(2) == 1 and "" or "x\n"
      local start, list = complete.complete(line, math.random(0, #line), pending)
      if list then assert.is_true(start >= 0 and start <= #line) end
    end
  end)
end)

describe("commands", function()
  it("are told from Lua", function()
    assert.same({ "doc", "task.sleep" }, { commands.parse(" .doc  task.sleep ") })
    assert.same({ "help", "" }, { commands.parse(".help") })
    assert.is_nil((commands.parse("..x")))
    assert.is_nil((commands.parse(".5 + 1")))
    assert.is_nil((commands.parse("x.y z")))
  end)

  it("that do not exist are answered with the nearest", function()
    local _, err = try(commands.run, {}, "tim", "")
    assert.equal("usage", err.code)
    assert.equal("did you mean `time`?", err.hint)
  end)
end)

describe("documentation", function()
  it("is found by every way of writing a name", function()
    local told = doc.text("task.sleep")
    assert.truthy(told:find("task.sleep(seconds)", 1, true))
    for _, name in ipairs { "mp.task.sleep", "moonport.task.sleep", "sleep", "task.sleep(1)" } do
      assert.equal(told, doc.text(name))
    end
  end)

  it("lists modules, and what a module holds", function()
    assert.truthy(doc.text(""):find("\ntask +Tasks"))
    assert.truthy(doc.text("task"):find("task.timeout(seconds, fn, ...)", 1, true))
  end)

  it("guesses what was meant", function()
    local told, why, hint = doc.text("task.slep")
    assert.is_nil(told)
    assert.truthy(why:find("task.slep", 1, true))
    assert.equal("did you mean `task.sleep`?", hint)
  end)

  it("points to Lua's manual for Lua's own", function()
    assert.truthy(doc.text("string.format"):find("manual.html#pdf-string.format", 1, true))
  end)

  it("shows every entry", function()
    for name in pairs(require "moonport.apidoc") do assert.is_string(doc.text(name)) end
  end)
end)

describe("history", function()
  local directory, path
  before_each(function()
    directory = fs.temp_dir()
    path = directory .. "/inner/history"
  end)
  after_each(function() fs.remove_tree(directory) end)

  it("brings back what earlier sessions typed", function()
    local first = history.open(path)
    assert.is_true(first:add("x = 1"))
    assert.is_true(first:add("for i = 1, 2 do\n  print('\\n')\nend"))
    assert.same({ "x = 1", "for i = 1, 2 do\n  print('\\n')\nend" }, history.open(path).entries)
    assert.equal(tonumber("600", 8), fs.stat(path).mode & tonumber("777", 8))
  end)

  it("keeps the last of equal entries", function()
    local kept = history.open(path)
    for _, entry in ipairs { "a", "b", "b", "a" } do kept:add(entry) end
    assert.same({ "b", "a" }, history.open(path).entries)
  end)

  it("leaves out what begins with a space and what shows a secret", function()
    secret.new("history-s3cret", { file = "/x" })
    local kept = history.open(path)
    assert.is_false(kept:add(" hidden"))
    assert.is_false(kept:add("login('history-s3cret')"))
    assert.is_false(kept:add(""))
    assert.same({}, history.open(path).entries)
  end)

  it("loses nothing between two sessions at once", function()
    local one, two = history.open(path), history.open(path)
    one:add("1")
    two:add("2")
    one:add("3")
    assert.same({ "1", "2", "3" }, history.open(path).entries)
  end)

  it("keeps ten thousand entries and shortens a file that has grown", function()
    local lines = {}
    for i = 1, 15000 do lines[i] = "x = " .. i .. "\n" end
    fs.mkdirs(directory .. "/inner")
    fs.write(path, table.concat(lines))
    local kept = history.open(path)
    assert.equal(10000, #kept.entries)
    assert.equal("x = 15000", kept.entries[10000])
    assert.equal(10000, select(2, fs.read(path):gsub("\n", "")))
  end)

  it("goes on without a file where none can be written", function()
    fs.write(directory .. "/inner", "in the way")
    local kept = history.open(path)
    assert.is_true(kept:add("x"))
    assert.same({ "x" }, kept.entries)
  end)
end)

describe("results", function()
  it("of several lines are shown as such, with control characters visible", function()
    assert.equal("[[\na\\x1b\nb]]", show.value("a\27\nb"))
    assert.equal('"one line"', show.value("one line"))
  end)

  it("mask secrets", function()
    secret.new("result-s3cret", { file = "/x" })
    assert.equal("[[\n***\n]]", show.value("result-s3cret\n"))
    assert.equal("error: ***", show.error("result-s3cret"))
  end)
end)
