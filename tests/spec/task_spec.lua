local task = require "moonport.task"
local errors = require "moonport.errors"

local function closing(fn)
  return setmetatable({}, { __close = fn })
end

describe("task", function()
  it("runs children at the same time and returns their results in order", function()
    local order = {}
    local results = task.all {
      function()
        task.sleep(0.02)
        order[#order + 1] = "slow"
        return 1
      end,
      function()
        order[#order + 1] = "fast"
        return 2
      end,
    }
    assert.same({ 1, 2, n = 2 }, results)
    assert.same({ "fast", "slow" }, order)
  end)

  it("passes arguments in and all results out", function()
    local handle = task.spawn(function(a, b) return b, a, nil end, 1, 2)
    assert.same({ n = 3, 2, 1, nil }, table.pack(handle:await()))
    assert.equal("done", handle:status())
  end)

  it("raises a child's error where it is awaited", function()
    local ok, err = pcall(task.scope, function()
      local handle = task.spawn(function() error({ mine = true }) end)
      handle:await()
    end)
    assert.is_false(ok)
    assert.is_true(err.mine)
  end)

  it("raises an unawaited child's error in the parent and cancels the siblings", function()
    local sibling
    local ok, err = pcall(task.scope, function()
      sibling = task.spawn(function() task.sleep(60) end)
      task.spawn(function() error("child broke", 0) end)
      task.sleep(60)
    end)
    assert.is_false(ok)
    assert.equal("child broke", err)
    assert.equal("cancelled", sibling:status())
  end)

  it("ends only after its children have ended", function()
    local ended = false
    task.scope(function()
      task.spawn(function()
        task.sleep(0.02)
        ended = true
      end)
    end)
    assert.is_true(ended)
  end)

  it("has ended before what its caller holds is closed, also on a cancel", function()
    local order = {}
    local function noting(what, seconds)
      return setmetatable({}, { __close = function()
        if seconds then task.shield(5, task.sleep, seconds) end
        order[#order + 1] = what
      end })
    end
    for _, run in ipairs {
      function(fn) task.scope(fn) end,
      function(fn) task.all { fn } end,
      function(fn) task.map({ 1 }, 1, fn) end,
      function(fn) task.timeout(60, fn) end,
      function(fn) task.read_only(fn) end,
    } do
      order = {}
      local handle = task.contained(function()
        local held <close> = noting("caller") -- luacheck: ignore held
        run(function()
          local inner <close> = noting("inside", 0.02) -- luacheck: ignore inner
          task.sleep(60)
        end)
      end)
      task.sleep(0)
      handle:cancel()
      pcall(handle.await, handle)
      assert.same({ "inside", "caller" }, order)
    end
  end)

  it("fails when a child fails after its own function has ended", function()
    local ok, err = pcall(task.scope, function()
      task.spawn(function()
        task.sleep(0.01)
        error("late", 0)
      end)
    end)
    assert.same({ false, "late" }, { ok, err })
  end)

  it("is not kept from its cancel by pcall, xpcall or try", function()
    local reached = {}
    local handle = task.contained(function()
      pcall(function()
        try(function() xpcall(task.sleep, debug.traceback, 60) end)
      end)
      reached[#reached + 1] = "after"
    end)
    task.sleep(0)
    handle:cancel()
    local ok, err = pcall(handle.await, handle)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "task", "cancelled"))
    assert.same({}, reached)
  end)

  it("is cancelled at once where its function has tail-called another", function()
    local function waits() return task.sleep(60) end
    local handle = task.contained(function() return waits() end)
    task.sleep(0)
    handle:cancel()
    -- Taken for a <close> handler, it would have been given the time that these have.
    local ok, err = pcall(task.timeout, task.close_timeout() / 2, handle.await, handle)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "task", "cancelled"))
  end)

  it("runs <close> handlers on cancel, also where they wait", function()
    local closed = {}
    local handle = task.contained(function()
      local _ <close> = closing(function()
        task.sleep(0.01)
        closed[#closed + 1] = "outer"
      end)
      local _ <close> = closing(function()
        task.sleep(0.01)
        closed[#closed + 1] = "inner"
      end)
      task.sleep(60)
    end)
    task.sleep(0)
    handle:cancel()
    pcall(handle.await, handle)
    assert.same({ "inner", "outer" }, closed)
    assert.equal("cancelled", handle:status())
  end)

  it("lets a <close> handler on the ordinary way out finish before a cancel is raised", function()
    local closed, after = false, false
    local handle = task.contained(function()
      do
        local _ <close> = closing(function()
          task.sleep(0.03)
          closed = true
        end)
      end
      task.sleep(60)
      after = true
    end)
    task.sleep(0.01)
    handle:cancel()
    pcall(handle.await, handle)
    assert.is_true(closed)
    assert.is_false(after)
  end)

  it("lets a <close> handler that an error runs finish before a cancel is raised", function()
    local closed, after = false, false
    local handle = task.contained(function()
      pcall(function()
        local _ <close> = closing(function()
          task.sleep(0.03)
          closed = true
        end)
        error("boom")
      end)
      task.sleep(60)
      after = true
    end)
    task.sleep(0.01)
    handle:cancel()
    pcall(handle.await, handle)
    assert.is_true(closed)
    assert.is_false(after)
  end)

  it("gives <close> handlers a deadline once cancelled", function()
    local before = task.close_timeout(0.05)
    local handle = task.contained(function()
      local _ <close> = closing(function() task.sleep(60) end)
      task.sleep(60)
    end)
    task.sleep(0)
    handle:cancel()
    pcall(handle.await, handle)
    task.close_timeout(before)
    assert.equal("cancelled", handle:status())
  end)

  it("delivers a result that came before the cancel, so that nothing acquired is lost", function()
    local got
    local event = task.event()
    local handle = task.contained(function()
      event:wait()
      got = "acquired"
      task.sleep(60)
    end)
    task.sleep(0)
    event:set()
    handle:cancel()
    pcall(handle.await, handle)
    assert.equal("acquired", got)
  end)

  it("shields a function from the cancel of its caller", function()
    local done = false
    local handle = task.contained(function()
      task.shield(5, function()
        task.sleep(0.03)
        done = true
      end)
      task.sleep(60)
    end)
    task.sleep(0)
    handle:cancel()
    pcall(handle.await, handle)
    assert.is_true(done)
  end)

  it("ends what takes too long and says so", function()
    local ok, err = pcall(task.timeout, 0.01, function() task.sleep(60) end)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "task", "timeout"))
    assert.equal("quick", task.timeout(5, function() return "quick" end))
  end)

  it("lets the first of a race win and cancels the others", function()
    local lost = false
    local value, index = task.race {
      function()
        local _ <close> = closing(function() lost = true end)
        task.sleep(60)
      end,
      function()
        task.sleep(0.01)
        return "won"
      end,
    }
    assert.same({ "won", 2, true }, { value, index, lost })
  end)

  it("maps with a limit on how many run at the same time", function()
    local running, most = 0, 0
    local list = {}
    for i = 1, 20 do list[i] = i end
    local results = task.map(list, 3, function(n)
      running = running + 1
      most = math.max(most, running)
      task.sleep(0.001)
      running = running - 1
      return n * n
    end)
    assert.equal(3, most)
    assert.equal(400, results[20])
  end)

  it("runs ten thousand tasks at once", function()
    local sum = 0
    task.scope(function()
      for i = 1, 10000 do
        task.spawn(function()
          task.sleep(0.01)
          sum = sum + i
        end)
      end
    end)
    assert.equal(50005000, sum)
  end)

  it("waits inside a script's own coroutines", function()
    local generator = coroutine.wrap(function()
      for i = 1, 3 do
        task.sleep(0.001)
        coroutine.yield(i)
      end
    end)
    assert.same({ 1, 2, 3 }, { generator(), generator(), generator() })
    local co = coroutine.create(function(a)
      local inner = coroutine.wrap(function()
        task.sleep(0.001)
        return a + 1
      end)
      return inner()
    end)
    assert.same({ true, 2 }, { coroutine.resume(co, 1) })
    assert.equal("dead", coroutine.status(co))
  end)

  it("refuses to resume a coroutine that waits in another task", function()
    local co = coroutine.create(function()
      task.sleep(0.02)
      return "result"
    end)
    local handle = task.spawn(function() return select(2, coroutine.resume(co)) end)
    task.sleep(0)
    local ok, err = coroutine.resume(co)
    assert.is_false(ok)
    assert.equal("cannot resume non-suspended coroutine", err)
    assert.equal("result", handle:await())
  end)

  it("names the function in which Lua cannot wait", function()
    local ok, err = pcall(table.sort, { 1, 2, 3 }, function() task.sleep(0) end)
    assert.is_false(ok)
    assert.equal("cannot_wait", err.code)
    local message = "`task.sleep` waits, and Lua cannot wait inside `table.sort`"
    assert.equal(message, err.message)
    ok, err = pcall(string.gsub, "a", "a", function() task.sleep(0) end)
    assert.is_false(ok)
    assert.truthy(err.message:find("inside `string.gsub`", 1, true))
  end)

  it("reports the line of the script in an error", function()
    local ok, err = pcall(task.sleep, -1)
    assert.is_false(ok)
    assert.truthy(err.where:match("task_spec.lua:%d+$"))
  end)

  it("does not let anybody resume or close the coroutine of a task", function()
    local co
    local handle = task.spawn(function()
      co = coroutine.running()
      task.sleep(0.01)
      return "whole"
    end)
    task.sleep(0)
    assert.equal("normal", coroutine.status(co))
    local resumed, why = coroutine.resume(co)
    assert.is_false(resumed)
    assert.equal("cannot resume non-suspended coroutine", why)
    assert.is_false((pcall(coroutine.close, co)))
    assert.equal("whole", handle:await())
    assert.equal("dead", coroutine.status(co))
  end)

  it("refuses to wait where a coroutine around this one cannot be suspended", function()
    local ok, err = pcall(table.sort, { 1, 2 }, function()
      coroutine.wrap(function() task.sleep(0.001) end)()
    end)
    assert.is_false(ok)
    assert.equal("`task.sleep` waits, and Lua cannot wait inside `table.sort`", err.message)
    task.sleep(0.002)
  end)

  it("runs __close handlers that wait in a script's own coroutine when it is cancelled", function()
    for _, call in ipairs { coroutine.resume, function(co) coroutine.wrap(function()
      coroutine.resume(co)
    end)() end } do
      local closed
      local handle = task.contained(function()
        call(coroutine.create(function()
          local _ <close> = closing(function()
            task.sleep(0.001)
            closed = true
          end)
          task.sleep(60)
        end))
      end)
      task.sleep(0)
      handle:cancel()
      pcall(handle.await, handle)
      assert.is_true(closed)
      assert.equal("cancelled", handle:status())
    end
  end)

  it("shields a __close handler that waits in a coroutine of its own", function()
    local ended
    local handle = task.contained(function()
      local _ <close> = closing(function()
        coroutine.wrap(function()
          coroutine.wrap(function() task.sleep(0.02) end)()
        end)()
        ended = true
      end)
    end)
    task.sleep(0)
    handle:cancel()
    pcall(handle.await, handle)
    assert.is_true(ended)
  end)

  it("lets no message handler and no failing __close turn a cancel into another error", function()
    local rounds = 0
    local function attempt() task.sleep(60) end
    local swallowers = {
      function() xpcall(attempt, function(err) return "failed: " .. tostring(err) end) end,
      function() xpcall(attempt, function() error("handler broke") end) end,
      function()
        pcall(function()
          local _ <close> = closing(function() error("close broke") end)
          attempt()
        end)
      end,
      function()
        coroutine.resume(coroutine.create(function()
          local _ <close> = closing(function() error("close broke") end)
          attempt()
        end))
      end,
    }
    for _, swallow in ipairs(swallowers) do
      local handle = task.contained(function()
        for _ = 1, 3 do
          swallow()
          rounds = rounds + 1
        end
      end)
      task.sleep(0)
      handle:cancel()
      pcall(handle.await, handle)
      assert.equal("cancelled", handle:status())
    end
    assert.equal(0, rounds)
  end)

  it("lets __close handlers catch their own errors while a cancel passes", function()
    local caught = {}
    local handle = task.contained(function()
      local _ <close> = closing(function()
        caught.pcall = select(2, pcall(error, "one", 0))
        caught.try = select(2, try(error, "two", 0))
        local co = coroutine.create(function() error("three", 0) end)
        caught.resume = select(2, coroutine.resume(co))
      end)
      task.sleep(60)
    end)
    task.sleep(0)
    handle:cancel()
    pcall(handle.await, handle)
    assert.same({ pcall = "one", try = "two", resume = "three" }, caught)
  end)

  it("cancels tasks that are nested deep", function()
    local deepest
    local function nest(n)
      if n > 0 then return task.spawn(nest, n - 1):await() end
      deepest = task.current()
      task.sleep(60)
    end
    local handle = task.contained(nest, 5000)
    while not deepest do task.sleep(0) end
    handle:cancel()
    pcall(handle.await, handle)
    assert.equal("cancelled", deepest:status())
  end)

  it("refuses to await a task that it is part of", function()
    local err
    task.scope(function()
      local parent = task.current()
      task.spawn(function() err = select(2, pcall(parent.await, parent)) end)
    end)
    assert.equal("invalid", err.code)
  end)

  it("keeps to its memory over many waits and tasks", function()
    local function kilobytes()
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    local function work()
      for _ = 1, 20000 do task.sleep(0) end
      for _ = 1, 2000 do task.spawn(task.sleep, 0):await() end
    end
    work()
    local before = kilobytes()
    work()
    assert.truthy(kilobytes() - before < 64, "grew by " .. kilobytes() - before .. " KiB")
  end)

  it("refuses coroutine.yield outside of a script's own coroutine", function()
    local ok, err = pcall(coroutine.yield)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("outside a coroutine", 1, true))
  end)
end)
