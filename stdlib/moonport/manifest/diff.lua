--- What differs between two manifests, field by field.
--
-- @module moonport.manifest.diff
local canonical = require "moonport.canonical"
local keypath = require "moonport.keypath"

local M = {}

-- An empty table counts as one with names: an empty list differs from nothing worth telling.
local function is_plain_map(value)
  return type(value) == "table" and #value == 0 and value["$secret"] == nil
end

local function compare(from, to, path, changes)
  if not (is_plain_map(from) and is_plain_map(to)) then
    if from ~= to and not canonical.equal(from, to) then
      changes[#changes + 1] = { path = path, from = from, to = to }
    end
    return
  end
  for key, value in pairs(from) do
    compare(value, to[key], keypath.join(path, key), changes)
  end
  for key, value in pairs(to) do
    if from[key] == nil then
      changes[#changes + 1] = { path = keypath.join(path, key), to = value }
    end
  end
end

--- Lists the differences between two manifests in normal form.
-- @tparam table from
-- @tparam table to
-- @treturn table list of {path, from, to}, sorted by path; `from` is nil for what is new, `to` for
-- what is gone
function M.changes(from, to)
  local changes = {}
  compare(from, to, "", changes)
  table.sort(changes, function(a, b)
    return a.path < b.path
  end)
  return changes
end

local function walk(value, path, visit)
  if type(value) ~= "table" then
    return
  elseif value["$secret"] then
    return visit(path, value["$secret"])
  end
  for key, element in pairs(value) do
    walk(element, keypath.join(path, key), visit)
  end
end

--- Visits every secret reference in plain data.
-- @tparam table data
-- @tparam function visit function(path, reference)
function M.each_secret(data, visit)
  walk(data, "", visit)
end

return M
