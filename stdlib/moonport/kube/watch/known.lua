--- What a watch has told about: for each object its uid, version and name, and no more.
--
-- After a gap in the stream, comparing a new list with it tells what was missed, deletions too.
-- @module moonport.kube.watch.known

local M = {}

local Known = {}
Known.__index = Known

--- Knows of nothing.
-- @treturn known
function M.new()
  return setmetatable({ versions = {}, names = {}, count = 0 }, Known)
end

local function name_of(metadata)
  local namespace = metadata.namespace
  return namespace and namespace .. "/" .. metadata.name or metadata.name
end

-- Some aggregated APIs give their objects no uid.
local function key_of(metadata) return metadata.uid or name_of(metadata) end

--- Takes note of an event.
-- @tparam table event {type, object}
-- @treturn boolean false for what was known already
function Known:note(event)
  local metadata = event.object.metadata
  local key, version = key_of(metadata), metadata.resourceVersion
  local before = self.versions[key]
  if event.type == "DELETED" then
    if not before then return false end
    self.versions[key], self.names[key] = nil, nil
    self.count = self.count - 1
    return true
  end
  if before == version and version then return false end
  self.versions[key] = version or ""
  if not before then
    self.names[key] = name_of(metadata)
    self.count = self.count + 1
  end
  return true
end

-- What stands for an object of which only this is known.
local function tombstone(self, key, about)
  local namespace, name = self.names[key]:match("^(.*)/(.*)$")
  name = name or self.names[key]
  return {
    apiVersion = about.api_version, kind = about.kind,
    metadata = {
      name = name, namespace = namespace, uid = key ~= self.names[key] and key or nil,
      resourceVersion = self.versions[key],
    },
  }
end

local Comparison = {}
Comparison.__index = Comparison

--- Begins to compare with a list that comes page by page.
-- @tparam table about `api_version` and `kind` of the objects
-- @treturn comparison
function Known:compare(about)
  local by_name = {}
  for key, name in pairs(self.names) do by_name[name] = key end
  return setmetatable({ known = self, about = about, seen = {}, by_name = by_name }, Comparison)
end

local function add_deleted(self, key, events)
  local event = { type = "DELETED", object = tombstone(self.known, key, self.about), missed = true }
  self.known:note(event)
  events[#events + 1] = event
end

--- Compares an object of the list.
-- @tparam table object
-- @tparam table events list that what was missed is appended to; where another object had the name,
--   its deletion comes first
function Comparison:add(object, events)
  local metadata = object.metadata
  local key, name = key_of(metadata), name_of(metadata)
  self.seen[key] = true
  local before = self.by_name[name]
  if before and before ~= key and self.known.versions[before] then
    add_deleted(self, before, events)
  end
  local kind = self.known.versions[key] and "MODIFIED" or "ADDED"
  local event = { type = kind, object = object }
  if self.known:note(event) then events[#events + 1] = event end
end

--- Ends the comparison: what the list did not have is gone.
-- @tparam table events list that the deletions are appended to
function Comparison:finish(events)
  local gone = {}
  for key in pairs(self.known.versions) do
    if not self.seen[key] then gone[#gone + 1] = key end
  end
  table.sort(gone)
  for _, key in ipairs(gone) do add_deleted(self, key, events) end
end

return M
