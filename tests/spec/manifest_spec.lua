local keypath = require "moonport.keypath"
local locate = require "moonport.manifest.locate"
local manifest = require "moonport.manifest"
local schema = require "moonport.schema"

local function holds(text, part)
  assert.truthy(text:find(part, 1, true), ("`%s` is not in: %s"):format(part, text))
end

local function lines_of(text)
  return locate.lua(text).lines
end

describe("the lines of a manifest", function()
  it("are found in a literal table", function()
    local lines = lines_of [==[
-- a comment with { braces }
return {
  name = "x", target = "native",
  env = {
    ["A B"] = "1", --[[ long
    comment ]] B = [[text
with = lines]],
    C = 'it\'s }',
  },
  command = { "a", "b" },
  ready = { http = "x" .. (function() local t = { a = 1 }; return t.a, 2 end)() ; timeout = 3 },
  limits = {
    memory = 1 == 2 and "x" or "y",
    cpus = 2,
  },
}]==]
    assert.equal(2, lines[""])
    assert.equal(3, lines.name)
    assert.equal(3, lines.target)
    assert.equal(5, lines['env["A B"]'])
    assert.equal(6, lines["env.B"])
    assert.equal(8, lines["env.C"])
    assert.equal(10, lines["command[2]"])
    assert.equal(11, lines["ready.timeout"])
    assert.is_nil(lines["ready.a"])
    assert.equal(14, lines["limits.cpus"])
  end)

  it("are found through a variable, and after a first line for the shell", function()
    local lines = lines_of [[
#!/usr/bin/env moonport
local f = function() return 1 end
local m = {
  name = 'x',
}
m.target = f()
return m]]
    assert.equal(4, lines.name)
  end)

  it("of what is computed are those of the nearest literal", function()
    local find = locate.finder("m.lua", locate.lua "return {\n env = make {\n x = 1 },\n}")
    assert.same({ "m.lua", 2 }, { find "env.FOO" })
    assert.same({ "m.lua", 1 }, { find "limits.memory" })
  end)

  it("are found in JSON", function()
    local text = '{\n "name": "x",\n "env": {"A\\"}": "]",\n  "B": [1,\n {"c": true}]}}'
    local lines = locate.json(text).lines
    assert.equal(2, lines.name)
    assert.equal(4, lines["env.B"])
    assert.equal(5, lines["env.B[2].c"])
  end)

  it("tell what is given twice", function()
    assert.same({ { path = "a", line = 2 } }, locate.lua("return { a = 1,\n a = 2 }").duplicates)
    assert.same({ { path = "a", line = 1 } }, locate.json('{"a":1,"a":2}').duplicates)
  end)

  it("survive source that is no Lua at all", function()
    local broken = { "return { [", "}}}", "return {,,=}", "", "return", "return {", "return { a =" }
    for _, text in ipairs { "'", "[[", table.unpack(broken) } do
      assert.is_table(lines_of(text))
      assert.is_table(locate.json(text).lines)
    end
  end)
end)

describe("a key path", function()
  it("splits into what it was joined of", function()
    for _, keys in ipairs { { "a", "b" }, { "env", "A B" }, { "command", 2 }, { "a", 1, "b-c" } } do
      local path = ""
      for _, key in ipairs(keys) do
        path = keypath.join(path, key)
      end
      assert.same(keys, keypath.split(path))
    end
    assert.is_nil(keypath.split "a..b")
    assert.equal("env", keypath.parent 'env["A.B"]')
    assert.equal("a.b", keypath.parent "a.b[3]")
    assert.equal("", keypath.parent "a")
  end)
end)

-- A layer as moonport.manifest.source makes it, from Lua text.
local function layer(text, name, file)
  local found = locate.lua(text)
  file = file or (name or "manifest") .. ".lua"
  return {
    name = name or "manifest",
    file = file,
    base = "/srv",
    raw = assert(load(text))(),
    locate = locate.finder(file, found),
    duplicates = found.duplicates,
  }
end

local function refusal(...)
  local ok, failure = pcall(manifest.build, { ... })
  assert.is_false(ok)
  assert.equal("schema", failure.kind)
  return failure.message
end

local MINIMAL = "return { name = 'x', target = 'native', command = { '/bin/true' }, "

describe("a manifest", function()
  it("is read in its normal form with defaults", function()
    local m = manifest.build {
      layer [[return {
        name = "incredible-squaring", target = "native",
        blueprint_id = 0, service_id = 0, protocol = "eigenlayer", chain = "local_testnet",
        http_rpc_url = "http://127.0.0.1:8545", ws_rpc_url = "ws://127.0.0.1:8545",
        keystore = "./keystore", bootnodes = {},
        binary = "./incredible-squaring", image = "incredible-squaring:latest",
        args = { test_mode = true, verbose = 2 }, env = { RUST_LOG = "info" },
        limits = { memory = "512MiB", cpus = 2, storage = "20GiB" },
        restart = { policy = "on-failure", max = 5 },
        ready = { http = "http://127.0.0.1:9090/-/ready", timeout = "30s" },
        isolation = "any",
      }]],
    }
    assert.equal("incredible-squaring", m.name)
    assert.equal(512 << 20, m.data.limits.memory)
    assert.equal("/srv/keystore", m.data.keystore)
    assert.equal(30, m.data.ready.timeout)
    assert.equal(0.25, m.data.ready.interval)
    assert.equal("TERM", m.data.stop.signal)
    assert.is_nil(m.data.registration)
  end)

  it("tells every mistake with its line and the nearest name", function()
    local text = refusal(layer [[return {
  name = "Bad Name",
  target = "nativ",
  limits = { memory = "12XB",
    memroy = 1 },
  env = { HTTP_RPC_URL = "x", ["A B"] = "y" },
  ready = { http = "ftp://x" },
}]])
    for _, part in ipairs {
      "manifest.lua:2: `name` must be lower-case letters",
      "manifest.lua:3: `target` must be one of `native`, `container`, `hypervisor`, ",
      'not "nativ" (did you mean `native`?)',
      "manifest.lua:4: `limits.memory` must be a size",
      "manifest.lua:5: unknown field `limits.memroy` (did you mean `memory`?)",
      "manifest.lua:6: `env.HTTP_RPC_URL` belongs to the blueprint contract",
      "(set the field `http_rpc_url`)",
      'manifest.lua:6: `env["A B"]` is not a name for a variable',
      "manifest.lua:7: `ready.http` must be a URL",
    } do
      assert.truthy(text:find(part, 1, true), part .. "\n  not in:\n" .. text)
    end
  end)

  it("without a name or target says what is missing", function()
    local text = refusal(layer "return { command = { 'x' } }")
    assert.truthy(text:find("`name` is missing", 1, true))
    assert.truthy(text:find("`target` is missing", 1, true))
  end)

  it("refuses a field that is given twice", function()
    holds(refusal(layer(MINIMAL .. "\n user = 'a',\n user = 'b' }")),
      "manifest.lua:3: `user` is given twice")
  end)

  it("refuses a readiness that waits for nothing", function()
    holds(refusal(layer(MINIMAL .. "ready = { notfy = true } }")), "did you mean `notify`?")
    holds(refusal(layer(MINIMAL .. "ready = { notify = 'yes' } }")), "`ready.notify` must be")
    holds(refusal(layer(MINIMAL .. "ready = { notify = false } }")), "says nothing to wait for")
    holds(refusal(layer(MINIMAL .. "ready = { timeout = '3s' } }")),
      "says nothing to wait for")
  end)

  it("lets higher layers win and remembers what they replaced", function()
    local site = layer([[return {
      user = "svc",
      limits = { memory = "1GiB", pids = 100 },
      env = { A = "site", B = "site" } }]], "site", "/etc/moonport/config.lua")
    local flags = { name = "flag", raw = { limits = { memory = "2GiB" } } }
    local m = manifest.build {
      site,
      layer(MINIMAL .. "\n limits = { memory = '3GiB' },\n env = { A = 'mine' } }"),
      flags,
    }
    assert.same({ A = "mine", B = "site" }, m.data.env)
    assert.equal(2 << 30, m.data.limits.memory)
    assert.equal(100, m.data.limits.pids)
    local chain = m:explain "limits.memory"
    assert.equal(3, #chain)
    assert.equal("flag", chain[1].layer)
    assert.equal(2 << 30, chain[1].value)
    assert.same(
      { "manifest", "manifest.lua", 2, 3 << 30 },
      { chain[2].layer, chain[2].file, chain[2].line, chain[2].value }
    )
    assert.same(
      { "site", "/etc/moonport/config.lua", 3 },
      { chain[3].layer, chain[3].file, chain[3].line }
    )
    chain = m:explain "stop.grace"
    assert.same({ { layer = "default", value = 10 } }, chain)
    assert.same({}, m:explain "limits.cpus")
    assert.equal("site", m:explain("env.B")[1].layer)
  end)

  it("names the site's file for the site's mistakes", function()
    local text = "return {\n limits = { memory = 'lots' } }"
    local site = layer(text, "site", "/etc/moonport/config.lua")
    holds(refusal(site, layer(MINIMAL .. "}")),
      "/etc/moonport/config.lua:2: `limits.memory`")
  end)

  it("asked to explain a field that does not exist names the nearest", function()
    local m = manifest.build { layer(MINIMAL .. "}") }
    local ok, failure = pcall(m.explain, m, "limits.memmory")
    assert.is_false(ok)
    assert.equal("usage", failure.code)
    assert.equal("did you mean `limits.memory`?", failure.hint)
  end)

  it("has one text whatever the order it was written in", function()
    local a = manifest.build { layer(MINIMAL .. "env = { A = '1', B = '2', C = '3' } }") }
    local b = manifest.build {
      layer [[return { env = { C = '3', A = '1', B = '2' }, command = { '/bin/true' },
        target = 'native', name = 'x' }]],
    }
    assert.equal(manifest.canonical(a.data), manifest.canonical(b.data))
  end)

  it("lists what changed between two", function()
    local a = manifest.build { layer(MINIMAL .. "env = { A = '1', B = '2' } }") }
    local b = manifest.build {
      layer(MINIMAL .. "env = { A = '1', C = '3' }, limits = { cpus = 2 } }"),
    }
    assert.same({
      { path = "env.B", from = "2" },
      { path = "env.C", to = "3" },
      { path = "limits.cpus", to = 2 },
    }, manifest.changes(a.data, b.data))
  end)

  it("keeps hostile values as they are", function()
    local nasty = "a'b\"c$(rm -rf /);\n\t`x` ü " .. ("y"):rep(100 * 1024)
    local l = layer(MINIMAL .. "}")
    l.raw.env, l.raw.command = { X = nasty }, { "/bin/echo", nasty }
    local m = manifest.build { l }
    assert.equal(nasty, m.data.env.X)
    assert.equal(nasty, m.data.command[2])
  end)
end)

describe("a target's schema", function()
  after_each(function()
    manifest.register_target("native", nil)
  end)

  it("checks the target's own table and the manifest as a whole", function()
    local fields = { nice = schema.integer { min = -20, max = 19 } }
    manifest.register_target("native", schema.record(fields, {
      manifest = function(data, report)
        if not data.user then
          report("user", "`user` must be written", "`root` included")
        end
      end,
    }))
    holds(refusal(layer(MINIMAL .. "native = { nise = 1 } }")),
      "unknown field `native.nise` (did you mean `nice`?)")
    holds(refusal(layer(MINIMAL .. "}")),
      "manifest.lua:1: `user` must be written (`root` included)")
    assert.equal(
      3,
      manifest.build({ layer(MINIMAL .. "user = 'u', native = { nice = 3 } }") }).data.native.nice
    )
  end)
end)

describe("names", function()
  it("that could be a path, an option or markup are refused", function()
    local long = ("a"):rep(64)
    for _, name in ipairs { "", "-x", "a/b", "..", "A", "a b", "a\n", "a\0", "é", long, "a_b" } do
      assert.is_false(manifest.is_name(name), name)
      assert.has_error(function()
        manifest.check_name(name)
      end)
    end
    assert.is_true(manifest.is_name "incredible-squaring")
    assert.is_true(manifest.is_name(("a"):rep(63)))
  end)
end)
