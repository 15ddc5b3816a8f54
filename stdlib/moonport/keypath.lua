--- Paths into plain data, as errors and `explain` write them: `limits.memory`, `command[2]`,
-- `env["A B"]`.
--
-- @module moonport.keypath
local M = {}

--- Adds a key to a path.
-- @tparam string path "" for the top
-- @tparam string|integer key
-- @treturn string
function M.join(path, key)
  if math.type(key) == "integer" then
    return ("%s[%d]"):format(path, key)
  elseif type(key) == "string" and key:find("^[%a_][%w_-]*$") then
    return path == "" and key or path .. "." .. key
  end
  -- `%q` writes newlines and control bytes as escapes, so that a hostile key stays on its line.
  return ("%s[%s]"):format(path, (("%q"):format(tostring(key)):gsub("\\\n", "\\n")))
end

-- Reads one key at `position`: the key and the position after it, or nil.
local function next_key(path, position)
  local name, after = path:match("^%.?([%a_][%w_-]*)()", position)
  if name then
    return name, after
  end
  local index
  index, after = path:match("^%[(%d+)%]()", position)
  if index then
    return math.tointeger(tonumber(index)), after
  end
  name, after = path:match('^%["([^"\\]*)"%]()', position)
  return name, after
end

--- Splits a path into its keys.
-- @tparam string path
-- @treturn ?table list of keys, or nil when `path` is not one
function M.split(path)
  local keys, position = {}, 1
  while position <= #path do
    local key, after = next_key(path, position)
    if not key then
      return nil
    end
    keys[#keys + 1] = key
    position = after
  end
  return keys
end

--- The path of the enclosing value.
-- @tparam string path
-- @treturn ?string "" for the top; nil when `path` is the top itself
function M.parent(path)
  if path == "" then
    return nil
  end
  return path:match("^(.*)%[[^%[]*%]$") or path:match("^(.*)%.[^.]*$") or ""
end

--- Follows a path.
-- @param data plain data
-- @tparam string path
-- @return what is there, or nil
function M.get(data, path)
  for _, key in ipairs(M.split(path) or { {} }) do
    if type(data) ~= "table" then
      return nil
    end
    data = data[key]
  end
  return data
end

return M
