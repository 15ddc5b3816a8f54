local session = require "moonport.core.session"
local task = require "moonport.task"

local function closing(fn) return setmetatable({}, { __close = fn }) end

-- Runs `fn` in a session; gives what it returned and the errors of background tasks.
local function in_session(fn)
  local failed = {}
  local result = task.scope(function()
    session.begin(function(err) failed[#failed + 1] = err end)
    local _ <close> = closing(session.finish)
    return fn()
  end)
  return result, failed
end

-- Compiles as the prompt does, and runs it as a line.
local function line(source, env)
  local fn = assert(load(source, session.CHUNK, "t", setmetatable(env or {}, { __index = _G })))
  return session.line(fn):await()
end

describe("a session", function()
  it("keeps what a line spawned running after the line", function()
    local ended
    in_session(function()
      local handle = line("return task.spawn(function() task.sleep(0.02) done() end)", {
        task = task, done = function() ended = true end,
      })
      assert.is_nil(ended)
      assert.same({ handle }, session.tasks())
      handle:await()
    end)
    assert.is_true(ended)
  end)

  it("reports a failed background task and cancels nothing", function()
    local other, failed
    other, failed = in_session(function()
      local handle = line([[
        local handle = task.spawn(task.sleep, 0.02)
        task.spawn(error, "broken", 0)
        return handle
      ]], { task = task })
      task.sleep(0)
      handle:await()
      return handle:status()
    end)
    assert.equal("done", other)
    assert.same({ "broken" }, failed)
  end)

  it("lets a line wait for what the modules that it calls have spawned", function()
    in_session(function()
      local ended = 0
      local function work()
        task.sleep(0.01)
        ended = ended + 1
      end
      line("task.all { work, work } module()", {
        task = task, work = work, module = function() task.spawn(work) end,
      })
      assert.equal(3, ended)
      assert.same({}, session.tasks())
    end)
  end)

  it("shows the error of a line only to whoever awaits it", function()
    local _, failed = in_session(function()
      local ok, err = pcall(line, "error('typo', 0)")
      assert.is_false(ok)
      assert.equal("typo", err)
    end)
    assert.same({}, failed)
  end)

  it("cancels a line and what it waits for", function()
    local closed
    in_session(function()
      local handle = session.line(assert(load("task.scope(work)", session.CHUNK, "t", {
        task = task,
        work = function()
          local _ <close> = closing(function() closed = true end)
          task.sleep(60)
        end,
      })))
      task.sleep(0)
      task.sleep(0)
      handle:cancel()
      pcall(handle.await, handle)
      assert.equal("cancelled", handle:status())
    end)
    assert.is_true(closed)
  end)

  it("is one at a time", function()
    in_session(function()
      local ok, err = pcall(session.begin, print)
      assert.is_false(ok)
      assert.equal("busy", err.code)
    end)
    assert.is_false((pcall(session.tasks)))
  end)
end)
