--- A double of the Kubernetes API server, for what a real one does not do on demand: it ends, cuts
-- and delays watches, forgets history and answers nonsense.
--
--     local server <close> = double.start()
--     local cluster = server:connect()
--     server:put("configmaps", { metadata = { name = "a" } })
--     server:cut()          -- every watch loses its connection
--     server:forget()       -- resuming a watch gets 410 from now on
--
-- It serves the resources below from memory: get, list (by page, label and name), watch (with
-- bookmarks when told), logs as scripted. `server.on_request = function(request)` can answer in its
-- place: with `request:reply(status, body)`, or `request:begin()`, `request:send(bytes)`,
-- `request:finish()` and `request:cut()`; it returns true when it has.
local cluster_module = require "moonport.kube.cluster"
local http = require "moonport.http"
local json = require "moonport.json"
local match = require "moonport.kube.match"
local net = require "moonport.net"
local task = require "moonport.task"

local M = {}

local RESOURCES = {
  ["/api/v1"] = {
    { name = "pods", singularName = "pod", kind = "Pod", namespaced = true, shortNames = { "po" } },
    { name = "configmaps", singularName = "configmap", kind = "ConfigMap", namespaced = true },
    { name = "nodes", singularName = "node", kind = "Node", namespaced = false },
  },
  ["/apis/apps/v1"] = {
    { name = "deployments", singularName = "deployment", kind = "Deployment", namespaced = true },
    { name = "statefulsets", singularName = "statefulset", kind = "StatefulSet",
      namespaced = true },
  },
  ["/apis/batch/v1"] = {
    { name = "jobs", singularName = "job", kind = "Job", namespaced = true },
  },
}

local VERBS = json.array { "get", "list", "watch" }

-- ---- requests -----------------------------------------------------------------------------------

local Request = {}
Request.__index = Request

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function read_request(conn)
  local line = conn:read_line()
  if not line then return nil end
  local method, target = line:match "^(%S+) (%S+)"
  local headers = {}
  for field in conn:lines() do
    field = field:gsub("\r$", "")
    if field == "" then break end
    local name, value = field:match "^([^:]+):%s*(.*)$"
    headers[name:lower()] = value
  end
  if headers["content-length"] then conn:read(tonumber(headers["content-length"])) end
  local path, query = target, {}
  if target:find("?", 1, true) then
    local text
    path, text = target:match "^([^?]*)%?(.*)$"
    for name, value in text:gmatch "([^&=]+)=([^&]*)" do query[unescape(name)] = unescape(value) end
  end
  return setmetatable({
    conn = conn, method = method, path = path, query = query, headers = headers,
  }, Request)
end

function Request:reply(status, body, headers)
  if type(body) == "table" then body = json.encode(body) end
  local lines = {
    ("HTTP/1.1 %d X"):format(status), "Content-Type: application/json",
    "Content-Length: " .. #body,
  }
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  self.conn:write(table.concat(lines, "\r\n") .. "\r\n\r\n" .. body)
end

local REASONS = { [401] = "Unauthorized", [403] = "Forbidden", [404] = "NotFound",
  [410] = "Expired", [429] = "TooManyRequests", [500] = "InternalError",
  [503] = "ServiceUnavailable" }

function M.status(code, message)
  return {
    kind = "Status", apiVersion = "v1", metadata = {}, status = "Failure", code = code,
    reason = REASONS[code], message = message or REASONS[code],
  }
end

function Request:refuse(code, message, headers)
  self:reply(code, M.status(code, message), headers)
end

function Request:begin(headers)
  local lines = { "HTTP/1.1 200 OK", "Content-Type: application/json",
    "Transfer-Encoding: chunked" }
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  self.conn:write(table.concat(lines, "\r\n") .. "\r\n\r\n")
end

function Request:send(bytes)
  if #bytes > 0 then self.conn:write(("%x\r\n%s\r\n"):format(#bytes, bytes)) end
end

function Request:event(kind, object)
  self:send(json.encode { type = kind, object = object } .. "\n")
end

function Request:finish() self.conn:write "0\r\n\r\n" end

--- Calls a function when the client has had enough and closes its connection. To be ended with
-- `request.listener:cancel()` before the answer is: what comes then is the next request.
function Request:until_gone(fn)
  self.listener = task.contained(function()
    pcall(self.conn.read, self.conn)
    fn()
  end)
end

function Request:cut() self.conn:close() end

-- ---- the store ----------------------------------------------------------------------------------

local Server = {}
Server.__index = Server
Server.__close = function(self) self:close() end

local function resource_named(name)
  for group, list in pairs(RESOURCES) do
    for _, resource in ipairs(list) do
      if resource.name == name then return resource, group end
    end
  end
  error("the double has no resource " .. name)
end

local function key_of(object)
  local namespace = object.metadata.namespace
  return (namespace and namespace .. "/" or "") .. object.metadata.name
end

local function wake(self)
  local waiting = self.waiting
  self.waiting = {}
  for _, event in ipairs(waiting) do event:set() end
end

local function record(self, resource, kind, object)
  self.history[#self.history + 1] = {
    version = self.version, resource = resource, type = kind, object = object,
  }
  wake(self)
end

local function bump(self)
  self.version = self.version + 1
  return tostring(self.version)
end

--- Creates an object or replaces it; a copy is kept.
function Server:put(name, object)
  local resource, group = resource_named(name)
  object = json.decode(json.encode(object))
  object.apiVersion = group:gsub("^/apis?/", "")
  object.kind = resource.kind
  if resource.namespaced then
    object.metadata.namespace = object.metadata.namespace or "default"
  end
  local objects = self.objects[name]
  local before = objects[key_of(object)]
  object.metadata.uid = before and before.metadata.uid or object.metadata.uid
    or ("uid-%d"):format(self.version)
  object.metadata.resourceVersion = bump(self)
  objects[key_of(object)] = object
  record(self, name, before and "MODIFIED" or "ADDED", object)
  return object
end

function Server:remove(name, key)
  if resource_named(name).namespaced and not key:find "/" then key = "default/" .. key end
  local object = json.decode(json.encode(self.objects[name][key]))
  self.objects[name][key] = nil
  object.metadata.resourceVersion = bump(self)
  record(self, name, "DELETED", object)
  return object
end

--- Forgets what happened so far: who resumes from before gets 410.
function Server:forget() self.oldest = self.version end

-- ---- answers ------------------------------------------------------------------------------------

local function selects(query, namespace)
  local labels = match.parse("the double", query.labelSelector)
  local name = (query.fieldSelector or ""):match "metadata%.name=([^,]*)"
  return function(object)
    local metadata = object.metadata
    return (not namespace or metadata.namespace == namespace)
      and (not name or metadata.name == name) and match.matches(labels, metadata.labels)
  end
end

local function without_kind(object)
  local copy = {}
  for name, value in pairs(object) do copy[name] = value end
  copy.kind, copy.apiVersion = nil, nil
  return copy
end

-- The whole of a list is kept under a token for its later pages, as etcd keeps a revision.
local function snapshot(self, name, wanted)
  local items = {}
  for _, object in pairs(self.objects[name]) do
    if wanted(object) then items[#items + 1] = without_kind(object) end
  end
  table.sort(items, function(a, b) return key_of(a) < key_of(b) end)
  return { items = items, version = tostring(self.version) }
end

local function list(self, request, name, namespace)
  local token, from = (request.query.continue or ""):match "^(%d+)%.(%d+)$"
  local snap = token and self.snapshots[token] or snapshot(self, name,
    selects(request.query, namespace))
  if token and tonumber(token) < self.oldest then return request:refuse(410) end
  token, from = token or snap.version, tonumber(from) or 1
  self.snapshots[token] = snap
  local limit = math.min(tonumber(request.query.limit) or math.huge, self.page)
  local items, last = json.array {}, math.min(#snap.items, from + limit - 1)
  for index = from, last do items[#items + 1] = snap.items[index] end
  local resource, group = resource_named(name)
  request:reply(200, {
    kind = resource.kind .. "List", apiVersion = group:gsub("^/apis?/", ""), items = items,
    metadata = {
      resourceVersion = snap.version,
      continue = last < #snap.items and ("%s.%d"):format(token, last + 1) or nil,
    },
  })
end

local function wait_for_change(self)
  local event = task.event()
  self.waiting[#self.waiting + 1] = event
  event:wait()
end

local function send_events(self, request, name, wanted, at)
  local last = #self.history -- sending waits, and more comes meanwhile
  for index = at, last do
    local change = self.history[index]
    if change.resource == name and change.version > request.from and wanted(change.object) then
      request:event(change.type, change.object)
    end
  end
  return last + 1
end

local function watch(self, request, name, namespace)
  request.from = tonumber(request.query.resourceVersion) or self.version
  self.watches = self.watches + 1
  if request.from < self.oldest then
    if not self.forgets_within then return request:refuse(410, "too old resource version") end
    request:begin()
    request:event("ERROR", M.status(410, "too old resource version"))
    return request:finish()
  end
  local wanted = selects(request.query, namespace)
  request:begin()
  self.open[request] = true
  request:until_gone(function()
    request.ended = true
    wake(self)
  end)
  local at = 1
  while not request.ended do
    at = send_events(self, request, name, wanted, at)
    if self.open[request] and at > #self.history then wait_for_change(self) end
  end
  self.open[request] = nil
  request.listener:cancel()
end

local function each_watch(self, fn)
  for request in pairs(self.open) do
    self.open[request] = nil
    request.ended = true
    request.listener:cancel() -- what the client sends now is its next request
    fn(request)
  end
  wake(self)
end

--- Ends all watches as at their time limit.
function Server:finish()
  each_watch(self, function(request) try(request.finish, request) end)
end

--- Closes the connections of all watches.
function Server:cut()
  each_watch(self, function(request) request:cut() end)
end

--- Sends all watches a bookmark of the newest version.
function Server:bookmark()
  for request in pairs(self.open) do
    request:event("BOOKMARK", { metadata = { resourceVersion = tostring(self.version) } })
  end
end

local function discovery(request)
  if request.path == "/api" then
    request:reply(200, { kind = "APIVersions", versions = { "v1" } })
  elseif request.path == "/apis" then
    local groups = {}
    for path in pairs(RESOURCES) do
      local name, version = path:match "^/apis/([^/]+)/(.+)$"
      if name then
        local one = { groupVersion = name .. "/" .. version, version = version }
        groups[#groups + 1] = { name = name, versions = { one }, preferredVersion = one }
      end
    end
    request:reply(200, { kind = "APIGroupList", apiVersion = "v1", groups = groups })
  elseif RESOURCES[request.path] then
    local resources = {}
    for index, resource in ipairs(RESOURCES[request.path]) do
      resources[index] = setmetatable({ verbs = VERBS }, { __index = resource })
      for key, value in pairs(resource) do resources[index][key] = value end
      setmetatable(resources[index], nil)
    end
    request:reply(200, {
      kind = "APIResourceList", groupVersion = request.path:gsub("^/apis?/", ""),
      resources = resources,
    })
  else
    return false
  end
  return true
end

local function parse_path(path)
  for group in pairs(RESOURCES) do
    if path:sub(1, #group + 1) == group .. "/" then
      local rest = path:sub(#group + 2)
      local namespace, after = rest:match "^namespaces/([^/]+)/(.+)$"
      local name, object, sub = (after or rest):match "^([^/]+)/?([^/]*)/?(.*)$"
      return name, namespace, object, sub
    end
  end
end

local function answer(self, request)
  if self.on_request and self.on_request(request) then return end
  if discovery(request) then return end
  local name, namespace, object = parse_path(request.path)
  local objects = name and self.objects[name]
  if not objects then return request:reply(404, "404 page not found") end
  if request.query.watch then return watch(self, request, name, namespace) end
  if object == "" then return list(self, request, name, namespace) end
  local found = objects[(namespace and namespace .. "/" or "") .. object]
  if not found then
    local status = M.status(404, ("%s %q not found"):format(name, object))
    status.details = { name = object, kind = name }
    return request:reply(404, status)
  end
  request:reply(200, found)
end

-- ---- serving ------------------------------------------------------------------------------------

local function serve(self, conn)
  local closing <close> = conn -- luacheck: ignore closing
  self.connections = self.connections + 1
  self.most = math.max(self.most, self.connections)
  pcall(function()
    while true do
      local request = read_request(conn)
      if not request then return end
      self.log[#self.log + 1] = request
      answer(self, request)
    end
  end)
  self.connections = self.connections - 1
end

--- Waits until a condition holds, which is looked at after each change and request.
function Server.until_true(_, condition)
  while not condition() do task.sleep(0.002) end
end

--- Waits until there have been so many watches: one, where nothing is said.
function Server:until_watched(count)
  self:until_true(function() return self.watches >= (count or 1) end)
end

--- How many requests had this in their path or query.
function Server:count(path, name, value)
  local count = 0
  for _, request in ipairs(self.log) do
    if request.path:find(path, 1, true) and (not name or request.query[name] == value) then
      count = count + 1
    end
  end
  return count
end

--- A cluster of moonport.kube that leads here.
function Server:connect(options)
  local base = "http://127.0.0.1:" .. self.port
  local client = {
    config = { server = base, namespace = "default", auth = "none" },
    request = function(_, request)
      local copy = {}
      for key, value in pairs(request) do copy[key] = value end
      copy.url, copy.path, copy.compressed = base .. request.path, nil, nil
      copy.redirects = false
      return http.request(copy)
    end,
    close = function() end,
  }
  options = options or {}
  if options.cache == nil then options.cache = false end
  return cluster_module.new(client, options)
end

function Server:close()
  self.serving:cancel()
  self.listener:close()
  try(self.serving.await, self.serving)
end

--- Starts a server.
function M.start()
  local self = setmetatable({
    listener = net.listen { host = "127.0.0.1", port = 0 },
    objects = {}, history = {}, snapshots = {}, waiting = {}, open = {}, log = {},
    version = 100, oldest = 0, page = math.huge, watches = 0, connections = 0, most = 0,
  }, Server)
  for _, resources in pairs(RESOURCES) do
    for _, resource in ipairs(resources) do self.objects[resource.name] = {} end
  end
  self.port = self.listener:port()
  self.serving = task.contained(function()
    while true do task.contained(serve, self, self.listener:accept()) end
  end)
  return self
end

return M
