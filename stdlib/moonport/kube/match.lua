-- Label selectors, applied on this side.

local selector = require "moonport.kube.selector"

local M = {}

local function set_of(list)
  local set = {}
  for value in (list .. ","):gmatch "([^,]*)," do set[value] = true end
  return set
end

-- Cut at commas, but for those in parentheses.
local function parts_of(text)
  local parts = {}
  text = text:gsub("%b()", function(list) return (list:gsub(",", "\n")) end)
  for part in (text .. ","):gmatch "([^,]+)," do parts[#parts + 1] = (part:gsub("\n", ",")) end
  return parts
end

local function requirement_of(part)
  local key, operator, list = part:match "^(%S+) (%a+) %((.*)%)$"
  if key then return { key = key, is = operator, values = set_of(list) } end
  local value
  key, operator, value = part:match "^([^=!<>]+)([=!<>]=?)(.*)$"
  if operator == "=" then
    return { key = key, is = "in", values = { [value] = true }, only = value }
  elseif operator == "!=" then
    return { key = key, is = "notin", values = { [value] = true } }
  elseif operator then
    return { key = key, is = operator, than = tonumber(value) }
  elseif part:sub(1, 1) == "!" then
    return { key = part:sub(2), is = "absent" }
  end
  return { key = part, is = "present" }
end

-- A selector of any form that `cluster:list` takes, for `matches`: a list of requirements {key=,
-- is=, values=, than=}, with `only` where it is one value. nil takes everything.
function M.parse(call, labels)
  local list = {}
  if labels == nil then return list end
  for index, part in ipairs(parts_of(selector.labels(call, labels))) do
    list[index] = requirement_of(part)
  end
  return list
end

local tests = {
  ["in"] = function(self, value) return value ~= nil and self.values[value] == true end,
  ["notin"] = function(self, value) return value == nil or not self.values[value] end,
  present = function(_, value) return value ~= nil end,
  absent = function(_, value) return value == nil end,
  ["<"] = function(self, value) return (tonumber(value) or math.huge) < self.than end,
  [">"] = function(self, value) return (tonumber(value) or -math.huge) > self.than end,
}

-- Whether labels meet all requirements.
function M.matches(requirements, labels)
  labels = labels or {}
  for _, requirement in ipairs(requirements) do
    if not tests[requirement.is](requirement, labels[requirement.key]) then return false end
  end
  return true
end

local forms = {
  In = "%s in (%s)", NotIn = "%s notin (%s)", Exists = "%s", DoesNotExist = "!%s",
}

-- The selector of a workload (`matchLabels`, `matchExpressions`, or the plain labels of older
-- kinds) as text.
function M.text_of(of)
  local parts = {}
  local plain = not of.matchLabels and not of.matchExpressions and of or {}
  for key, value in pairs(of.matchLabels or plain) do parts[#parts + 1] = key .. "=" .. value end
  for _, each in ipairs(of.matchExpressions or {}) do
    parts[#parts + 1] = forms[each.operator]:format(each.key, table.concat(each.values or {}, ","))
  end
  table.sort(parts)
  return table.concat(parts, ",")
end

return M
