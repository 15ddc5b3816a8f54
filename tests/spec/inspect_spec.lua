local errors = require "moonport.errors"
local inspect = require "moonport.inspect"
local secret = require "moonport.core.secret"

describe("inspect", function()
  it("shows plain values as Lua writes them", function()
    assert.same({ "nil", "true" }, { inspect(nil), inspect(true) })
    assert.equal('"a\\n\\"b\\""', inspect('a\n"b"'))
    assert.same({ "42", "1.0", "0.1", "1e+300", "inf", "-inf", "nan" }, {
      inspect(42), inspect(1.0), inspect(0.1), inspect(1e300), inspect(math.huge),
      inspect(-math.huge), inspect(0 / 0),
    })
    assert.equal("-9223372036854775808", inspect(math.mininteger))
    assert.equal(0.1 + 0.2, tonumber(inspect(0.1 + 0.2)))
  end)

  it("shows the list part first and then the keys in order", function()
    local value = { "one", zebra = 1, apple = 2, [10] = 3, [-1.5] = 4, [true] = 5, ["a b"] = 6 }
    assert.equal('{ "one", [-1.5] = 4, [10] = 3, ["a b"] = 6, apple = 2, zebra = 1, [true] = 5 }',
      inspect(value, { width = 200 }))
  end)

  it("quotes keys that are no names", function()
    assert.equal('{ ["end"] = 1, ["x-y"] = 2 }', inspect { ["end"] = 1, ["x-y"] = 2 })
  end)

  it("breaks what does not fit into lines", function()
    local value = { name = ("n"):rep(30), inner = { path = ("p"):rep(30), port = 80 } }
    assert.equal(table.concat({
      "{",
      '  inner = { path = "' .. ("p"):rep(30) .. '", port = 80 },',
      '  name = "' .. ("n"):rep(30) .. '",',
      "}",
    }, "\n"), inspect(value, { width = 70 }))
  end)

  it("keeps within the width", function()
    local list = {}
    for i = 1, 90 do list[i] = i * 11 end
    for line in inspect(list, { width = 50 }):gmatch("[^\n]+") do assert.is_true(#line <= 50) end
  end)

  it("names where a cycle leads", function()
    local value = { children = { {} } }
    value.children[1].parent = value
    value.children[1].list = value.children
    assert.equal("{ children = { { list = <cycle .children>, parent = <cycle> } } }",
      inspect(value))
  end)

  it("shows a table twice when it is there twice", function()
    local shared = { 1 }
    assert.equal("{ { 1 }, { 1 } }", inspect { shared, shared })
  end)

  it("cuts long strings, long tables and deep ones, and says so", function()
    assert.equal('"xxxxx"… (9 bytes)', inspect(("x"):rep(9), { string = 5 }))
    assert.equal("{ 1, 2, … 3 more }", inspect({ 1, 2, 3, 4, 5 }, { items = 2 }))
    assert.equal("{ { {… 2} } }", inspect({ { { 1, 2 } } }, { depth = 2 }))
  end)

  it("ends on a table that is reached in more ways than could be shown", function()
    local value = {}
    for _ = 1, 30 do value = { value, value } end
    assert.is_true(#inspect(value, { depth = 100 }) < 1e6)
  end)

  it("shows a hundred thousand entries by the first ones", function()
    local value = {}
    for i = 1, 100000 do value["k" .. i] = i end
    local shown = inspect(value)
    assert.truthy(shown:find("… 99900 more", 1, true))
  end)

  it("shows where functions come from", function()
    assert.truthy(inspect(function() end):match("^<function .*inspect_spec.lua:%d+>$"))
    assert.equal("<function built in>", inspect(print))
  end)

  it("shows userdata and coroutines", function()
    assert.truthy(inspect(io.stdout):match("^<FILE%*: file %(0x"))
    assert.equal("<coroutine suspended>", inspect(coroutine.create(print)))
  end)

  it("uses __tostring, and shows the fields when asked", function()
    local value = setmetatable({ x = 1 }, { __tostring = function() return "web\27" end })
    assert.equal("<web\\x1b>", inspect(value))
    assert.equal("{ x = 1 }", inspect(value, { raw = true }))
  end)

  it("prefixes a table with its type's name", function()
    assert.equal("Point { x = 1 }", inspect(setmetatable({ x = 1 }, { __name = "Point" })))
  end)

  it("survives hostile metamethods", function()
    local function raise() error("trap") end
    local trap = { __tostring = raise, __index = raise, __len = raise, __pairs = raise }
    assert.equal("{ a = 1 }", inspect(setmetatable({ a = 1 }, trap)))
    assert.equal("{}", inspect(setmetatable({}, { __tostring = function() return {} end })))
    assert.equal("{}", inspect(setmetatable({}, { __metatable = false, __tostring = raise })))
  end)

  it("shows a secret's reference and never its value", function()
    local password = secret.new("s3cr3t-value", { file = "/etc/token" })
    assert.equal("{ <secret file:/etc/token> }", inspect { password })
    assert.equal('<secret "user:" .. file:/etc/token>', inspect("user:" .. password))
  end)

  it("masks a revealed value anywhere", function()
    secret.new("another-s3cret", { env = "X" })
    assert.equal('{ url = "http://u:***@h" }', inspect { url = "http://u:another-s3cret@h" })
  end)

  it("tells an error in full", function()
    local err = errors.new {
      kind = "http", code = "timeout", message = "no answer from `http://x/`",
      where = "deploy.lua:7", hint = "is it up?", status = 503,
      cause = errors.new {
        kind = "net", code = "ECONNREFUSED", message = "refused", where = "x:1",
      },
    }
    assert.equal(table.concat({
      "error: no answer from `http://x/`",
      "  kind: http, code: timeout",
      "  where: deploy.lua:7",
      "  status: 503",
      "  because: refused",
      "    kind: net, code: ECONNREFUSED",
      "    where: x:1",
      "  hint: is it up?",
    }, "\n"), inspect.error(err))
    assert.equal("<error http/timeout: no answer from `http://x/`>", inspect(err))
  end)

  it("tells an error that is its own cause", function()
    local err = errors.new { kind = "a", code = "b", message = "loop" }
    err.cause = err
    assert.is_string(inspect.error(err))
  end)

  it("colours by kind only when asked", function()
    assert.equal('{ "x" }', inspect { "x" })
    assert.equal('{ \27[32m"x"\27[0m }', inspect({ "x" }, { colour = true }))
  end)
end)
