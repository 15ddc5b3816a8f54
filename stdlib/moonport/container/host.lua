--- The host service: what leads from pods to the host that runs moonport.
--
-- A Service without a selector, `blueprint-service`, and what it leads to: an EndpointSlice, or
-- Endpoints where the server is too old for those. All deployments of a store share it. Each has an
-- annotation with its ports on the Service (`moonport.host/<tag>`), and the Service has them all;
-- the last one removes it. Where another store has that name, the store's own is
-- `blueprint-service-<8 digits>`: it may be on another machine.
--
-- The lists of ports in EndpointSlices and Endpoints have one owner as a whole, so server-side
-- apply cannot merge them. They are read, changed and written back, bound to the version that was
-- read.
-- @module moonport.container.host

local address = require "moonport.container.address"
local clusters = require "moonport.container.cluster"
local errors = require "moonport.errors"
local host_address = require "moonport.container.host_address"
local marks = require "moonport.container.marks"
local names = require "moonport.container.names"

local M = {
  --- What the Service is called.
  NAME = "blueprint-service",
}

local KIND = "kubernetes-host"
local USER = "moonport.host/"
local TRIES = 20

local SLICE = { apiVersion = "discovery.k8s.io/v1", kind = "EndpointSlice" }
local ENDPOINTS = { apiVersion = "v1", kind = "Endpoints" }
local SERVICE = { apiVersion = "v1", kind = "Service" }

-- Pure: ports, users, objects.

local function port_key(port) return ("%d/%s"):format(port.port, port.protocol) end

--- The ports of a manifest that are to lead to this host.
-- @tparam table manifest
-- @treturn {{port,protocol,from},...}
function M.ports(manifest)
  return address.ports(manifest)
end

-- `8545/TCP,8546/TCP`
local function format_ports(ports)
  local parts = {}
  for index, port in ipairs(ports) do parts[index] = port_key(port) end
  table.sort(parts)
  return table.concat(parts, ",")
end

local function parse_ports(text)
  local ports = {}
  for number, protocol in text:gmatch "(%d+)/(%u+)" do
    ports[#ports + 1] = { port = tonumber(number), protocol = protocol }
  end
  return ports
end

--- The users of a host service: tag -> ports.
-- @tparam table service
-- @treturn table
function M.users(service)
  local users = {}
  for key, value in pairs(service.metadata.annotations or {}) do
    local tag = key:match("^moonport%.host/(.+)$")
    if tag then users[tag] = parse_ports(value) end
  end
  return users
end

local function by_number(a, b)
  if a.port ~= b.port then return a.port < b.port end
  return a.protocol < b.protocol
end

--- All ports of all users, each once.
-- @tparam table users
-- @treturn {{port,protocol},...}
function M.union(users)
  local list, seen = {}, {}
  for _, ports in pairs(users) do
    for _, port in ipairs(ports) do
      if not seen[port_key(port)] then list[#list + 1] = port end
      seen[port_key(port)] = true
    end
  end
  table.sort(list, by_number)
  return list
end

-- How Service and endpoints know a port: by one name.
local function port_name(port)
  return ("%s-%d"):format(port.protocol:lower(), port.port)
end

local function service_ports(ports)
  local list = {}
  for index, port in ipairs(ports) do
    list[index] = {
      name = port_name(port), port = port.port, targetPort = port.port, protocol = port.protocol,
    }
  end
  return list
end

local function endpoint_ports(ports)
  local list = {}
  for index, port in ipairs(ports) do
    list[index] = { name = port_name(port), port = port.port, protocol = port.protocol }
  end
  return list
end

local function labels(store)
  return {
    ["app.kubernetes.io/name"] = M.NAME,
    ["app.kubernetes.io/managed-by"] = "moonport",
    [names.STORE] = store,
  }
end

local function family_of(host)
  return host:find(":", 1, true) and "IPv6" or "IPv4"
end

local function new_service(name, namespace, store, host)
  return {
    apiVersion = SERVICE.apiVersion, kind = SERVICE.kind,
    metadata = { name = name, namespace = namespace, labels = labels(store), annotations = {} },
    spec = {
      type = "ClusterIP",
      -- Where the cluster has both, its first family is not always the host's.
      ipFamilies = family_of(host) == "IPv6" and { "IPv6" } or nil,
    },
  }
end

--- What a Service leads to, as the server wants it written.
-- @tparam table service
-- @tparam string store
-- @tparam string host address
-- @tparam {table,...} ports
-- @tparam boolean slices the server has EndpointSlices
-- @treturn table object
function M.ends(service, store, host, ports, slices)
  local metadata = {
    name = service.metadata.name, namespace = service.metadata.namespace, labels = labels(store),
    -- It goes with its Service.
    ownerReferences = {
      {
        apiVersion = "v1", kind = "Service", name = service.metadata.name,
        uid = service.metadata.uid,
      },
    },
  }
  if not slices then
    return {
      apiVersion = ENDPOINTS.apiVersion, kind = ENDPOINTS.kind, metadata = metadata,
      subsets = { { addresses = { { ip = host } }, ports = endpoint_ports(ports) } },
    }
  end
  metadata.labels["kubernetes.io/service-name"] = service.metadata.name
  metadata.labels["endpointslice.kubernetes.io/managed-by"] = "moonport"
  return {
    apiVersion = SLICE.apiVersion, kind = SLICE.kind, metadata = metadata,
    addressType = family_of(host),
    endpoints = { { addresses = { host }, conditions = { ready = true } } },
    ports = endpoint_ports(ports),
  }
end

-- Asking.

local function find(cluster, kind, name, namespace)
  local object, why = try(cluster.get, cluster, kind, name, { namespace = namespace })
  if why and not errors.is(why, "kube", "not_found") then error(why, 0) end
  return object
end

--- True when the server has EndpointSlices of the version that stays.
-- @tparam cluster cluster
-- @treturn boolean
function M.has_slices(cluster)
  local found, why = try(cluster.find, cluster, SLICE)
  if why and not errors.is(why, "kube", "unknown_resource") then error(why, 0) end
  return found ~= nil
end

local function is_overtaken(why)
  return errors.is(why, "kube", "conflict") or errors.is(why, "kube", "already_exists")
    or errors.is(why, "kube", "not_found")
end

-- Looks and acts until nobody was in between.
local function retried(what, act)
  for _ = 1, TRIES do
    local results = table.pack(pcall(act))
    if results[1] then return table.unpack(results, 2, results.n) end
    if not is_overtaken(results[2]) then error(results[2], 0) end
  end
  errors.raise {
    kind = "container", code = "busy",
    message = ("%s is changed all the time by others"):format(what),
    hint = "try again",
  }
end

-- Writing.

local function write(cluster, object)
  if object.metadata.resourceVersion then return cluster:replace(object) end
  return cluster:create(object)
end

local function write_service(cluster, service)
  local users = M.users(service)
  service.spec.ports = service_ports(M.union(users))
  return write(cluster, service)
end

local function write_ends(cluster, service, store, host)
  local ports, slices = M.union(M.users(service)), M.has_slices(cluster)
  local wanted = M.ends(service, store, host, ports, slices)
  local there = find(cluster, wanted, wanted.metadata.name, wanted.metadata.namespace)
  if there then wanted.metadata.resourceVersion = there.metadata.resourceVersion end
  write(cluster, wanted)
end

-- The first name that is free, or that the store has already.
local function own_service(cluster, place)
  local taken
  for _, name in ipairs(place.names) do
    local service = find(cluster, SERVICE, name, place.namespace)
    if not service then return new_service(name, place.namespace, place.store, place.address) end
    if marks.is_ours(service, { store = place.store }) then return service end
    taken = service
  end
  errors.raise {
    kind = "container", code = "taken",
    message = ("the Service `%s` in namespace `%s` is not this store's: %s has it"):format(
      taken.metadata.name, place.namespace, marks.owner(taken)),
    hint = "remove it, or deploy into another namespace",
  }
end

local function use(cluster, place, tag, ports)
  return retried("the host service", function()
    local service = own_service(cluster, place)
    service.metadata.annotations = service.metadata.annotations or {}
    service.metadata.annotations[USER .. tag] = format_ports(ports)
    service = write_service(cluster, service)
    write_ends(cluster, service, place.store, place.address)
    return service
  end)
end

local function delete(cluster, service)
  cluster:delete(SERVICE, service.metadata.name, {
    namespace = service.metadata.namespace, uid = service.metadata.uid,
    resource_version = service.metadata.resourceVersion,
  })
end

-- The ends go with their Service, sooner or later: `rm` promises that they have gone.
local function delete_ends(cluster, ends)
  if not ends then return end
  local _, why = try(cluster.delete, cluster, ends, ends.metadata.name, {
    namespace = ends.metadata.namespace, uid = ends.metadata.uid,
    resource_version = ends.metadata.resourceVersion, missing_ok = true,
  })
  -- Somebody has a new Service of that name, and these are its own now.
  if why and not is_overtaken(why) then error(why, 0) end
end

--- The address that a host service leads to.
-- @tparam cluster cluster
-- @tparam table service
-- @treturn ?string
function M.address_of(cluster, service)
  local slices = M.has_slices(cluster)
  local ends = find(cluster, slices and SLICE or ENDPOINTS, service.metadata.name,
    service.metadata.namespace)
  if not ends then return nil end
  if slices then return ((ends.endpoints or {})[1] or { addresses = {} }).addresses[1] end
  local subset = (ends.subsets or {})[1]
  return subset and ((subset.addresses or {})[1] or {}).ip
end

local function release_one(cluster, place, name, tag)
  retried("the host service", function()
    local service = find(cluster, SERVICE, name, place.namespace)
    if not service or not marks.is_ours(service, { store = place.store }) then return end
    local annotations = service.metadata.annotations or {}
    if not annotations[USER .. tag] then return end
    annotations[USER .. tag] = nil
    if next(M.users(service)) then
      local host = M.address_of(cluster, service) or place.address
      write_ends(cluster, write_service(cluster, service), place.store, host)
      return
    end
    local kind = M.has_slices(cluster) and SLICE or ENDPOINTS
    local ends = find(cluster, kind, name, place.namespace)
    if ends then ends.apiVersion, ends.kind = kind.apiVersion, kind.kind end
    delete(cluster, service)
    delete_ends(cluster, ends)
  end)
end

--- Ends the use of the host service by a revision.
-- @tparam table identity {cluster, namespace, names, store, address, tag}
function M.release(identity)
  local cluster = clusters.reopen(identity.cluster)
  for _, name in ipairs(identity.names) do release_one(cluster, identity, name, identity.tag) end
end

-- Users whose deployments the store does not have any more.
local function lost_users(cluster, identity, state)
  local known = require "moonport.container.known"
  local services = known.list(cluster, known.namespaces(state, identity), SERVICE,
    { [names.STORE] = state.uuid, ["app.kubernetes.io/name"] = M.NAME })
  local deployments, lost = {}, {}
  for _, deployment in ipairs(state:deployments()) do deployments[deployment.id] = true end
  for _, service in ipairs(services) do
    local host = M.address_of(cluster, service)
    for tag in pairs(M.users(service)) do
      if not deployments[tag:match("^(.-)%-%d+$") or tag] then
        lost[#lost + 1] = { identity = {
          cluster = identity, namespace = service.metadata.namespace,
          names = { service.metadata.name }, store = state.uuid, address = host, tag = tag,
        } }
      end
    end
  end
  return lost
end

M.resource = {
  remove = clusters.explaining(M.release, clusters.of_resource),
  describe = function(identity)
    return ("use of %s/%s on %s"):format(identity.namespace, identity.names[1],
      clusters.describe(identity.cluster))
  end,
  orphans = function(state, env)
    local known, list = require "moonport.container.known", {}
    for _, identity in ipairs(known.clusters(state, env)) do
      -- What cannot be asked is told by the kind `kubernetes`.
      local lost = try(function() return lost_users(clusters.reopen(identity), identity, state) end)
      table.move(lost or {}, 1, #(lost or {}), #list + 1, list)
    end
    return list
  end,
}

-- The step.

-- The plain name, and the one to have where another store has that.
local function names_of(store)
  return { M.NAME, ("%s-%s"):format(M.NAME, store:sub(1, 8)) }
end

local function wanted_address(ctx)
  return ctx.manifest.container.host_address or (ctx.config.kube or {}).host_address
end

--- Chooses the address and the ports.
-- @tparam context ctx
-- @treturn table|false intent {cluster, namespace, names, store, tag, address, given, ports}; false
-- where there is nothing to lead to
-- @treturn table resources
function M.allocate(ctx)
  local ports = M.ports(ctx.manifest)
  if #ports == 0 then return false end
  local intent = clusters.place(ctx)
  intent.address, intent.given = host_address.find(wanted_address(ctx), intent.cluster.server)
  intent.ports, intent.store, intent.tag = ports, ctx.store, ctx.tag
  intent.names = names_of(ctx.store)
  -- A name is resolved by the pod itself, and takes no Service.
  if not host_address.is_address(intent.address) then return intent end
  return intent, {
    { KIND, {
      cluster = intent.cluster, namespace = intent.namespace, names = intent.names,
      store = intent.store, address = intent.address, tag = intent.tag,
    } },
  }
end

-- What cannot work is an error. What somebody has set may be reached in ways that are not to be
-- seen from here, and is warned of.
local function check_ports(ctx, intent)
  for _, port in ipairs(intent.ports) do
    local trouble = host_address.trouble(intent.address, port)
    if trouble and trouble.certain and not intent.given then
      errors.raise {
        kind = "container", code = "unreachable", message = trouble.message, hint = trouble.hint,
      }
    elseif trouble then
      ctx:warn("%s (%s)", trouble.message, trouble.hint)
    end
  end
end

local UNKNOWN = "(known after host)"

-- The Service that the store has already, if it has.
local function present_service(cluster, store, namespace)
  for _, name in ipairs(names_of(store)) do
    local service = find(cluster, SERVICE, name, namespace)
    if service and marks.is_ours(service, { store = store }) then return service end
  end
end

--- How pods would reach this host.
-- @tparam context ctx
-- @treturn ?string an address; or that it is not known yet; nil where nothing leads here
function M.planned_address(ctx)
  if #M.ports(ctx.manifest) == 0 then return nil end
  local wanted = wanted_address(ctx)
  if wanted and not host_address.is_address(wanted) then return wanted end
  local service = present_service(clusters.open(ctx), ctx.store, clusters.namespace(ctx))
  return service and service.spec.clusterIP or UNKNOWN
end

local function describe(intent)
  return ("to %s, ports %s"):format(intent.address, format_ports(intent.ports))
end

--- Tells what would lead to this host.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local intent = M.allocate(ctx)
  if not intent then return {} end
  check_ports(ctx, intent)
  if not host_address.is_address(intent.address) then
    return { { action = "keep", what = "host", to = describe(intent) } }
  end
  local service = present_service(clusters.open(ctx), ctx.store, intent.namespace)
  local present = ctx.present and M.users(service or { metadata = {} })
  local same = present and format_ports(M.union(present)) == format_ports(intent.ports)
  return { {
    action = not service and "create" or same and "keep" or "change", what = "service to this host",
    to = describe(intent),
  } }
end

--- Makes the Service lead to this host by the ports of this revision as well.
-- @tparam context ctx
-- @tparam table intent
-- @treturn ?table {name, address}: how pods reach this host
function M.apply(ctx, intent)
  if #(intent.ports or {}) == 0 then return nil end
  check_ports(ctx, intent)
  if not host_address.is_address(intent.address) then return { address = intent.address } end
  local cluster = clusters.reopen(intent.cluster)
  local service = use(cluster, intent, intent.tag, intent.ports)
  return { name = service.metadata.name, address = service.spec.clusterIP }
end

return M
