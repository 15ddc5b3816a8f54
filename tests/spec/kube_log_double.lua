--- Logs for the double of an API server (kube_double.lua), as a kubelet keeps them: one file for
-- each container, rotated and started anew when told.
--
--     local server <close> = logs.start()
--     local pod = server:pod("web-0", { containers = { "web" } })   -- is running
--     pod:write("web", "a line")
--     pod:restart("web", 1)     -- its container exits with 1 and another one begins
local json = require "moonport.json"
local task = require "moonport.task"

local double = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/kube_double.lua")

local M = {}

local Pod = {}
Pod.__index = Pod

local function wake(self)
  local waiting = self.waiting
  self.waiting = {}
  for _, event in ipairs(waiting) do event:set() end
end

local function put(self)
  local statuses = json.array {}
  for index, name in ipairs(self.names) do
    local file = self.files[name]
    statuses[index] = {
      name = name, restartCount = file.restarts, containerID = file.id, state = file.state,
      lastState = file.last,
    }
  end
  local containers = {}
  for index, name in ipairs(self.names) do containers[index] = { name = name } end
  self.server:put("pods", {
    metadata = { name = self.name, uid = self.uid, labels = self.labels,
      annotations = self.annotations, ownerReferences = self.owners },
    spec = { containers = containers, restartPolicy = self.policy },
    status = { phase = self.phase, containerStatuses = statuses },
  })
  wake(self)
end

--- Adds a line at a time, a second after the last one without it.
function Pod:write(container, text, time)
  self.clock = self.clock + 1
  time = time or os.date("!%Y-%m-%dT%H:%M:%S", self.clock) .. ".500000000Z"
  local lines = self.files[container].lines
  lines[#lines + 1] = { time = time, text = text }
  wake(self)
end

--- Moves what was written out of reach; whoever follows is not told.
function Pod:rotate(container) self.files[container].lines = {} end

--- Ends all streams: "finish" in order, "cut" without.
function Pod:disturb(how)
  self.disturbed = how
  wake(self)
  self.server:until_true(function() return self.streams == 0 end)
  self.disturbed = nil
end

--- The container exits; `put` is true unless more is to change first.
function Pod:exit(container, code, reason)
  local file = self.files[container]
  file.state = { terminated = { exitCode = code, reason = reason or "Error",
    containerID = file.id } }
  file.ended = true
  put(self)
end

--- Another container begins in the place of the one that has exited.
function Pod:begin(container)
  local file = self.files[container]
  self.previous[container] = file
  self.files[container] = {
    lines = {}, restarts = file.restarts + 1, id = ("c://%s.%d"):format(container,
      file.restarts + 1), state = { running = {} },
    last = file.state.terminated and file.state or file.last,
  }
  put(self)
end

function Pod:restart(container, code, reason)
  self:exit(container, code, reason)
  self:begin(container)
end

--- The state of waiting, as after a crash or before an image is there.
function Pod:wait(container, reason)
  local file = self.files[container]
  if file.state.terminated then file.last = file.state end
  file.state = { waiting = { reason = reason } }
  put(self)
end

--- All of the pod has ended.
function Pod:finish(phase)
  self.phase = phase
  local code = phase == "Failed" and 1 or 0
  for _, name in ipairs(self.names) do self:exit(name, code, "Completed") end
end

function Pod:remove()
  self.gone = true
  for _, file in pairs(self.files) do file.ended = true end
  self.server:remove("pods", self.name)
  if self.server.pods[self.name] == self then self.server.pods[self.name] = nil end
  wake(self)
end

local function stamp(line) return line.time .. " " .. line.text .. "\n" end

local function first_of(lines, query)
  if query.tailLines then return math.max(1, #lines + 1 - tonumber(query.tailLines)) end
  return 1
end

local function serve(self, request)
  local query = request.query
  local file = self.files[query.container]
  if query.previous then file = self.previous[query.container] end
  if not file or not file.id then
    return request:refuse(400, ("container %q in pod %q is waiting to start"):format(
      query.container, self.name))
  end
  request:begin { Date = os.date("!%a, %d %b %Y %H:%M:%S GMT", self.clock + 1) }
  self.streams = self.streams + 1
  self.asked[#self.asked + 1] = query
  local gone = false
  request:until_gone(function()
    gone = true
    wake(self)
  end)
  local lines = file.lines
  local at = first_of(lines, query)
  local since = query.sinceTime and query.sinceTime:sub(1, 19)
  while true do
    local line = lines[at]
    if line then
      at = at + 1
      if not since or line.time:sub(1, 19) >= since then
        request:send(query.timestamps and stamp(line) or line.text .. "\n")
      end
    elseif not query.follow or file.ended or self.disturbed or gone then
      break
    else
      local event = task.event()
      self.waiting[#self.waiting + 1] = event
      event:wait()
    end
  end
  self.streams = self.streams - 1
  request.listener:cancel()
  if self.disturbed == "cut" then return request:cut() end
  request:finish()
end

--- Makes a pod that runs.
local function make(server, name, options)
  options = options or {}
  server.serial = (server.serial or 0) + 1
  local self = setmetatable({
    server = server, name = name, uid = "pod-" .. server.serial,
    names = options.containers or { "web" }, labels = options.labels or { app = "web" },
    annotations = options.annotations, policy = options.policy or "Always", owners = options.owners,
    phase = "Running", files = {}, previous = {}, waiting = {}, streams = 0, asked = {},
    clock = 1767225600,
  }, Pod)
  for _, container in ipairs(self.names) do
    self.files[container] = { lines = {}, restarts = 0, id = "c://" .. container .. ".0",
      state = { running = {} }, last = {} }
    if options.waiting then
      self.files[container].id, self.files[container].state = nil,
        { waiting = { reason = options.waiting } }
    end
  end
  server.pods[name] = self
  put(self)
  return self
end

--- Starts a server with pods that have logs: `server:pod(name, options)`.
function M.start()
  local server = double.start()
  server.pods = {}
  server.on_request = function(request)
    local name = request.path:match "/namespaces/default/pods/([^/]+)/log$"
    local pod = name and server.pods[name]
    if not pod then return false end
    serve(pod, request)
    return true
  end
  server.pod = make
  return server
end

return M
