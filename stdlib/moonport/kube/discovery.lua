--- Which resources a server has, and which of them a name means.
-- @submodule moonport.kube

local cache = require "moonport.kube.cache"
local catalog = require "moonport.kube.catalog"
local clock = require "moonport.core.clock"
local errors = require "moonport.errors"
local fetch = require "moonport.kube.fetch"
local names = require "moonport.kube.names"
local options_of = require "moonport.kube.options"

local M = {}

local KEPT = 600 -- seconds for which what is on disk is believed
local RESTED = 2 -- seconds before an unknown name makes us ask again

-- Runs `ask` unless somebody does already, in which case it waits for them to have done.
-- Returns true when it ran.
local function once(state, key, ask)
  local under_way = state.under_way[key]
  if under_way then
    under_way:wait()
    return false
  end
  local event = require("moonport.task").event()
  state.under_way[key] = event
  local _ <close> = setmetatable({}, {
    __close = function()
      state.under_way[key] = nil
      event:set()
    end,
  })
  ask()
  return true
end

-- What is known of a server, shared by all views of a connection:
--   catalog: see catalog.lua; from the disk at first
--   refreshed: when all of it was last asked for (monotonic)
--   found: resources by what they were asked for
--   under_way: by what is being asked for or read, an event that tells the end
--
-- The state; what is on disk is read by the first who asks.
local function state_of(cluster)
  local state = cluster.shared.discovery
  if state then
    if state.under_way.disk then state.under_way.disk:wait() end
    return state
  end
  state = { found = {}, catalog = catalog.new(), under_way = {} }
  cluster.shared.discovery = state
  if cluster.shared.cache then
    once(state, "disk", function()
      state.catalog = cache.read(cluster.server, KEPT) or state.catalog
    end)
  end
  return state
end

local function keep(cluster, state)
  if cluster.shared.cache then cache.write(cluster.server, state.catalog) end
end

local function is_fresh(state)
  return state.refreshed and clock.monotonic() - state.refreshed < RESTED
end

-- Asks for everything, where that was not just done. Returns false where it was.
local function refresh(cluster, state)
  while not is_fresh(state) do
    local ran = once(state, "all", function()
      state.catalog = fetch.all(cluster)
      state.found = {}
      state.refreshed = clock.monotonic()
      keep(cluster, state)
    end)
    if ran then return true end
  end
  return false
end

-- Asks for one group and version, where the server has it.
local function refresh_version(cluster, state, group, version)
  local function ask()
    local list = fetch.version(cluster, group, version)
    if not list then return end
    catalog.put(state.catalog, group, version, list)
    keep(cluster, state)
  end
  once(state, group .. "/" .. version, ask)
end

-- Asks for one group. A server that has just learnt of one lists it among all only a moment later.
local function refresh_group(cluster, state, group)
  for _, version in ipairs(fetch.versions(cluster, group) or {}) do
    if not catalog.has(state.catalog, group, version) then
      refresh_version(cluster, state, group, version)
    end
  end
end

-- What is known already, or what one request for its group and version tells.
local function quickly(cluster, state, wanted)
  local found = names.match(state.catalog, wanted)
  if found then return found end
  local group, version = wanted.group, wanted.version
  if group == nil and not state.catalog.complete then group, version = "", "v1" end
  if not version or catalog.has(state.catalog, group, version) then return nil end
  refresh_version(cluster, state, group, version)
  return names.match(state.catalog, wanted)
end

local function raise_unknown(cluster, state, wanted)
  local failed = catalog.failure_of(state.catalog, wanted.group)
  if failed and wanted.group then
    errors.raise {
      kind = "kube", code = "discovery", server = cluster.server, cause = failed,
      group = wanted.group,
      message = ("the API group `%s` does not answer, so nobody knows what `%s` is"):format(
        wanted.group, wanted.text),
      hint = "its APIService leads nowhere: kubectl get apiservices",
    }
  end
  local hint = names.nearest(state.catalog, wanted)
  local silent = catalog.failed_groups(state.catalog)
  if not hint and #silent > 0 then
    hint = ("it may be in a group that does not answer: `%s`"):format(table.concat(silent, "`, `"))
  end
  errors.raise {
    kind = "kube", code = "unknown_resource", server = cluster.server,
    message = ("the cluster has no resource `%s`"):format(wanted.text), hint = hint,
  }
end

-- The resource that a name or {apiVersion=, kind=} means.
local function find(cluster, resource)
  local wanted = names.parse(resource)
  local state = state_of(cluster)
  local key = wanted.key
  local found = state.found[key]
  if found then return found end
  found = quickly(cluster, state, wanted)
  if not found then
    refresh(cluster, state)
    found = names.match(state.catalog, wanted)
  end
  if not found and wanted.name and (wanted.group or "") ~= "" then
    refresh_group(cluster, state, wanted.group)
    found = names.match(state.catalog, wanted)
  end
  if not found then raise_unknown(cluster, state, wanted) end
  state.found[key] = found
  return found
end

-- Runs `use` with the resource found. Where the server then does not know the path, what we knew
-- was old: it is asked for again, once.
function M.with(cluster, resource, use)
  local found = find(cluster, resource)
  local ok, result, more = pcall(use, found)
  if ok then return result, more end
  if not errors.is(result, "kube") or not result.unknown_path then error(result, 0) end
  if not refresh(cluster, state_of(cluster)) then error(result, 0) end
  return use(find(cluster, resource))
end

--- What the cluster knows about a resource.
-- @function Cluster:find
-- @tparam string|table resource a name, or a table with `apiVersion` and `kind`, such as an object
-- @treturn table `group` ("" for the first one), `version`, `group_version` ("apps/v1"), `name`
--   (plural), `singular`, `kind`, `namespaced`, `short_names`, `verbs` and `subresources` (by name)
-- @raise {kind="kube", code="unknown_resource"} with the nearest name; {kind="kube",
--   code="discovery"} where its group does not answer
function M.find(self, resource)
  return find(self, resource)
end

--- All resources of the cluster, asked for anew: of each group in the version that it prefers.
-- @function Cluster:resources
-- @tparam[opt] table options `versions`: true gives those of every version
-- @treturn {table,...} as @{Cluster:find} gives them
-- @treturn table what went wrong, by group: one that does not answer spoils no other, and is logged
-- @raise {kind="kube"}, {kind="http"}
function M.resources(self, options)
  options = options_of.check("cluster:resources", options, { versions = "boolean" })
  local state = state_of(self)
  state.refreshed = nil
  refresh(self, state)
  local failures = {}
  for _, group in ipairs(catalog.failed_groups(state.catalog)) do
    failures[group] = catalog.failure_of(state.catalog, group)
    require("moonport.log").warn("an API group does not answer", {
      server = self.server, group = group, error = failures[group],
    })
  end
  return catalog.list(state.catalog, options.versions), failures
end

return M
