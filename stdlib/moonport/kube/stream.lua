-- What watches and followed logs have in common: a response that is read as it comes, lost and
-- asked for again, by an object that another task may close meanwhile.
--
-- The object has the fields `cluster`, `on_wait`, `closing` (an event), `failures` (a number),
-- `what` (in words) and a method `trouble(err)`. Here are set `asking`, `response`, `since` (when
-- the response began, monotonic), `streamed` (there has been one), `refused_since` (nil then),
-- `progress` (to be set when something came) and `closed`.

local clock = require "moonport.core.clock"
local errors = require "moonport.errors"
local fault = require "moonport.kube.watch.fault"
local request = require "moonport.kube.request"
local retry = require "moonport.kube.retry"
local task = require "moonport.task"

local M = {}

-- Calls in a task of its own, which `close` can cancel. Returns what `pcall` does.
function M.run(self, fn, ...)
  self.asking = task.contained(fn, ...)
  local results = table.pack(pcall(self.asking.await, self.asking))
  self.asking = nil
  return table.unpack(results, 1, 2)
end

-- Asks for the response. Returns it, or nil after trouble and when it was closed.
--   query, control: as `request.send` takes them
function M.connect(self, query, control)
  local ok, answer = M.run(self, request.send, self.cluster, query, control)
  if self.closed then
    if ok then answer:close() end
  elseif ok then
    self.response = answer
    self.since, self.refused_since, self.streamed = clock.monotonic(), nil, true
    return answer
  else
    self:trouble(answer)
  end
end

-- The next bytes; nil at the end, with true. Returns nil after trouble and when it was closed.
function M.read(self)
  local ok, chunk = pcall(self.response.read, self.response)
  if self.closed then return nil end
  if ok then return chunk, chunk == nil end
  self:trouble(chunk)
end

--- Ends the response that is being read; a next one can follow.
-- @tparam table self
function M.disconnect(self)
  if self.response then self.response:close() end
  self.response = nil
end

-- Waits before the next attempt; ends early when the object is closed.
function M.pause(self, err)
  self.failures = self.progress and 1 or self.failures + 1
  self.progress = false
  local seconds = retry.delay(self.failures, fault.wanted_wait(err))
  request.tell(self.cluster, self.on_wait, {
    seconds = seconds, why = err.server_message or err.message, attempt = self.failures,
    request = self.what, error = err,
  })
  local ok, why = pcall(task.timeout, seconds, self.closing.wait, self.closing)
  if not ok and not errors.is(why, "task", "timeout") then error(why, 0) end
end

-- How long it has been refused for, in seconds.
function M.refused_for(self)
  local now = clock.monotonic()
  self.refused_since = self.refused_since or now
  return now - self.refused_since
end

--- Ends it for good, whatever it waits for.
-- @tparam table self
function M.close(self)
  self.closed = true
  M.disconnect(self)
  if self.asking then self.asking:cancel() end
  self.closing:set()
end

return M
