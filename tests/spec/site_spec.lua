local errors = require "moonport.errors"
local fs = require "moonport.fs"
local manifest = require "moonport.manifest"
local recipe = require "moonport.recipe"
local site = require "moonport.site"

local function holds(text, part)
  assert.truthy(tostring(text):find(part, 1, true), ("`%s` is not in: %s"):format(part, text))
end

local function refusal(fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  return failure
end

describe("a site", function()
  local dir

  before_each(function()
    dir = fs.temp_dir()
  end)

  after_each(function()
    fs.remove_tree(dir)
  end)

  local function open(files)
    for name, text in pairs(files) do
      fs.mkdirs(fs.dirname(dir .. "/" .. name))
      fs.write(dir .. "/" .. name, text)
    end
    return site.open { dir = dir }
  end

  it("that was named must exist", function()
    local failure = refusal(site.open, { dir = dir .. "/nowhere" })
    assert.equal("not_found", failure.code)
    holds(failure.message, "/nowhere` (--site) does not exist")
  end)

  it("that is empty sets nothing", function()
    local opened = open {}
    assert.is_nil(opened:manifest_defaults())
    assert.same({}, opened.config.network)
    assert.same({}, opened:recipe_names())
  end)

  it("gives defaults to manifests, with their place", function()
    local opened = open {
      ["config.lua"] = [[return {
  network = { pool = "10.90.0.0/16" },
  defaults = {
    target = "native",
    limits = { memory = "1GiB" },
    env = { TOKEN = secret.file "token" },
  },
}]],
    }
    assert.equal("10.90.0.0/16", opened.config.network.pool)
    local m = manifest.build {
      opened:manifest_defaults(),
      { name = "manifest", raw = { name = "x" } },
    }
    assert.equal("native", m.target)
    assert.equal(1 << 30, m.data.limits.memory)
    assert.equal(dir .. "/token", m.data.env.TOKEN["$secret"].file)
    assert.same(
      { layer = "site", file = dir .. "/config.lua", line = 5, value = 1 << 30 },
      m:explain("limits.memory")[1]
    )
  end)

  it("with mistakes in its configuration tells them all, by line", function()
    local failure = refusal(open, {
      ["config.lua"] = [[return {
  netwerk = {},
  network = { pool = "10.0.0.0" },
  defaults = {
    name = "x",
    limits = { memroy = 1 },
  },
}]],
    })
    for _, part in ipairs {
      "config.lua:2: unknown field `netwerk` (did you mean `network`?)",
      "config.lua:3: `network.pool` must be an IPv4 network",
      "config.lua:5: `defaults.name` cannot have a default",
      "config.lua:6: unknown field `limits.memroy` (did you mean `memory`?)",
    } do
      holds(failure.message, part)
    end
  end)

  it("with hooks runs them in order, and lets them veto", function()
    local opened = open {
      ["hooks.lua"] = [[
on("deploy.before", function(event) event.trace[1] = event.name end)
on("deploy.before", function(event) event.trace[2] = "second" end)
on("step.after", function() error "not on Fridays" end)
on("undo.after", function() error "cannot stop this" end)]],
    }
    local event = { trace = {} }
    opened.hooks:run("deploy.before", event)
    assert.same({ "deploy.before", "second" }, event.trace)
    local failure = refusal(opened.hooks.run, opened.hooks, "step.after", {})
    assert.is_true(errors.is(failure, "hook", "refused"))
    holds(failure.message, "hooks.lua:3) refused")
    holds(failure.cause, "not on Fridays")
    local warned
    opened.hooks:run("undo.after", {}, function(why)
      warned = why
    end)
    holds(warned.cause, "cannot stop this")
    opened.hooks:run("rm.after", {})
  end)

  it("with an unknown hook names the nearest", function()
    local failure = refusal(open, { ["hooks.lua"] = 'on("deploy.befor", function() end)' })
    assert.equal("there is no hook `deploy.befor`", failure.message)
    assert.equal("did you mean `deploy.before`?", failure.hint)
    holds(failure.where, "hooks.lua:1")
  end)

  it("whose hooks act while loading is refused", function()
    local failure = refusal(open, { ["hooks.lua"] = "os.remove('/nonexistent/x')" })
    holds(failure.message, "os.remove")
  end)

  it("with hooks that do not compile says where", function()
    holds(refusal(open, { ["hooks.lua"] = "on(" }).message, "hooks.lua:1:")
  end)

  it("that others can write to is refused, and so is a file in it", function()
    os.execute(("chmod 777 %s"):format(dir))
    local failure = refusal(open, {})
    assert.equal("refused", failure.code)
    holds(failure.message, dir)
    os.execute(("chmod 755 %s"):format(dir))
    fs.write(dir .. "/hooks.lua", "")
    os.execute(("chmod 666 %s/hooks.lua"):format(dir))
    failure = refusal(site.open, { dir = dir })
    holds(failure.message, dir .. "/hooks.lua")
  end)

  it("lists its recipes and stands in for shipped ones", function()
    local opened = open {
      ["recipes/targets/mine.lua"] = [[return recipe.define { name = "targets.mine" }]],
      ["recipes/top.lua"] = [[return recipe.define { name = "top" }]],
    }
    assert.same({ "targets.mine", "top" }, opened:recipe_names())
    local loaded = recipe.load("targets.mine", { site = opened })
    assert.equal("site", loaded.files[1].role)
    assert.equal(dir .. "/recipes/targets/mine.lua", loaded.where.file)
  end)

  it("takes a file once, and does not overwrite it", function()
    local opened = open {}
    local path = opened:add_file("recipes/a/b.lua", "x")
    assert.equal(dir .. "/recipes/a/b.lua", path)
    local failure = refusal(opened.add_file, opened, "recipes/a/b.lua", "y")
    assert.equal("refused", failure.code)
    assert.equal("x", fs.read(path))
  end)
end)
