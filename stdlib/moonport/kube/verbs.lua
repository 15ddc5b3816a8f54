--- Getting, making and changing objects.
-- @submodule moonport.kube

local json = require "moonport.json"
local objects = require "moonport.kube.objects"
local options_of = require "moonport.kube.options"

local M = {}

local get_options = { managed_fields = "boolean", resource_version = "string" }

--- Gets one object. What is named by an object in place of the resource is of its kind, and in its
-- namespace; so in all methods.
-- @function Cluster:get
-- @tparam string|table resource
-- @tparam string name
-- @tparam[opt] table options `managed_fields`: false leaves `metadata.managedFields` out;
--   `resource_version`: "0" takes what the server has at hand; and those of every method
-- @treturn table
-- @raise {kind="kube", code="not_found"} among others
function M.get(self, resource, name, options)
  options = options_of.check("cluster:get", options, get_options)
  options_of.check_name("cluster:get", "the name", name)
  local object = objects.call(self, {
    call = "cluster:get", verb = "get", api_verb = "get", method = "GET", safe = true,
    resource = resource, name = name, query = { resourceVersion = options.resource_version },
  }, options)
  if options.managed_fields == false then objects.without_managed_fields(object) end
  return object
end

local write_options = {
  dry_run = "boolean", field_manager = "name", field_validation = "name",
}

local function write_query(cluster, options)
  return {
    fieldManager = options.field_manager or cluster.field_manager,
    fieldValidation = options.field_validation,
  }
end

M.write_query = write_query

local create_options = { name = "name", resource = "any" }
for name, kind in pairs(write_options) do create_options[name] = kind end

--- Makes an object. What it is and where it belongs stands in it: `apiVersion`, `kind`,
-- `metadata.name` (or `metadata.generateName`), `metadata.namespace`.
--
--     cluster:create { apiVersion = "v1", kind = "Namespace", metadata = { name = "shop" } }
--
-- Some subresources are made too, such as a token of a service account:
--
--     cluster:create({ apiVersion = "authentication.k8s.io/v1", kind = "TokenRequest",
--       metadata = {}, spec = { audiences = json.array {} } },
--       { resource = "serviceaccounts", name = "builder", subresource = "token" })
-- @function Cluster:create
-- @tparam table object
-- @tparam[opt] table options `field_manager`; `field_validation`: "Strict", "Warn" or "Ignore" for
--   unknown fields, where the server knows it; `resource` and `name`: what the `subresource` is
--   of; and those of every method
-- @treturn table the object as it was made
-- @raise {kind="kube", code="already_exists"}, {kind="kube", code="invalid"} among others
function M.create(self, object, options)
  options = options_of.check("cluster:create", options, create_options)
  if options.subresource then
    options_of.check_name("cluster:create", "the option `name`", options.name or "")
    if not options.resource then
      options_of.bad("cluster:create: a subresource needs the option `resource`")
    end
    if type(object) ~= "table" then options_of.bad("cluster:create: an object is a table") end
  else
    objects.check("cluster:create", object, true)
  end
  return (objects.call(self, {
    call = "cluster:create", verb = "create", api_verb = "create", method = "POST",
    resource = options.resource or object, object = object, name = options.name,
    shown_name = object.metadata and object.metadata.name, query = write_query(self, options),
    body = objects.encode(object),
  }, options))
end

--- Puts an object in the place of the one of its name. With the `metadata.resourceVersion` that it
-- was read with, it replaces only what it was made from.
-- @function Cluster:replace
-- @tparam table object
-- @tparam[opt] table options `field_manager`, `field_validation`, and those of every method
-- @treturn table the object as it is then
-- @raise {kind="kube", code="conflict"} when it has changed meanwhile
function M.replace(self, object, options)
  options = options_of.check("cluster:replace", options, write_options)
  objects.check("cluster:replace", object)
  return (objects.call(self, {
    call = "cluster:replace", verb = "replace", api_verb = "update", method = "PUT",
    resource = object, object = object, name = object.metadata.name,
    query = write_query(self, options), body = objects.encode(object),
  }, options))
end

local types = {
  apply = "application/apply-patch+yaml",
  json = "application/json-patch+json",
  merge = "application/merge-patch+json",
  strategic = "application/strategic-merge-patch+json",
}

local patch_options = { type = "name" }
for name, kind in pairs(write_options) do patch_options[name] = kind end

local function content_type_of(kind)
  if not types[kind] then
    options_of.bad("cluster:patch: `type` is merge, json, strategic or apply, got `%s`", kind)
  end
  return types[kind]
end

local function text_of(patch, kind)
  if type(patch) == "string" then return patch end
  if type(patch) ~= "table" then
    options_of.bad("cluster:patch: the patch is a table or JSON text, got a %s", type(patch))
  end
  if kind ~= "json" then return json.encode(patch) end
  if #patch == 0 then
    options_of.bad("cluster:patch: a json patch is a list of operations that is not empty")
  end
  return json.encode(patch)
end

--- Changes parts of an object.
--
--     cluster:patch("deployments", "web", { spec = { paused = true } })
--     local label = { op = "add", path = "/metadata/labels/disk", value = "ssd" }
--     cluster:patch("nodes", "n1", { label }, { type = "json" })
--
-- In a merge patch `json.null` removes a field.
-- @function Cluster:patch
-- @tparam string|table resource
-- @tparam string name
-- @tparam table|string patch a table, or JSON as text
-- @tparam[opt] table options `type`: "merge" (default; lists are replaced whole), "json" (a list of
--   operations; `test` makes it conditional), "strategic" (built-in resources only; lists are
--   merged by key) or "apply" (as @{Cluster:apply}, without its help); `field_manager`,
--   `field_validation`, and those of every method
-- @treturn table the object as it is then
-- @raise {kind="kube"}
function M.patch(self, resource, name, patch, options)
  options = options_of.check("cluster:patch", options, patch_options)
  options_of.check_name("cluster:patch", "the name", name)
  local kind = options.type or "merge"
  local content_type = content_type_of(kind)
  return (objects.call(self, {
    call = "cluster:patch", verb = "patch", api_verb = "patch", method = "PATCH",
    safe = kind == "apply",
    resource = resource, name = name, query = write_query(self, options),
    body = text_of(patch, kind), content_type = content_type,
  }, options))
end

local scale_options = { current = "count" }
for name, kind in pairs(write_options) do scale_options[name] = kind end

--- Sets how many replicas there shall be, by the subresource `scale`: of deployments, stateful
-- sets, replica sets, and custom resources that have one.
-- @function Cluster:scale
-- @tparam string|table resource
-- @tparam string name
-- @tparam integer replicas
-- @tparam[opt] table options `current`: only if there shall be so many now; and those of every
--   method
-- @treturn table the `Scale` object: `spec.replicas` are wanted, `status.replicas` there
-- @raise {kind="kube", code="invalid"} when `current` is not so
function M.scale(self, resource, name, replicas, options)
  options = options_of.check("cluster:scale", options, scale_options)
  options_of.check_name("cluster:scale", "the name", name)
  if math.type(replicas) ~= "integer" or replicas < 0 then
    options_of.bad("cluster:scale: the replicas are a whole number from 0 on, got `%s`",
      tostring(replicas))
  end
  local body, content_type = { spec = { replicas = replicas } }, types.merge
  if options.current then
    content_type = types.json
    body = {
      { op = "test", path = "/spec/replicas", value = options.current },
      { op = "replace", path = "/spec/replicas", value = replicas },
    }
  end
  local with_scale = { subresource = "scale" }
  for key, value in next, options do with_scale[key] = value end
  return (objects.call(self, {
    call = "cluster:scale", verb = "scale", api_verb = "patch", method = "PATCH",
    resource = resource, name = name, query = write_query(self, options),
    body = json.encode(body), content_type = content_type,
  }, with_scale))
end

return M
