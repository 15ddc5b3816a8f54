--- A double of a Kubernetes API server that answers as a script says, for what a real one does not
-- do on demand: refuse, stall, cut connections, answer like a proxy.
--
--     local server <close> = scripted.start {
--       ["GET /version"] = { status = 429, headers = { ["Retry-After"] = "1" } },
--       ["GET /api/v1/namespaces/default/pods"] = function(request) return scripted.ok {} end,
--     }
--     local cluster = server:connect()
--
-- An answer is {status=, headers=, body= (text or a table)}, `"cut"` (the connection ends without
-- one), or a function of the request that returns one; a list gives one after the other, the last
-- again and again. What has none is answered by the resources below, then 404 as the real one does.
-- `server.requests` holds what came: {method, path, query, headers, body}.
local cluster_module = require "moonport.kube.cluster"
local http = require "moonport.http"
local json = require "moonport.json"
local net = require "moonport.net"
local task = require "moonport.task"

local M = {}

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function read_body(conn, length)
  local parts = {}
  while length > 0 do
    local piece = conn:read(length)
    if not piece then break end
    parts[#parts + 1] = piece
    length = length - #piece
  end
  return table.concat(parts)
end

local function read_request(conn)
  local line = conn:read_line()
  if not line then return nil end
  local method, target = line:match "^(%S+) (%S+)"
  local path, text = target:match "^([^?]*)%??(.*)$"
  local request = { method = method, path = path, headers = {}, query = {} }
  for name, value in text:gmatch "([^&=]+)=([^&]*)" do
    request.query[unescape(name)] = unescape(value)
  end
  for field in conn:lines() do
    local name, value = field:match "^([^:]+):%s*(.-)\r?$"
    if not name then break end
    request.headers[name:lower()] = value
  end
  request.body = read_body(conn, tonumber(request.headers["content-length"]) or 0)
  return request
end

local function write_answer(conn, answer)
  local body, kind = answer.body or "", "text/plain"
  if type(body) == "table" then body, kind = json.encode(body), "application/json" end
  local lines = { ("HTTP/1.1 %d Scripted"):format(answer.status or 200) }
  local headers = { ["Content-Type"] = kind, ["Content-Length"] = #body }
  for name, value in pairs(answer.headers or {}) do headers[name] = value end
  for name, value in pairs(headers) do
    for _, each in ipairs(type(value) == "table" and value or { value }) do
      lines[#lines + 1] = name .. ": " .. each
    end
  end
  conn:write(table.concat(lines, "\r\n") .. "\r\n\r\n" .. body)
end

--- An answer that is an object.
function M.ok(object, status) return { status = status or 200, body = object } end

--- An answer that is a Status.
function M.refusal(code, reason, fields)
  local status = {
    kind = "Status", apiVersion = "v1", metadata = {}, status = "Failure", code = code,
    reason = reason, message = reason,
  }
  for name, value in pairs(fields or {}) do status[name] = value end
  return { status = code, body = status }
end

--- The discovery document of a group's version. resources: {plural, kind, namespaced, short names}.
function M.resources(group_version, resources)
  local list = json.array {}
  for index, each in ipairs(resources) do
    list[index] = {
      name = each[1], singularName = "", kind = each[2], namespaced = each[3] ~= false,
      shortNames = each[4], verbs = json.array { "get", "list" },
    }
  end
  return M.ok { kind = "APIResourceList", groupVersion = group_version, resources = list }
end

--- The document /apis: {name, version, ...}, the preferred version first.
function M.groups(groups)
  local list = json.array {}
  for index, group in ipairs(groups) do
    local versions = {}
    for at = 2, #group do
      versions[at - 1] = { groupVersion = group[1] .. "/" .. group[at], version = group[at] }
    end
    list[index] = { name = group[1], versions = versions, preferredVersion = versions[1] }
  end
  return M.ok { kind = "APIGroupList", apiVersion = "v1", groups = list }
end

local builtin = {
  ["GET /api"] = M.ok { kind = "APIVersions", versions = { "v1" } },
  ["GET /apis"] = M.groups { { "apps", "v1" } },
  ["GET /api/v1"] = M.resources("v1", {
    { "pods", "Pod", true, { "po" } }, { "configmaps", "ConfigMap", true, { "cm" } },
    { "secrets", "Secret" }, { "nodes", "Node", false, { "no" } },
    { "namespaces", "Namespace", false, { "ns" } }, { "pods/status", "Pod" },
  }),
  ["GET /apis/apps/v1"] = M.resources("apps/v1", {
    { "deployments", "Deployment", true, { "deploy" } }, { "deployments/scale", "Scale" },
  }),
}

local Server = {}
Server.__index = Server

local function is_list(value) return type(value) == "table" and value[1] ~= nil end

local function answer_of(self, request)
  local key = request.method .. " " .. request.path
  local answer = self.script[key]
  if answer == nil then answer = builtin[key] end
  if is_list(answer) then
    self.turns[key] = math.min((self.turns[key] or 0) + 1, #answer)
    answer = answer[self.turns[key]]
  end
  if type(answer) == "function" then answer = answer(request) end
  return answer or { status = 404, body = "404 page not found\n" }
end

local function serve(self, conn)
  local _ <close> = conn
  while true do
    local request = read_request(conn)
    if not request then return end
    self.requests[#self.requests + 1] = request
    local answer = answer_of(self, request)
    if answer == "cut" then return end
    write_answer(conn, answer)
  end
end

--- How many requests there were: "GET /version".
function Server:count(what)
  local count = 0
  for _, request in ipairs(self.requests) do
    if request.method .. " " .. request.path == what then count = count + 1 end
  end
  return count
end

--- The last request.
function Server:last() return self.requests[#self.requests] end

--- A cluster of moonport.kube that leads here.
function Server:connect(options)
  local base = self.url
  local client = {
    config = {
      server = base, namespace = "default", auth = "token", user = "alice", context = "double",
    },
    request = function(_, request)
      local copy = { url = base .. request.path }
      for name, value in pairs(request) do
        if name ~= "path" then copy[name] = value end
      end
      copy.redirects = false
      return http.request(copy)
    end,
    close = function() end,
  }
  local all = { cache = false }
  for name, value in pairs(options or {}) do all[name] = value end
  return cluster_module.new(client, all)
end

function Server:close()
  self.serving:cancel()
  self.listener:close()
  try(self.serving.await, self.serving)
end

Server.__close = Server.close

--- Starts a server.
function M.start(script)
  local listener = net.listen { host = "127.0.0.1", port = 0 }
  local self = setmetatable({
    listener = listener, script = script or {}, turns = {}, requests = {},
    url = "http://127.0.0.1:" .. listener:port(),
  }, Server)
  self.serving = task.contained(function()
    while true do task.contained(serve, self, listener:accept()) end
  end)
  return self
end

return M
