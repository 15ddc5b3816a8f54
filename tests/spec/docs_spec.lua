-- What the documents say is there: commands, options, files, fields.
local cli = require "moonport.cli"
local document = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/document.lua")
local fs = require "moonport.fs"
local manifest = require "moonport.manifest"
local process = require "moonport.process"
local schema = require "moonport.schema"

local TOP = document.TOP

describe("the documents' Lua examples", function()
  it("compile", function()
    for _, path in ipairs(document.list()) do
      local _, blocks = document.read(path)
      for _, block in ipairs(blocks) do
        if block.lang == "lua" then
          local compiled, reason = load(block.text, ("=%s:%d"):format(path, block.line))
          assert.is_truthy(compiled or load("return " .. block.text), reason)
        end
      end
    end
  end)

  it("begin in the README with a manifest that is in order", function()
    local _, blocks = document.read "README.md"
    local written
    for _, block in ipairs(blocks) do
      written = written or block.lang == "lua" and load(block.text)()
    end
    local data = schema.parse(manifest.schema(), written, { what = "manifest", base = TOP })
    assert.equal("squaring", data.name)
    assert.equal(64 << 20, data.limits.memory)
  end)
end)

-- The words of a shell command, up to what ends it; nil where it is no command of moonport's.
local function words_of(text)
  local words, at = {}, text:match "^%s*moonport%s+()"
  while at and at <= #text do
    local quote = text:match("^['\"]", at)
    local word, after
    if quote then
      word, after = text:match("^" .. quote .. "([^" .. quote .. "]*)" .. quote .. "%s*()", at)
    else
      word, after = text:match("^([^%s;|&<>#)]+)%s*()", at)
    end
    if not word then break end
    words[#words + 1], at = word, after
  end
  return at and words
end

-- In place of what a document leaves open: `moonport logs NAME [--tail N]`.
local STANDS_FOR = { N = "1", REVISION = "1", TIME = "10s", DURATION = "10s", SHELL = "bash" }

local function concrete(word)
  word = word:gsub("^%[", ""):gsub("%]$", "")
  return STANDS_FOR[word] or word
end

-- Why a command is not right; nil when it is.
local function fault(words)
  local name = words[1]
  if not name or name:find "^%u+$" or name:find "^%-%-" or name:find "^%.%.%.$" then return nil end
  local command = cli.command(name)
  if not command then return ("there is no command `%s`"):format(name) end
  local rest = {}
  for index = 2, #words do
    local word = concrete(words[index])
    if word == "--help" or name == "run" or word == "..." then return nil end
    rest[#rest + 1] = word
  end
  if #rest == 0 then return nil end
  local ok, why = cli.parser(name, command):pparse(rest)
  return not ok and why or nil
end

-- Calls `each` with every command of moonport's in a document, and where it stands.
local function commands_in(path, each)
  local _, blocks = document.read(path)
  for _, block in ipairs(blocks) do
    local list = block.lang == "console" and document.commands(block) or {}
    if block.lang == "sh" then
      for line in block.text:gmatch "[^\n]+" do list[#list + 1] = { text = line } end
    end
    for _, command in ipairs(list) do
      for part in (command.text .. ";"):gmatch "(.-)[;&|]+" do
        each(part, ("%s:%d"):format(path, command.line or block.line))
      end
    end
  end
  local number, fenced = 0, false
  for line in fs.read(TOP .. "/" .. path):gmatch "[^\n]*" do
    number = number + 1
    if line:find "^```" then fenced = not fenced end
    for code in (fenced and "" or line):gmatch "`([^`]+)`" do
      each(code, ("%s:%d"):format(path, number))
    end
  end
end

describe("a command in the documents", function()
  for _, path in ipairs(document.list()) do
    it("is one that there is, with options that there are: " .. path, function()
      local wrong = {}
      commands_in(path, function(text, place)
        local words = words_of(text)
        local why = words and fault(words)
        if why then wrong[#wrong + 1] = ("%s: `%s`: %s"):format(place, text, why) end
      end)
      assert.equal("", table.concat(wrong, "\n"))
    end)
  end
end)

describe("an example in the help", function()
  for _, name in ipairs(cli.COMMANDS) do
    it("is a call that there is: " .. name, function()
      local command, wrong = cli.command(name), {}
      local examples = { command.example }
      for _, sub in ipairs(cli.parser(name, command)._commands) do
        examples[#examples + 1] = sub._epilog
      end
      for call in table.concat(examples, "\n"):gmatch "[^\n]+" do
        local words = words_of(call:match "moonport .*$")
        wrong[#wrong + 1] = fault(words)
      end
      assert.equal("", table.concat(wrong, "\n"))
    end)
  end
end)

-- What GitHub makes of a heading.
local function anchor(heading)
  return (heading:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-"))
end

local function anchors(path)
  local found, fenced = {}, false
  for line in fs.read(path):gmatch "[^\n]+" do
    if line:find "^```" then fenced = not fenced end
    local heading = not fenced and line:match "^#+ (.*)$"
    if heading then found[anchor(heading)] = true end
  end
  return found
end

describe("a link in the documents", function()
  it("leads somewhere", function()
    local wrong = {}
    for _, path in ipairs(document.list()) do
      for target in fs.read(TOP .. "/" .. path):gmatch "%]%(([^)%s]+)%)" do
        local file, section = target:match "^([^#]*)#?(.*)$"
        local there = file == "" and path or fs.join(fs.dirname(path), file)
        if not target:find "^%a+://" then
          local whole = TOP .. "/" .. there
          local ok = fs.exists(whole) and (section == "" or anchors(whole)[section])
          if not ok then wrong[#wrong + 1] = ("%s: %s"):format(path, target) end
        end
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
  end)
end)

describe("a path of the sources in the documents", function()
  it("is there", function()
    local wrong = {}
    for _, path in ipairs(document.list()) do
      for code in fs.read(TOP .. "/" .. path):gmatch "`([%w_./-]+)`" do
        local floor = code:match "^(%a+)/"
        local ours = floor and fs.exists(TOP .. "/" .. floor) and not code:find "%u%u"
        if ours and floor ~= "build" and not fs.exists(TOP .. "/" .. code) then
          wrong[#wrong + 1] = ("%s: %s"):format(path, code)
        end
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
  end)
end)

-- The options of a command and of those below it: {"--tail", ...}, without those of all commands.
local function options_of(parser, found)
  for _, option in ipairs(parser._options) do
    for _, alias in ipairs(option._aliases) do
      if alias:find "^%-%-" then found[alias] = true end
    end
  end
  for _, command in ipairs(parser._commands) do options_of(command, found) end
  return found
end

describe("the manual page", function()
  local page = fs.read(TOP .. "/docs/moonport.1"):gsub("\\%-", "-"):gsub("\\f.", "")

  for _, name in ipairs(cli.COMMANDS) do
    it("tells of the command and its options: " .. name, function()
      assert.is_truthy(page:find("\n%.B[IR]* \"?" .. name .. "%f[%A]"), name)
      for option in pairs(options_of(cli.parser(name, cli.command(name)), {})) do
        assert.is_truthy(page:find(option:gsub("%-", "%%-") .. "%f[^%w-]"), option)
      end
    end)
  end

  it("tells of no option that there is not", function()
    local known = { ["--version"] = true, ["--help"] = true }
    for _, name in ipairs(cli.COMMANDS) do
      options_of(cli.parser(name, cli.command(name)), known)
    end
    for option in page:gmatch "%f[%w-]%-%-[%a-]+" do assert.is_true(known[option], option) end
  end)

  it("tells of the exit codes", function()
    for _, code in ipairs { 0, 1, 2, 3, 4, 10, 130 } do
      assert.is_truthy(page:find(("\n%%.B %d\n"):format(code)), code)
    end
  end)
end)

describe("the documents' tables of fields", function()
  it("are as the schemas are", function()
    process.run { os.getenv "MOONPORT", "run", TOP .. "/docs/generate.lua", "--check" }
  end)
end)
