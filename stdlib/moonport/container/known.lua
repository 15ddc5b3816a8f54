--- What a store knows of: the clusters and namespaces that it has used, and the kinds of objects
-- there.
-- @module moonport.container.known

local clusters = require "moonport.container.cluster"
local errors = require "moonport.errors"
local json = require "moonport.json"

local M = {}

local CLUSTERS = "kubernetes.clusters"
local NAMESPACES = "kubernetes.namespaces"

local function read(state, key)
  local row = state.db:row("SELECT value FROM meta WHERE key = ?", key)
  return row and json.decode(row.value) or {}
end

local function write(state, key, list)
  state.db:run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", key,
    json.encode(json.array(list), { sort_keys = true }))
end

local function same(a, b)
  return a.kubeconfig == b.kubeconfig and a.context == b.context and a.server == b.server
    and a.uid == b.uid
end

local function remember_namespace(state, identity, namespace)
  local list, key = read(state, NAMESPACES), clusters.key(identity)
  for _, entry in ipairs(list) do
    if entry.cluster == key and entry.namespace == namespace then return end
  end
  list[#list + 1] = { cluster = key, namespace = namespace }
  write(state, NAMESPACES, list)
end

--- Notes a cluster and a namespace, so that `gc` asks there also when no deployment is there any
-- more.
-- @tparam state state
-- @tparam table identity of the cluster
-- @tparam string namespace
function M.remember(state, identity, namespace)
  remember_namespace(state, identity, namespace)
  local list = read(state, CLUSTERS)
  for _, other in ipairs(list) do
    if same(other, identity) then return end
  end
  list[#list + 1] = identity
  write(state, CLUSTERS, list)
end

--- The namespaces of a cluster that a store has used.
-- @tparam state state
-- @tparam table identity of the cluster
-- @treturn {string,...} in order
function M.namespaces(state, identity)
  local list, key = {}, clusters.key(identity)
  for _, entry in ipairs(read(state, NAMESPACES)) do
    if entry.cluster == key then list[#list + 1] = entry.namespace end
  end
  table.sort(list)
  return list
end

--- Forgets a cluster.
-- @tparam state state
-- @tparam table identity of the cluster
function M.forget(state, identity)
  local kept = {}
  for _, other in ipairs(read(state, CLUSTERS)) do
    if not same(other, identity) then kept[#kept + 1] = other end
  end
  write(state, CLUSTERS, kept)
end

-- Clusters of what deployments have recorded.
local function recorded(state)
  local list = {}
  local rows = state.db:rows [[
    SELECT json_extract(identity, '$.cluster') AS cluster FROM resources
      WHERE kind LIKE 'kubernetes%'
    UNION SELECT json_extract(identity, '$.cluster') FROM shared WHERE kind LIKE 'kubernetes%']]
  for _, row in ipairs(rows) do
    if row.cluster then list[#list + 1] = json.decode(row.cluster) end
  end
  return list
end

-- A context that no kubeconfig has any more: the operator has given the cluster up.
local function is_given_up(identity)
  local _, why = try(clusters.reopen, identity)
  return errors.is(why, "kube", "config") or errors.is(why, nil, "ENOENT")
end

--- The clusters that a store has used, each once.
-- @tparam state state
-- @tparam[opt] table env its `site` names one more
-- @treturn {table,...} identities
function M.clusters(state, env)
  local list, seen = {}, {}
  local function add(identity)
    local key = clusters.key(identity)
    if not seen[key] then list[#list + 1] = identity end
    seen[key] = true
  end
  for _, identity in ipairs(recorded(state)) do add(identity) end
  for _, identity in ipairs(read(state, CLUSTERS)) do
    if seen[clusters.key(identity)] or not is_given_up(identity) then add(identity) end
  end
  local config = env and env.site and env.site.config
  local ours = config and try(clusters.identity_of_site, config)
  if ours then add(ours) end
  return list
end

--- The same connection, for looking through all kinds: that some of them are deprecated is nobody's
-- concern then.
-- @tparam cluster cluster
-- @treturn cluster
function M.quiet(cluster)
  return cluster:with { on_warning = function() end }
end

local function has_verb(resource, wanted)
  for _, verb in ipairs(resource.verbs or {}) do
    if verb == wanted then return true end
  end
  return false
end

--- The kinds of objects in namespaces that can be listed and removed, one version of each.
-- @tparam cluster cluster
-- @treturn {table,...} list of {api_version, kind, selector}
function M.kinds(cluster)
  local list = {}
  for _, resource in ipairs(cluster:resources()) do
    if resource.namespaced and has_verb(resource, "list") and has_verb(resource, "delete") then
      local api_version = resource.group_version
      list[#list + 1] = {
        api_version = api_version, kind = resource.kind,
        selector = { apiVersion = api_version, kind = resource.kind },
      }
    end
  end
  return list
end

-- What lists nothing rather than fail: what one may not list, and what is no more.
local function is_closed(why)
  return errors.is(why, "kube", "forbidden") or errors.is(why, "kube", "not_found")
    or errors.is(why, "kube", "method_not_allowed")
end

local function list_in(cluster, selector, labels, where)
  local found, why = try(cluster.list, cluster, selector, {
    labels = labels, all_namespaces = where == nil, namespace = where,
  })
  if why and not is_closed(why) then error(why, 0) end
  return found and found.items, errors.is(why, "kube", "forbidden")
end

--- Lists objects wherever one may look: in all namespaces, or, where that is not allowed, in those
-- that the store has used.
-- @tparam cluster cluster
-- @tparam {string,...} namespaces those of `namespaces`
-- @tparam table selector {apiVersion, kind}
-- @tparam table labels
-- @treturn {object,...}
-- @treturn table {elsewhere = true} where it looked in these namespaces alone, {kind = true} where
-- in one of them that was not allowed either
function M.list(cluster, namespaces, selector, labels)
  local items, forbidden = list_in(cluster, selector, labels, nil)
  if not forbidden then return items or {}, {} end
  local list, unseen = {}, { elsewhere = true }
  for _, namespace in ipairs(namespaces) do
    items, forbidden = list_in(cluster, selector, labels, namespace)
    table.move(items or {}, 1, #(items or {}), #list + 1, list)
    unseen.kind = unseen.kind or forbidden
  end
  return list, unseen
end

return M
