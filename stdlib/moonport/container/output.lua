--- The output of a service's pods, followed for as long as more can come.
--
-- The client follows pods as they come and go, and ends when all that are there have. Only we know
-- whether a command is about to make new ones, or has stopped the service for good.
-- @module moonport.container.output

local errors = require "moonport.errors"
local logs = require "moonport.logs"
local names = require "moonport.container.names"
local workload = require "moonport.container.workload"

local M = {}

local LOOK_AGAIN = 5 -- seconds to wait for a new pod before asking whether one is still to come

local FINISHED = { Succeeded = true, Failed = true }

local function lasts(pod)
  return pod ~= nil and not FINISHED[(pod.status or {}).phase]
end

local Output = {}
Output.__index = Output
Output.__call = function(self) return self:next() end
Output.__close = function(self) self:close() end

local function open(self)
  local context = self.options
  self.rows = self.cluster:logs({ labels = names.selector(self.ctx) }, {
    namespace = self.namespace, container = workload.CONTAINER, follow = self.follow,
    tail = context.tail, since_time = context.since and logs.timestamp(context.since),
  })
end

local function expects_more(self)
  return self.options.expects_more ~= nil and self.options.expects_more()
end

-- True when nothing more comes: no pod lasts, none is made again, and no command is about to.
local function is_over(self)
  return self.ended(self.cluster) and not expects_more(self)
end

-- Waits for the pods that a command is about to make. False when it has made none.
local function await_pods(self)
  while not is_over(self) do
    local found, why = try(self.cluster.wait, self.cluster, "pods",
      { labels = names.selector(self.ctx) }, lasts,
      { namespace = self.namespace, timeout = LOOK_AGAIN })
    if found then return true end
    if not errors.is(why, "kube", "timeout") then error(why, 0) end
  end
  return false
end

--- The next line.
-- @treturn ?table {time, text, pod, gap}; nil at the end
function Output:next()
  while self.rows do
    local row = not self.last and self.rows() or nil
    -- Pods that were deleted leave a mark, and the client waits for others of their labels.
    if row and row.gap and self.follow then self.last = is_over(self) end
    if row then return row end
    self:close()
    if not self.follow or self.last or not await_pods(self) then return nil end
    -- All that was there has been read.
    self.options.tail, self.options.since = nil, nil
    open(self)
  end
end

--- Ends it.
function Output:close()
  if self.rows then self.rows:close() end
  self.rows = nil
end

--- Reads the output.
-- @tparam context ctx
-- @tparam cluster cluster
-- @tparam string namespace
-- @tparam function ended function(cluster): true when no pod lasts and none is made again
-- @tparam table options `follow`, `tail`, `since` (seconds since 1970), `expects_more`
-- @treturn function iterator of {time, text, pod, gap}
function M.read(ctx, cluster, namespace, ended, options)
  local own = {}
  for name, value in pairs(options) do own[name] = value end
  local output = setmetatable({
    ctx = ctx, cluster = cluster, namespace = namespace, ended = ended, options = own,
  }, Output)
  -- Of what has ended for good there is nothing to wait for.
  output.follow = options.follow and not is_over(output) or nil
  open(output)
  return output, nil, nil, output
end

return M
