--- Tasks: code that reads as if it blocked, while nothing blocks.
--
-- Every script, REPL line and recipe step runs in a task. A call that waits (a request, a process,
-- a sleep) suspends only its task. Concurrency is structured: a task ends only after the tasks that
-- it spawned have ended, and a child that fails cancels its siblings and, where nobody awaits it,
-- is raised in its parent.
--
-- Cancelling a task raises a `cancelled` error where it waits. `pcall` and `try` do not swallow it.
-- `<close>` variables run, may wait, and have 30 seconds for it in which a cancel does not touch
-- them. A `__close` function that waits must not do so in a tail call (`return self:stop()`): Lua
-- then forgets what it was called for. Write `self:stop()`.
-- @module moonport.task

local core = require "moonport.core.task"
local errors = require "moonport.errors"

local TO_THE_END = true

-- Awaits a task until it has ended, also when the caller is cancelled: what the caller holds must
-- not be closed before. The cancel has reached the awaited task too, so that it does end; then it
-- is raised here, as one that no pcall holds up.
local function await_end(handle)
  local results = table.pack(pcall(handle.await, handle, TO_THE_END))
  if results[1] then return table.unpack(results, 2, results.n) end
  if errors.is(results[2], "task", "cancelled") then core.sleep(0) end
  error(results[2], 0)
end

local M = {
  sleep = core.sleep,
  current = core.current,
  event = core.event,
  cancelled = core.cancelled,
  close_timeout = core.close_timeout,
}

--- Waits.
-- @function sleep
-- @tparam number seconds a fraction is heeded to the millisecond; 0 lets other tasks run

--- The running task.
-- @function current
-- @treturn task

--- Tells whether a task (the running one by default) has been cancelled.
-- @function cancelled
-- @tparam[opt] task handle
-- @treturn boolean

--- Makes an event: `event:wait()` returns once `event:set()` was called, at once if it is set
-- already; `event:clear()` makes it wait again; `event:is_set()` asks.
-- @function event
-- @treturn event

--- Reads and sets how long `<close>` handlers may take once their task is cancelled.
-- @function close_timeout
-- @tparam[opt] number seconds
-- @treturn number the value before

--- Starts a task as a child of the running one.
-- @tparam function fn
-- @param ... its arguments
-- @treturn task a handle with `:await()` (its results, or its error raised), `:cancel([reason])`,
--   `:status()` ("running", "waiting", "done", "failed", "cancelled") and `:traceback()`
function M.spawn(fn, ...)
  return core.spawn("b", fn, ...)
end

--- Starts a task whose failure reaches only who awaits it.
-- @tparam function fn
-- @param ... its arguments
-- @treturn task
function M.contained(fn, ...)
  return core.spawn("cb", fn, ...)
end

--- Runs a function in a scope of its own: the tasks it spawns have ended when `scope` returns, and
-- their failures reach only the caller.
-- @tparam function fn
-- @param ... its arguments
-- @return what `fn` returns
function M.scope(fn, ...)
  return await_end(core.spawn("c", fn, ...))
end

--- Runs a function in a task that a cancel of the caller does not touch, under a deadline.
-- @tparam number seconds after which it is cancelled
-- @tparam function fn
-- @param ... its arguments
-- @return what `fn` returns
-- @raise {kind="task", code="timeout"}
function M.shield(seconds, fn, ...)
  return core.spawn("cs", M.timeout, seconds, fn, ...):await(TO_THE_END)
end

--- Runs a function while nothing may be changed: every primitive that would is refused.
-- @tparam function fn
-- @param ... its arguments
-- @return what `fn` returns
-- @raise {kind="gate", code="refused"} by whatever tried
function M.read_only(fn, ...)
  return await_end(core.spawn("cg", fn, ...))
end

--- Runs a function under a time limit.
-- @tparam number seconds
-- @tparam function fn
-- @param ... its arguments
-- @return what `fn` returns
-- @raise {kind="task", code="timeout"} when the time is over; `fn` was cancelled then and has ended
function M.timeout(seconds, fn, ...)
  local expired = false
  local work = core.spawn("c", fn, ...)
  local timer = core.spawn("c", function()
    core.sleep(seconds)
    expired = true
    work:cancel("timeout")
  end)
  local results = table.pack(pcall(await_end, work))
  timer:cancel()
  if results[1] then return table.unpack(results, 2, results.n) end
  if expired and work:status() == "cancelled" then
    errors.raise {
      kind = "task", code = "timeout",
      message = string.format("not done within %g s", seconds),
    }
  end
  error(results[2], 0)
end

local function spawn_all(functions)
  local handles = {}
  for i, fn in ipairs(functions) do handles[i] = core.spawn("", fn) end
  return handles
end

--- Runs functions at the same time and waits for all. The first failure cancels the others.
-- @tparam {function,...} functions
-- @treturn {any,...} the first result of each, in the order of the functions
-- @raise the first failure
function M.all(functions)
  return M.scope(function()
    local results = { n = #functions }
    for i, handle in ipairs(spawn_all(functions)) do results[i] = handle:await() end
    return results
  end)
end

--- Runs functions at the same time; the first to end wins, the others are cancelled.
-- @tparam {function,...} functions
-- @return the results of the winner
-- @treturn integer its index, as the last result
-- @raise the winner's error, if it failed
function M.race(functions)
  return M.scope(function()
    local finished, winner = core.event(), nil
    local handles = {}
    for i, fn in ipairs(functions) do
      handles[i] = core.spawn("c", function()
        local results = table.pack(pcall(fn))
        if not winner then
          winner = { index = i, results = results }
          finished:set()
        end
      end)
    end
    finished:wait()
    for _, handle in ipairs(handles) do handle:cancel("another one was first") end
    local results = winner.results
    if not results[1] then error(results[2], 0) end
    results[results.n + 1] = winner.index
    return table.unpack(results, 2, results.n + 1)
  end)
end

--- Calls a function for each element, at most `limit` at the same time.
-- @tparam {any,...} list
-- @tparam integer limit
-- @tparam function fn called with the element and its index
-- @treturn {any,...} the first result of each call
-- @raise the first failure; calls under way are cancelled, later ones not begun
function M.map(list, limit, fn)
  local results, next_index = {}, 0
  local function worker()
    while next_index < #list do
      next_index = next_index + 1
      local index = next_index
      results[index] = fn(list[index], index)
    end
  end
  local workers = {}
  for i = 1, math.min(limit, #list) do workers[i] = worker end
  M.all(workers)
  return results
end

--- A queue between tasks.
-- @treturn queue with `:push(value)`, `:pop()` (waits; nil once closed and empty), `:close()`
function M.queue()
  local items, first, last = {}, 1, 0
  local filled, closed = core.event(), false
  return {
    push = function(_, value)
      last = last + 1
      items[last] = value
      filled:set()
    end,
    pop = function()
      while first > last do
        if closed then return nil end
        filled:clear()
        filled:wait()
      end
      local value = items[first]
      items[first] = nil
      first = first + 1
      return value
    end,
    close = function()
      closed = true
      filled:set()
    end,
  }
end

return M
