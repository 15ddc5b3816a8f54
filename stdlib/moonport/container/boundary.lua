--- The step that chooses the RuntimeClass, before anything is made.
-- @module moonport.container.boundary

local clusters = require "moonport.container.cluster"
local errors = require "moonport.errors"
local isolation = require "moonport.container.isolation"

local M = {}

-- All classes; none where the server does not know of any.
local function classes_of(cluster)
  local list, why = try(cluster.list, cluster, "runtimeclasses.node.k8s.io")
  if list then return list.items end
  if errors.is(why, "kube", "unknown_resource") then return {} end
  error(why, 0)
end

local function choose(ctx)
  local manifest = ctx.manifest
  if manifest.isolation == "any" and not manifest.container.runtime_class then return nil end
  return isolation.choose(manifest.isolation, classes_of(clusters.open(ctx)), ctx.config.kube,
    manifest.container.runtime_class)
end

--- Chooses the class.
-- @tparam context ctx
-- @treturn table intent `{runtime_class, runtime_handler}`; empty for the cluster's own runtime
-- @raise {kind="container", code="refused"} when a VM boundary is required and there is none
function M.allocate(ctx)
  local class = choose(ctx) or {}
  return { runtime_class = class.name, runtime_handler = class.handler }
end

local function describe(ctx, intent)
  if intent.runtime_class then
    return ("RuntimeClass %s (handler %s)"):format(intent.runtime_class, intent.runtime_handler)
  end
  if ctx.manifest.isolation ~= "preferred" then return nil end
  return "none: the cluster has no RuntimeClass that gives a VM"
end

--- Tells what would be used.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local text = describe(ctx, M.allocate(ctx))
  return text and { { action = "keep", what = "isolation", to = text } } or {}
end

--- Warns where a VM boundary is preferred and there is none.
-- @tparam context ctx
-- @tparam table intent
function M.apply(ctx, intent)
  if ctx.manifest.isolation == "preferred" and not intent.runtime_class then
    ctx:warn("it runs without the VM boundary that `isolation` prefers: the cluster has no "
      .. "RuntimeClass that gives one")
  end
end

return M
