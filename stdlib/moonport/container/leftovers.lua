--- What server-side apply leaves of fields that are not applied any more, and no pod can be made
-- with.
--
-- Where all that was applied of a probe or of a volume's source goes, servers keep an empty one and
-- fill in its defaults: a probe that asks nothing, a volume of two types. A template with those is
-- accepted, and each of its pods refused. They are taken out by a patch before it is applied. Pure.
-- @module moonport.container.leftovers

local json = require "moonport.json"

local M = {}

local PROBES = { "startupProbe", "readinessProbe", "livenessProbe" }
local HANDLERS = { "exec", "grpc", "httpGet", "tcpSocket" }

local function by_name(list)
  local named = {}
  for _, element in ipairs(list or {}) do named[element.name] = element end
  return named
end

local function asks_nothing(probe)
  for _, handler in ipairs(HANDLERS) do
    if probe[handler] ~= nil then return false end
  end
  return true
end

local function sources(volume)
  local list = {}
  for key in pairs(volume) do
    if key ~= "name" then list[#list + 1] = key end
  end
  return list
end

local function spec_of(set) return set.spec.template.spec end

-- The probes of a container, and the sources of a volume, that are in one and not in the other.
local function has_more(found, wanted, keys)
  for _, key in ipairs(keys) do
    if found[key] ~= nil and wanted[key] == nil then return true end
  end
  return false
end

--- True where something might be left: it is there, and not applied any more.
-- @tparam table found the StatefulSet as it is
-- @tparam table wanted as it is to be applied
-- @treturn boolean
function M.possible(found, wanted)
  local containers, volumes = by_name(spec_of(wanted).containers), by_name(spec_of(wanted).volumes)
  for _, container in ipairs(spec_of(found).containers) do
    local other = containers[container.name]
    if other and has_more(container, other, PROBES) then return true end
  end
  for _, volume in ipairs(spec_of(found).volumes or {}) do
    local other = volumes[volume.name]
    if other and has_more(volume, other, sources(volume)) then return true end
  end
  return false
end

local function container_patches(applied)
  local patches = json.array {}
  for _, container in ipairs(spec_of(applied).containers) do
    local patch = {}
    for _, name in ipairs(PROBES) do
      if container[name] and asks_nothing(container[name]) then patch[name] = json.null end
    end
    if next(patch) then
      patch.name = container.name
      patches[#patches + 1] = patch
    end
  end
  return #patches > 0 and patches or nil
end

local function volume_patches(applied, wanted)
  local patches, volumes = json.array {}, by_name(spec_of(wanted).volumes)
  for _, volume in ipairs(spec_of(applied).volumes or {}) do
    local ours = volumes[volume.name]
    if ours and #sources(volume) > 1 then
      local patch, keys = {}, json.array {}
      for key, value in pairs(ours) do
        patch[key], keys[#keys + 1] = value, key
      end
      table.sort(keys)
      patch["$retainKeys"] = keys
      patches[#patches + 1] = patch
    end
  end
  return #patches > 0 and patches or nil
end

--- What takes out what would be left.
-- @tparam table applied what the server would make of it
-- @tparam table wanted as it is to be applied
-- @treturn ?table a strategic patch; nil where nothing would be left
function M.patch(applied, wanted)
  local spec = {
    containers = container_patches(applied), volumes = volume_patches(applied, wanted),
  }
  return next(spec) and { spec = { template = { spec = spec } } } or nil
end

return M
