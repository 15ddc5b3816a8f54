--- What `moonport doctor` checks of the container target.
-- @module moonport.container.doctor

local access = require "moonport.container.access"
local clusters = require "moonport.container.cluster"
local errors = require "moonport.errors"
local isolation = require "moonport.container.isolation"
local manifest = require "moonport.manifest"

local M = {}

local SECONDS = 5 -- for a cluster to answer

-- A deployment as it might be, on the site's cluster.
local function example(about)
  local site = require("moonport.site").open { dir = about.site }
  manifest.register_target("container", require "moonport.container.manifest")
  local data = manifest.build({ {
    name = "manifest", base = "/",
    raw = { name = "doctor", target = "container", image = "doctor" },
  } }).data
  return { config = site.config, manifest = data, store = "none" }
end

-- The connection; nil where nothing says which cluster.
local function connect(ctx)
  local cluster, why = try(clusters.open, ctx)
  if why and (clusters.is_named(ctx) or not errors.is(why, "kube", "config")) then
    error(why, 0)
  end
  return cluster
end

local function version_of(cluster)
  local version, why = try(cluster.version, cluster, { timeout = SECONDS, retries = 0 })
  if version then return version.gitVersion end
  errors.raise {
    kind = "doctor", code = "failed", where = "",
    message = ("the cluster at %s does not answer: %s"):format(cluster.config.server, why.message),
    hint = why.hint or "pods cannot be deployed until it does",
  }
end

--- Whether there is a kubeconfig, and its cluster answers.
-- @tparam table about {site}
-- @treturn string what was found
function M.cluster(about)
  local ctx = example(about)
  local cluster = connect(ctx)
  if not cluster then return "none; only the container target needs one" end
  local config = cluster.config
  return ("%s, Kubernetes %s at %s"):format(config.context or "in this pod", version_of(cluster),
    config.server)
end

--- Whether the account may do what a deployment takes.
-- @tparam table about {site}
-- @treturn string what was found
-- @treturn ?string hint
function M.rights(about)
  local ctx = example(about)
  local cluster = connect(ctx)
  if not cluster then return "no cluster" end
  version_of(cluster)
  local namespace = require "moonport.container.namespace"
  local name = clusters.namespace(ctx)
  local missing = access.missing(cluster, name, access.needs(ctx.manifest, {
    namespace = namespace.look(cluster, name, ctx.store), host = true, environment = true,
  }))
  if #missing == 0 then
    local lost = access.losses(access.missing(cluster, name, access.wishes()))
    local text = ("all that pods in namespace `%s` take"):format(name)
    if #lost == 0 then return text end
    return ("%s; but %s"):format(text, table.concat(lost, "; ")),
      "an administrator grants it by a Role and a RoleBinding"
  end
  return ("in namespace `%s` these are lacking: %s"):format(name, access.describe(missing)),
    "an administrator grants them by a Role and a RoleBinding"
end

--- Which RuntimeClasses give a VM boundary.
-- @tparam table about {site}
-- @treturn string what was found
function M.isolation(about)
  local ctx = example(about)
  local cluster = connect(ctx)
  if not cluster then return "no cluster" end
  version_of(cluster)
  local list, why = try(cluster.list, cluster, "runtimeclasses.node.k8s.io")
  if errors.is(why, "kube", "unknown_resource") then list = { items = {} } end
  if not list then error(why, 0) end
  local names = {}
  for index, class in ipairs(isolation.virtual(list.items, ctx.config.kube)) do
    names[index] = ("%s (handler %s)"):format(class.name, class.handler)
  end
  if #names == 0 then
    return "no RuntimeClass gives a VM: `isolation = \"required\"` is refused"
  end
  return "RuntimeClasses that give a VM: " .. table.concat(names, ", ")
end

return M
