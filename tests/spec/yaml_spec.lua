local json = require "moonport.json"
local secret = require "moonport.secret"
local yaml = require "moonport.yaml"

local function as_json(text, options)
  return json.encode(yaml.decode(text, options), { sort_keys = true })
end

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal("yaml", err.kind)
  return err
end

describe("yaml", function()
  it("reads what people write for kubernetes", function()
    assert.equal(
      '{"args":["run","-v"],"empty":[],"labels":{},"mode":420,"name":"a","text":"one\\n  two\\n"}',
      as_json [[
# a comment
name: a
args:
- run
- -v
mode: 0644
empty: []
labels: {}
text: |
  one
    two
]])
  end)

  it("types words without quotes by the core schema", function()
    local cases = {
      ["~"] = "null", ["null"] = "null", [""] = "null", ["true"] = "true", ["False"] = "false",
      ["yes"] = '"yes"', ["on"] = '"on"', ["n"] = '"n"', ["1"] = "1", ["+1"] = "1", ["-7"] = "-7",
      ["0x1F"] = "31", ["0o17"] = "15", ["017"] = "15", ["089"] = '"089"', ["0"] = "0",
      ["1.0"] = "1.0", [".5"] = "0.5", ["5."] = "5.0", ["-.5e1"] = "-5.0", ["1e3"] = "1000.0",
      ["1_000"] = '"1_000"', ["12:30:45"] = '"12:30:45"', ["2026-01-31"] = '"2026-01-31"',
      ["0b1"] = '"0b1"', ["1.2.3"] = '"1.2.3"', ["'1'"] = '"1"', ['"true"'] = '"true"',
      ["18446744073709551616"] = "18446744073709551616", ["."] = '"."',
      ["9223372036854775807"] = "9223372036854775807", ["0x"] = '"0x"', ["1e"] = '"1e"',
    }
    for text, expected in pairs(cases) do
      assert.equal('{"k":' .. expected .. "}", as_json("k: " .. text), text)
    end
    assert.equal(math.huge, yaml.decode ".inf")
    assert.equal(-math.huge, yaml.decode "-.INF")
    local nan = yaml.decode ".nan"
    assert.is_true(nan ~= nan)
    assert.equal("integer", math.type(yaml.decode "1"))
    assert.equal("float", math.type(yaml.decode "1.0"))
  end)

  it("follows the core schema's tags and refuses others", function()
    assert.equal('{"a":"1","b":2.0,"c":"\\u0000\\u0001","d":"x","e":true,"f":8}', as_json [[
a: !!str 1
b: !!float 2
c: !!binary AAE=
d: ! x
e: !!bool "true"
f: !!int "010"
]])
    for _, text in ipairs { "!local x", "!!int x", "!!set {a, b}", "!!map [a]", "!!binary '*'" } do
      assert.equal("tag", failure(yaml.decode, text).code, text)
    end
  end)

  it("takes keys as they are written", function()
    assert.equal('{"1":"a","true":"b"}', as_json "1: a\ntrue: b\n")
    assert.equal("key", failure(yaml.decode, "? [a]\n: b").code)
  end)

  it("copies what aliases and merge keys stand for", function()
    local value = yaml.decode [[
base: &base {image: a, args: [x]}
one: {<<: *base, image: b}
two: {name: c, <<: [{name: lost, extra: 1}, *base]}
list: [&item {v: 1}, *item]
]]
    assert.equal('{"args":["x"],"image":"b"}', json.encode(value.one, { sort_keys = true }))
    assert.equal('{"args":["x"],"extra":1,"image":"a","name":"c"}',
      json.encode(value.two, { sort_keys = true }))
    value.one.args[1] = "changed"
    value.list[2].v = 2
    assert.equal("x", value.base.args[1])
    assert.equal(1, value.list[1].v)
    assert.equal("alias", failure(yaml.decode, "a: *none").code)
    assert.equal("alias", failure(yaml.decode, "a: &a [*a]").code)
    assert.equal("merge", failure(yaml.decode, "<<: 1").code)
    assert.equal("merge", failure(yaml.decode, "<<: [{}, 99999999999999999999]").code)
  end)

  it("does not let aliases multiply without end", function()
    local lines = { "a0: &a0 [x,x,x,x,x,x,x,x,x]" }
    for i = 1, 20 do
      local alias = "*a" .. i - 1
      lines[#lines + 1] = ("a%d: &a%d [%s]"):format(i, i, (alias .. ","):rep(8) .. alias)
    end
    assert.equal("limit", failure(yaml.decode, table.concat(lines, "\n")).code)
    assert.equal("limit", failure(yaml.decode, ("["):rep(600) .. ("]"):rep(600)).code)
  end)

  it("says where a text is wrong", function()
    local err = failure(yaml.decode, "a: 1\nb:\n  c: 1\n c: 2\n", { source = "m.yaml" })
    assert.equal("syntax", err.code)
    assert.equal(4, err.line)
    assert.matches("m.yaml:4:", err.message, 1, true)
    err = failure(yaml.decode, "a: 1\nä: 2\nb: {c: 1, c: 2}\n")
    assert.equal("duplicate", err.code)
    assert.equal(3, err.line)
    assert.equal(11, err.column)
    assert.equal("utf8", failure(yaml.decode, "a: \xff").code)
    assert.equal("syntax", failure(yaml.decode, "a: [1").code)
    assert.equal("syntax", failure(yaml.decode, "\ta: 1").code)
    assert.equal("syntax", failure(yaml.decode, "a: \0").code)
  end)

  it("reads several documents", function()
    local documents = yaml.decode_all "---\n# nothing\n---\na: 1\n...\n---\n- 2\n---\nnull\n"
    assert.equal(3, #documents)
    assert.equal(1, documents[1].a)
    assert.equal(2, documents[2][1])
    assert.equal(yaml.null, documents[3])
    assert.equal("documents", failure(yaml.decode, "a: 1\n---\nb: 2\n").code)
    assert.equal(1, yaml.decode("---\n---\na: 1\n").a)
    assert.equal(yaml.null, yaml.decode "")
    assert.same({}, yaml.decode_all "# only a comment\n")
    assert.equal("---\na: 1\n---\n- 2\n", yaml.encode_all { { a = 1 }, { 2 } })
  end)

  it("writes blocks, and quotes what could be misread", function()
    local value = {
      name = "web", args = { "run", "-v" }, none = json.array {}, empty = {}, count = 3,
      ratio = 1.0,
      script = "set -e\nmake\n", yes = "yes", octal = "0644", number = "12", date = "2026-01-31",
      null = json.null, text = "a: b # c", big = json.number "18446744073709551616",
    }
    assert.equal([[
args:
- run
- -v
big: 18446744073709551616
count: 3
date: "2026-01-31"
empty: {}
name: web
none: []
"null": null
number: "12"
octal: "0644"
ratio: 1.0
script: |
  set -e
  make
text: 'a: b # c'
"yes": "yes"
]], yaml.encode(value))
  end)

  it("reads back whatever it writes", function()
    local strings = {
      "", " ", "a", " a", "a ", "a\n", "\na", "a\n\nb", "a\nb", "a\n b\n", " a\nb", "a\n\n", "\n",
      "a\tb",
      "\ta", "a\r\nb", "a\rb", "true", "~", "-", "- a", "? a", "a: b", "a #b", "#a", "'a'", '"a"',
      "{a}", "[a]", "*a", "&a", "!a", "%a", "@a", "`a", "---", "...", "a\0b", "\x7f", "\u{85}",
      "\u{2028}", "\u{feff}", "Zoë 😀", "\\n", "a:", ":a", "<<", "=", "1e3", "0x1f", "+.inf", ".5",
      "key: |\n  x", ("long "):rep(60), ("x"):rep(300) .. "\n" .. ("y "):rep(100), "a\n  \nb",
      "a  \nb", "é\nb\n",
    }
    for _, text in ipairs(strings) do
      assert.equal(text, yaml.decode(yaml.encode(text)))
      assert.same({ { text } }, yaml.decode(yaml.encode { { text } }))
      local value = yaml.decode(yaml.encode { [text] = { k = text } })
      assert.equal(text, value[text].k)
    end
    local numbers = { 0, -1, math.maxinteger, math.mininteger, 1.5, -0.0, 1e300, 0.1, 5e-324 }
    for _, number in ipairs(numbers) do
      local back = yaml.decode(yaml.encode(number))
      assert.equal(number, back)
      assert.equal(math.type(number), math.type(back))
    end
  end)

  it("keeps bytes that are no text", function()
    assert.equal("a: !!binary /wA=\n", yaml.encode { a = "\xff\0" })
    assert.equal("\xff\0", yaml.decode(yaml.encode { a = "\xff\0" }).a)
  end)

  it("keeps the order of keys where asked", function()
    local text = "z: 1\na:\n  x: 2\n  b: 3\nm: 4\n"
    assert.equal(text, yaml.encode(yaml.decode(text, { order = true })))
    assert.equal("a:\n  b: 3\n  x: 2\nm: 4\nz: 1\n", yaml.encode(yaml.decode(text)))
    assert.equal('{"z":1,"a":{"x":2,"b":3},"m":4}',
      json.encode(yaml.decode(text, { order = true })))
  end)

  it("names the place of what it cannot write", function()
    local err = failure(yaml.encode, { spec = { { token = secret.env "PATH" } } })
    assert.equal("secret", err.code)
    assert.matches("$.spec[1].token", err.message, 1, true)
    assert.equal("type", failure(yaml.encode, { f = print }).code)
    assert.equal("mixed", failure(yaml.encode, { 1, x = 2 }).code)
    assert.equal("utf8", failure(yaml.encode, { ["\xff"] = 1 }).code)
    local loop = {}
    loop[1] = loop
    assert.equal("limit", failure(yaml.encode, loop).code)
  end)
end)
