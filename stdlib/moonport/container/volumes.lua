--- What a pod mounts, and where.
-- @module moonport.container.volumes

local data = require "moonport.container.data"
local places = require "moonport.container.places"

local M = {}

local KEYSTORE_VOLUME = "keystore"
local SCRATCH_VOLUME = "tmp"

-- Readable for the volume's group, which the service is in; for nobody else.
local GROUP_READS = 288 -- 0440

local function keystore_volume(keystore)
  if keystore.host_path then
    return {
      name = KEYSTORE_VOLUME,
      hostPath = { path = keystore.host_path, type = "Directory" },
    }
  end
  return {
    name = KEYSTORE_VOLUME,
    secret = {
      secretName = keystore.secret, defaultMode = GROUP_READS,
      items = keystore.items and #keystore.items > 0 and keystore.items or nil,
    },
  }
end

--- The pod's `volumes`.
-- @tparam context ctx
-- @tparam table parts `keystore` {secret, items} or {host_path}
-- @treturn {table,...}|nil
function M.pod(ctx, parts)
  local list = { data.volume(ctx) }
  if parts.keystore then list[#list + 1] = keystore_volume(parts.keystore) end
  if ctx.manifest.container.security.read_only_root then
    list[#list + 1] = { name = SCRATCH_VOLUME, emptyDir = {} }
  end
  return #list > 0 and list or nil
end

--- The container's `volumeMounts`.
-- @tparam context ctx
-- @tparam table parts as for `pod`
-- @treturn {table,...}
function M.mounts(ctx, parts)
  local list = { { name = "data", mountPath = places.DATA } }
  if parts.keystore then
    list[#list + 1] =
      { name = KEYSTORE_VOLUME, mountPath = places.KEYSTORE, readOnly = true }
  end
  if ctx.manifest.container.security.read_only_root then
    list[#list + 1] = { name = SCRATCH_VOLUME, mountPath = "/tmp" }
  end
  return list
end

return M
