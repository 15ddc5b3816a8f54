--- moonport is killed at every boundary of every step; the next command must finish or undo.
local deploy = require "moonport.deploy"
local fs = require "moonport.fs"
local gc = require "moonport.gc"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/deploy_helper.lua")
local process = require "moonport.process"
local service = require "moonport.service"

local DRIVER = os.getenv "MP_SOURCE_DIR" .. "/tests/fixtures/engine/driver.lua"

local STEPS = { "data", "file", "service", "ready" }
local WHILE_APPLYING = {
  "journal.after_intent",
  "step.after_apply",
  "journal.after_result",
}
local WHILE_UNDOING = { "step.after_undo", "journal.before_undone", "journal.after_undone" }

-- Every point at which a first deployment can die, in the order in which it comes to them.
local function points_of_deploy()
  local points = { "deploy.after_row:deploy", "deploy.after_revision:deploy" }
  for _, step in ipairs(STEPS) do
    for _, point in ipairs(WHILE_APPLYING) do
      points[#points + 1] = point .. ":" .. step
    end
  end
  points[#points + 1] = "deploy.before_switch:deploy"
  points[#points + 1] = "deploy.after_switch:deploy"
  return points
end

local function points_of_undo()
  local points = {}
  for index = #STEPS, 1, -1 do
    for _, point in ipairs(WHILE_UNDOING) do
      points[#points + 1] = point .. ":" .. STEPS[index]
    end
  end
  return points
end

local function points_of_remove()
  local points = points_of_undo()
  points[#points + 1] = "remove.before_directory:remove"
  points[#points + 1] = "remove.after_directory:remove"
  return points
end

describe("moonport killed with SIGKILL", function()
  local box, env

  before_each(function()
    box = helper.sandbox()
  end)

  after_each(function()
    if env then
      env.state:close()
      env = nil
    end
    fs.remove_tree(box.dir)
  end)

  -- Runs one command in a process that dies at `point`. The point must be met.
  local function die_at(point, verb, subject)
    local command = ("MOONPORT_FAILPOINT='%s' exec '%s' run '%s' '%s' '%s' %s '%s'"):format(
      point,
      os.getenv "MOONPORT",
      DRIVER,
      box.state,
      box.site,
      verb,
      subject
    )
    local _, how, number = os.execute(command .. " >'" .. box.dir .. "/out' 2>&1")
    if how ~= "signal" and number ~= 137 then
      error(("did not die at %s: %s"):format(point, fs.read(box.dir .. "/out")), 2)
    end
  end

  local function open()
    env = helper.open(box)
    return env
  end

  local function assert_nothing_left(point)
    assert.same({}, helper.names(box.base), point)
    assert.same({}, helper.rows(env), point)
    assert.same({}, helper.names(box.state .. "/deployments"), point)
    assert.same({}, gc.run(env), point)
    assert.same({ ".shared", ".store" }, helper.names(box.state .. "/locks"), point)
  end

  local function forget()
    env.state:close()
    env = nil
    for _, name in ipairs { box.state, box.base } do
      fs.remove_tree(name)
    end
    fs.mkdirs(box.base)
    helper.trace(box)
  end

  -- What a read-only command sees after a death; it must change nothing.
  local function assert_interrupted(point)
    local before = helper.names(box.base)
    local status = service.open(env, "svc"):status()
    -- After the switch the revision serves; only what was before it is still to be retired.
    if not point:find "after_switch" then
      assert.equal("interrupted", status.state, point)
      assert.is_string(status.hint)
    end
    assert.same(before, helper.names(box.base), point)
  end

  it("anywhere while deploying: deploying again completes, and nothing is left after rm", function()
    for _, point in ipairs(points_of_deploy()) do
      die_at(point, "deploy", helper.write_manifest(box))
      open()
      assert_interrupted(point)
      local loaded = require("moonport.manifest").load(helper.write_manifest(box))
      deploy.run(env, loaded)
      assert.equal("running", service.open(env, "svc"):status().state, point)
      assert.equal("unchanged", deploy.run(env, loaded).outcome, point)
      deploy.remove(env, "svc")
      assert_nothing_left(point)
      forget()
    end
  end)

  it("anywhere while deploying: rm undoes it", function()
    for _, point in ipairs(points_of_deploy()) do
      die_at(point, "deploy", helper.write_manifest(box))
      open()
      deploy.remove(env, "svc")
      assert_nothing_left(point)
      forget()
    end
  end)

  it("anywhere while deploying: gc undoes it", function()
    for _, point in ipairs(points_of_deploy()) do
      die_at(point, "deploy", helper.write_manifest(box))
      open()
      local rows = gc.run(env)
      if point:find "after_switch" then
        deploy.remove(env, "svc")
      else
        assert.equal("removed", rows[1].action, point)
      end
      assert_nothing_left(point)
      forget()
    end
  end)

  it("while deploying: gc tells what it could not undo", function()
    die_at("step.after_apply:service", "deploy",
      helper.write_manifest(box, { native = { fail = { "undo-data" } } }))
    open()
    local row = gc.run(env)[1]
    assert.equal("failed", row.action)
    assert.matches("told to fail at undo%-data", tostring(row.error))
    deploy.remove(env, "svc", { force = true })
  end)

  it("anywhere while deploying: a changed manifest undoes it first", function()
    for _, point in ipairs { "journal.after_intent:file", "step.after_apply:service" } do
      die_at(point, "deploy", helper.write_manifest(box))
      open()
      local planned = deploy.plan(env, helper.manifest(box, { description = "two" }))
      assert.equal("settle", planned.outcome)
      deploy.run(env, helper.manifest(box, { description = "two" }))
      local names = helper.names(box.base)
      assert.equal(3, #names)
      assert.equal("running", service.open(env, "svc"):status().state)
      deploy.remove(env, "svc")
      assert_nothing_left(point)
      forget()
    end
  end)

  it("anywhere while removing: rm again completes", function()
    for _, point in ipairs(points_of_remove()) do
      open()
      deploy.run(env, helper.manifest(box))
      env.state:close()
      die_at(point, "rm", "svc")
      open()
      assert_interrupted(point)
      deploy.remove(env, "svc")
      assert_nothing_left(point)
      forget()
    end
  end)

  it("anywhere while removing: gc completes", function()
    for _, point in ipairs(points_of_remove()) do
      open()
      deploy.run(env, helper.manifest(box))
      env.state:close()
      die_at(point, "rm", "svc")
      open()
      assert.equal("removed", gc.run(env)[1].action, point)
      assert_nothing_left(point)
      forget()
    end
  end)

  it("anywhere while replacing: the new revision or the old one serves", function()
    local points = points_of_deploy()
    table.remove(points, 1)
    for index, point in ipairs(points) do
      open()
      deploy.run(env, helper.manifest(box))
      env.state:close()
      local changes = { description = "two" }
      die_at(point, "deploy", helper.write_manifest(box, changes))
      open()
      -- By turns: go on with the new one, and go back to the old one.
      if index % 2 == 0 or point:find "after_switch" then
        local path = helper.write_manifest(box, changes)
        deploy.run(env, require("moonport.manifest").load(path))
        assert.equal(2, env.state:deployment("svc").revision, point)
      else
        gc.run(env)
        assert.equal(1, env.state:deployment("svc").revision, point)
      end
      assert.equal("running", service.open(env, "svc"):status().state, point)
      assert.equal(3, #helper.names(box.base), point)
      deploy.remove(env, "svc")
      assert_nothing_left(point)
      forget()
    end
  end)

  it("anywhere while undoing a failure: the next command goes on", function()
    for _, point in ipairs(points_of_undo()) do
      local path = helper.write_manifest(box, { native = { fail = { "ready" } } })
      die_at(point, "deploy", path)
      open()
      assert_interrupted(point)
      deploy.remove(env, "svc")
      assert_nothing_left(point)
      forget()
    end
  end)

  -- Starts a deployment that never gets ready, and waits until it is at its last step.
  local function spawn_hanging()
    local path = helper.write_manifest(box, { native = { hang = true } })
    local child = process.spawn {
      os.getenv "MOONPORT",
      "run",
      DRIVER,
      box.state,
      box.site,
      "deploy",
      path,
      stderr = "stdout",
    }
    local watch <close> = fs.watch(box.dir)
    while not (fs.exists(box.base .. ".trace") and fs.read(box.base .. ".trace"):find "ready") do
      watch:next()
    end
    return child
  end

  it("interrupted instead, it undoes and exits with 130", function()
    local child <close> = spawn_hanging()
    child:kill "SIGINT"
    assert.equal(130, child:wait().code)
    open()
    assert.equal("failed", service.open(env, "svc"):status().state)
    assert.same({}, helper.names(box.base))
    deploy.remove(env, "svc")
    assert_nothing_left "interrupted"
  end)

  it("lets go of its lock", function()
    die_at("step.after_apply:file", "deploy", helper.write_manifest(box))
    open()
    assert.is_false(env.state:is_locked "svc")
  end)
end)
