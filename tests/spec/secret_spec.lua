local errors = require "moonport.errors"
local secret = require "moonport.secret"

describe("a secret", function()
  local path

  before_each(function()
    path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    file:write("hunter2-in-a-file\n")
  end)

  after_each(function()
    os.remove(path)
  end)

  it("does not turn into plain text", function()
    local value = secret.file(path)
    for _, show in ipairs {
      function() return tostring(value) end,
      function() return string.format("%s", value) end,
      function() return #value end,
      function() print(value) end,
    } do
      local ok, err = pcall(show)
      assert.is_false(ok)
      assert.is_true(errors.is(err, "secret", "refused"))
    end
    assert.is_false(pcall(table.concat, { value }))
  end)

  it("stays a secret when it is joined, and remembers of what", function()
    local bearer = "Bearer " .. secret.file(path)
    assert.is_true(secret.is(bearer))
    assert.same({ concat = { { text = "Bearer " }, { file = path } } }, secret.reference(bearer))
    assert.equal(bearer, secret.resolve(secret.reference(bearer)))
  end)

  it("is masked in text once it was taken", function()
    secret.file(path)
    assert.equal("the value is ***!", secret.scrub("the value is hunter2-in-a-file!"))
  end)

  it("is told apart by a keyed digest", function()
    local value = secret.file(path)
    assert.equal(secret.digest(value, "key"), secret.digest(secret.file(path), "key"))
    assert.not_equal(secret.digest(value, "key"), secret.digest(value, "other key"))
    assert.equal(64, #secret.digest(value, "key"))
  end)

  it("is described by where it comes from", function()
    assert.equal("<secret file:" .. path .. ">", secret.describe(secret.file(path)))
    assert.equal("<secret env:HOME>", secret.describe(secret.env("HOME")))
  end)

  it("that cannot be had says why", function()
    local ok, err = pcall(secret.env, "MOONPORT_NO_SUCH_VARIABLE")
    assert.is_false(ok)
    assert.truthy(err.message:find("`MOONPORT_NO_SUCH_VARIABLE` is not set", 1, true))
    ok, err = pcall(secret.file, "/nonexistent/token")
    assert.is_false(ok)
    assert.truthy(err.message:find("/nonexistent/token", 1, true))
    ok, err = pcall(secret.resolve, { vault = "x" })
    assert.is_false(ok)
    assert.truthy(err.message:find("`vault`", 1, true))
  end)
end)
