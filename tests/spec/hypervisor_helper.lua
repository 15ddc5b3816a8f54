--- Manifests and contexts for the specs of the hypervisor target's pure parts.
local M = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/target_helper.lua")(
  "hypervisor", require "moonport.hypervisor.manifest", { binary = "./squaring" })

M.LEASE = {
  subnet = "172.30.0.4/30", host = "172.30.0.5", guest = "172.30.0.6", prefix = 30,
  mac = "02:11:22:33:44:55", tap = "mp-0123456789",
}

local plain = M.context

--- A context as a step gets it.
function M.context(fields, more)
  local own = {
    mark = ("moonport/%s/4f3c2b1a"):format(M.STORE), dir = "/state/deployments/squaring",
    state = { dir = "/state" }, inputs = {}, intents = { lease = M.LEASE, data = {} }, results = {},
  }
  for key, value in pairs(more or {}) do own[key] = value end
  local ctx = plain(fields, own)
  function ctx.runtime_path(_, name)
    return "/run/moonport/0c5a3ad2/4f3c2b1a" .. (name and "/" .. name or "")
  end
  return ctx
end

return M
