--- What the cluster is, and what one may do there.
-- @submodule moonport.kube

local errors = require "moonport.errors"
local json = require "moonport.json"
local options_of = require "moonport.kube.options"
local request = require "moonport.kube.request"

local M = {}

local REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

local can_options = {
  all_namespaces = "boolean", name = "name", path = "name", resource = "any", verb = "name",
}

-- The group and name of a resource; those that the cluster does not have, or "*", as they are.
local function resource_of(cluster, resource)
  if resource == "*" then return "*", "*" end
  local found, err = try(cluster.find, cluster, resource)
  if found then return found.group, found.name, found.namespaced end
  if not errors.is(err, "kube", "unknown_resource") or type(resource) ~= "string" then
    error(err, 0)
  end
  local name, group = resource:match("^([^.]+)%.?(.*)$")
  return group, name, true
end

local function attributes_of(cluster, options)
  local group, name, namespaced = resource_of(cluster, options.resource)
  local namespace = options.namespace or cluster.namespace
  if namespaced == false or options.all_namespaces then namespace = nil end
  return {
    verb = options.verb, group = group, resource = name, subresource = options.subresource,
    namespace = namespace, name = options.name,
  }
end

--- Asks whether one may do something, without doing it.
--
--     cluster:can { verb = "create", resource = "pods", namespace = "shop" }
-- @function Cluster:can
-- @tparam table what `verb` ("get", "list", "watch", "create", "update", "patch", "delete",
--   "deletecollection", ...), `resource`, `subresource`, `namespace` (the connection's) or
--   `all_namespaces = true`, `name`; or `verb` and `path` of what is no resource, such as
--   "/metrics"; `timeout`, `retries`, `on_wait`
-- @treturn boolean
-- @treturn ?string why, where the server says
-- @raise {kind="kube"}
function M.can(self, what)
  local options = options_of.check("cluster:can", what, can_options)
  if not options.verb or (not options.resource and not options.path) then
    options_of.bad("cluster:can: it wants a `verb` and a `resource`")
  end
  local deadline = request.deadline(self, options)
  local spec = {}
  if options.path then
    spec.nonResourceAttributes = { verb = options.verb, path = options.path }
  else
    spec.resourceAttributes = attributes_of(self, options)
  end
  local response = request.send(self, {
    method = "POST", path = REVIEWS, headers = { ["Content-Type"] = "application/json" },
    body = json.encode {
      apiVersion = "authorization.k8s.io/v1", kind = "SelfSubjectAccessReview", spec = spec,
    },
  }, {
    safe = true, deadline = deadline, retries = options.retries, on_wait = options.on_wait,
  })
  local status = request.decode(response).status or {}
  local why = status.reason or status.evaluationError
  return status.allowed == true, why ~= "" and why or nil
end

--- The server's version.
-- @function Cluster:version
-- @tparam[opt] table options
-- @treturn table `major`, `minor`, `gitVersion`, `platform` and others, all strings
-- @raise {kind="kube"}, {kind="http"}
function M.version(self, options)
  options = options_of.check("cluster:version", options, {})
  return request.decode(request.send(self, { method = "GET", path = "/version" }, {
    safe = true, timeout = options.timeout, retries = options.retries, on_wait = options.on_wait,
  }))
end

return M
