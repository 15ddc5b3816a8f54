--- What a sweep finds and does, and what it leaves to others.
local deploy = require "moonport.deploy"
local fs = require "moonport.fs"
local gc = require "moonport.gc"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/deploy_helper.lua")
local service = require "moonport.service"

local holds, refusal = helper.holds, helper.refusal

describe("sweeping", function()
  local box, env

  before_each(function()
    box = helper.sandbox()
    env = helper.open(box)
  end)

  after_each(function()
    env.state:close()
    fs.remove_tree(box.dir)
  end)

  local function run(changes)
    return deploy.run(env, helper.manifest(box, changes))
  end

  local function reopen()
    env.state:close()
    env = helper.open(box)
  end

  local function state_of()
    return service.open(env, "svc"):status().state
  end

  it("finds nothing where nothing is left", function()
    run()
    assert.same({}, gc.run(env))
    deploy.remove(env, "svc")
    assert.same({}, gc.run(env))
  end)

  it("takes back a record that the database does not have", function()
    run()
    env.state:forget_deployment(env.state:deployment "svc")
    assert.equal("would be taken back", gc.run(env, { dry = true })[1].action)
    assert.equal("taken back", gc.run(env)[1].action)
    assert.equal("running", state_of())
  end)

  it("removes directories without a deployment", function()
    fs.mkdirs(box.state .. "/deployments/ghost/recipes")
    assert.equal("removed", gc.run(env)[1].action)
    assert.same({}, helper.names(box.state .. "/deployments"))
  end)

  -- A deployment that was interrupted with its first step done.
  local function interrupt()
    env.observer = function(event)
      if event.type == "step.started" and event.step == "service" then
        env.state.db:run "PRAGMA query_only = ON"
      end
    end
    refusal(run)
    reopen()
    assert.equal("interrupted", state_of())
  end

  local function backdate(seconds)
    env.state.db:run("UPDATE deployments SET updated = updated - ?", seconds)
  end

  it("leaves what was interrupted a short while ago, where it is told so", function()
    interrupt()
    backdate(3600)
    for _, dry in ipairs { true, false } do
      local rows = gc.run(env, { older_than = 2 * 3600, dry = dry })
      assert.equal(1, #rows)
      assert.equal("left for now", rows[1].action)
      holds(rows[1].what, "`svc`, interrupted while applying")
      holds(rows[1].note, "1h ago")
    end
    assert.equal("resumed", run().outcome)
  end)

  it("undoes what was interrupted long ago, and what nobody says to leave", function()
    interrupt()
    backdate(3 * 3600)
    assert.equal("would be removed", gc.run(env, { older_than = 2 * 3600, dry = true })[1].action)
    assert.equal("removed", gc.run(env, { older_than = 2 * 3600 })[1].action)
    assert.same({}, helper.names(box.base))
    deploy.remove(env, "svc")
    interrupt()
    assert.equal("removed", gc.run(env)[1].action)
    assert.same({}, helper.names(box.base))
  end)

  it("removes at once what belongs to no deployment", function()
    interrupt()
    fs.mkdirs(box.state .. "/deployments/ghost/recipes")
    local rows = gc.run(env, { older_than = 3600 })
    assert.same({ "left for now", "removed" }, { rows[1].action, rows[2].action })
  end)

  it("is not what restoring does to an interrupted replacement before a reboot", function()
    run()
    env.observer = function(event)
      if event.type == "step.failed" then
        env.state.db:run "PRAGMA query_only = ON"
      end
    end
    refusal(run, { description = "two", native = { fail = { "ready" } } })
    reopen()
    assert.is_false(service.open(env, "svc"):restore())
    assert.equal("interrupted", state_of())
    env.state.boot_id = "another"
    service.open(env, "svc"):restore()
    assert.equal("running", state_of())
    assert.equal(1, env.state:deployment("svc").revision)
  end)

  it("tries again what could not be undone", function()
    refusal(run, { native = { fail = { "ready", "undo-data" } } })
    assert.equal("failed", gc.run(env)[1].action)
  end)
end)
