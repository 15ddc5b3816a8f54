local deploy = require "moonport.deploy"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/deploy_helper.lua")
local json = require "moonport.json"
local service = require "moonport.service"
local task = require "moonport.task"

local holds, refusal = helper.holds, helper.refusal

describe("deploying", function()
  local box, env

  before_each(function()
    box = helper.sandbox()
    env = helper.open(box)
  end)

  after_each(function()
    env.state:close()
    fs.remove_tree(box.dir)
  end)

  local function run(changes, options)
    return deploy.run(env, helper.manifest(box, changes), options)
  end

  local function reopen()
    env.state:close()
    env = helper.open(box)
  end

  local function events(kind)
    local list = {}
    for _, event in ipairs(env.events) do
      if event.type == kind then
        list[#list + 1] = event.step or event.text
      end
    end
    return list
  end

  local function state_of(name)
    return service.open(env, name or "svc"):status().state
  end

  it("applies the steps in order and tells each, with its duration", function()
    local result = run()
    assert.same({ name = "svc", outcome = "deployed", revision = 1 }, result)
    assert.same({
      "apply data 1",
      "apply file 1",
      "apply service 1",
      "start 1",
      "apply ready 1",
    }, helper.trace(box))
    assert.same({ "data", "file", "service", "ready" }, events "step.done")
    assert.is_number(env.events[2].seconds)
    assert.equal(4, env.events[1].count)
    assert.same({ "waiting for it" }, (function()
      for _, event in ipairs(env.events) do
        if event.type == "progress" then
          return { event.text }
        end
      end
    end)())
    assert.equal("running", state_of())
  end)

  it("an unchanged manifest does nothing", function()
    run()
    helper.trace(box)
    assert.equal("unchanged", run().outcome)
    assert.same({}, helper.trace(box))
  end)

  it("an unchanged manifest of a service that does not run starts it", function()
    run()
    fs.remove(box.base .. "/running")
    helper.trace(box)
    assert.equal("started", run().outcome)
    assert.same({ "start 1" }, helper.trace(box))
  end)

  it("a changed manifest stops the old revision only when the new one takes over", function()
    run()
    helper.trace(box)
    assert.same(
      { name = "svc", outcome = "replaced", revision = 2 },
      run { description = "two" }
    )
    assert.same({
      "apply data 2",
      "apply file 2",
      "stop 1",
      "apply service 2",
      "start 2",
      "apply ready 2",
      "undo service 1",
      "stop 1",
    }, helper.trace(box))
    local id = env.state:deployment("svc").id
    assert.is_true(fs.exists(("%s/%s-2.conf"):format(box.base, id)))
    assert.equal(3, #helper.names(box.base))
    assert.equal("running", state_of())
  end)

  it("a change of a file that counts as part of the manifest replaces the service", function()
    local binary = box.dir .. "/binary"
    fs.write(binary, "one")
    assert.equal("deployed", run({ binary = binary }).outcome)
    assert.equal("unchanged", run({ binary = binary }).outcome)
    fs.write(binary, "two")
    local planned = deploy.plan(env, helper.manifest(box, { binary = binary }))
    assert.equal("replace", planned.outcome)
    assert.equal("binary", planned.fields[1].path)
    assert.equal("replaced", run({ binary = binary }).outcome)
  end)

  it("a changed secret replaces the service, and its value is nowhere in the state", function()
    local path = box.dir .. "/token"
    local env_of = { env = { TOKEN = { ["$secret"] = { file = path } } } }
    fs.write(path, "first-hush-hush")
    run(env_of)
    assert.equal("unchanged", run(env_of).outcome)
    fs.write(path, "second-hush-hush")
    assert.equal("replaced", run(env_of).outcome)
    env.state:close()
    local found = os.execute(("grep -rq hush-hush '%s'"):format(box.state))
    assert.is_nil(found)
    env = helper.open(box)
  end)

  it("that fails undoes in reverse order and explains itself", function()
    local failure = refusal(run, { native = { fail = { "ready" } } })
    assert.is_true(errors.is(failure, "deploy", "failed"))
    assert.equal("`svc` failed at step `ready`", failure.message)
    holds(failure.cause, "told to fail at ready")
    assert.same({
      "apply data 1",
      "apply file 1",
      "apply service 1",
      "start 1",
      "apply ready 1",
      "undo service 1",
      "stop 1",
      "undo data 1",
    }, helper.trace(box))
    assert.same({}, helper.names(box.base))
    assert.same({ "service", "file", "data" }, events "undo.done")
    local record = service.open(env, "svc"):failure()
    assert.equal("ready", record.step)
    assert.same({ "data", "file", "service" }, record.done)
    assert.equal(7, record.diagnosis.exit.code)
    assert.equal("moonport deploy m.lua", record.resume)
    local text = fs.read(env.state:deployment_dir "svc" .. "/failure.txt")
    holds(text, "last words of svc")
    holds(text, "exited with 7")
    holds(text, "to go on: moonport deploy m.lua")
    assert.equal("failed", state_of())
    assert.equal("deployed", run().outcome)
  end)

  it("a new revision that does not become ready goes back to the old one", function()
    run()
    helper.trace(box)
    local failure = refusal(run, { description = "two", native = { fail = { "ready" } } })
    assert.equal("ready", failure.failure.step)
    holds(failure.failure.serving, "revision 1 serves as before")
    assert.same({
      "apply data 2",
      "apply file 2",
      "stop 1",
      "apply service 2",
      "start 2",
      "apply ready 2",
      "undo service 2",
      "stop 2",
      "start 1",
    }, helper.trace(box))
    assert.equal("running", state_of())
    assert.equal("unchanged", run().outcome)
  end)

  it("data goes last when it is removed, also after a revision that failed", function()
    run()
    refusal(run, { description = "two", native = { fail = { "ready" } } })
    run { description = "three" }
    helper.trace(box)
    deploy.remove(env, "svc")
    assert.same({ "undo service 3", "stop 3", "undo data 3" }, helper.trace(box))
  end)

  it("a new revision that fails before it takes over leaves the old one running", function()
    run()
    helper.trace(box)
    refusal(run, { description = "two", native = { fail = { "file" } } })
    assert.same({ "apply data 2", "apply file 2", "start 1" }, helper.trace(box))
    assert.equal("running", state_of())
  end)

  it("tells both errors when undo fails too, and undoes the rest", function()
    local failure = refusal(run, { native = { fail = { "ready", "undo-data" } } })
    holds(failure.message, "1 of its steps could not be undone")
    assert.equal("data", failure.failure.left[1].step)
    holds(failure.failure.left[1].error.message, "told to fail at undo-data")
    holds(failure.failure.left[1].resources[1], box.base .. "/data")
    assert.same({ "data" }, helper.names(box.base))
    local text = fs.read(env.state:deployment_dir "svc" .. "/failure.txt")
    holds(text, "told to fail at ready")
    holds(text, "left over, step `data`")
  end)

  it("what could not be undone keeps rm from forgetting it, unless it is forced", function()
    refusal(run, { native = { fail = { "ready", "undo-data" } } })
    local failure = refusal(deploy.remove, env, "svc")
    assert.is_true(errors.is(failure, "engine", "left"))
    assert.is_not_nil(env.state:deployment "svc")
    deploy.remove(env, "svc", { force = true })
    assert.is_nil(env.state:deployment "svc")
    assert.same({}, helper.rows(env))
  end)

  it("removing undoes everything and leaves no row, file or directory", function()
    run()
    run { description = "two" }
    deploy.remove(env, "svc")
    assert.same({}, helper.names(box.base))
    assert.same({}, helper.rows(env))
    assert.same({}, helper.names(box.state .. "/deployments"))
    assert.equal("not_found", refusal(deploy.remove, env, "svc").code)
  end)

  it("removing something that is not there names the nearest", function()
    run()
    local failure = refusal(deploy.remove, env, "scv")
    assert.equal("did you mean `svc`?", failure.hint)
  end)

  it("a cancelled deployment is undone", function()
    local work = task.contained(run, { native = { hang = true } })
    while not events("step.started")[4] do
      task.sleep(0.01)
    end
    work:cancel()
    local ok, why = pcall(work.await, work)
    assert.is_false(ok)
    assert.is_true(errors.is(why, "task", "cancelled"))
    assert.same({}, helper.names(box.base))
    assert.equal("failed", state_of())
    holds(table.concat(events "notice", "\n"), "interrupted; undoing what was done")
  end)

  it("excludes another command on the same deployment", function()
    local lock = env.state:lock "svc"
    local failure = refusal(run)
    assert.is_true(errors.is(failure, "state", "busy"))
    lock:release()
    assert.equal("deployed", run().outcome)
  end)

  it("of several manifests goes on when one fails", function()
    local list = {}
    for index = 1, 6 do
      local base = ("%s/%d"):format(box.base, index)
      fs.mkdirs(base)
      list[index] = helper.manifest(box, {
        name = "svc-" .. index,
        native = { base = base, fail = index == 3 and { "service" } or nil },
      })
    end
    local results = deploy.many(env, list, { parallel = 4 })
    for index, result in ipairs(results) do
      assert.equal("svc-" .. index, result.name)
      assert.equal(index ~= 3, result.error == nil)
    end
    assert.equal("running", state_of "svc-6")
  end)

  it("of two manifests with one name does nothing", function()
    local list = { helper.manifest(box), helper.manifest(box) }
    assert.equal("usage", refusal(deploy.many, env, list).code)
    assert.same({}, helper.trace(box))
  end)

  it("for a target that is not built in says so", function()
    local loaded = helper.manifest(box)
    loaded.target = "elsewhere"
    local failure = refusal(deploy.run, env, loaded)
    holds(failure.message, "the target `elsewhere` is not available in this build")
  end)

  describe("planning", function()
    it("tells what would be made, unknowns as such, and changes nothing", function()
      local planned = deploy.plan(env, helper.manifest(box))
      assert.equal("create", planned.outcome)
      assert.is_true(planned.changes)
      assert.same({
        { step = "data", action = "create", what = box.base .. "/data" },
        { step = "file", action = "create", what = "(known after data)/conf" },
        { step = "service", action = "maybe", what = "the service" },
        { step = "ready", action = "maybe", what = "ready" },
      }, planned.steps)
      assert.same({}, helper.trace(box))
      assert.same({}, helper.rows(env))
      assert.same({}, helper.names(box.state .. "/deployments"))
    end)

    it("of what is as wanted has no change", function()
      run()
      local planned = deploy.plan(env, helper.manifest(box))
      assert.equal("unchanged", planned.outcome)
      assert.is_false(planned.changes)
      assert.is_false(planned.recipe_changed)
    end)

    it("of a changed manifest shows the fields that differ", function()
      run()
      local planned = deploy.plan(env, helper.manifest(box, { description = "two" }))
      assert.equal("replace", planned.outcome)
      assert.same({ { path = "description", from = "one", to = "two" } }, planned.fields)
      assert.equal("keep", planned.steps[1].action)
    end)

    it("refuses a step that tries to act, naming the step and the call", function()
      local path = box.site .. "/recipes/targets/native.lua"
      local text = fs.read(path):gsub("plan = function%(ctx%)\n", "%0 fs.write('/tmp/x', 'x')\n", 1)
      fs.write(path, text)
      reopen()
      local failure = refusal(deploy.plan, env, helper.manifest(box))
      assert.is_true(errors.is(failure, "plan", "refused"))
      holds(failure, "the plan of step `data`")
      holds(failure, "fs.write")
    end)

    it("asks hooks that may veto, and shows those that would act", function()
      fs.write(box.site .. "/hooks.lua", [[
on("deploy.before", function(event)
  if event.manifest.description == "no" then error "vetoed" end
  os.remove "/nonexistent/x"
end)]])
      reopen()
      holds(refusal(deploy.plan, env, helper.manifest(box, { description = "no" })), "vetoed")
      local planned = deploy.plan(env, helper.manifest(box))
      assert.equal("deploy.before", planned.steps[1].step)
      assert.equal("maybe", planned.steps[1].action)
      holds(planned.steps[1].what, "os.remove")
    end)
  end)

  describe("hooks", function()
    local function with_hooks(text)
      fs.write(box.site .. "/hooks.lua", text)
      reopen()
    end

    it("run around the deployment and its steps", function()
      with_hooks(([[
local fs = require "moonport.fs"
for _, name in ipairs { "deploy.before", "step.before", "step.after", "deploy.after",
  "rm.before", "undo.before", "undo.after", "rm.after" } do
  on(name, function(event)
    fs.append("%s.trace", name .. " " .. (event.step or event.deployment) .. "\n")
  end)
end]]):format(box.base))
      run()
      assert.same({
        "deploy.before svc",
        "step.before data",
        "apply data 1",
        "step.after data",
      }, { table.unpack(helper.trace(box), 1, 4) })
      deploy.remove(env, "svc")
      assert.same({
        "rm.before svc",
        "undo.before svc",
        "undo service 1",
        "stop 1",
        "undo data 1",
        "undo.after svc",
        "rm.after svc",
      }, helper.trace(box))
    end)

    it("that veto a step undo the deployment", function()
      with_hooks [[on("step.after", function(event)
        if event.step == "file" then error "not this one" end
      end)]]
      local failure = refusal(run)
      assert.equal("file", failure.failure.step)
      holds(failure.cause, "hooks.lua:1) refused")
      assert.same({}, helper.names(box.base))
    end)

    it("that veto the deployment let nothing be done", function()
      with_hooks [[on("deploy.before", function() error "not on Fridays" end)]]
      local failure = refusal(run)
      assert.is_true(errors.is(failure, "hook", "refused"))
      holds(failure, "not on Fridays")
      assert.same({}, helper.trace(box))
      assert.same({}, helper.rows(env))
    end)

    it("that fail where they cannot veto are warnings", function()
      with_hooks [[on("undo.after", function() error "too late" end)]]
      run()
      deploy.remove(env, "svc")
      holds(table.concat(events "warning", "\n"), "too late")
    end)

    it("of the time of deployment run at its removal", function()
      with_hooks(([[on("rm.after", function()
        require("moonport.fs").append("%s.trace", "then\n")
      end)]]):format(box.base))
      run()
      with_hooks [[on("rm.after", function() error "now" end)]]
      deploy.remove(env, "svc")
      local lines = helper.trace(box)
      assert.equal("then", lines[#lines])
    end)
  end)

  describe("undo after the recipes have changed", function()
    local function replace_recipe(text)
      fs.write(box.site .. "/recipes/targets/native.lua", text)
      reopen()
    end

    it("uses the copies that were kept", function()
      run()
      replace_recipe "return recipe.define { name = 'targets.native', steps = {} }"
      helper.trace(box)
      deploy.remove(env, "svc")
      assert.same({ "undo service 1", "stop 1", "undo data 1" }, helper.trace(box))
      assert.same({}, helper.names(box.base))
    end)

    it("removes what was recorded by kind where the copy no longer loads, and says so", function()
      run()
      local dir = env.state:deployment_dir "svc" .. "/recipes"
      for _, entry in ipairs(fs.list(dir)) do
        fs.write(dir .. "/" .. entry.name, "this is not Lua")
      end
      deploy.remove(env, "svc")
      holds(table.concat(events "warning", "\n"), "no longer loads")
      -- `running` was never recorded, so only that can be left.
      assert.same({ "running" }, helper.names(box.base))
      assert.same({}, helper.rows(env))
    end)
  end)

  describe("history", function()
    it("lists revisions with what changed, and rollback goes back with the old recipe", function()
      run()
      run { description = "two" }
      local list = deploy.history(env, "svc")
      assert.equal(2, #list)
      assert.same({ 2, "active", true }, { list[1].number, list[1].state, list[1].serving })
      assert.same({ { path = "description", from = "one", to = "two" } }, list[1].fields)
      assert.same({ 1, "retired" }, { list[2].number, list[2].state })
      fs.write(box.site .. "/recipes/targets/native.lua", "broken(")
      helper.trace(box)
      local result = deploy.rollback(env, "svc")
      assert.same({ name = "svc", outcome = "replaced", revision = 3 }, result)
      assert.equal("apply data 3", helper.trace(box)[1])
      local id = env.state:deployment("svc").id
      assert.equal("one", fs.read(("%s/%s-3.conf"):format(box.base, id)))
      assert.equal("rollback to 1", deploy.history(env, "svc")[1].note)
    end)

    it("keeps a bounded number of revisions", function()
      for index = 1, 14 do
        run { description = tostring(index) }
      end
      local list = deploy.history(env, "svc")
      assert.equal(10, #list)
      assert.equal(14, list[1].number)
    end)

    it("without an earlier revision says so", function()
      run()
      holds(refusal(deploy.rollback, env, "svc"), "has no earlier revision")
      local failure = refusal(deploy.rollback, env, "svc", 9)
      holds(failure, "has no revision 9")
      assert.equal("there are: 1", failure.hint)
    end)
  end)

  describe("the service handle", function()
    it("stops and starts, and remembers what is wanted", function()
      run()
      local svc = service.open(env, "svc")
      svc:stop()
      assert.equal("stopped", svc:status().state)
      assert.equal("stopped", svc:status().want)
      assert.is_false(svc:restore())
      svc:start()
      assert.equal("running", svc:status().state)
      svc:restart()
      local types = {}
      for index, event in ipairs(svc:events()) do
        types[index] = event.type
      end
      assert.same({ "deployed", "stopped", "started", "restarted" }, types)
    end)

    it("restores what was running before a reboot", function()
      run()
      fs.remove(box.base .. "/running")
      assert.is_true(service.open(env, "svc"):restore())
      assert.equal("running", state_of())
    end)

    it("says which verb a target lacks", function()
      run()
      local failure = refusal(service.open(env, "svc").forward, service.open(env, "svc"), 80)
      holds(failure, "the target `native` cannot forward")
    end)

    it("explains values from the manifest of the time", function()
      run()
      local chain = service.open(env, "svc"):explain "description"
      assert.equal("manifest", chain[1].layer)
    end)
  end)

  it("writes a record that is whole JSON", function()
    run()
    local record = json.decode(fs.read(env.state:deployment_dir "svc" .. "/record.json"))
    assert.equal(env.state.uuid, record.store)
    assert.equal(4, #record.journal)
  end)
end)
