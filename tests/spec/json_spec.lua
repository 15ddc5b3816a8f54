local json = require "moonport.json"
local crypto = require "moonport.crypto"
local secret = require "moonport.secret"

local function round(text, options)
  return json.encode(json.decode(text, options))
end

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal("json", err.kind)
  return err
end

describe("json", function()
  it("keeps what lua tables alone cannot tell apart", function()
    for _, text in ipairs {
      "[]", "{}", "[[],{},[{}]]", "null", "[null,1,null]", "true", "false", '""', "1", "1.0",
      "-1.5", "0", "-0.0", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
      "123456789012345678901234567890", "-123456789012345678901234567890", "1e400", "1e-400",
      "0.1", "0.30000000000000004", "5e-324", "1.7976931348623157e+308", "123456.789", "0.57",
      '"\\u0000\\u001f\\"\\\\"', '"Zoë 😀"',
    } do
      assert.equal(text, round(text))
      assert.equal("[" .. text .. "]", round("[ " .. text .. " ]"))
      assert.equal('{"k":' .. text .. "}", round('{"k":' .. text .. "}"))
    end
  end)

  it("tells integers from floats", function()
    local value = json.decode "[1, 1.0, 1e0, 9223372036854775807, -0]"
    assert.equal("integer", math.type(value[1]))
    assert.equal("float", math.type(value[2]))
    assert.equal("float", math.type(value[3]))
    assert.equal(math.maxinteger, value[4])
    assert.equal("[1,1.0,1.0,9223372036854775807,-0.0]", json.encode(value))
  end)

  it("reads and writes floats exactly", function()
    math.randomseed(7)
    for _ = 1, 2000 do
      local exponent = math.random(-320, 308)
      local value = (math.random() - 0.5) * 10.0 ^ exponent
      local decimal = math.random(-10 ^ 9, 10 ^ 9) / 10.0 ^ math.random(0, 9)
      for _, float in ipairs { value, decimal } do
        local text = json.encode(float)
        assert.equal(float, json.decode(text))
        assert.equal(float, tonumber(text))
        assert.equal("float", math.type(json.decode(text)))
      end
    end
    assert.equal("0.57", json.encode(0.57))
    assert.equal("100.0", json.encode(100.0))
  end)

  it("keeps numbers that lua cannot hold as their text", function()
    local big = json.decode "18446744073709551616"
    assert.is_true(json.is_number(big))
    assert.equal("18446744073709551616", tostring(big))
    assert.equal(big, json.number "18446744073709551616")
    assert.is_false(pcall(json.number, "0x10"))
    assert.is_false(pcall(json.number, "01"))
    assert.is_false(pcall(json.number, "1."))
  end)

  it("marks arrays, and encodes unmarked tables by their keys", function()
    assert.is_true(json.is_array(json.decode "[]"))
    assert.is_false(json.is_array(json.decode "{}"))
    assert.equal("{}", json.encode {})
    assert.equal("[]", json.encode(json.array {}))
    assert.equal("[]", json.encode(json.array()))
    assert.equal("[1,2]", json.encode { 1, 2 })
    assert.equal('{"1":"a"}', json.encode(json.object { "a" }))
    local list = json.decode "[1]"
    table.remove(list)
    assert.equal("[]", json.encode(list))
    local backwards = {}
    for i = 20, 1, -1 do backwards[i] = i end
    assert.equal("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]", json.encode(backwards))
  end)

  it("refuses tables that are neither array nor object, and names the place", function()
    local err = failure(json.encode, { a = { b = { 1, 2, x = 3 } } })
    assert.equal("mixed", err.code)
    assert.matches("$.a.b", err.message, 1, true)
    assert.equal("mixed", failure(json.encode, { [1] = 1, [3] = 3 }).code)
    assert.equal("mixed", failure(json.encode, { [2] = 1 }).code)
    assert.equal("mixed", failure(json.encode, json.array { 1, nil, 3 }).code)
    assert.equal("type", failure(json.encode, { [true] = 1 }).code)
    assert.equal("type", failure(json.encode, { f = print }).code)
    assert.equal("type", failure(json.encode, { io.stdout }).code)
  end)

  it("names the place of numbers that json has not", function()
    local err = failure(json.encode, { a = { { b = 1 }, { ["odd key"] = 0 / 0 } } })
    assert.equal("number", err.code)
    assert.matches('$.a[2]["odd key"]', err.message, 1, true)
    assert.equal("number", failure(json.encode, math.huge).code)
  end)

  it("never writes a secret", function()
    local err = failure(json.encode, { env = { TOKEN = secret.env "PATH" } })
    assert.equal("secret", err.code)
    assert.matches("$.env.TOKEN", err.message, 1, true)
    assert.is_nil(err.message:find(os.getenv "PATH", 1, true))
  end)

  it("gives a secret text for a value with secrets, where that is asked for", function()
    local token = secret.env "PATH"
    local text = json.encode({ data = { token, "plain" } }, { secrets = true })
    assert.is_true(secret.is(text))
    assert.same({ encoded = "json" }, secret.reference(text))
    local plain = json.encode({ data = { os.getenv "PATH", "plain" } })
    assert.equal(crypto.hmac("sha256", "key", plain), secret.digest(text, "key"))
    assert.equal('{"a":1}', json.encode({ a = 1 }, { secrets = true }))
  end)

  it("stops at a value that contains itself", function()
    local loop = {}
    loop.loop = loop
    assert.equal("limit", failure(json.encode, loop).code)
    assert.equal("limit", failure(json.decode, ("["):rep(513) .. ("]"):rep(513)).code)
    assert.equal(("["):rep(512) .. ("]"):rep(512), round(("["):rep(512) .. ("]"):rep(512)))
    assert.equal("limit", failure(json.decode, "[[[]]]", { depth = 2 }).code)
    local deep = ("["):rep(5000) .. ("]"):rep(5000)
    local value = json.decode(deep, { depth = 5000 })
    assert.equal(deep, json.encode(value, { depth = 5000 }))
  end)

  it("keeps the order of keys where asked", function()
    local text = '{"z":1,"a":{"y":2,"b":3},"m":[{"q":1,"p":2}]}'
    local value = json.decode(text, { order = true })
    assert.equal(text, json.encode(value))
    local keys = {}
    for key in pairs(value) do keys[#keys + 1] = key end
    assert.same({ "z", "a", "m" }, keys)
    value.a.y = nil
    value.new2, value.new1 = 2, 1
    assert.equal('{"z":1,"a":{"b":3},"m":[{"q":1,"p":2}],"new1":1,"new2":2}', json.encode(value))
    assert.equal('{"a":2,"b":1}', json.encode(json.decode('{"a":1,"b":1,"a":2}', { order = true })))
  end)

  it("sorts keys by bytes where asked", function()
    local value = { b = 1, a = { d = 1, c = 2 }, B = 3, ["é"] = 4, aa = 5 }
    assert.equal('{"B":3,"a":{"c":2,"d":1},"aa":5,"b":1,"é":4}',
      json.encode(value, { sort_keys = true }))
    assert.equal('{"1":"x","10":"z","2":"y"}',
      json.encode(json.object { "x", "y", [10] = "z" }, { sort_keys = true }))
  end)

  it("prints for people", function()
    local value = { name = "x", list = { 1, { a = json.null } }, none = json.array {}, empty = {} }
    assert.equal([[
{
  "empty": {},
  "list": [
    1,
    {
      "a": null
    }
  ],
  "name": "x",
  "none": []
}]], json.encode(value, { indent = 2 }))
  end)

  it("says where a text is wrong", function()
    local err = failure(json.decode, '{\n  "a": 1,\n  "é": tru\n}', { source = "m.json" })
    assert.equal("syntax", err.code)
    assert.equal("m.json", err.source)
    assert.equal(3, err.line)
    assert.matches("m.json:3:", err.message, 1, true)
    for _, text in ipairs {
      "", " ", "[1,]", '{"a":1,}', "{a:1}", "[1 2]", "01", "1.", ".5", "+1", "1e", "-", "nul",
      "'a'", '"a', '"\t"', '"\\x"', '"\\u12"', "[", "{", "]", "[1]]", "1 2", "NaN", "/* c */ 1",
      "[1}",
    } do
      assert.equal("syntax", failure(json.decode, text).code, text)
    end
    assert.equal(5, failure(json.decode, "[1,2").column)
    assert.equal("duplicate", failure(json.decode, '{"a":1,"a":2}', { unique_keys = true }).code)
    assert.equal('{"a":2}', round '{"a":1,"a":2}')
  end)

  it("takes and gives UTF-8 only", function()
    for _, text in ipairs {
      '"\xff"', '"\xc0\xaf"', '"\xed\xa0\x80"', '"\\ud800"', '"\\ud800\\u0041"', '"\\udc00"',
      '"\\\\\\ud800"', '{"\\udfff":1}',
    } do
      assert.equal("utf8", failure(json.decode, text).code, text)
    end
    assert.equal("\u{1F600}", json.decode '"\\uD83D\\ude00"')
    assert.equal("\\ud800", json.decode '"\\\\ud800"')
    assert.equal("utf8", failure(json.encode, { "\xff" }).code)
    assert.equal("utf8", failure(json.encode, { ["\xff"] = 1 }).code)
    assert.equal('"a\u{FFFD}\u{FFFD}b\\n"',
      json.encode("a\xff\xfeb\n", { invalid_utf8 = "replace" }))
    assert.equal("a", json.decode "\xef\xbb\xbf\"a\"")
  end)

  it("reads streams that are cut anywhere", function()
    local text = '{"a":"x\\"}{"} [1,"]"]\n"s\\\\" 12 true\r\n{"b":[]}{}null -1.5e3'
    local expected = { '{"a":"x\\"}{"}', '[1,"]"]', '"s\\\\"', "12", "true", '{"b":[]}', "{}",
      "null", "-1500.0" }
    local function read(chunks)
      local parser, found = json.parser(), {}
      for _, chunk in ipairs(chunks) do
        for value in parser:feed(chunk) do found[#found + 1] = json.encode(value) end
      end
      for value in parser:finish() do found[#found + 1] = json.encode(value) end
      return found
    end
    for cut = 0, #text do
      assert.same(expected, read { text:sub(1, cut), text:sub(cut + 1) })
    end
    local bytes = {}
    for byte in text:gmatch "." do bytes[#bytes + 1] = byte end
    assert.same(expected, read(bytes))
  end)

  it("gives a stream's value as soon as it is whole", function()
    local parser = json.parser()
    assert.is_nil(parser:next())
    parser:feed '{"a":'
    assert.is_nil(parser:next())
    parser:feed "1}"
    assert.same({ a = 1 }, parser:next())
    parser:feed "12"
    assert.is_nil(parser:next())
    parser:feed "3 "
    assert.equal(123, parser:next())
    parser:feed "false"
    assert.is_false(parser:finish()(parser))
  end)

  it("goes on behind a wrong value of a stream, and says where it was", function()
    local parser = json.parser { source = "events" }
    parser:feed '{"a":1}\n{"a":}\n'
    parser:feed '{"a":2}\n'
    assert.equal(1, parser:next().a)
    local err = failure(parser.next, parser)
    assert.equal(2, err.line)
    assert.equal("events", err.source)
    assert.equal(2, parser:next().a)
    assert.is_nil(parser:next())
  end)

  it("refuses the rest of a stream that ends within a value, or a value too large", function()
    local parser = json.parser()
    parser:feed '{"a":'
    parser:finish()
    assert.equal("syntax", failure(parser.next, parser).code)
    assert.is_nil(parser:next())
    local small = json.parser { max = 10 }
    small:feed(('"%s'):format(("x"):rep(20)))
    assert.equal("limit", failure(small.next, small).code)
  end)

  it("leaves lua-cjson to scripts that know it", function()
    assert.equal('{"a":1}', require("cjson").encode { a = 1 })
  end)
end)
