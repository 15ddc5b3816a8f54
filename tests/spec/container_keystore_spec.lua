local crypto = require "moonport.crypto"
local fs = require "moonport.fs"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/container_helper.lua")
local json = require "moonport.json"
local keystore = require "moonport.container.keystore"
local process = require "moonport.process"
local secret = require "moonport.secret"

local KEY = "the store's key"

describe("a keystore as a Secret", function()
  local dir, keys

  before_each(function()
    dir = fs.temp_dir()
    keys = dir .. "/keys"
    fs.mkdirs(keys, "0700")
  end)

  after_each(function()
    fs.remove_tree(dir)
  end)

  local function put(path, bytes)
    fs.mkdirs(fs.dirname(keys .. "/" .. path), "0700")
    fs.write(keys .. "/" .. path, bytes, { mode = "0600" })
  end

  local function refusal(part)
    local ok, err = pcall(keystore.read, keys)
    assert.is_false(ok)
    assert.equal("keystore", err.kind)
    assert.truthy(err.message:find(part, 1, true), err.message)
    return err
  end

  it("has a key for each file, and puts each back where it was", function()
    put("ecdsa/1", "a")
    put("ecdsa/deep/key.json", "b")
    put("bn254", "c")
    local files = keystore.read(keys)
    assert.same({
      { key = "bn254", path = "bn254" },
      { key = "ecdsa__1", path = "ecdsa/1" },
      { key = "ecdsa__deep__key.json", path = "ecdsa/deep/key.json" },
    }, keystore.items(files))
  end)

  it("has keys that a Secret takes, and never the same for two paths", function()
    local seen = {}
    for _, path in ipairs {
      "a/b", "a__b", "a_b", "a_5fb", "a b", "a\u{e9}b", ".hidden", "_2ehidden", "..x", "%", "=",
      "a/.b", "-", ("x"):rep(255), ("x"):rep(254) .. "y", ("d/"):rep(200) .. "k", "a\nb",
    } do
      local key = keystore.key(path)
      assert.truthy(key:find("^[%w_-][%w._-]*$"), key)
      assert.truthy(#key <= 253, key)
      assert.is_nil(seen[key])
      seen[key] = path
    end
  end)

  it("carries every byte, and never as plain text", function()
    local bytes = {}
    for byte = 0, 255 do bytes[#bytes + 1] = string.char(byte) end
    local content = table.concat(bytes) .. "\n"
    put("binary", content)
    local object = keystore.secret(helper.context(), keystore.read(keys), "name", "blueprints")
    assert.is_true(secret.is(object.data.binary))
    assert.equal(secret.digest(object.data.binary, KEY),
      crypto.hmac("sha256", KEY, crypto.base64(content)))
    assert.equal("secret", select(2, pcall(json.encode, object)).code)
    assert.is_true(secret.is(json.encode(object, { secrets = true })))
  end)

  it("is an object that cannot be changed, with our marks", function()
    put("k", "v")
    local object = keystore.secret(helper.context(), keystore.read(keys), "name", "blueprints")
    object.data = nil
    assert.same({
      apiVersion = "v1", kind = "Secret", type = "Opaque", immutable = true,
      metadata = {
        name = "name", namespace = "blueprints",
        labels = {
          ["app.kubernetes.io/name"] = "squaring",
          ["app.kubernetes.io/instance"] = "squaring-0c5a3ad2",
          ["app.kubernetes.io/managed-by"] = "moonport",
          ["moonport/store"] = helper.STORE,
          ["moonport/deployment"] = "4f3c2b1a",
          ["moonport/name"] = "squaring",
        },
      },
    }, object)
  end)

  it("can be applied again where a file is empty, which the server takes for a change", function()
    put("empty", "")
    local object = keystore.secret(helper.context(), keystore.read(keys), "name", "blueprints")
    assert.is_nil(object.immutable)
  end)

  it("keeps its name while the keystore is as it was, and only then", function()
    local ctx = helper.context()
    local function name()
      return keystore.secret_name(ctx, keystore.read(keys), KEY)
    end
    put("a", "1")
    put("b", "2")
    local first = name()
    assert.truthy(first:find("^squaring%-0c5a3ad2%-keystore%-%x+$"))
    put("a", "1")
    assert.equal(first, name())
    put("a", "3")
    local second = name()
    assert.not_equal(first, second)
    fs.rename(keys .. "/a", keys .. "/c")
    assert.not_equal(second, name())
    assert.not_equal(first, keystore.secret_name(ctx, keystore.read(keys), "another key"))
  end)

  it("may be empty", function()
    local files = keystore.read(keys)
    assert.same({}, keystore.items(files))
    assert.same({}, keystore.secret(helper.context(), files, "n", "ns").data)
  end)

  it("of 1 MiB fits, and one byte more is refused with its largest file", function()
    put("small", ("x"):rep(1024))
    put("large", ("\0"):rep((1 << 20) - 1024))
    assert.equal(2, #keystore.read(keys))
    put("small", ("x"):rep(1025))
    local err = refusal("its largest file is `large`")
    assert.equal("refused", err.code)
    assert.truthy(err.hint:find('container.keystore = "host"', 1, true))
  end)

  it("with a symbolic link, a fifo, or a name that no pod takes is refused, by its name", function()
    put("real", "1")
    process.run { "ln", "-s", "real", keys .. "/link" }
    assert.equal("put the file itself there", refusal("keys/link` is a symbolic link").hint)
    -- Whatever it leads to: a pod would not have that.
    fs.remove(keys .. "/link")
    process.run { "ln", "-s", "/etc/passwd", keys .. "/link" }
    assert.equal("put the file itself there", refusal("keys/link` is a symbolic link").hint)
    fs.remove(keys .. "/link")
    process.run { "mkfifo", "-m", "600", keys .. "/pipe" }
    refusal "keys/pipe` is a fifo"
    fs.remove(keys .. "/pipe")
    put("..data", "1")
    refusal "keys/..data`: in a pod, no name at the top"
    fs.remove(keys .. "/..data")
    put("bad\xff", "1")
    refusal 'bad\\xff": the name is not UTF-8'
  end)

  it("that others can read, or that is not there, is refused", function()
    put("a", "1")
    fs.chmod(keys .. "/a", "0640")
    refusal "has mode 0640"
    fs.remove_tree(keys)
    refusal "does not exist"
  end)

  it("counts as part of the manifest, file by file", function()
    put("ecdsa/1", "a")
    assert.same({ { field = "keystore/ecdsa/1", path = keys .. "/ecdsa/1" } },
      keystore.inputs(keys))
  end)
end)
