-- Asks a server for its groups and resources.
--
-- A recent server tells all in two answers (aggregated discovery). An older one is asked for each
-- group and version, all at once. A group whose own server is down (a dead APIService) costs its
-- own entry only.

local catalog = require "moonport.kube.catalog"
local errors = require "moonport.errors"
local request = require "moonport.kube.request"
local task = require "moonport.task"

local M = {}

local PATIENCE = 10 -- seconds for one group
local AT_ONCE = 32

local AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList, " ..
  "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList, application/json"

local function get(cluster, path, options)
  options = options or {}
  local response = request.send(cluster, {
    method = "GET", path = path, compressed = cluster.compressed,
    headers = options.accept and { Accept = options.accept },
  }, {
    safe = true, timeout = options.timeout, retries = options.retries,
    about = { request = "GET " .. path },
  })
  return request.decode(response)
end

local function list_of(value) return type(value) == "table" and value or {} end

local function resource(group, version, fields)
  fields.group, fields.version = group, version
  fields.group_version = group == "" and version or group .. "/" .. version
  if fields.singular == nil or fields.singular == "" then fields.singular = fields.kind:lower() end
  return fields
end

-- Aggregated: a resource holds its subresources.

local function subresources_of(list)
  local by_name = {}
  for _, entry in ipairs(list_of(list)) do
    local kind = type(entry.responseKind) == "table" and entry.responseKind.kind or nil
    by_name[entry.subresource] = { kind = kind, verbs = list_of(entry.verbs) }
  end
  return by_name
end

local function of_aggregated(group, version, list)
  local result = {}
  for _, entry in ipairs(list_of(list)) do
    local kind = type(entry.responseKind) == "table" and entry.responseKind.kind
    -- What has no kind only holds subresources.
    if kind and kind ~= "" then
      result[#result + 1] = resource(group, version, {
        name = entry.resource, singular = entry.singularResource, kind = kind,
        namespaced = entry.scope == "Namespaced", verbs = list_of(entry.verbs),
        short_names = list_of(entry.shortNames), subresources = subresources_of(entry.subresources),
      })
    end
  end
  return result
end

local function add_aggregated(known, answer)
  for _, item in ipairs(list_of(answer.items)) do
    local group = item.metadata and item.metadata.name or ""
    for _, entry in ipairs(list_of(item.versions)) do
      catalog.put(known, group, entry.version, of_aggregated(group, entry.version, entry.resources))
      if entry.freshness == "Stale" then
        catalog.fail(known, group, errors.new {
          kind = "kube", code = "service_unavailable",
          message = ("the API service of `%s/%s` does not answer"):format(group, entry.version),
        })
      end
    end
  end
end

-- By group and version: subresources are listed beside what they belong to.

local function of_version(group, version, answer)
  local result, by_name = {}, {}
  for _, entry in ipairs(list_of(answer.resources)) do
    if not entry.name:find("/", 1, true) then
      local found = resource(group, version, {
        name = entry.name, singular = entry.singularName, kind = entry.kind,
        namespaced = entry.namespaced == true, verbs = list_of(entry.verbs),
        short_names = list_of(entry.shortNames), subresources = {},
      })
      result[#result + 1] = found
      by_name[entry.name] = found
    end
  end
  for _, entry in ipairs(list_of(answer.resources)) do
    local parent, name = entry.name:match("^([^/]+)/(.+)$")
    if parent and by_name[parent] then
      by_name[parent].subresources[name] = { kind = entry.kind, verbs = list_of(entry.verbs) }
    end
  end
  return result
end

local function path_of(group, version)
  return group == "" and "/api/" .. version or "/apis/" .. group .. "/" .. version
end

-- The resources of one group's version; nil when the server does not have it.
-- Raises where the group does not answer.
function M.version(cluster, group, version)
  local answer, err = try(get, cluster, path_of(group, version), { timeout = PATIENCE })
  if answer then return of_version(group, version, answer) end
  if err.kind == "kube" and err.status == 404 then return nil end
  if err.kind ~= "kube" or (err.status or 0) < 500 or group == "" then error(err, 0) end
  errors.raise {
    kind = "kube", code = "discovery", server = cluster.server, group = group, cause = err,
    message = ("the API group `%s` does not answer"):format(group),
    hint = "its APIService leads nowhere: kubectl get apiservices",
  }
end

-- The versions to ask for, the preferred one first.
local function versions_of(entry)
  local versions = {}
  local preferred = entry.preferredVersion and entry.preferredVersion.version
  if preferred then versions[1] = preferred end
  for _, version in ipairs(list_of(entry.versions)) do
    if version.version ~= preferred then versions[#versions + 1] = version.version end
  end
  return versions
end

local function wanted_of(core, others)
  local wanted = {}
  for _, version in ipairs(list_of(core and core.versions)) do
    wanted[#wanted + 1] = { group = "", version = version }
  end
  for _, entry in ipairs(list_of(others and others.groups)) do
    for _, version in ipairs(versions_of(entry)) do
      wanted[#wanted + 1] = { group = entry.name, version = version }
    end
  end
  return wanted
end

-- The versions of one group, the preferred one first; nil when the server does not have it.
function M.versions(cluster, group)
  local answer, err = try(get, cluster, "/apis/" .. group, { timeout = PATIENCE, retries = 0 })
  if answer then return versions_of(answer) end
  if err.kind ~= "kube" then error(err, 0) end
end

-- Without retries: a dead group would have everybody wait.
local function ask(cluster, wanted)
  local answer, err = try(get, cluster, path_of(wanted.group, wanted.version),
    { timeout = PATIENCE, retries = 0 })
  return { list = answer and of_version(wanted.group, wanted.version, answer), error = err }
end

local function add_by_version(cluster, known, core, others)
  local wanted = wanted_of(core, others)
  local answers = task.map(wanted, AT_ONCE, function(each) return ask(cluster, each) end)
  for index, each in ipairs(wanted) do
    catalog.put(known, each.group, each.version, answers[index].list or {})
    if answers[index].error then catalog.fail(known, each.group, answers[index].error) end
  end
end

-- All that the server has: a catalog.
function M.all(cluster)
  local answers = task.all {
    function() return get(cluster, "/api", { accept = AGGREGATED }) end,
    function() return get(cluster, "/apis", { accept = AGGREGATED }) end,
  }
  local known = catalog.new()
  local plain = {}
  for index, answer in ipairs(answers) do
    if answer.kind == "APIGroupDiscoveryList" then
      add_aggregated(known, answer)
    else
      plain[index] = answer
    end
  end
  add_by_version(cluster, known, plain[1], plain[2])
  known.complete = true
  return known
end

return M
