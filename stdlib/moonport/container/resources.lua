--- What a pod may use, and what its node must have for it.
-- @module moonport.container.resources

local quantity = require "moonport.container.quantity"

local M = {}

local KINDS = {
  { field = "memory", name = "memory", format = quantity.bytes },
  { field = "cpus", name = "cpu", format = quantity.cpus },
  { field = "storage", name = "ephemeral-storage", format = quantity.bytes },
}

-- A volume of its own is not the node's ephemeral storage.
local function counts(manifest, field)
  return field ~= "storage" or (manifest.container.data.kind or "empty") == "empty"
end

--- The container's `resources`.
-- @tparam table manifest
-- @treturn table|nil nil when nothing is limited
function M.container(manifest)
  local limits, requests = {}, {}
  for _, kind in ipairs(KINDS) do
    local limit = counts(manifest, kind.field) and manifest.limits[kind.field]
    local request = manifest.container.requests[kind.field] or limit
    limits[kind.name] = limit and kind.format(limit) or nil
    requests[kind.name] = request and kind.format(request) or nil
  end
  local gpu = manifest.container.gpu
  if gpu and gpu.policy == "required" then
    -- The scheduler wants both, and equal, for what cannot be shared.
    limits[gpu.resource], requests[gpu.resource] = tostring(gpu.count), tostring(gpu.count)
  end
  if next(limits) == nil and next(requests) == nil then return nil end
  return { limits = next(limits) and limits, requests = next(requests) and requests }
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

--- The labels that the pod's node must have.
-- @tparam table manifest
-- @treturn table|nil
function M.node_selector(manifest)
  local selector, gpu = {}, manifest.container.gpu
  for key, value in pairs(gpu and gpu.policy == "required" and gpu.node_labels or {}) do
    selector[key] = value
  end
  for key, value in pairs(manifest.container.node_selector) do selector[key] = value end
  return next(selector) and selector
end

--- The nodes that the pod goes to if it can.
-- @tparam table manifest
-- @treturn table|nil affinity
function M.affinity(manifest)
  local gpu = manifest.container.gpu
  if not gpu or gpu.policy ~= "preferred" then return nil end
  local expressions = {}
  for _, key in ipairs(sorted_keys(gpu.node_labels)) do
    expressions[#expressions + 1] =
      { key = key, operator = "In", values = { gpu.node_labels[key] } }
  end
  return {
    nodeAffinity = {
      preferredDuringSchedulingIgnoredDuringExecution = {
        { weight = gpu.weight, preference = { matchExpressions = expressions } },
      },
    },
  }
end

--- The taints that the pod bears.
-- @tparam table manifest
-- @treturn table|nil
function M.tolerations(manifest)
  local list = {}
  for index, toleration in ipairs(manifest.container.tolerations) do
    list[index] = {
      key = toleration.key,
      operator = toleration.operator or (toleration.value and "Equal" or "Exists"),
      value = toleration.value,
      effect = toleration.effect,
      tolerationSeconds = toleration.seconds,
    }
  end
  return #list > 0 and list or nil
end

return M
