--- What a store knows of: the clusters that it has used, and the kinds of objects on them.
-- @module moonport.container.known

local clusters = require "moonport.container.cluster"
local errors = require "moonport.errors"
local json = require "moonport.json"

local M = {}

local KEY = "kubernetes.clusters"

local function remembered(state)
  local row = state.db:row("SELECT value FROM meta WHERE key = ?", KEY)
  return row and json.decode(row.value) or {}
end

local function same(a, b)
  return a.kubeconfig == b.kubeconfig and a.context == b.context and a.server == b.server
    and a.uid == b.uid
end

local function write(state, list)
  state.db:run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", KEY,
    json.encode(json.array(list), { sort_keys = true }))
end

--- Notes a cluster, so that `gc` asks it also when no deployment is on it any more.
-- @tparam state state
-- @tparam table identity of the cluster
function M.remember(state, identity)
  local list = remembered(state)
  for _, other in ipairs(list) do
    if same(other, identity) then return end
  end
  list[#list + 1] = identity
  write(state, list)
end

--- Forgets a cluster.
-- @tparam state state
-- @tparam table identity of the cluster
function M.forget(state, identity)
  local kept = {}
  for _, other in ipairs(remembered(state)) do
    if not same(other, identity) then kept[#kept + 1] = other end
  end
  write(state, kept)
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
  for _, identity in ipairs(remembered(state)) do
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

return M
