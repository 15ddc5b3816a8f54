-- What is known of a server's API groups: plain data, so that it can be kept on disk.
--
--   complete: true once all groups were asked for
--   groups: {name=, versions={...}}: in the server's order of groups, versions in order of
--     preference
--   lists: by group and version ("apps/v1", "/v1"): list of resources
--   failures: by group: the error (kept in memory only)
--   at: when the oldest of it was told
--
-- A resource: {group=, version=, group_version=, name=, singular=, kind=, namespaced=, verbs=,
-- short_names=, subresources={name = {kind=, verbs=}}}

local M = {}

-- One of which nothing is known yet.
function M.new()
  return { complete = false, groups = {}, lists = {}, failures = {} }
end

local function key_of(group, version) return group .. "/" .. version end

local function group_of(catalog, name)
  for _, group in ipairs(catalog.groups) do
    if group.name == name then return group end
  end
end

local function add_version(catalog, name, version)
  local group = group_of(catalog, name)
  if not group then
    group = { name = name, versions = {} }
    table.insert(catalog.groups, name == "" and 1 or #catalog.groups + 1, group)
  end
  for _, known in ipairs(group.versions) do
    if known == version then return end
  end
  table.insert(group.versions, version)
end

-- Enters the resources of a group's version.
function M.put(catalog, group, version, list)
  add_version(catalog, group, version)
  catalog.lists[key_of(group, version)] = list
end

-- Whether the resources of a group's version are known.
function M.has(catalog, group, version)
  return catalog.lists[key_of(group, version)] ~= nil
end

-- The resources of a group's version; an empty list where none are known.
function M.of(catalog, group, version)
  return catalog.lists[key_of(group, version)] or {}
end

-- Notes that a group does not answer; the first error counts.
function M.fail(catalog, group, err)
  catalog.failures[group] = catalog.failures[group] or err
end

-- Why a group does not answer; nil when it does.
function M.failure_of(catalog, group)
  return group and catalog.failures[group]
end

-- The names of the groups that do not answer.
function M.failed_groups(catalog)
  local list = {}
  for name in next, catalog.failures do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- All resources: of each the version that its group prefers, or all of them.
function M.list(catalog, all_versions)
  local result = {}
  for _, group in ipairs(catalog.groups) do
    local seen = {}
    for _, version in ipairs(group.versions) do
      for _, resource in ipairs(M.of(catalog, group.name, version)) do
        if all_versions or not seen[resource.name] then result[#result + 1] = resource end
        seen[resource.name] = true
      end
    end
  end
  return result
end

return M
