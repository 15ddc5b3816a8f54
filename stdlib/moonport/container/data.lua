--- The volume at `/mnt/data`.
-- @module moonport.container.data

local checks = require "moonport.container.checks"
local names = require "moonport.container.names"
local quantity = require "moonport.container.quantity"

local M = {}

--- Which kind of volume a manifest wants.
-- @tparam table manifest
-- @treturn string "empty", "host" or "claim"
function M.kind(manifest)
  return manifest.container.data.kind or "empty"
end

local function size(manifest)
  return manifest.container.data.size or manifest.limits.storage
end

local function claim_spec(manifest)
  local data = manifest.container.data
  return {
    accessModes = { data.access_mode },
    storageClassName = data.storage_class,
    resources = { requests = { storage = quantity.bytes(size(manifest)) } },
  }
end

local function claim_labels(ctx)
  return ctx.manifest.container.data.keep and { [names.KEEP] = "true" } or nil
end

local function claim(ctx, name, namespace)
  return {
    apiVersion = "v1",
    kind = "PersistentVolumeClaim",
    metadata = names.metadata(ctx, name, namespace, { labels = claim_labels(ctx) }),
    spec = claim_spec(ctx.manifest),
  }
end

--- The claims to make before the pod. A StatefulSet makes its own.
-- @tparam context ctx
-- @tparam string namespace
-- @treturn {table,...} objects; none for other kinds of data
function M.claims(ctx, namespace)
  if M.kind(ctx.manifest) ~= "claim" or checks.is_set(ctx.manifest) then return {} end
  return { claim(ctx, names.claim(ctx), namespace) }
end

--- The names of all claims that the deployment's pods have.
-- @tparam context ctx
-- @treturn {string,...}
function M.claim_names(ctx)
  local list = {}
  if M.kind(ctx.manifest) ~= "claim" then return list end
  for ordinal = 0, ctx.manifest.container.replicas - 1 do
    list[#list + 1] = names.claim(ctx, ordinal)
  end
  return list
end

--- The `volumeClaimTemplates` of a StatefulSet.
-- @tparam context ctx
-- @treturn {table,...}|nil
function M.claim_templates(ctx)
  if M.kind(ctx.manifest) ~= "claim" then return nil end
  -- A StatefulSet's templates can never change: nothing stands here that may.
  return { {
    metadata = { name = names.DATA_VOLUME, labels = names.own_labels(ctx, claim_labels(ctx)) },
    spec = claim_spec(ctx.manifest),
  } }
end

local volumes = {}

function volumes.empty(ctx)
  local limit = size(ctx.manifest)
  return { emptyDir = limit and { sizeLimit = quantity.bytes(limit) } or {} }
end

function volumes.host(ctx)
  local path = ctx.manifest.container.data.path or ctx.manifest.data_dir
  return { hostPath = { path = path, type = "DirectoryOrCreate" } }
end

function volumes.claim(ctx)
  -- The template of a StatefulSet gives its pods the volume by name.
  if checks.is_set(ctx.manifest) then return nil end
  return { persistentVolumeClaim = { claimName = names.claim(ctx) } }
end

--- The pod's volume.
-- @tparam context ctx
-- @treturn table|nil nil when the StatefulSet gives it
function M.volume(ctx)
  local volume = volumes[M.kind(ctx.manifest)](ctx)
  if volume then volume.name = names.DATA_VOLUME end
  return volume
end

return M
