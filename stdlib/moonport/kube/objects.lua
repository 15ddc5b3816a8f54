-- Objects: where they belong, and how they are written.

local discovery = require "moonport.kube.discovery"
local json = require "moonport.json"
local options_of = require "moonport.kube.options"
local paths = require "moonport.kube.paths"
local request = require "moonport.kube.request"
local secret = require "moonport.secret"

local M = {}

-- The namespace of a call on `resource`; nil for what has none, or for all of them. `object`: what
-- may say it, with its metadata.
function M.namespace_of(cluster, call, resource, options, object)
  if not resource.namespaced then return nil end
  local own = type(object) == "table" and object.metadata and object.metadata.namespace
  local asked = options.namespace
  if own and asked and own ~= asked then
    options_of.bad("%s: the object is of namespace `%s`, the option says `%s`", call, own, asked)
  end
  return options_of.check_name(call, "the namespace", own or asked or cluster.namespace)
end

-- Raises unless this can be an object of a cluster. Its name may be missing for `create`.
function M.check(call, object, nameless)
  if type(object) ~= "table" then
    options_of.bad("%s: an object is a table, got a %s", call, type(object))
  end
  for _, field in ipairs { "apiVersion", "kind" } do
    if type(object[field]) ~= "string" or object[field] == "" then
      options_of.bad("%s: the object has no `%s`", call, field)
    end
  end
  local metadata = object.metadata
  if type(metadata) ~= "table" then
    options_of.bad("%s: the object has no `metadata`", call)
  end
  if metadata.name ~= nil then options_of.check_name(call, "`metadata.name`", metadata.name) end
  if not metadata.name and not (nameless and metadata.generateName) then
    options_of.bad("%s: the object has no `metadata.name`%s", call,
      nameless and " and no `metadata.generateName`" or "")
  end
end

-- Where a Secret may hold secrets.
local SECRET_FIELDS = { "data", "stringData" }

local function holds_secret(values)
  for _, value in next, values do
    if secret.is(value) then return true end
  end
  return false
end

-- The object without the fields in which it holds secrets; nil where it holds none.
local function without_secrets(object)
  local rest
  for _, field in ipairs(SECRET_FIELDS) do
    if type(object[field]) == "table" and holds_secret(object[field]) then
      if not rest then
        rest = {}
        for name, value in next, object do rest[name] = value end
      end
      rest[field] = nil
    end
  end
  return rest
end

-- The object as JSON: text, or a secret where it is a Secret that holds some.
function M.encode(object)
  local rest = object.kind == "Secret" and object.apiVersion == "v1" and without_secrets(object)
  if not rest then return json.encode(object) end
  json.encode(rest) -- which raises where there is one elsewhere
  return json.encode(object, { secrets = true })
end

-- Sends a call on a resource and gives the decoded answer.
--   call: { call="cluster:get", verb="get", api_verb="get", method=, resource=, name=, object=,
--     query=, body=, content_type=, safe=, collection= }
function M.call(cluster, call, options)
  local deadline = request.deadline(cluster, options)
  local query = call.query or {}
  if options.dry_run then query.dryRun = "All" end
  local response, resource = discovery.with(cluster, call.resource, function(found)
    local namespace = M.namespace_of(cluster, call.call, found, options,
      call.object or call.resource)
    local path = paths.of(found, namespace, call.name, options.subresource)
    local headers = call.body and { ["Content-Type"] = call.content_type or "application/json" }
    return request.send(cluster, {
      method = call.method, path = paths.with_query(path, query), headers = headers,
      body = call.body, compressed = cluster.compressed,
    }, {
      safe = call.safe or options.dry_run or false, deadline = deadline, retries = options.retries,
      on_wait = options.on_wait,
      about = {
        verb = call.verb, api_verb = call.api_verb, resource = found, namespace = namespace,
        name = call.name or call.shown_name, subresource = options.subresource,
      },
    }), found
  end)
  return request.decode(response), resource
end

-- Leaves out who owns which field, which is half of many an object.
function M.without_managed_fields(object)
  if object.metadata then object.metadata.managedFields = nil end
  return object
end

return M
