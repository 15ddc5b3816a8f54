local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local secret = require "moonport.secret"

describe("crypto", function()
  it("hashes as the standards say", function()
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      crypto.hash("sha256", "abc"))
    assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", crypto.hash("sha1", "abc"))
    assert.equal("900150983cd24fb0d6963f7d28e17f72", crypto.hash("md5", "abc"))
    -- RFC 4231, test case 2
    assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      crypto.hmac("sha256", "Jefe", "what do ya want for nothing?"))
  end)

  it("hashes a file as its content", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(("x"):rep(1000000))
    file:close()
    assert.equal(crypto.hash("sha512", ("x"):rep(1000000)), crypto.hash_file("sha512", path))
    os.remove(path)
    local ok, err = pcall(crypto.hash_file, "sha256", path)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "fs", "ENOENT"))
  end)

  it("names the hashes there are when asked for another", function()
    local ok, err = pcall(crypto.hash, "sha3", "")
    assert.is_false(ok)
    assert.truthy(err.hint:find("sha512", 1, true))
  end)

  it("encodes and decodes text", function()
    local bytes = "\0\xff\xfe moon"
    assert.equal("00fffe206d6f6f6e", crypto.hex(bytes))
    assert.equal(bytes, crypto.unhex "00FFFE206d6f6f6e")
    assert.equal(bytes, crypto.unbase64(crypto.base64(bytes)))
    assert.equal(bytes, crypto.unbase64(crypto.base64(bytes, true)))
    assert.is_false(pcall(crypto.unhex, "0g"))
    assert.is_false(pcall(crypto.unbase64, "*"))
  end)

  it("keeps a secret a secret when it is encoded", function()
    local encoded = crypto.base64(secret.env "PATH")
    assert.is_true(secret.is(encoded))
    assert.equal(crypto.hmac("sha256", "key", crypto.base64(os.getenv "PATH")),
      secret.digest(encoded, "key"))
    assert.is_true(errors.is(select(2, pcall(tostring, encoded)), "secret", "refused"))
  end)

  it("gives random bytes and UUIDs", function()
    assert.equal(32, #crypto.random(32))
    assert.not_equal(crypto.random(16), crypto.random(16))
    assert.truthy(crypto.uuid():match("^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$"))
  end)

  it("compares secrets in constant time", function()
    assert.is_true(crypto.equal("abc", "abc"))
    assert.is_false(crypto.equal("abc", "abd"))
    assert.is_false(crypto.equal("abc", "ab"))
  end)
end)
