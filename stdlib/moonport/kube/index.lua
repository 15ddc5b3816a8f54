-- Objects by namespace and name, found by label without looking at all of them.

local match = require "moonport.kube.match"

local M = {}

local Index = {}
Index.__index = Index

-- by_label: from a label's name to its values to the keys of the objects that have it, for the
-- labels that have been asked for.
function M.new()
  return setmetatable({ objects = {}, count = 0, by_namespace = {}, by_label = {} }, Index)
end

local function key_of(name, namespace)
  return namespace and namespace .. "/" .. name or name
end

local function enter(sets, value, key)
  local set = sets[value]
  if not set then
    set = {}
    sets[value] = set
  end
  set[key] = true
end

local function leave(sets, value, key)
  local set = sets[value]
  set[key] = nil
  if next(set) == nil then sets[value] = nil end
end

-- Enters or takes out an object everywhere.
local function mark(self, key, object, how)
  local metadata = object.metadata
  how(self.by_namespace, metadata.namespace or "", key)
  for label, sets in pairs(self.by_label) do
    local value = metadata.labels and metadata.labels[label]
    if value ~= nil then how(sets, value, key) end
  end
end

-- Puts an object; gives the one that was in its place.
function Index:put(object)
  local key = key_of(object.metadata.name, object.metadata.namespace)
  local before = self.objects[key]
  if before then mark(self, key, before, leave) end
  self.objects[key] = object
  mark(self, key, object, enter)
  self.count = self.count + (before and 0 or 1)
  return before
end

-- Takes the object of this name out, and gives it.
function Index:remove(object)
  local key = key_of(object.metadata.name, object.metadata.namespace)
  local before = self.objects[key]
  if not before then return nil end
  mark(self, key, before, leave)
  self.objects[key] = nil
  self.count = self.count - 1
  return before
end

function Index:get(name, namespace) return self.objects[key_of(name, namespace)] end

local function index_label(self, label)
  local sets = {}
  for key, object in pairs(self.objects) do
    local labels = object.metadata.labels
    if labels and labels[label] ~= nil then enter(sets, labels[label], key) end
  end
  self.by_label[label] = sets
  return sets
end

-- A set of keys that holds all that can match.
local function candidates(self, requirements, namespace)
  for _, requirement in ipairs(requirements) do
    if requirement.only then
      local sets = self.by_label[requirement.key] or index_label(self, requirement.key)
      return sets[requirement.only] or {}
    end
  end
  if namespace then return self.by_namespace[namespace] or {} end
  return self.objects
end

local function by_place(a, b)
  local left, right = a.metadata, b.metadata
  if left.namespace ~= right.namespace then
    return (left.namespace or "") < (right.namespace or "")
  end
  return left.name < right.name
end

-- The objects that meet the requirements (of match.parse), by namespace and name.
function Index:select(requirements, namespace)
  local list = {}
  for key in pairs(candidates(self, requirements, namespace)) do
    local object = self.objects[key]
    local metadata = object.metadata
    if (not namespace or metadata.namespace == namespace)
      and match.matches(requirements, metadata.labels) then
      list[#list + 1] = object
    end
  end
  table.sort(list, by_place)
  return list
end

return M
