--- What differs between the objects that run a service and those that are to, for people.
--
-- Both are as `workload.objects` gives them; or what runs is as the cluster has it, with
-- `subset = true`: what only the server has put there is then no difference. The values of secrets
-- are nowhere in these objects, and that they have changed shows in the name of their Secret.
-- @module moonport.container.changes

local text = require "moonport.text"

local M = {}

local SECRET = "(secret)"

local flatten

-- By what an element is known in its list: fields that Kubernetes merges such lists by.
local function element_key(element, index)
  if type(element) ~= "table" then return tostring(index) end
  return element.name or element.mountPath or element.ip or element.key or tostring(index)
end

local function without(map, names)
  local copy = {}
  for key, value in pairs(map) do
    if not names[key] then copy[key] = value end
  end
  return copy
end

local function flatten_list(list, path, into)
  if type(list[1]) ~= "table" then
    into[path] = text.argv(list)
    return
  end
  for index, element in ipairs(list) do
    local rest = without(element, { name = true })
    flatten(rest, ("%s[%s]"):format(path, element_key(element, index)), into)
  end
end

local function flatten_map(map, path, into)
  for key, value in pairs(map) do
    flatten(value, path == "" and key or path .. "." .. key, into)
  end
end

function flatten(value, path, into)
  if type(value) ~= "table" then
    into[path] = tostring(value)
  elseif next(value) == nil then
    into[path] = "{}"
  elseif #value > 0 then
    flatten_list(value, path, into)
  else
    flatten_map(value, path, into)
  end
end

local function flatten_env(env, into)
  for _, variable in ipairs(env or {}) do
    local from = variable.valueFrom and variable.valueFrom.secretKeyRef
    into["env " .. variable.name] = from and SECRET or variable.value or ""
    if from then into["secret variables"] = from.name end
  end
end

-- The pod as a flat table: what the container has stands beside what the pod has.
local function flatten_pod(template, into)
  local container = template.spec.containers[1]
  flatten_env(container.env, into)
  flatten(without(container, { env = true, name = true }), "", into)
  -- Those that a site has put beside it.
  flatten({ table.unpack(template.spec.containers, 2) }, "containers", into)
  flatten(without(template.spec, { containers = true, securityContext = true }), "", into)
  flatten(template.spec.securityContext or {}, "pod.securityContext", into)
  local metadata = template.metadata or {}
  flatten({ labels = metadata.labels, annotations = metadata.annotations }, "", into)
  -- These differ by nature from revision to revision.
  into["labels.moonport/tag"], into["annotations.moonport/revision"] = nil, nil
end

local flatteners = {}

function flatteners.Pod(object, into)
  into.kind, into.replicas = "Pod", "1"
  flatten_pod(object, into)
end

function flatteners.StatefulSet(object, into)
  into.kind, into.replicas = "StatefulSet", tostring(object.spec.replicas)
  flatten_pod(object.spec.template, into)
  for _, claim in ipairs(object.spec.volumeClaimTemplates or {}) do
    flatten(claim.spec, "claim", into)
  end
end

local function flattened(objects)
  local into = {}
  for _, object in ipairs(objects) do
    local flattener = flatteners[object.kind]
    if flattener then flattener(object, into) end
  end
  return into
end

-- What a plan cannot know yet reads so (moonport.engine.maybe).
local function is_unknown(value)
  return value ~= nil and value:find("^%(known after .*%)$") ~= nil
end

local function row(what, from, to)
  if is_unknown(to) then return { action = "maybe", what = what, from = from, to = to } end
  local action = from == nil and "create" or to == nil and "delete" or "change"
  return { action = action, what = what, from = from, to = to }
end

local FIRST = { kind = 1, replicas = 2, image = 3, command = 4, args = 5 }

local function in_order(a, b)
  local left, right = FIRST[a.what] or 9, FIRST[b.what] or 9
  if left ~= right then return left < right end
  return a.what < b.what
end

--- What changes.
-- @tparam {table,...} present the objects that run the service
-- @tparam {table,...} wanted the objects that are to
-- @tparam[opt] table options `subset`: what `wanted` does not mention is no difference
-- @treturn {{action,what,from,to},...} `what` is such as `image`, `env RUST_LOG`,
-- `resources.limits.memory`
function M.rows(present, wanted, options)
  local from, to, rows = flattened(present), flattened(wanted), {}
  for what, value in pairs(to) do
    if from[what] ~= value then rows[#rows + 1] = row(what, from[what], value) end
  end
  for what, value in pairs(options and options.subset and {} or from) do
    if to[what] == nil then rows[#rows + 1] = row(what, value, nil) end
  end
  table.sort(rows, in_order)
  return rows
end

-- What the server lets be changed in a StatefulSet's `spec`.
local MUTABLE = {
  replicas = true, template = true, updateStrategy = true, minReadySeconds = true,
  persistentVolumeClaimRetentionPolicy = true, ordinals = true, revisionHistoryLimit = true,
}

--- What a StatefulSet would have to be made anew for.
-- @tparam table present as the cluster has it
-- @tparam table wanted
-- @treturn {{action,what,from,to},...} empty where it can be changed
function M.immutable(present, wanted)
  local from, to, rows = {}, {}, {}
  flatten(without(present.spec, MUTABLE), "", from)
  flatten(without(wanted.spec, MUTABLE), "", to)
  for what, value in pairs(to) do
    if from[what] ~= value then rows[#rows + 1] = row(what, from[what], value) end
  end
  local had = #(present.spec.volumeClaimTemplates or {}) > 0
  if had and not wanted.spec.volumeClaimTemplates then
    rows[#rows + 1] = row("volumeClaimTemplates", "data", nil)
  end
  table.sort(rows, in_order)
  return rows
end

return M
