-- A queue between tasks that holds so much and no more: who fills it faster than it is emptied
-- waits.

local task = require "moonport.task"

local M = {}

local Channel = {}
Channel.__index = Channel

-- One that holds `most` items.
function M.new(most)
  return setmetatable({
    items = {}, first = 1, last = 0, most = most, closed = false,
    filled = task.event(), emptied = task.event(),
  }, Channel)
end

-- Waits while the channel is full; false once it is closed.
function Channel:push(value)
  while self.last - self.first + 1 >= self.most and not self.closed do
    self.emptied:clear()
    self.emptied:wait()
  end
  if self.closed then return false end
  self.last = self.last + 1
  self.items[self.last] = value
  self.filled:set()
  return true
end

-- Waits for a value; nil once the channel is closed and empty.
function Channel:pop()
  while self.first > self.last do
    if self.closed then return nil end
    self.filled:clear()
    self.filled:wait()
  end
  local value = self.items[self.first]
  self.items[self.first] = nil
  self.first = self.first + 1
  self.emptied:set()
  return value
end

-- What is in it can still be taken.
function Channel:close()
  self.closed = true
  self.filled:set()
  self.emptied:set()
end

return M
