--- Things made outside moonport, by kind: how each is removed when its recipe cannot do it.
--
-- A step records what it makes as data: a kind and an identity (`ctx:record("directory", {path =
-- ...})`). Where the step has no `undo`, or its recipe no longer loads, what it recorded is removed
-- by kind. A remover is idempotent: what is gone already is fine.
--
-- @module moonport.resources
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local nearest = require "moonport.nearest"

local M = {}

-- Kinds whose module is loaded when one is met: kind -> module. Each exports `resource`, a table as
-- `register` takes it.
local MODULES = {
  tap = "moonport.hypervisor.tap",
  shim = "moonport.shim",
  vmm = "moonport.hypervisor.resource",
  cgroup = "moonport.cgroup",
  image = "moonport.image.uses",
  kubernetes = "moonport.container.resource",
  ["kubernetes-host"] = "moonport.container.host",
  ["kubernetes-namespace"] = "moonport.container.namespace",
  ["firewall-vm"] = "moonport.hypervisor.firewall",
}

local _state = { kinds = {} }

--- Registers a kind.
-- @tparam string kind
-- @tparam table fields `remove(identity)`; `remove_all(identities)` where many together go faster;
-- `describe(identity)` -> text for people; and, for `gc`, `orphans(state, env)` -> list of
-- {identity, what}: those with this store's mark that no deployment has; an entry {what, problem}
-- says what could not be looked at, and why, and one of {what, unseen} what one may not look at,
-- which is no failure
function M.register(kind, fields)
  _state.kinds[kind] = fields
end

local function remove_tree(identity)
  fs.remove_tree(identity.path)
end

local function remove_file(identity)
  local _, why = try(fs.remove, identity.path)
  if why and not errors.is(why, nil, "ENOENT") then
    error(why, 0)
  end
end

local function path_of(identity)
  return identity.path
end

M.register("directory", { remove = remove_tree, describe = path_of })
M.register("file", { remove = remove_file, describe = path_of })
M.register("socket", { remove = remove_file, describe = path_of })

--- Finds a kind.
-- @tparam string kind
-- @treturn table as registered
-- @raise {kind = "resources", code = "not_found"}
function M.kind(kind)
  if not _state.kinds[kind] and MODULES[kind] then
    _state.kinds[kind] = require(MODULES[kind]).resource
  end
  if not _state.kinds[kind] then
    errors.raise {
      kind = "resources",
      code = "not_found",
      message = ("nothing here knows how to remove a `%s`"):format(tostring(kind)),
      hint = nearest.hint(tostring(kind), _state.kinds),
    }
  end
  return _state.kinds[kind]
end

--- Lists the kinds.
-- @treturn table sorted names
function M.kinds()
  local names = {}
  for name in pairs(_state.kinds) do
    names[#names + 1] = name
  end
  for name in pairs(MODULES) do
    if not _state.kinds[name] then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

--- Removes a thing.
-- @tparam string kind
-- @tparam table identity
function M.remove(kind, identity)
  M.kind(kind).remove(identity)
end

--- Describes a thing for people.
-- @tparam string kind
-- @tparam table identity
-- @treturn string such as "directory `/srv/x`"
function M.describe(kind, identity)
  local ok, entry = pcall(M.kind, kind)
  local text = ok and entry.describe and entry.describe(identity)
  return text and ("%s `%s`"):format(kind, text) or kind
end

return M
