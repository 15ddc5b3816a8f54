-- The log of one container of one pod, read and followed: over lost connections, rotation, and the
-- restarts of the container.

local clock = require "moonport.core.clock"
local cursors = require "moonport.kube.logs.cursor"
local errors = require "moonport.errors"
local fault = require "moonport.kube.watch.fault"
local instance = require "moonport.kube.logs.instance"
local json = require "moonport.json"
local lines = require "moonport.kube.logs.lines"
local paths = require "moonport.kube.paths"
local request = require "moonport.kube.request"
local retry = require "moonport.kube.retry"
local stream = require "moonport.kube.stream"
local task = require "moonport.task"

local M = {}

local SHORT = 5     -- seconds; a stream that ends sooner and empty is counted as a failure
local PATIENCE = 30 -- seconds that following bears being refused
local TRIES = 5     -- in a row without a line, where the log is not followed

local Follower = {}
Follower.__index = Follower

-- Makes one; nothing is asked yet.
--   options: cluster, namespace, pod (its name), uid, container; follow, previous, tail, since,
--     since_time, timestamps; idle: seconds without a byte after which another connection is made;
--   alone: true goes on with another pod of that name, where a StatefulSet makes one
function M.new(options)
  local self = setmetatable({
    cluster = options.cluster, namespace = options.namespace, pod = options.pod,
    container = options.container, follow = options.follow, timestamps = options.timestamps,
    idle = options.idle, alone = options.alone, on_wait = options.on_wait,
    retries = options.retries,
    opening = {
      tailLines = options.tail, sinceSeconds = options.since, sinceTime = options.since_time,
    },
    at = { uid = options.uid, container = options.container },
    mode = { follow = options.follow, previous = options.previous },
    cursor = cursors.new(), rows = {}, given = 0, failures = 0, noted = {},
    looking = options.follow, ended = false, closing = task.event(),
    what = ("logs of `%s`"):format(options.pod),
  }, Follower)
  return self
end

local function add(self, row)
  row.pod, row.container = self.pod, self.container
  self.rows[#self.rows + 1] = row
end

-- A mark where lines may be missing, or where others begin.
local function add_gap(self, reason)
  add(self, { gap = true, reason = reason, text = "[" .. reason .. "]" })
end

-- ---- asking -------------------------------------------------------------------------------------

local function about(self, subresource)
  return {
    verb = "get", api_verb = "get", resource = self.cluster:find "pods", name = self.pod,
    namespace = self.namespace, subresource = subresource,
  }
end

local function query_of(self)
  local query = { container = self.container, timestamps = "true" }
  query.follow, query.previous = self.mode.follow, self.mode.previous
  if self.cursor:is_empty() then
    for name, value in pairs(self.opening) do query[name] = value end
  else
    query.sinceTime = self.cursor:resume()
  end
  return query
end

-- With `tail = 0` nothing is given at first; what comes while the connection is lost has to be.
local function remember_beginning(self, response)
  local date = response.headers.Date
  if self.opening.tailLines ~= 0 or not date then return end
  local ago = retry.retry_after(date, 0)
  if ago then self.opening = { sinceTime = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(ago)) } end
end

local function connect(self)
  local path = paths.of(self.cluster:find "pods", self.namespace, self.pod, "log")
  local answer = stream.connect(self, {
    method = "GET", path = paths.with_query(path, query_of(self)), stream = true,
    idle_timeout = self.idle, compressed = false,
  }, {
    safe = true, about = about(self, "log"), on_wait = self.on_wait,
    retries = self.streamed and 0 or self.retries,
  })
  if not answer then return end
  remember_beginning(self, answer)
  self.joined = self.mode.follow and self.at.id or nil
  self.lines = lines.new()
end

local function disconnect(self)
  stream.disconnect(self)
  self.lines = nil
end

-- ---- what comes next ----------------------------------------------------------------------------

local function get_pod(self)
  local path = paths.of(self.cluster:find "pods", self.namespace, self.pod)
  local ok, answer = pcall(request.send, self.cluster, { method = "GET", path = path }, {
    safe = true, about = about(self), on_wait = self.on_wait,
    retries = self.streamed and 0 or self.retries,
  })
  if ok then return json.decode(answer.body) end
  if errors.is(answer, "kube", "not_found") then return nil end
  error(answer, 0)
end

-- Whether the StatefulSet will make this pod again.
local function is_wanted(self, set)
  if not set or set.metadata.deletionTimestamp then return false end
  local ordinal = tonumber(self.pod:match "%-(%d+)$")
  return ordinal ~= nil and ordinal < (math.tointeger(set.spec.replicas) or 1)
end

local function until_changed(self)
  local step
  self.cluster:wait("pods", self.pod, function(pod)
    step = self:look(pod)
    return step.what ~= "wait" or (step.note and not self.noted[step.key])
  end, { namespace = self.namespace })
  return step
end

local function until_unwanted(self)
  self.cluster:wait("statefulsets.apps", self.set, function(set)
    return not is_wanted(self, set)
  end, { namespace = self.namespace })
  return { what = "over", reason = "pod deleted" }
end

-- Waits for a change of the pod that means something.
local function wait(self)
  if not self.missing then return until_changed(self) end
  return (task.race {
    function() return until_changed(self) end,
    function() return until_unwanted(self) end,
  })
end

-- Judges the pod; where it is gone or has ended and its StatefulSet makes another, waits for that.
function Follower:look(pod)
  if pod and self.alone then self.set = instance.set_of(pod) end
  local step = instance.look(self.at, pod)
  self.missing = self.set ~= nil and (step.what == "gone" or step.what == "over")
  if self.missing then return { what = "wait" } end
  return step
end

local steps = {}

function steps.gone(self) self:finish "pod deleted" end

function steps.over(self, step) self:finish(step.reason) end

function steps.replaced(self, step)
  add_gap(self, "pod replaced")
  self.at = { uid = step.uid, container = self.container }
  self.opening, self.cursor, self.noted = {}, cursors.new(), {}
  self.looking = true
end

function steps.running(self)
  self.mode = { follow = true }
  if not self.hasty then return end
  self.hasty = false
  stream.pause(self, errors.new {
    kind = "kube", code = "closed", message = "the server ended the log at once",
  })
end

function steps.drain(self)
  self.mode = { done = function() self.at.drained = true end }
end

local function take_over(self, step)
  self.at = {
    uid = self.at.uid, container = self.container, id = step.id, restarts = step.restarts,
  }
  self.mode, self.noted = { follow = true }, {}
end

-- What the container before has left, as far as it can still be had, and then the new one's.
function steps.new(self, step)
  local before = self.at
  if not before.id then return take_over(self, step) end
  local missed = step.restarts - before.restarts - 1
  local reason = "container restarted" .. (step.exit and ", " .. step.exit or "")
  if missed > 0 then reason = ("%s; the output of %d before is lost"):format(reason, missed) end
  local function done()
    add_gap(self, reason)
    self.opening = {}
    take_over(self, step)
  end
  if missed == 0 and not before.drained then
    self.mode = { previous = true, done = done }
  else
    done()
  end
end

-- What is to be done, after waiting for it where need be.
local function next_step(self)
  local pod = get_pod(self)
  if pod and not self.at.uid then self.at.uid = pod.metadata.uid end
  local step = self:look(pod)
  if step.what == "wait" and (not step.note or self.noted[step.key]) then return wait(self) end
  return step
end

-- Looks at the pod and decides what to read.
local function decide(self)
  local ok, step = stream.run(self, next_step, self)
  if self.closed then return end
  if not ok then return self:trouble(step) end
  if step.what == "wait" then
    self.noted[step.key] = true
    add_gap(self, step.note)
    return
  end
  self.looking = false
  steps[step.what](self, step)
end

-- ---- the stream ---------------------------------------------------------------------------------

local function take_rows(self)
  for row in self.lines.next, self.lines do self:take(row) end
end

-- A row of the stream, which may be known.
function Follower:take(row)
  if not row.time then return add_gap(self, row.text) end -- the node's own words
  local news, rotated = self.cursor:is_news(row)
  if not news then return end
  if rotated and self.mode.follow and self.resumed then
    add_gap(self, "the log was rotated; lines may be missing")
  end
  self.progress = true
  self.cursor:note(row)
  if self.timestamps then row.text = row.time .. " " .. row.text end
  add(self, row)
end

local function stream_ended(self)
  local last = self.lines:finish()
  if last then self:take(last) end
  local short = not self.progress and clock.monotonic() - self.since < SHORT
  disconnect(self)
  local mode = self.mode
  if mode.done then mode.done() end
  if not self.follow then
    self.ended = true
  else
    self.looking = true
    self.hasty = mode.follow and short
  end
end

-- After a failure, and after streams that end at once.
function Follower:trouble(err)
  if errors.is(err, "task", "cancelled") then error(err, 0) end
  disconnect(self)
  local verdict = fault.judge(err)
  local no_more = errors.is(err, "kube", "bad_request") or errors.is(err, "kube", "not_found")
  if self.mode.done and no_more then
    self.mode.done() -- what a container has left may go before it is read
    self.looking = self.follow
    return
  end
  local borne = verdict == "passing"
  if (verdict == "refused" and self.streamed) or (self.follow and no_more) then
    borne = stream.refused_for(self) < PATIENCE or borne
  end
  if not borne or (not self.follow and (not self.streamed or self.failures >= TRIES)) then
    self:close()
    error(err, 0)
  end
  stream.pause(self, err)
  self.looking = self.follow
end

local function read(self)
  local chunk, at_end = stream.read(self)
  if chunk then
    self.lines:feed(chunk)
  elseif at_end then
    stream_ended(self)
  end
end

-- ---- reading ------------------------------------------------------------------------------------

function Follower:finish(reason)
  self.ended, self.reason = true, reason
end

local function advance(self)
  if self.looking then
    decide(self)
  elseif not self.response then
    self.resumed = self.joined ~= nil and self.joined == self.at.id
    connect(self)
  else
    read(self)
  end
end

-- The next row; nil at the end.
function Follower:next()
  while not self.closed do
    local row = self.rows[self.given + 1]
    if row then
      self.given = self.given + 1
      return row
    end
    self.rows, self.given = {}, 0
    if self.lines then take_rows(self) end
    if #self.rows == 0 then
      if self.ended then return nil end
      advance(self)
    end
  end
end

function Follower:close()
  stream.close(self)
  self.lines = nil
end

return M
