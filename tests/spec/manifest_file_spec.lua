local errors = require "moonport.errors"
local fs = require "moonport.fs"
local manifest = require "moonport.manifest"

local function holds(text, part)
  text = tostring(text)
  assert.truthy(text:find(part, 1, true), ("`%s` is not in: %s"):format(part, text))
end

describe("a manifest file", function()
  local dir

  before_each(function()
    dir = fs.temp_dir()
  end)

  after_each(function()
    fs.remove_tree(dir)
  end)

  local function load_text(text, name)
    local path = ("%s/%s"):format(dir, name or "m.lua")
    fs.write(path, text)
    return manifest.load(path)
  end

  local function refusal(text, name)
    local ok, failure = pcall(load_text, text, name)
    assert.is_false(ok)
    return failure
  end

  it("in Lua and the same in JSON are one manifest", function()
    local lua = load_text [[return {
      name = "x", target = "native", command = { "/bin/true", "" }, bootnodes = {},
      args = { verbose = 2, ratio = 1.0, pretty = true },
      env = { KEY = secret.file "./key", N = "1" },
      limits = { memory = "1GiB", cpus = 1.5 },
    }]]
    local json = load_text([[{
      "name": "x", "target": "native", "command": ["/bin/true", ""], "bootnodes": [],
      "args": {"verbose": 2, "ratio": 1.0, "pretty": true},
      "env": {"KEY": {"$secret": {"file": "key"}}, "N": "1"},
      "limits": {"memory": "1GiB", "cpus": 1.5}
    }]], "m.json")
    assert.equal(manifest.canonical(lua.data), manifest.canonical(json.data))
    assert.equal(dir .. "/key", lua.data.env.KEY["$secret"].file)
    assert.equal("float", math.type(lua.data.args.ratio))
    assert.equal("integer", math.type(lua.data.args.verbose))
    assert.equal(dir .. "/m.lua", lua.file)
  end)

  it("may compute, with what Lua has for it", function()
    local loaded = load_text [[
      local names = {}
      for index = 1, 3 do names[#names + 1] = ("n%d"):format(index) end
      return { name = table.concat(names, "-"), target = "native", command = { "x" } }]]
    assert.equal("n1-n2-n3", loaded.name)
  end)

  it("with mistakes names the file and line", function()
    local cases = {
      ["return {\n name = 'x'\n target = 'native' }"] = "m.lua:3: '}' expected",
      ["local t\n\nreturn { name = t.x }"] = "m.lua:3: attempt to index a nil value",
      ["return {\n name = 'x',\n env = { A = print or function() end } }"] = "m.lua:3: `env.A`",
      ["return 3"] = "a manifest returns a table, not number",
      ["return { name = io.open }"] = "attempt to index a nil value (global 'io')",
      ["return {\n name = 'x',\n target = 'nativ' }"] = "m.lua:3: `target` must be one of",
    }
    for text, part in pairs(cases) do
      holds(refusal(text).message, part)
    end
    local failure = refusal("{\n \"name\": \"x\",\n oops }", "m.json")
    assert.is_true(errors.is(failure, "manifest", "invalid"))
    holds(failure.message, "m.json:3:")
    holds(refusal('{ "name": null }', "m.json").message, "`name` must be")
    holds(refusal("[1]", "m.json").message, "unknown field")
    holds(refusal('"x"', "m.json").message, "a manifest is a JSON object")
  end)

  it("can do nothing but describe", function()
    local path = dir .. "/made"
    for _, text in ipairs {
      ("return { name = io.open(%q, 'w') }"):format(path),
      ("os.execute('touch %s')"):format(path),
      "return require 'moonport.fs'",
      "return load('return {}')()",
      "return { name = ('x').dump }",
    } do
      refusal(text)
    end
    assert.is_false(fs.exists(path))
    holds(refusal("\27Lua").message, "attempt to load a binary chunk")
  end)

  it("that computes without end is stopped", function()
    holds(refusal("while true do end").message, "computes for too long")
  end)

  it("that takes too much memory is stopped", function()
    holds(refusal("local s = 'x' while true do s = s .. s end").message, "MiB of memory")
  end)

  it("brings hostile values unchanged, or refuses them by name", function()
    local nasty = "a'b\"c\\ $(rm -rf /); `x`\n\t ü €" .. ("y"):rep(100 * 1024)
    local start = "return { name = 'x', target = 'native', "
    local rest = "command = { '/bin/echo', %q }, env = { A = %q } }"
    local loaded = load_text(start .. rest:format(nasty, nasty))
    assert.equal(nasty, loaded.data.command[2])
    assert.equal(nasty, loaded.data.env.A)
    holds(
      refusal(start .. "command = { 'a', 'b\\0c' } }").message,
      "`command[2]` holds a NUL byte, at byte 2"
    )
    holds(refusal(start .. "env = { A = '\\xff' } }").message, "`env.A`: text is not UTF-8")
    holds(refusal(start .. "env = { ['A=B'] = 'x' } }").message, "is not a name for a variable")
  end)

  it("that is not there, or no file, says so", function()
    assert.equal("ENOENT", select(2, pcall(manifest.load, dir .. "/no.lua")).code)
    assert.is_false((pcall(manifest.load, dir)))
  end)

  it("larger than any manifest is refused unread", function()
    holds(refusal(("-"):rep((4 << 20) + 1)).message, "longer than 4 MiB")
  end)
end)
