--- Layers of a manifest: the site's defaults, the manifest, flags; merged, and each value's origin
-- remembered.
--
-- A layer is {name, file, data (normal form), locate}. Tables with known fields and maps merge by
-- key; lists and single values replace. The origin of a value is a chain: the first entry is what
-- holds, the others are what it replaced, nearest first.
--
-- @module moonport.manifest.layers
local keypath = require "moonport.keypath"
local types = require "moonport.schema.types"

local M = {}

local function merges(field)
  return field and (field.type == "record" or field.type == "map")
end

local function sub_field(field, key)
  return field.type == "record" and field.fields[key] or field.of
end

local function remember(origins, path, layer, value)
  local file, line
  if layer.locate then
    file, line = layer.locate(path)
  end
  local entry = { layer = layer.name, file = file or layer.file, line = line, value = value }
  origins[path] = { entry, table.unpack(origins[path] or {}) }
end

local function merge_into(field, base, layer, data, path, origins)
  for key, value in pairs(data) do
    local sub, sub_path = sub_field(field, key), keypath.join(path, key)
    if merges(sub) and type(value) == "table" then
      base[key] = type(base[key]) == "table" and base[key] or {}
      merge_into(sub, base[key], layer, value, sub_path, origins)
    else
      base[key] = types.copy(value)
      remember(origins, sub_path, layer, value)
    end
  end
end

--- Merges layers, lowest first.
-- @tparam table field the manifest's schema
-- @tparam table layers list of {name, file, data, locate}
-- @treturn table the merged data, without built-in defaults
-- @treturn table origins: path -> chain of {layer, file, line, value}
function M.merge(field, layers)
  local data, origins = {}, {}
  for _, layer in ipairs(layers) do
    merge_into(field, data, layer, layer.data, "", origins)
  end
  return data, origins
end

--- Puts the built-in defaults below every chain of origins.
-- @tparam table field
-- @tparam table origins changed in place
-- @tparam table data the filled manifest
-- @tparam[opt] string path of `field`; for its own use
function M.add_defaults(field, origins, data, path)
  path = path or ""
  for name, sub in pairs(field.fields) do
    local sub_path, value = keypath.join(path, name), data[name]
    if sub.type == "record" then
      if type(value) == "table" then
        M.add_defaults(sub, origins, value, sub_path)
      end
    elseif sub.default ~= nil and (type(sub.default) ~= "table" or not merges(sub)) then
      local chain = origins[sub_path] or {}
      chain[#chain + 1] = { layer = "default", value = sub.default }
      origins[sub_path] = chain
    end
  end
end

return M
