--- Deleting.
-- @submodule moonport.kube

local errors = require "moonport.errors"
local json = require "moonport.json"
local objects = require "moonport.kube.objects"
local options_of = require "moonport.kube.options"
local selector = require "moonport.kube.selector"

local M = {}

local propagations = { Background = true, Foreground = true, Orphan = true }

-- DeleteOptions. They travel in the body, which makes the server ignore the query: a dry run has to
-- stand in both, for the effect gate looks at the query.
local function body_of(call, options)
  local propagation = options.propagation
  if propagation and not propagations[propagation] then
    options_of.bad("%s: `propagation` is Background, Foreground or Orphan, got `%s`", call,
      propagation)
  end
  local preconditions
  if options.uid or options.resource_version then
    preconditions = { uid = options.uid, resourceVersion = options.resource_version }
  end
  return json.encode {
    apiVersion = "v1", kind = "DeleteOptions", gracePeriodSeconds = options.grace,
    propagationPolicy = propagation, preconditions = preconditions,
    dryRun = options.dry_run and json.array { "All" } or nil,
  }
end

local delete_options = {
  dry_run = "boolean", grace = "count", missing_ok = "boolean", propagation = "name",
  resource_version = "name", uid = "name",
}

-- Whether there is nothing left to delete: no such object, or, where it was named beyond doubt, not
-- even its kind.
local function is_gone(err, resource)
  if errors.is(err, "kube", "not_found") then return true end
  return errors.is(err, "kube", "unknown_resource") and type(resource) == "table"
end

--- Deletes one object.
--
--     cluster:delete("pods", "web-0", { grace = 5 })
--     cluster:delete(pod, pod.metadata.name, { uid = pod.metadata.uid, missing_ok = true })
-- @function Cluster:delete
-- @tparam string|table resource
-- @tparam string name
-- @tparam[opt] table options `grace`: seconds it is given to end (its own; 0 kills it);
--   `propagation`: "Background", "Foreground" or "Orphan" for what it owns; `uid` and
--   `resource_version`: only if it still has these; `missing_ok`: true takes one that is not there
--   for done; and those of every method
-- @treturn ?table what the server answered: the object where it takes time to go, else a `Status`;
--   nil where nothing was there
-- @raise {kind="kube", code="not_found"}; {kind="kube", code="conflict"} where a precondition fails
function M.delete(self, resource, name, options)
  options = options_of.check("cluster:delete", options, delete_options)
  options_of.check_name("cluster:delete", "the name", name)
  local body = body_of("cluster:delete", options)
  local answer, err = try(objects.call, self, {
    call = "cluster:delete", verb = "delete", api_verb = "delete", method = "DELETE",
    resource = resource, name = name, body = body,
  }, options)
  if answer then return answer end
  if options.missing_ok and is_gone(err, resource) then return nil end
  error(err, 0)
end

local collection_options = {
  all = "boolean", dry_run = "boolean", fields = "any", grace = "count", labels = "any",
  propagation = "name",
}

--- Deletes all objects of a resource in a namespace that a selector fits.
-- @function Cluster:delete_collection
-- @tparam string|table resource
-- @tparam table options `labels` and `fields` as for @{Cluster:list}, or `all`: true for all that
--   are there; `grace`, `propagation` as for @{Cluster:delete}; and those of every method
-- @treturn table what the server answered
-- @raise {kind="kube"}
function M.delete_collection(self, resource, options)
  local call = "cluster:delete_collection"
  options = options_of.check(call, options, collection_options)
  if not options.labels and not options.fields and not options.all then
    options_of.bad("%s: it wants `labels`, `fields`, or `all = true` for everything", call)
  end
  return (objects.call(self, {
    call = call, verb = "delete", api_verb = "deletecollection", method = "DELETE",
    resource = resource, query = selector.add(call, options, {}), body = body_of(call, options),
  }, options))
end

return M
