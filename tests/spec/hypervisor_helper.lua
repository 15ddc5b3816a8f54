--- Manifests and contexts for the specs of the hypervisor target's pure parts.
local hypervisor = require "moonport.hypervisor.manifest"
local manifest = require "moonport.manifest"

local M = {
  STORE = "0c5a3ad2-57cb-4d87-9a51-5f4f7bd4d0b1",
  LEASE = {
    subnet = "172.30.0.4/30", host = "172.30.0.5", guest = "172.30.0.6", prefix = 30,
    mac = "02:11:22:33:44:55", tap = "mp-0123456789",
  },
}

local function merged(base, fields)
  for key, value in pairs(fields) do base[key] = value end
  return base
end

--- The data of a manifest with the fields given.
function M.manifest(fields)
  manifest.register_target("hypervisor", hypervisor)
  local raw = merged({ name = "squaring", target = "hypervisor", binary = "./squaring" }, fields)
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
  local ctx = merged({
    name = data.name, id = "4f3c2b1a", store = M.STORE, revision = 3, tag = "4f3c2b1a-3",
    mark = ("moonport/%s/4f3c2b1a"):format(M.STORE), dir = "/state/deployments/squaring",
    state = { dir = "/state" }, manifest = data, config = {}, inputs = {},
    intents = { lease = M.LEASE, data = {} }, results = {},
  }, more or {})
  function ctx.runtime_path(_, name)
    return "/run/moonport/0c5a3ad2/4f3c2b1a" .. (name and "/" .. name or "")
  end
  return ctx
end

return M
