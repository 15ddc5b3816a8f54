--- The Kubernetes objects that run a blueprint: a Pod, or a StatefulSet and its Service.
--
-- Everything here is computed from a context and what the recipe has found out before; nothing is
-- read or asked.
--
--     parts = {
--       namespace = "blueprints",
--       runtime_class = "kata", runtime_handler = "kata-qemu",   -- of isolation.choose
--       keystore = { secret = NAME, items = {...} } | { host_path = PATH },
--       environment = { secret = NAME },      -- where the manifest's env holds secrets
--       host = { address = "10.96.0.9", ports = { [8545] = 8545 } },
--     }
-- @module moonport.container.workload

local checks = require "moonport.container.checks"
local data = require "moonport.container.data"
local environment = require "moonport.container.environment"
local isolation = require "moonport.container.isolation"
local maybe = require "moonport.engine.maybe"
local names = require "moonport.container.names"
local places = require "moonport.container.places"
local probes = require "moonport.container.probes"
local quantity = require "moonport.container.quantity"
local resources = require "moonport.container.resources"
local security = require "moonport.container.security"
local syntax = require "moonport.container.syntax"
local volumes = require "moonport.container.volumes"

local M = {
  --- The name of the container in its pod.
  CONTAINER = "blueprint",
  --- The name by which a pod reaches ports of the host.
  HOST = "blueprint-service",
}

local RESTART = { ["no"] = "Never", ["on-failure"] = "OnFailure", always = "Always" }

--- True when a StatefulSet holds the pods.
-- @function is_set
-- @tparam table manifest
-- @treturn boolean
M.is_set = checks.is_set

--- When the node starts the service again.
-- @tparam table manifest
-- @treturn string
function M.restart_policy(manifest)
  if manifest.registration then return "Never" end
  return M.is_set(manifest) and "Always" or RESTART[manifest.restart.policy]
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function ports(manifest)
  local list = {}
  for index, name in ipairs(sorted_keys(manifest.container.ports)) do
    local port = manifest.container.ports[name]
    local known = type(port) == "table"
    list[index] = {
      name = name, containerPort = known and port.port or port,
      protocol = known and port.protocol or "TCP",
    }
  end
  return #list > 0 and list or nil
end

local function container(ctx, parts)
  local manifest = ctx.manifest
  local command, args = environment.arguments(manifest)
  local fields = {
    name = M.CONTAINER,
    image = manifest.image,
    imagePullPolicy = manifest.container.image_pull_policy,
    command = command,
    args = args,
    workingDir = manifest.container.working_dir,
    env = environment.variables(ctx, parts),
    ports = ports(manifest),
    resources = resources.container(manifest),
    securityContext = security.container(manifest),
    volumeMounts = volumes.mounts(ctx, parts),
    terminationMessagePath = manifest.registration and places.REGISTRATION or nil,
  }
  for name, probe in pairs(probes.container(manifest, { data_dir = places.DATA })) do
    fields[name] = probe
  end
  return fields
end

local function named(list)
  local references = {}
  for index, name in ipairs(list) do references[index] = { name = name } end
  return #references > 0 and references or nil
end

-- The host by a name, whatever its Service is called and whether or not the cluster has DNS. A host
-- that has no address but a name of its own is reached by that.
local function with_host(manifest, host)
  local aliases = {}
  for name, ip in pairs(manifest.container.host_aliases) do aliases[name] = ip end
  local ip = host and #manifest.container.host_ports > 0 and tostring(host.address)
  if ip and (maybe.is(host.address) or not syntax.address(ip)) then
    aliases[M.HOST] = aliases[M.HOST] or ip
  end
  return aliases
end

-- `hostAliases` go by address.
local function host_aliases(aliases)
  local by_address, list = {}, {}
  for _, host in ipairs(sorted_keys(aliases)) do
    local entry = by_address[aliases[host]]
    if not entry then
      entry = { ip = aliases[host], hostnames = {} }
      by_address[entry.ip], list[#list + 1] = entry, entry
    end
    entry.hostnames[#entry.hostnames + 1] = host
  end
  return #list > 0 and list or nil
end

local function pod_spec(ctx, parts)
  local manifest = ctx.manifest
  local own = manifest.container
  return {
    containers = { container(ctx, parts) },
    volumes = volumes.pod(ctx, parts),
    restartPolicy = M.restart_policy(manifest),
    terminationGracePeriodSeconds = quantity.seconds(manifest.stop.grace),
    securityContext = security.pod(manifest),
    runtimeClassName = parts.runtime_class,
    nodeSelector = resources.node_selector(manifest),
    affinity = resources.affinity(manifest),
    tolerations = resources.tolerations(manifest),
    priorityClassName = own.priority_class,
    serviceAccountName = own.service_account,
    automountServiceAccountToken = own.service_account_token,
    enableServiceLinks = own.service_links,
    imagePullSecrets = named(own.image_pull_secrets),
    hostAliases = host_aliases(with_host(manifest, parts.host)),
  }
end

local function pod_annotations(parts)
  return parts.runtime_handler and { [isolation.HANDLER] = parts.runtime_handler } or nil
end

--- The template of the pods. It says nothing of the revision: pods of a StatefulSet are replaced
-- only when they themselves change, not when there are to be more of them.
-- @tparam context ctx
-- @tparam table parts
-- @treturn table {metadata, spec}
function M.pod_template(ctx, parts)
  local version = { ["app.kubernetes.io/version"] = names.version(ctx.manifest.image) }
  return {
    metadata = {
      labels = names.labels(ctx, version),
      annotations = names.annotations(ctx, pod_annotations(parts)),
    },
    spec = pod_spec(ctx, parts),
  }
end

--- The Pod of a revision.
-- @tparam context ctx
-- @tparam table parts
-- @treturn table
function M.pod(ctx, parts)
  local template = M.pod_template(ctx, parts)
  local metadata = template.metadata
  metadata.name, metadata.namespace = names.pod(ctx), parts.namespace
  metadata.labels[names.TAG] = ctx.tag
  metadata.annotations = names.revised(ctx, metadata.annotations)
  return { apiVersion = "v1", kind = "Pod", metadata = metadata, spec = template.spec }
end

--- The StatefulSet.
-- @tparam context ctx
-- @tparam table parts
-- @treturn table
function M.set(ctx, parts)
  return {
    apiVersion = "apps/v1",
    kind = "StatefulSet",
    metadata = names.metadata(ctx, names.set(ctx), parts.namespace, {
      annotations = names.revised(ctx),
    }),
    spec = {
      replicas = ctx.manifest.container.replicas,
      serviceName = names.service(ctx),
      selector = { matchLabels = names.selector(ctx) },
      -- In order, a set whose new pods never get ready stays so, even when it is changed back.
      podManagementPolicy = "Parallel",
      updateStrategy = { type = "RollingUpdate" },
      template = M.pod_template(ctx, parts),
      volumeClaimTemplates = data.claim_templates(ctx),
    },
  }
end

local function service_ports(manifest)
  local list = {}
  for index, port in ipairs(ports(manifest) or {}) do
    list[index] = {
      name = port.name, port = port.containerPort, protocol = port.protocol,
      targetPort = port.containerPort,
    }
  end
  return #list > 0 and list or nil
end

--- The headless Service that gives the pods of a StatefulSet their names.
-- @tparam context ctx
-- @tparam table parts
-- @treturn table
function M.service(ctx, parts)
  return {
    apiVersion = "v1",
    kind = "Service",
    metadata = names.metadata(ctx, names.service(ctx), parts.namespace),
    spec = {
      clusterIP = "None",
      publishNotReadyAddresses = true,
      selector = names.selector(ctx),
      ports = service_ports(ctx.manifest),
    },
  }
end

--- The objects that run the service, in the order in which to apply them. Claims and Secrets come
-- before: `data.claims`, `keystore.secret`, `environment.secret`.
-- @tparam context ctx
-- @tparam table parts
-- @treturn {table,...}
function M.objects(ctx, parts)
  if M.is_set(ctx.manifest) then return { M.service(ctx, parts), M.set(ctx, parts) } end
  return { M.pod(ctx, parts) }
end

return M
