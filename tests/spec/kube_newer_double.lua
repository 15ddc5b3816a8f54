--- A double of an API server that is newer than the test cluster's (Kubernetes 1.25 and later): its
-- group `discovery.k8s.io` has the version `v1` and nothing else, and objects of `v1beta1` are
-- refused. It keeps what it is given in memory, holds whoever writes to the version that they have
-- read, and runs no pods: those that are made are ready at once.
--
--     local server <close> = newer.start()
--     server:kubeconfig(path)     -- writes one that leads here
--     server:get("endpointslices", "blueprints", "blueprint-service")
local fs = require "moonport.fs"
local json = require "moonport.json"
local scripted = require "kube_scripted"
local task = require "moonport.task"

local M = {}

local KINDS = {
  namespaces = { "v1", "Namespace" }, pods = { "v1", "Pod" }, services = { "v1", "Service" },
  endpoints = { "v1", "Endpoints" }, events = { "v1", "Event" },
  endpointslices = { "discovery.k8s.io/v1", "EndpointSlice" },
}

local function discovery()
  local function entries(group_version)
    local list = {}
    for plural, kind in pairs(KINDS) do
      if kind[1] == group_version then
        list[#list + 1] = { plural, kind[2], plural ~= "namespaces" }
      end
    end
    return scripted.resources(group_version, list)
  end
  return {
    ["GET /version"] = scripted.ok { major = "1", minor = "25", gitVersion = "v1.25.0" },
    ["GET /api"] = scripted.ok { kind = "APIVersions", versions = json.array { "v1" } },
    ["GET /apis"] = scripted.groups { { "discovery.k8s.io", "v1" } },
    ["GET /api/v1"] = entries "v1",
    ["GET /apis/discovery.k8s.io/v1"] = entries "discovery.k8s.io/v1",
    ["POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"] = scripted.ok({
      apiVersion = "authorization.k8s.io/v1", kind = "SelfSubjectAccessReview",
      status = { allowed = true },
    }, 201),
  }
end

local Server = {}
Server.__index = Server

-- What validates an EndpointSlice of v1. Fields that only v1beta1 has are refused as unknown.
local SLICE = { apiVersion = true, kind = true, metadata = true, addressType = true,
  endpoints = true, ports = true }
local ENDPOINT = { addresses = true, conditions = true, hostname = true, nodeName = true,
  zone = true, hints = true, targetRef = true, deprecatedTopology = true }

local function wrong_slice(slice)
  for field in pairs(slice) do
    if not SLICE[field] then return field end
  end
  if slice.addressType ~= "IPv4" and slice.addressType ~= "IPv6" then return "addressType" end
  for _, endpoint in ipairs(slice.endpoints) do
    for field in pairs(endpoint) do
      if not ENDPOINT[field] then return "endpoints." .. field end
    end
    if #endpoint.addresses ~= 1 then return "endpoints.addresses" end
  end
end

local function wrong_object(object, kind)
  if object.apiVersion ~= kind[1] or object.kind ~= kind[2] then return "apiVersion" end
  if object.kind == "EndpointSlice" then return wrong_slice(object) end
end

local MAKES = {}

function MAKES.Service(object) object.spec.clusterIP = object.spec.clusterIP or "10.96.7.7" end

function MAKES.Pod(object)
  object.spec.nodeName = "double"
  object.status = {
    phase = "Running", podIP = "10.244.0.7", startTime = "2026-01-01T00:00:00Z",
    conditions = json.array { { type = "Ready", status = "True" } },
    containerStatuses = json.array { {
      name = object.spec.containers[1].name, ready = true, started = true, restartCount = 0,
      image = "x", imageID = "x", state = { running = { startedAt = "2026-01-01T00:00:00Z" } },
    } },
  }
end

local function stamp(self, object, before)
  self.version = self.version + 1
  object.metadata.uid = before and before.metadata.uid or ("uid-%d"):format(self.version)
  object.metadata.resourceVersion = tostring(self.version)
  if MAKES[object.kind] then MAKES[object.kind](object) end
end

local function refuse_version(object, before)
  local wanted = object.metadata.resourceVersion
  return wanted and before and wanted ~= before.metadata.resourceVersion
end

local function write(self, request, plural, key)
  local object = json.decode(request.body)
  local wrong = wrong_object(object, KINDS[plural])
  if wrong then return scripted.refusal(400, "BadRequest", { message = "unknown: " .. wrong }) end
  key = key or (object.metadata.namespace or "") .. "/" .. object.metadata.name
  local objects = self.objects[plural]
  local before = objects[key]
  if request.method == "POST" and before then return scripted.refusal(409, "AlreadyExists") end
  if request.method == "PUT" and not before then return scripted.refusal(404, "NotFound") end
  if refuse_version(object, before) then return scripted.refusal(409, "Conflict") end
  stamp(self, object, before)
  objects[key] = object
  return scripted.ok(object, before and 200 or 201)
end

local function delete(self, request, plural, key)
  local object = self.objects[plural][key]
  if not object then return scripted.refusal(404, "NotFound") end
  local wanted = request.body ~= "" and json.decode(request.body).preconditions or {}
  for field, value in pairs(wanted) do
    if object.metadata[field] ~= value then return scripted.refusal(409, "Conflict") end
  end
  self.objects[plural][key] = nil
  return scripted.ok(object)
end

local function has_labels(object, selector)
  for name, value in (selector or ""):gmatch "([^,=]+)=([^,]*)" do
    if (object.metadata.labels or {})[name] ~= value then return false end
  end
  return true
end

local function list(self, request, plural, namespace)
  local items = json.array {}
  local only = (request.query.fieldSelector or ""):match "metadata%.name=([^,]*)"
  for key, object in pairs(self.objects[plural]) do
    if (not namespace or key:find(namespace .. "/", 1, true) == 1)
      and (not only or object.metadata.name == only)
      and has_labels(object, request.query.labelSelector) then
      items[#items + 1] = object
    end
  end
  local kind = KINDS[plural]
  return scripted.ok {
    apiVersion = kind[1], kind = kind[2] .. "List", items = items,
    metadata = { resourceVersion = tostring(self.version) },
  }
end

-- The resource, namespace and name of a path; nothing for paths of other groups and versions.
local function parse(path)
  local rest = path:match "^/api/v1/(.+)$"
  local group_version = "v1"
  if not rest then group_version, rest = path:match "^/apis/([^/]+/[^/]+)/(.+)$" end
  if not rest then return nil end
  local namespace, after = rest:match "^namespaces/([^/]+)/(.+)$"
  local plural, name = (after or rest):match "^([^/]+)/?([^/]*)$"
  if not plural or not KINDS[plural] or KINDS[plural][1] ~= group_version then return nil end
  return plural, namespace, name ~= "" and name or nil
end

local function answer(self, request)
  local plural, namespace, name = parse(request.path)
  if not plural then return nil end
  local key = name and (namespace or "") .. "/" .. name
  if request.method == "DELETE" then return delete(self, request, plural, key) end
  if request.method ~= "GET" then return write(self, request, plural, key) end
  -- All that happens has happened when it was written: a watch waits in vain.
  if request.query.watch then return task.event():wait() end
  if not name then return list(self, request, plural, namespace) end
  local object = self.objects[plural][key]
  return object and scripted.ok(object) or scripted.refusal(404, "NotFound")
end

--- An object as it is kept; nil where there is none.
function Server:get(plural, namespace, name)
  return self.objects[plural][namespace .. "/" .. name]
end

--- The names of all that is kept of a kind.
function Server:names(plural)
  local names = {}
  for key in pairs(self.objects[plural]) do names[#names + 1] = key end
  table.sort(names)
  return names
end

--- Writes a kubeconfig that leads here.
function Server:kubeconfig(path)
  fs.write(path, json.encode {
    apiVersion = "v1", kind = "Config", ["current-context"] = "newer",
    clusters = json.array { { name = "newer", cluster = { server = self.scripted.url } } },
    contexts = json.array { { name = "newer", context = { cluster = "newer", user = "u" } } },
    users = json.array { { name = "u", user = { token = "t" } } },
  }, { mode = "0600" })
  return path
end

Server.__close = function(self) self.scripted:close() end

--- Starts a server.
function M.start()
  local self = setmetatable({ objects = {}, version = 1 }, Server)
  for plural in pairs(KINDS) do self.objects[plural] = {} end
  local documents = discovery()
  self.scripted = scripted.start(setmetatable({}, {
    __index = function(_, key)
      return documents[key] or function(request) return answer(self, request) end
    end,
  }))
  return self
end

return M
