--- Server-side apply.
-- @submodule moonport.kube

local errors = require "moonport.errors"
local objects = require "moonport.kube.objects"
local options_of = require "moonport.kube.options"
local status = require "moonport.kube.status"
local verbs = require "moonport.kube.verbs"

local M = {}

local ROUNDS = 10 -- tries to take fields of an object that others keep changing

local apply_options = {
  dry_run = "boolean", field_manager = "name", field_validation = "name", force = "any",
}

-- "spec.replicas" for ".spec.replicas"
local function plain_path(path) return (path:gsub("^%.", "")) end

local function forced_paths(force)
  if force == nil or type(force) == "boolean" then return force or false end
  if type(force) ~= "table" or #force == 0 then
    options_of.bad("cluster:apply: `force` is true, false or a list of paths that is not empty")
  end
  local paths = {}
  for index, path in ipairs(force) do
    if type(path) ~= "string" or plain_path(path) == "" then
      options_of.bad("cluster:apply: `force` holds paths like `spec.replicas`")
    end
    paths[index] = plain_path(path)
  end
  return paths
end

-- Whether a field is one of the paths, or lies below one.
local function is_within(field, paths)
  for _, path in ipairs(paths) do
    local after = field:sub(#path + 1, #path + 1)
    if field:sub(1, #path) == path and (after == "" or after == "." or after == "[") then
      return true
    end
  end
  return false
end

local function check(object)
  objects.check("cluster:apply", object)
  if object.metadata.managedFields == nil then return end
  errors.raise {
    kind = "argument", code = "invalid",
    message = "cluster:apply: the object was read from a cluster: it holds what others own too",
    hint = "apply only the fields that you decide about; cluster:replace takes an object whole",
  }
end

local function send(cluster, object, options, force)
  local query = verbs.write_query(cluster, options)
  query.force = force and "true" or nil
  return (objects.call(cluster, {
    call = "cluster:apply", verb = "apply", api_verb = "patch", method = "PATCH",
    resource = object, object = object, name = object.metadata.name, query = query,
    body = objects.encode(object), content_type = "application/apply-patch+yaml",
    -- Twice the same is once.
    safe = true,
  }, options))
end

-- The object with the version that it must still have.
local function bound_to(object, version)
  local copy, metadata = {}, {}
  for name, value in next, object do copy[name] = value end
  for name, value in next, object.metadata do metadata[name] = value end
  metadata.resourceVersion = version
  copy.metadata = metadata
  return copy
end

-- Raises unless all conflicts are about fields that may be taken over: those at `paths`, and those
-- that the same manager has set by another verb, which the server counts as somebody else's. The
-- error tells of the others alone.
local function refuse_others(err, manager, paths)
  local others = {}
  for _, conflict in ipairs(err.conflicts) do
    if conflict.manager ~= manager and not is_within(conflict.field, paths) then
      others[#others + 1] = conflict
    end
  end
  if #others > 0 then error(status.with_conflicts(err, others), 0) end
end

local function is_conflict(err) return errors.is(err, "kube", "conflict") end

local function read_options(object, options)
  return {
    namespace = options.namespace or object.metadata.namespace, subresource = options.subresource,
    timeout = options.timeout, retries = options.retries, on_wait = options.on_wait,
  }
end

-- Force takes whatever it finds. So that it takes nothing but these paths, it is bound to a version
-- of the object of which the conflicts are known: read the version, see the conflicts (of that or a
-- later one), force on that version only.
local function apply_paths(cluster, object, options, paths)
  local manager = options.field_manager or cluster.field_manager
  local done, err = try(send, cluster, object, options, false)
  for _ = 1, ROUNDS do
    if done then return done end
    if not is_conflict(err) or not err.conflicts then error(err, 0) end
    refuse_others(err, manager, paths)
    local now = cluster:get(object, object.metadata.name, read_options(object, options))
    done, err = try(send, cluster, object, options, false)
    if done then return done end
    if not is_conflict(err) or not err.conflicts then error(err, 0) end
    refuse_others(err, manager, paths)
    local bound = bound_to(object, now.metadata.resourceVersion)
    done, err = try(send, cluster, bound, options, true)
    if not done and is_conflict(err) then done, err = try(send, cluster, object, options, false) end
  end
  if done then return done end
  error(err, 0)
end

--- Applies an object: the server makes it, or changes the fields that it holds; those that it held
-- when it was last applied by the same manager and that are gone now are removed. Fields of others
-- stay as they are.
--
--     cluster:apply {
--       apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "web" },
--       spec = { replicas = 3 },
--     }
--
-- Where it holds a field that another manager owns, with another value, nothing changes and the
-- error lists `conflicts`. What the same manager has set by another verb (`create`, `patch`,
-- `scale`) is its own.
-- @function Cluster:apply
-- @tparam table object the fields to decide about, and no others
-- @tparam[opt] table options `force`: a list of paths (`{"spec.replicas"}`, of these and all below
--   them) takes over just those, and conflicts about others remain errors; true takes all;
--   `field_manager` (the connection's); `field_validation`; and those of every method
-- @treturn table the object as it is then
-- @raise {kind="kube", code="conflict", conflicts={{field=, manager=, api_version=}, ...}}: those
--   that `force` does not cover
function M.apply(self, object, options)
  options = options_of.check("cluster:apply", options, apply_options)
  local force = forced_paths(options.force)
  check(object)
  if force == true then return send(self, object, options, true) end
  return apply_paths(self, object, options, force or {})
end

return M
