--- A failure while nothing can be written: what is told, and what a later command finds.
local deploy = require "moonport.deploy"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local gc = require "moonport.gc"
local helper = assert(
  loadfile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/deploy_helper.lua", "t", _ENV))()
local process = require "moonport.process"
local sys = require "moonport.sys"

local holds, refusal = helper.holds, helper.refusal

describe("where the state cannot be written, deploying", function()
  local at = helper.given()
  local run, reopen, state_of = at.run, at.reopen, at.state_of

  -- From the moment at which something is told of a step.
  local function on(what, step, fn)
    local told = at.env.observer
    function at.env.observer(event)
      told(event)
      if event.type == what and event.step == step then
        fn()
      end
    end
  end

  local function failing_at(step)
    return helper.manifest(at.box, { native = { fail = { step } } })
  end

  local function refuse_writes()
    at.env.state.db:run "PRAGMA query_only = ON"
  end

  -- The step's own failure, and why nothing was undone.
  local function check_told(failure, step, why)
    assert.is_true(errors.is(failure, "deploy", "failed"), tostring(failure))
    holds(failure.cause, "told to fail at " .. step)
    holds(failure, ("`svc` failed at step `%s`; undoing it stopped: "):format(step))
    holds(failure, why)
    local text = require("moonport.failure").text(failure.failure)
    holds(text, "told to fail at " .. step)
    holds(text, "undoing it stopped: ")
    holds(text, "last words of svc")
  end

  for _, step in ipairs { "data", "file", "service", "ready" } do
    it(("tells why step `%s` failed, and rm undoes it later"):format(step), function()
      on("step.failed", step, refuse_writes)
      check_told(refusal(deploy.run, at.env, failing_at(step)), step, "readonly")
      reopen()
      assert.equal("interrupted", state_of())
      deploy.remove(at.env, "svc")
      assert.same({}, helper.names(at.box.base))
      assert.same({}, helper.rows(at.env))
    end)

    it(("tells why step `%s` failed, and gc undoes it later"):format(step), function()
      on("step.failed", step, refuse_writes)
      refusal(deploy.run, at.env, failing_at(step))
      reopen()
      assert.equal("removed", gc.run(at.env)[1].action)
      assert.same({}, helper.names(at.box.base))
    end)
  end

  it("goes on later with what it is told to deploy again", function()
    on("step.started", "ready", refuse_writes)
    local failure = refusal(run)
    holds(failure, "failed at step `ready`")
    holds(failure.cause, "readonly")
    reopen()
    assert.equal("resumed", deploy.run(at.env, helper.manifest(at.box)).outcome)
    assert.equal("running", state_of())
  end)

  it("leaves the revision that served to a later command, which starts it", function()
    run()
    on("step.failed", "ready", refuse_writes)
    refusal(run, { description = "two", native = { fail = { "ready" } } })
    reopen()
    assert.equal("removed", gc.run(at.env)[1].action)
    assert.equal("running", state_of())
    assert.equal(1, at.env.state:deployment("svc").revision)
  end)

  it("for want of room tells both, and goes on when there is some", function()
    local small = at.box.dir .. "/small"
    fs.mkdirs(small)
    local mount = { "mount", "-t", "tmpfs", "-o", "size=1m", "none", small }
    if sys.euid() ~= 0 or not try(process.run, mount) then
      return pending "no tmpfs can be mounted"
    end
    at.env.state:close()
    at.box.state = small .. "/state"
    at.env = helper.open(at.box)
    on("step.failed", "ready", function()
      local file <close> = assert(io.open(small .. "/filler", "w"))
      file:setvbuf "no"
      for size = 16, 0, -1 do
        while file:write(("x"):rep(1 << size)) do end
      end
    end)
    check_told(refusal(deploy.run, at.env, failing_at "ready"), "ready", "full")
    at.env.state:close()
    fs.remove(small .. "/filler")
    at.env = helper.open(at.box)
    deploy.remove(at.env, "svc")
    assert.same({}, helper.names(at.box.base))
    at.env.state:close()
    process.run { "umount", small }
    at.box.state = at.box.dir .. "/state"
    at.env = helper.open(at.box)
  end)
end)
