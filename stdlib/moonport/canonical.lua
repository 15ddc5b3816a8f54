--- One text for one value: JSON with sorted keys and exact numbers, for digests and comparison.
--
-- Two values that hold the same data give the same bytes, whatever order they were built in. An
-- empty table is `{}`. Numbers keep their type: 1 and 1.0 differ. This text is hashed, not parsed.
--
-- @module moonport.canonical
local M = {}

local encode

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\" }

local function encode_string(text)
  return '"' .. text:gsub('[%c"\\\127]', function(byte)
    return ESCAPES[byte] or ("\\u%04x"):format(byte:byte())
  end) .. '"'
end

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do
    if type(key) ~= "string" then
      error(("plain data has text keys, not %s"):format(tostring(key)), 0)
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local function encode_table(value, depth)
  if depth > 200 then
    error("plain data is nested too deeply, or holds itself", 0)
  end
  local parts = {}
  if #value > 0 then
    for index = 1, #value do
      parts[index] = encode(value[index], depth + 1)
    end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for index, key in ipairs(sorted_keys(value)) do
    parts[index] = encode_string(key) .. ":" .. encode(value[key], depth + 1)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

function encode(value, depth)
  local kind = math.type(value) or type(value)
  if kind == "string" then
    return encode_string(value)
  elseif kind == "integer" then
    return ("%d"):format(value)
  elseif kind == "float" then
    local text = ("%.17g"):format(value)
    return text:find("[.eni]") and text or text .. ".0"
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind == "table" then
    return encode_table(value, depth)
  end
  error(("a %s is not plain data"):format(kind), 0)
end

--- Encodes plain data.
-- @param value text, numbers, booleans and tables of them
-- @treturn string
function M.encode(value)
  return encode(value, 0)
end

--- True when two values hold the same data.
function M.equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and math.type(a) == math.type(b)
  end
  return encode(a, 0) == encode(b, 0)
end

return M
