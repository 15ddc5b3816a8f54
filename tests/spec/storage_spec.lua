local fs = require "moonport.fs"
local process = require "moonport.process"
local storage = require "moonport.native.storage"
local sys = require "moonport.sys"

describe("the directories of a native service", function()
  local top, ctx

  before_each(function()
    top = fs.temp_dir()
    fs.chmod(top, 493) -- 0755: what lies above the state is not ours
    local state = top .. "/state"
    for _, dir in ipairs { state, state .. "/deployments", state .. "/deployments/web" } do
      fs.mkdirs(dir, "0700")
    end
    fs.write(state .. "/state.db", "rows", { mode = "0600" })
    ctx = { dir = state .. "/deployments/web", state = { dir = state }, manifest = {} }
  end)

  after_each(function()
    fs.remove_tree(top)
  end)

  local function make(user)
    ctx.manifest.user = user
    local intent = storage.allocate(ctx)
    storage.make(ctx, intent)
    return intent
  end

  it("are the operator's alone where the service runs as the operator", function()
    local intent = make(sys.euid() == 0 and "root" or nil)
    for _, dir in ipairs { ctx.state.dir, ctx.dir, intent.service, intent.data } do
      assert.equal(448, fs.stat(dir).mode & 511)
    end
  end)

  it("let another account through to its data, and to nothing else", function()
    if sys.euid() ~= 0 then return pending "only root runs services as others" end
    local intent = make "nobody"
    local function can(flag, path)
      return process.run({ "/usr/bin/test", flag, path, user = "nobody", check = false }).code == 0
    end
    assert.is_true(can("-w", intent.data))
    assert.is_false(can("-r", intent.service))
    assert.is_false(can("-r", ctx.dir))
    assert.is_false(can("-r", ctx.state.dir .. "/deployments"))
    assert.is_false(can("-r", ctx.state.dir .. "/state.db"))
  end)
end)
