-- Label and field selectors: checked here, so that a slip of the pen does not select other things
-- than meant, and is told about in our words.

local options_of = require "moonport.kube.options"

local M = {}

local NAME_MOST, PREFIX_MOST = 63, 253

local function is_name(text)
  return #text <= NAME_MOST and text:find("^%w[%w_.-]*$") ~= nil and text:find("%w$") ~= nil
end

local function is_prefix(text)
  return #text <= PREFIX_MOST and text:find("^[%l%d][%l%d.-]*$") ~= nil and
    text:find("[%l%d]$") ~= nil and not text:find("%.%.")
end

local function check_key(call, key, whole)
  local prefix, name = key:match("^([^/]*)/(.*)$")
  if is_name(name or key) and (not prefix or is_prefix(prefix)) then return key end
  options_of.bad("%s: `labels`: `%s` is no label's name%s", call, key,
    whole ~= key and " (in `" .. whole .. "`)" or "")
end

local function check_value(call, value, whole)
  if value == "" or is_name(value) then return value end
  options_of.bad("%s: `labels`: `%s` is no label's value%s", call, value,
    whole ~= value and " (in `" .. whole .. "`)" or "")
end

local function trim(text) return text:match("^%s*(.-)%s*$") end

local function check_values(call, list, whole)
  local values = {}
  for value in (list .. ","):gmatch("([^,]*),") do
    values[#values + 1] = check_value(call, trim(value), whole)
  end
  return values
end

-- One requirement in kubectl's notation, in its plainest form.
local function requirement(call, text)
  local key, operator, list = text:match("^(%S+)%s+(%a+)%s*%((.*)%)$")
  if key and (operator == "in" or operator == "notin") then
    local values = check_values(call, list, text)
    return ("%s %s (%s)"):format(check_key(call, key, text), operator, table.concat(values, ","))
  end
  key = text:match("^!%s*(.+)$")
  if key then return "!" .. check_key(call, key, text) end
  local left, sign, right = text:match("^(.-)%s*([=!<>]=?)%s*(.*)$")
  if not left then return check_key(call, text, text) end
  if sign == "==" then sign = "=" end
  if sign == "!" or sign == "<=" or sign == ">=" then
    options_of.bad("%s: `labels`: `%s` is not understood", call, text)
  end
  check_key(call, left, text)
  if (sign == "<" or sign == ">") and not right:find("^%-?%d+$") then
    options_of.bad("%s: `labels`: `%s` compares with a whole number", call, text)
  end
  return left .. sign .. check_value(call, right, text)
end

-- The parts between commas, of which those within parentheses do not count.
local function split(call, text)
  local parts, from, depth = {}, 1, 0
  for at, char in text:gmatch("()([(),])") do
    if char == "(" then depth = depth + 1 end
    if char == ")" then depth = depth - 1 end
    if depth < 0 or depth > 1 then break end
    if char == "," and depth == 0 then
      parts[#parts + 1] = trim(text:sub(from, at - 1))
      from = at + 1
    end
  end
  if depth ~= 0 then options_of.bad("%s: `labels`: unbalanced parentheses in `%s`", call, text) end
  parts[#parts + 1] = trim(text:sub(from))
  return parts
end

local function labels_of_text(call, text)
  local parts = split(call, text)
  for index, part in ipairs(parts) do
    if part == "" then options_of.bad("%s: `labels`: an empty part in `%s`", call, text) end
    parts[index] = requirement(call, part)
  end
  return table.concat(parts, ",")
end

local function one_of(call, key, list)
  if #list == 0 then
    options_of.bad("%s: `labels`: the list of values for `%s` is empty", call, key)
  end
  local values = {}
  for index, value in ipairs(list) do
    values[index] = check_value(call, tostring(value), tostring(value))
  end
  return ("%s in (%s)"):format(key, table.concat(values, ","))
end

local function label_of_pair(call, key, value)
  if math.type(key) == "integer" and type(value) == "string" then
    return labels_of_text(call, value)
  end
  if type(key) ~= "string" then
    options_of.bad("%s: `labels` has names as its keys, got a %s", call, type(key))
  end
  check_key(call, key, key)
  if value == true then return key end
  if value == false then return "!" .. key end
  if type(value) == "table" then return one_of(call, key, value) end
  if type(value) ~= "string" and type(value) ~= "number" then
    options_of.bad("%s: `labels`: the value of `%s` is a string, a list, true or false, got a %s",
      call, key, type(value))
  end
  return key .. "=" .. check_value(call, tostring(value), tostring(value))
end

-- Sorted, so that the same selector is always the same text.
local function join(call, what, selector, part_of)
  local parts = {}
  for key, value in next, selector do parts[#parts + 1] = part_of(call, key, value) end
  if #parts == 0 then
    options_of.bad("%s: `%s` is empty, which would select everything; leave it out if meant so",
      call, what)
  end
  table.sort(parts)
  return table.concat(parts, ",")
end

-- The text of a label selector: "a=b,c in (d,e)" as kubectl has it, or a table: {a = "b", c = {"d",
-- "e"}, there = true, absent = false, "f!=g"}.
function M.labels(call, selector)
  if type(selector) == "string" then return labels_of_text(call, selector) end
  if type(selector) == "table" then return join(call, "labels", selector, label_of_pair) end
  options_of.bad("%s: `labels` is a string or a table, got a %s", call, type(selector))
end

local function escape_field(text) return (text:gsub("[\\,=]", "\\%0")) end

local function field_of_pair(call, key, value)
  if math.type(key) == "integer" and type(value) == "string" then return M.fields(call, value) end
  if type(key) ~= "string" or (type(value) ~= "string" and type(value) ~= "boolean") then
    options_of.bad("%s: `fields` has paths as its keys and strings as values, got a %s for a %s",
      call, type(value), type(key))
  end
  return key .. "=" .. escape_field(tostring(value))
end

local function fields_of_text(call, text)
  for part in (text:gsub("\\.", "__") .. ","):gmatch("([^,]*),") do
    if not part:find("^[^=!]+[=!]=?[^=!]*$") or part:find("^[^=!]+![^=]") then
      options_of.bad("%s: `fields`: `%s` is not of the form path=value or path!=value", call, part)
    end
  end
  return text
end

-- The text of a field selector: "status.phase!=Running", or {["metadata.name"] = "web"}.
function M.fields(call, selector)
  if type(selector) == "string" then return fields_of_text(call, selector) end
  if type(selector) == "table" then return join(call, "fields", selector, field_of_pair) end
  options_of.bad("%s: `fields` is a string or a table, got a %s", call, type(selector))
end

-- The query of the options `labels` and `fields`, added to `query`.
function M.add(call, options, query)
  if options.labels ~= nil then query.labelSelector = M.labels(call, options.labels) end
  if options.fields ~= nil then query.fieldSelector = M.fields(call, options.fields) end
  return query
end

return M
