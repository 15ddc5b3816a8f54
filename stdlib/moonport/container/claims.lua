--- The step that sees to the data: the claim of a single pod, and in the end those of all.
--
-- It belongs to the deployment. A StatefulSet makes claims of its own and never removes them; so
-- what goes with the deployment is found by its labels.
-- @module moonport.container.claims

local change = require "moonport.container.change"
local clusters = require "moonport.container.cluster"
local data = require "moonport.container.data"
local errors = require "moonport.errors"
local marks = require "moonport.container.marks"
local names = require "moonport.container.names"
local resource = require "moonport.container.resource"
local units = require "moonport.units"

local M = {}

local CLAIM = { apiVersion = "v1", kind = "PersistentVolumeClaim" }

--- Where the claims are.
-- @tparam context ctx
-- @treturn table intent {cluster, namespace}; empty where there are none
function M.allocate(ctx)
  if data.kind(ctx.manifest) ~= "claim" then return {} end
  return clusters.place(ctx)
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
    local found = resource.find(cluster, {
      api_version = CLAIM.apiVersion, kind = CLAIM.kind, namespace = namespace, name = name,
    })
    changes[index] = {
      action = found and "keep" or "create", what = "volume claim " .. name, to = shown_size(ctx),
    }
  end
  return changes
end

--- Makes the claim of a single pod.
-- @tparam context ctx
-- @tparam table intent
function M.apply(ctx, intent)
  if not intent.cluster then return end
  for _, claim in ipairs(data.claims(ctx, intent.namespace)) do
    change.apply(ctx, intent.cluster, claim)
  end
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
    if not (claim.metadata.labels or {})[names.KEEP] then
      claim.apiVersion, claim.kind = CLAIM.apiVersion, CLAIM.kind
      resource.remove(resource.identity(intent.cluster, claim, marks.of(ctx)))
    end
  end
end

return M
