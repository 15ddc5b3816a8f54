-- The logs of several containers at once: those of all pods that a selector takes, also of pods
-- that come later.

local channel = require "moonport.kube.channel"
local errors = require "moonport.errors"
local follower = require "moonport.kube.logs.follower"
local instance = require "moonport.kube.logs.instance"
local task = require "moonport.task"

local M = {}

local WAITING = 1000 -- rows that may wait for the reader

local Several = {}
Several.__index = Several

-- options: those of a follower, and
--   selection: labels and the like for cluster:watch; single: that is one pod by name
--   containers_of: a function that names a pod's containers
function M.new(options)
  local self = setmetatable({
    options = options, cluster = options.cluster, rows = channel.new(WAITING),
    pods = {}, following = 0, synced = false,
  }, Several)
  self.owner = task.contained(self.run, self)
  return self
end

local function mark(self, pod, reason)
  self.rows:push { gap = true, reason = reason, text = "[" .. reason .. "]", pod = pod }
end

local function options_for(self, pod, container)
  local options = {}
  for name, value in pairs(self.options) do options[name] = value end
  options.pod, options.namespace = pod.metadata.name, pod.metadata.namespace
  options.uid, options.container = pod.metadata.uid, container
  -- Of a pod that comes later all is new.
  if self.synced then options.tail, options.since, options.since_time = nil, nil, nil end
  return options
end

-- The end of all: every pod that is there has ended, and has been read to its end.
local function end_if_over(self)
  if not self.synced or self.following > 0 then return end
  if next(self.pods) == nil and not self.gone then return end
  for _, pod in pairs(self.pods) do
    if not instance.is_finished(pod) then return end
  end
  self.rows:close()
  self.watch:close()
end

local function follow(self, options)
  local log = follower.new(options)
  local _ <close> = setmetatable({}, { __close = function() log:close() end })
  for row in log.next, log do self.rows:push(row) end
  self.following = self.following - 1
  end_if_over(self)
end

local function begin(self, pod)
  if self.synced then mark(self, pod.metadata.name, "pod started") end
  for _, container in ipairs(self.options.containers_of(pod)) do
    self.following = self.following + 1
    task.spawn(follow, self, options_for(self, pod, container))
  end
end

local function take(self, event)
  local pod = event.object
  local known = pod and self.pods[pod.metadata.uid]
  if event.type == "SYNC" then
    self.synced = true
  elseif event.type == "DELETED" then
    if known then mark(self, pod.metadata.name, "pod deleted") end
    self.pods[pod.metadata.uid] = nil
    self.gone = self.options.single and not (known and known.comes_again)
  else
    self.pods[pod.metadata.uid] = {
      status = { phase = pod.status and pod.status.phase },
      comes_again = instance.set_of(pod) ~= nil,
    }
    if not known then begin(self, pod) end
  end
  end_if_over(self)
end

function Several:run()
  local ok, err = pcall(function()
    task.scope(function()
      self.watch = self.cluster:watch("pods", self.options.selection)
      for event in self.watch do take(self, event) end
    end)
  end)
  if not ok and not errors.is(err, "task", "cancelled") then self.failure = err end
  self.rows:close()
end

-- The next row of any; nil at the end.
function Several:next()
  local row = self.rows:pop()
  if row == nil and self.failure then error(self.failure, 0) end
  return row
end

function Several:close()
  self.rows:close()
  self.owner:cancel("the log was closed")
  if self.watch then self.watch:close() end
  pcall(self.owner.await, self.owner)
end

return M
