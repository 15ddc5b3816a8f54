--- What a sweep finds and does, and what it leaves to others.
local deploy = require "moonport.deploy"
local fs = require "moonport.fs"
local gc = require "moonport.gc"
local helper = assert(
  loadfile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/deploy_helper.lua", "t", _ENV))()
local service = require "moonport.service"

local holds, refusal = helper.holds, helper.refusal

describe("sweeping", function()
  local at = helper.given()
  local run, reopen, state_of = at.run, at.reopen, at.state_of

  it("finds nothing where nothing is left", function()
    run()
    assert.same({}, gc.run(at.env))
    deploy.remove(at.env, "svc")
    assert.same({}, gc.run(at.env))
  end)

  it("takes back a record that the database does not have", function()
    run()
    at.env.state:forget_deployment(at.env.state:deployment "svc")
    assert.equal("would be taken back", gc.run(at.env, { dry = true })[1].action)
    assert.equal("taken back", gc.run(at.env)[1].action)
    assert.equal("running", state_of())
  end)

  it("removes directories without a deployment", function()
    fs.mkdirs(at.box.state .. "/deployments/ghost/recipes")
    assert.equal("removed", gc.run(at.env)[1].action)
    assert.same({}, helper.names(at.box.state .. "/deployments"))
  end)

  -- A deployment that was interrupted with its first step done.
  local function interrupt()
    at.env.observer = function(event)
      if event.type == "step.started" and event.step == "service" then
        at.env.state.db:run "PRAGMA query_only = ON"
      end
    end
    refusal(run)
    reopen()
    assert.equal("interrupted", state_of())
  end

  local function backdate(seconds)
    at.env.state.db:run("UPDATE deployments SET updated = updated - ?", seconds)
  end

  it("leaves what was interrupted a short while ago, where it is told so", function()
    interrupt()
    backdate(3600)
    for _, dry in ipairs { true, false } do
      local rows = gc.run(at.env, { older_than = 2 * 3600, dry = dry })
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
    assert.equal("would be removed",
      gc.run(at.env, { older_than = 2 * 3600, dry = true })[1].action)
    assert.equal("removed", gc.run(at.env, { older_than = 2 * 3600 })[1].action)
    assert.same({}, helper.names(at.box.base))
    deploy.remove(at.env, "svc")
    interrupt()
    assert.equal("removed", gc.run(at.env)[1].action)
    assert.same({}, helper.names(at.box.base))
  end)

  it("removes at once what belongs to no deployment", function()
    interrupt()
    fs.mkdirs(at.box.state .. "/deployments/ghost/recipes")
    local rows = gc.run(at.env, { older_than = 3600 })
    assert.same({ "left for now", "removed" }, { rows[1].action, rows[2].action })
  end)

  it("is not what restoring does to an interrupted replacement before a reboot", function()
    run()
    at.env.observer = function(event)
      if event.type == "step.failed" then
        at.env.state.db:run "PRAGMA query_only = ON"
      end
    end
    refusal(run, { description = "two", native = { fail = { "ready" } } })
    reopen()
    assert.is_false(service.open(at.env, "svc"):restore())
    assert.equal("interrupted", state_of())
    at.env.state.boot_id = "another"
    service.open(at.env, "svc"):restore()
    assert.equal("running", state_of())
    assert.equal(1, at.env.state:deployment("svc").revision)
  end)

  it("tries again what could not be undone", function()
    refusal(run, { native = { fail = { "ready", "undo-data" } } })
    assert.equal("failed", gc.run(at.env)[1].action)
  end)
end)
