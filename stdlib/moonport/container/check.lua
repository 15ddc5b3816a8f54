--- The first step: what can be known before anything is made is as it must be.
-- @module moonport.container.check

local access = require "moonport.container.access"
local checks = require "moonport.container.checks"
local clusters = require "moonport.container.cluster"
local environment = require "moonport.container.environment"
local host = require "moonport.container.host"
local namespace = require "moonport.container.namespace"

local M = {}

-- A server that does not answer is told as what it is.
local function reach(ctx, cluster)
  local version, why = try(cluster.version, cluster)
  if version then return version end
  local hint = "is it up, and is it the one that is meant? %s names it"
  error(clusters.explain(cluster.config, why, hint:format(
    ctx.manifest.container.context and "`container.context`"
      or (ctx.config.kube or {}).context and "`kube.context` in the site's config.lua"
      or "the kubeconfig's current-context")), 0)
end

local function needs_of(ctx, cluster)
  local manifest, name = ctx.manifest, clusters.namespace(ctx)
  return access.needs(manifest, {
    namespace = namespace.look(cluster, name, ctx.store),
    slices = host.has_slices(cluster),
    host = #host.ports(manifest) > 0,
    environment = next(environment.secret_references(manifest)) ~= nil,
  }), name
end

--- Checks that the cluster answers, and that the account may do what is needed. Only asks.
-- @tparam context ctx
-- @treturn table {version}
-- @raise {kind="container"} with the code "unreachable" or "forbidden"
function M.run(ctx)
  for _, text in ipairs(checks.warnings(ctx.manifest)) do ctx:warn("%s", text) end
  local cluster = clusters.open(ctx)
  local version = reach(ctx, cluster)
  local needs, name = needs_of(ctx, cluster)
  for _, text in ipairs(access.check(cluster, name, needs)) do ctx:warn("%s", text) end
  return { version = version.gitVersion }
end

--- As a plan: there is nothing to change.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  M.run(ctx)
  return {}
end

return M
