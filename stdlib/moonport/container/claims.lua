--- The step that sees to the data: the claim of a single pod, and in the end those of all.
--
-- It belongs to the deployment. A StatefulSet makes claims of its own and never removes them; so
-- what goes with the deployment is found by its labels. A claim that was to be kept when an earlier
-- deployment of the name went is taken over, with the data in it; and kept once more when the
-- deployment that took it over never came to serve.
-- @module moonport.container.claims

local change = require "moonport.container.change"
local clusters = require "moonport.container.cluster"
local data = require "moonport.container.data"
local errors = require "moonport.errors"
local json = require "moonport.json"
local marks = require "moonport.container.marks"
local names = require "moonport.container.names"
local resource = require "moonport.container.resource"
local units = require "moonport.units"

local M = {}

local CLAIM = { apiVersion = "v1", kind = "PersistentVolumeClaim" }

local function find(cluster, namespace, name)
  return resource.find(cluster, {
    api_version = CLAIM.apiVersion, kind = CLAIM.kind, namespace = namespace, name = name,
  })
end

-- True for what an earlier deployment of this store has left to be kept.
local function is_left(ctx, claim)
  local labels = claim.metadata.labels or {}
  if not labels[names.KEEP] or labels[names.STORE] ~= ctx.store then return false end
  for _, deployment in ipairs(ctx.state:deployments()) do
    if deployment.id == labels[names.DEPLOYMENT] then return false end
  end
  return not claim.metadata.deletionTimestamp
end

--- Where the claims are, and which of them are there already, from an earlier deployment.
-- @tparam context ctx
-- @treturn table|false intent {cluster, namespace, adopted}; false where there are none
function M.allocate(ctx)
  if data.kind(ctx.manifest) ~= "claim" then return false end
  local intent = clusters.place(ctx)
  local cluster = clusters.reopen(intent.cluster)
  intent.adopted = {}
  for _, name in ipairs(data.claim_names(ctx)) do
    local found = find(cluster, intent.namespace, name)
    if found and is_left(ctx, found) then intent.adopted[#intent.adopted + 1] = name end
  end
  return intent
end

local function shown_size(ctx)
  local size = ctx.manifest.container.data.size or ctx.manifest.limits.storage
  return size and units.format_size(size) or nil
end

--- Tells what would be claimed.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local changes = {}
  local namespace, cluster = clusters.namespace(ctx), clusters.open(ctx)
  for index, name in ipairs(data.claim_names(ctx)) do
    local found = find(cluster, namespace, name)
    changes[index] = {
      action = found and "keep" or "create", what = "volume claim " .. name, to = shown_size(ctx),
    }
  end
  return changes
end

-- Gives a claim the labels of this deployment, and the one by which it is kept or not.
local function relabel(ctx, intent, claim, keep)
  claim.apiVersion, claim.kind = CLAIM.apiVersion, CLAIM.kind
  clusters.reopen(intent.cluster):patch(CLAIM, claim.metadata.name, {
    metadata = {
      uid = claim.metadata.uid,
      labels = names.own_labels(ctx, { [names.KEEP] = keep and "true" or json.null }),
    },
  }, { type = "merge", namespace = intent.namespace })
end

local function adopt(ctx, intent)
  local cluster = clusters.reopen(intent.cluster)
  for _, name in ipairs(intent.adopted) do
    local found = find(cluster, intent.namespace, name)
    if found and is_left(ctx, found) then
      ctx:progress("taking over the volume claim %s, which was kept", name)
      relabel(ctx, intent, found, ctx.manifest.container.data.keep)
    end
  end
end

--- Takes over what was kept, and makes the claim of a single pod.
-- @tparam context ctx
-- @tparam table intent
function M.apply(ctx, intent)
  if not intent.cluster then return end
  adopt(ctx, intent)
  for _, claim in ipairs(data.claims(ctx, intent.namespace)) do
    change.apply(ctx, intent.cluster, claim)
  end
end

-- What was there before a deployment that never served is as it was then.
local function give_back(ctx, intent, claim)
  local row = ctx.state:deployment(ctx.name)
  if row and row.revision then return false end
  for _, name in ipairs(intent.adopted or {}) do
    if name == claim.metadata.name then
      relabel(ctx, intent, claim, true)
      return true
    end
  end
  return false
end

--- Removes all claims of the deployment, but those that are to stay.
-- @tparam context ctx
-- @tparam table intent
function M.undo(ctx, intent)
  if not intent.cluster then return end
  local list, why = try(function()
    return clusters.reopen(intent.cluster):list(CLAIM, {
      namespace = intent.namespace, labels = names.selector(ctx),
    }).items
  end)
  if errors.is(why, "kube", "not_found") then return end
  if why then error(why, 0) end
  for _, claim in ipairs(list) do
    local stays = (claim.metadata.labels or {})[names.KEEP] or give_back(ctx, intent, claim)
    if not stays then
      claim.apiVersion, claim.kind = CLAIM.apiVersion, CLAIM.kind
      resource.remove(resource.identity(intent.cluster, claim, marks.of(ctx)))
    end
  end
end

M.undo = clusters.explaining(M.undo, clusters.of_step)

return M
