--- What an account must be allowed to do before a deployment begins; asked by access reviews, which
-- change nothing.
-- @module moonport.container.access

local errors = require "moonport.errors"
local task = require "moonport.task"
local workload = require "moonport.container.workload"

local M = {}

local AT_ONCE = 8

local function add(needs, resource, verbs, why)
  for _, verb in ipairs(verbs) do
    needs[#needs + 1] = { verb = verb, resource = resource, why = why }
  end
end

local OBJECT = { "get", "create", "patch", "delete" }

-- What a deployment does without, and what is lost then.
local WISHES = {
  { "pods/log", { "get" },
    "`moonport logs` will not work, and failures are told without the last lines of output" },
  { "pods/exec", { "get" }, "`moonport exec` will not work" },
  { "pods/portforward", { "get" }, "no port of it can be forwarded" },
  { "events", { "list", "watch" },
    "what keeps it from getting ready is told late, and without the node's words" },
}

--- What a deployment needs. Pure.
-- @tparam table manifest
-- @tparam table about `namespace` ("missing", "hidden", or anything else where it is there),
-- `slices` (the server has EndpointSlices), `host` (a service leads to this host), `environment`
-- (the manifest's env holds secrets)
-- @treturn {{verb,resource,why},...}
function M.needs(manifest, about)
  local needs = {}
  if about.namespace == "missing" then
    needs[1] = { verb = "create", resource = "namespaces", cluster = true, why = "the namespace" }
  end
  add(needs, "pods", { "get", "list", "watch" }, "seeing how it is")
  if workload.is_set(manifest) then
    local verbs = { "get", "list", "watch", "create", "patch", "delete" }
    add(needs, "statefulsets.apps", verbs, "its pods")
    add(needs, "services", OBJECT, "its Service")
  else
    add(needs, "pods", { "create", "patch", "delete" }, "its pod")
  end
  if about.host then
    local verbs, why = { "get", "create", "update", "delete" }, "the service to this host"
    add(needs, "services", verbs, why)
    add(needs, about.slices and "endpointslices.discovery.k8s.io" or "endpoints", verbs, why)
  end
  if (manifest.keystore and manifest.container.keystore == "secret") or about.environment then
    add(needs, "secrets", OBJECT, "the keystore and secret variables")
  end
  if manifest.container.data.kind == "claim" then
    add(needs, "persistentvolumeclaims", { "get", "list", "create", "patch", "delete" }, "its data")
  end
  if manifest.ready and manifest.ready.log then
    add(needs, "pods/log", { "get" }, "the line of output that tells that it is ready")
  end
  if manifest.isolation ~= "any" or manifest.container.runtime_class then
    needs[#needs + 1] = {
      verb = "list", resource = "runtimeclasses.node.k8s.io", cluster = true, why = "isolation",
    }
  end
  return needs
end

--- What a deployment does without, if it must. Pure.
-- @treturn {{verb,resource,lost},...} `lost`: what does not work then
function M.wishes()
  local wishes = {}
  for _, wish in ipairs(WISHES) do
    for _, verb in ipairs(wish[2]) do
      wishes[#wishes + 1] = { verb = verb, resource = wish[1], lost = wish[3] }
    end
  end
  return wishes
end

-- Each need once.
local function distinct(needs)
  local list, seen = {}, {}
  for _, need in ipairs(needs) do
    local key = need.verb .. " " .. need.resource
    if not seen[key] then list[#list + 1] = need end
    seen[key] = true
  end
  return list
end

--- Tells which needs are not granted.
-- @tparam cluster cluster
-- @tparam string namespace
-- @tparam {table,...} needs
-- @treturn {table,...} those that are missing
function M.missing(cluster, namespace, needs)
  local missing = {}
  local answers = task.map(distinct(needs), AT_ONCE, function(need)
    local resource, subresource = need.resource:match "^([^/]+)/?(.*)$"
    local allowed = cluster:can {
      verb = need.verb, resource = resource, subresource = subresource ~= "" and subresource or nil,
      namespace = not need.cluster and namespace or nil,
    }
    return { need = need, allowed = allowed }
  end)
  for _, answer in ipairs(answers) do
    if not answer.allowed then missing[#missing + 1] = answer.need end
  end
  return missing
end

--- The missing permissions for people: `pods (create, delete), secrets (get)`.
-- @tparam {table,...} missing
-- @treturn string
function M.describe(missing)
  local order, verbs = {}, {}
  for _, need in ipairs(missing) do
    if not verbs[need.resource] then
      order[#order + 1], verbs[need.resource] = need.resource, {}
    end
    table.insert(verbs[need.resource], need.verb)
  end
  local parts = {}
  for index, resource in ipairs(order) do
    parts[index] = ("%s (%s)"):format(resource, table.concat(verbs[resource], ", "))
  end
  return table.concat(parts, ", ")
end

--- What an account will do without, for people.
-- @tparam {table,...} missing wishes that are not granted
-- @treturn {string,...} a sentence for each resource
function M.losses(missing)
  local sentences, verbs = {}, {}
  for _, wish in ipairs(missing) do
    local list = verbs[wish.lost]
    if not list then
      list = { wish = wish }
      verbs[wish.lost], sentences[#sentences + 1] = list, list
    end
    list[#list + 1] = wish.verb
  end
  for index, list in ipairs(sentences) do
    sentences[index] = ("the account may not %s %s: %s"):format(table.concat(list, " and "),
      list.wish.resource, list.wish.lost)
  end
  return sentences
end

--- Checks that an account may do all that is needed, and asks for what else is good to have.
-- @tparam cluster cluster
-- @tparam string namespace
-- @tparam {table,...} needs
-- @treturn {string,...} what will not work, a sentence for each
-- @raise {kind="container", code="forbidden"} with all that is missing
function M.check(cluster, namespace, needs)
  local wishes, asked = M.wishes(), table.move(needs, 1, #needs, 1, {})
  table.move(wishes, 1, #wishes, #asked + 1, asked)
  local missing, lost = {}, {}
  for _, need in ipairs(M.missing(cluster, namespace, asked)) do
    local list = need.lost and lost or missing
    list[#list + 1] = need
  end
  if #missing == 0 then return M.losses(lost) end
  errors.raise {
    kind = "container", code = "forbidden",
    message = ("the account may not do all that a deployment in namespace `%s` takes; it lacks: %s")
      :format(namespace, M.describe(missing)),
    hint = ("an administrator grants it with a Role and a RoleBinding in `%s`%s"):format(namespace,
      missing[1].cluster and ", and a ClusterRole for what is not in a namespace" or ""),
  }
end

return M
