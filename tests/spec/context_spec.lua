--- What steps can do with their context.
local deploy = require "moonport.deploy"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local gc = require "moonport.gc"
local resources = require "moonport.resources"

local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/deploy_helper.lua")

local holds, refusal = helper.holds, helper.refusal

-- A recipe file around the code of its steps.
local RECIPE = [[
local fs = require "moonport.fs"
local schema = require "moonport.schema"
return recipe.define {
  name = "targets.native",
  manifest = schema.record { base = schema.path {}, fail = schema.list(schema.string {}) },
  status = function() return { state = "running" } end,
  steps = { %s },
}]]

describe("a step", function()
  local box, env

  before_each(function()
    box = helper.sandbox()
  end)

  after_each(function()
    env.state:close()
    fs.remove_tree(box.dir)
  end)

  local function steps(text)
    fs.write(box.site .. "/recipes/targets/native.lua", RECIPE:format(text))
    env = helper.open(box)
  end

  local function run(name, changes)
    changes = changes or {}
    changes.name = name
    return deploy.run(env, helper.manifest(box, changes))
  end

  it("finds what earlier ones returned, exactly", function()
    steps [[
      recipe.step("one", function() return { n = 1, f = 1.0, list = { "a" }, text = "\0\n" } end),
      recipe.step("two", function(ctx)
        local one = ctx.results.one
        assert(math.type(one.n) == "integer" and math.type(one.f) == "float")
        assert(one.text == "\0\n" and one.list[1] == "a")
        fs.write(ctx.manifest.native.base .. "/ok", ctx.name)
      end)]]
    run "a"
    assert.equal("a", fs.read(box.base .. "/ok"))
  end)

  it("has an id, a tag and a mark that no other deployment has", function()
    steps [[
      recipe.step("one", function(ctx)
        local path = ctx.manifest.native.base .. "/" .. ctx.name
        fs.write(path, ("%s %s %s"):format(ctx.id, ctx.tag, ctx.mark))
      end)]]
    run "a"
    run "b"
    local id, tag, mark = fs.read(box.base .. "/a"):match "^(%x+) (%S+) (%S+)$"
    assert.equal(id .. "-1", tag)
    assert.equal(("moonport/%s/%s"):format(env.state.uuid, id), mark)
    assert.is_nil(fs.read(box.base .. "/b"):find(id, 1, true))
  end)

  it("cannot act while it allocates", function()
    steps [[
      recipe.step("one", {
        allocate = function(ctx) fs.write(ctx.manifest.native.base .. "/x", "") end,
        apply = function() end,
      })]]
    local failure = refusal(run, "a")
    assert.is_true(errors.is(failure.cause, "gate", "refused"))
  end)

  it("that returns what is not plain data is told so, by place", function()
    steps [[recipe.step("one", function() return { f = print } end)]]
    local failure = refusal(run, "a")
    holds(failure.cause.message, "the result of step `one` is not plain data")
    holds(failure.cause.where, "native.lua:7")
  end)

  it("that is applied again gets the intent it had", function()
    steps [[
      recipe.step("one", {
        allocate = function() return { token = tostring({}) } end,
        apply = function(ctx, intent)
          local path = ctx.manifest.native.base .. "/token"
          if not fs.exists(path) then
            fs.write(path, intent.token)
            require("moonport.task").sleep(3600)
          end
          assert(fs.read(path) == intent.token)
        end,
        undo = function() error "is not reached" end,
      })]]
    local task = require "moonport.task"
    local path = box.base .. "/token"
    -- As a crash leaves it: the intent is there, the result is not.
    local work = task.contained(function()
      run "a"
    end)
    while not fs.exists(path) do
      task.sleep(0.01)
    end
    local state = env.state
    local copy = state.db:rows "SELECT * FROM journal"
    assert.equal("intent", copy[1].state)
    work:cancel()
    pcall(work.await, work)
    state.db:run("UPDATE journal SET state = 'intent', error = NULL")
    state.db:run("UPDATE revisions SET state = 'applying'")
    state.db:run("UPDATE deployments SET phase = 'applying', pending = 1")
    assert.equal("resumed", run("a").outcome)
  end)

  it("that has nothing to do is neither applied nor undone", function()
    steps [[
      recipe.step("one", {
        allocate = function() return false end,
        apply = function() error "was applied" end,
        undo = function() error "was undone" end,
      }),
      recipe.step("two", function(ctx)
        assert(next(ctx.intents.one) == nil and ctx.results.one == nil)
      end)]]
    run "a"
    local row = env.state.db:row "SELECT state, intent FROM journal WHERE step = 'one'"
    assert.same({ state = "done", intent = "false" }, row)
    assert.equal("unchanged", run("a").outcome)
    assert.same({}, require("moonport.deploy").remove(env, "a").undone)
  end)

  it("that a site has put functions around is applied whatever it has to do", function()
    steps [[
      (function()
        local own = recipe.define {
          name = "x",
          steps = {
            recipe.step("one", { allocate = function() return false end, apply = function() end }),
          },
        }
        own:wrap("one", function(_, ctx, intent)
          fs.write(ctx.manifest.native.base .. "/applied", require("moonport.json").encode(intent))
        end)
        return own:step "one"
      end)()]]
    run "a"
    assert.equal("{}", fs.read(box.base .. "/applied"))
  end)

  it("records only while it applies", function()
    steps [[
      recipe.step("one", {
        allocate = function(ctx) ctx:record("file", { path = "/x" }) end,
        apply = function() end,
      })]]
    holds(refusal(run, "a").cause.message, "ctx:record works only while a step applies")
  end)

  it("cannot change what others see of the manifest's row", function()
    steps [[
      recipe.step("one", function(ctx) ctx.manifest.description = "mine" end),
      recipe.step("two", function(ctx) assert(ctx.manifest.description == "one") end)]]
    run "a"
    local row = env.state:revision(env.state:deployment("a").id, 1)
    assert.equal("one", row.manifest.description)
  end)

  describe("that shares a thing", function()
    local SHARE = [[
      recipe.step("shared", function(ctx)
        local path = ctx.manifest.native.base .. "/shared"
        ctx:share("directory", { path = path }, {
          exists = function() return fs.exists(path) end,
          make = function() fs.mkdirs(path) end,
        })
        if ctx.manifest.description == "fail" then error "told to" end
      end)]]

    it("makes it once, and it goes with the last user", function()
      steps(SHARE)
      run "a"
      run "b"
      assert.same({ "shared" }, helper.names(box.base))
      deploy.remove(env, "a")
      assert.same({ "shared" }, helper.names(box.base))
      deploy.remove(env, "b")
      assert.same({}, helper.names(box.base))
      assert.same({}, helper.rows(env))
    end)

    it("goes with the last user also where that has had several revisions", function()
      steps [[
        recipe.step("shared", { scope = "deployment", apply = function(ctx)
          local path = ctx.manifest.native.base .. "/shared"
          ctx:share("directory", { path = path }, {
            exists = function() return fs.exists(path) end,
            make = function() fs.mkdirs(path) end,
          })
        end })]]
      run "a"
      run("a", { description = "another" })
      deploy.remove(env, "a")
      assert.same({}, helper.names(box.base))
      assert.same({}, gc.run(env))
      assert.same({}, helper.rows(env))
    end)

    it("keeps what was there before", function()
      steps(SHARE)
      fs.mkdirs(box.base .. "/shared")
      run "a"
      deploy.remove(env, "a")
      assert.same({ "shared" }, helper.names(box.base))
      assert.same({}, helper.rows(env))
    end)

    it("gives it up when it fails", function()
      steps(SHARE)
      run "a"
      refusal(run, "b", { description = "fail" })
      assert.same({ "shared" }, helper.names(box.base))
      deploy.remove(env, "a")
      assert.same({}, helper.names(box.base))
    end)

    -- `own` has what cannot be undone as long as a file says so; it stands in what is shared.
    local HELD = [[
      recipe.step("own", {
        apply = function() end,
        undo = function(ctx)
          if fs.exists(ctx.manifest.native.base .. "/../held") then error "held" end
        end,
      })]]

    it("keeps it while something of it is left that may be in there", function()
      steps(SHARE .. "," .. HELD)
      run "a"
      fs.write(box.dir .. "/held", "")
      holds(refusal(deploy.remove, env, "a").message, "held")
      assert.same({ "shared" }, helper.names(box.base))
      run "b"
      fs.remove(box.dir .. "/held")
      deploy.remove(env, "b")
      assert.same({ "shared" }, helper.names(box.base))
      deploy.remove(env, "a")
      assert.same({}, helper.names(box.base))
      assert.same({}, helper.rows(env))
    end)

    it("and is forgotten by force gives it up", function()
      steps(SHARE .. "," .. HELD)
      run "a"
      fs.write(box.dir .. "/held", "")
      deploy.remove(env, "a", { force = true })
      assert.same({}, helper.names(box.base))
      assert.same({}, helper.rows(env))
    end)

    it("removes it with the next try where the first has failed", function()
      steps(SHARE)
      run "a"
      local remove = resources.remove
      resources.remove = function() error "not now" end -- luacheck: ignore 122
      local why = refusal(deploy.remove, env, "a")
      resources.remove = remove -- luacheck: ignore 122
      holds(why.message, "`a` could not be removed whole: step `shared`")
      holds(why.message, "not now")
      assert.same({ "shared" }, helper.names(box.base))
      deploy.remove(env, "a")
      assert.same({}, helper.names(box.base))
      assert.same({}, helper.rows(env))
    end)

    it("and loses its row leaves it to gc", function()
      steps(SHARE)
      run "a"
      env.state:forget_deployment(env.state:deployment "a")
      fs.remove_tree(env.state:deployment_dir "a")
      assert.equal("would be removed", gc.run(env, { dry = true })[1].action)
      assert.equal("removed", gc.run(env)[1].action)
      assert.same({}, helper.names(box.base))
      assert.same({}, gc.run(env))
    end)
  end)
end)
