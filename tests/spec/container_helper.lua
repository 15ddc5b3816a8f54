--- Manifests and contexts for the specs of the container target's pure parts.
local container = require "moonport.container.manifest"
local manifest = require "moonport.manifest"

local M = {
  STORE = "0c5a3ad2-57cb-4d87-9a51-5f4f7bd4d0b1",
}

local function merged(base, fields)
  for key, value in pairs(fields) do base[key] = value end
  return base
end

--- The data of a manifest with the fields given.
function M.manifest(fields)
  manifest.register_target("container", container)
  local raw = merged({ name = "squaring", target = "container", image = "squaring:1.2" }, fields)
  return manifest.build({ { name = "manifest", raw = raw, base = "/srv" } }).data
end

--- The problems of a manifest: a list of {path, message, hint}.
function M.problems(fields)
  local ok, err = pcall(M.manifest, fields)
  return ok and {} or err.problems or error(err, 0)
end

--- A context as a step gets it.
function M.context(fields, more)
  local data = M.manifest(fields or {})
  return merged({
    name = data.name, id = "4f3c2b1a", store = M.STORE, revision = 3, tag = "4f3c2b1a-3",
    manifest = data, config = {},
  }, more or {})
end

return M
