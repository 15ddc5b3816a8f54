local fs = require "moonport.fs"
local keystore = require "moonport.keystore"

describe("a keystore", function()
  local dir, me

  before_each(function()
    dir = fs.temp_dir()
    me = { uid = fs.stat(dir).uid }
    fs.mkdirs(dir .. "/keys/ecdsa", "0700")
    fs.write(dir .. "/keys/ecdsa/1", "secret", { mode = "0600" })
  end)

  after_each(function()
    fs.remove_tree(dir)
  end)

  local function refusal(path, user)
    local ok, err = pcall(keystore.check, path, user or me)
    assert.is_false(ok)
    assert.equal("keystore", err.kind)
    return err
  end

  it("is accepted where only its owner gets at it", function()
    keystore.check(dir .. "/keys", me)
  end)

  it("that does not exist is refused", function()
    assert.truthy(refusal(dir .. "/nowhere").message:find("does not exist", 1, true))
  end)

  it("that is a file is refused", function()
    assert.truthy(refusal(dir .. "/keys/ecdsa/1").message:find("is no directory", 1, true))
  end)

  it("is refused where others can read any part of it, with the command that mends it", function()
    fs.chmod(dir .. "/keys/ecdsa/1", "0640")
    local err = refusal(dir .. "/keys")
    assert.truthy(err.message:find("keys/ecdsa/1` has mode 0640", 1, true))
    assert.equal("chmod 0600 " .. dir .. "/keys/ecdsa/1", err.hint)
    fs.chmod(dir .. "/keys/ecdsa/1", "0600")
    fs.chmod(dir .. "/keys", "0755")
    assert.equal("chmod 0700 " .. dir .. "/keys", refusal(dir .. "/keys").hint)
  end)

  it("may have a symbolic link, and counts what that leads to", function()
    local link, real = dir .. "/keys/ecdsa/2", fs.realpath(dir) .. "/real"
    fs.write(real, "secret", { mode = "0600" })
    fs.symlink(real, link)
    keystore.check(dir .. "/keys", me)
    fs.chmod(real, "0644")
    local err = refusal(dir .. "/keys")
    assert.truthy(err.message:find("keys/ecdsa/2` leads to `" .. real .. "`, which has mode 0644",
      1, true), err.message)
    assert.equal("chmod 0600 " .. real, err.hint)
    fs.remove(real)
    fs.mkdirs(real, "0755")
    fs.chmod(real, "0755")
    assert.equal("chmod 0700 " .. real, refusal(dir .. "/keys").hint)
    fs.remove(real)
    err = refusal(dir .. "/keys")
    assert.truthy(err.message:find("symbolic link that leads nowhere (to `" .. real, 1, true))
  end)

  it("is refused where it belongs to another account than the service's", function()
    local err = refusal(dir .. "/keys", { uid = me.uid + 1 })
    assert.truthy(err.message:find("belongs to uid", 1, true))
  end)
end)
