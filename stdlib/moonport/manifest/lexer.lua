--- Just enough of a Lua lexer to tell where in a manifest each field stands.
--
-- It reads well-formed Lua (the child that evaluates a manifest reports syntax errors); on anything
-- odd it yields `other` tokens and never fails.
--
-- @module moonport.manifest.lexer
local M = {}

local ESCAPED = { n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v" }

-- The value of a quoted string's inside, for the escapes that keys are written with.
local function unescape(text)
  text = text:gsub("\\z%s*", "")
  text = text:gsub("\\x(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end)
  text = text:gsub("\\u{(%x+)}", function(hex)
    return utf8.char(tonumber(hex, 16))
  end)
  return (text:gsub("\\(%d%d?%d?)", function(code)
    return string.char(tonumber(code) % 256)
  end):gsub("\\(.)", function(letter)
    return ESCAPED[letter] or letter
  end))
end

-- The end of a quoted string that begins at `first`.
local function quoted_end(text, first)
  local quote, position = text:sub(first, first), first + 1
  while true do
    position = text:find("[\"'\\]", position) or #text
    local byte = text:sub(position, position)
    if byte == quote or position >= #text then
      return position
    end
    position = position + (byte == "\\" and 2 or 1)
  end
end

-- The end of a long bracket ([[...]], [==[...]==]) at `first`, and its inside; nil when none.
local function long_bracket(text, first)
  local level = text:match("^%[(=*)%[", first)
  if level then
    local from = first + #level + 2
    local closing, last = text:find("]" .. level .. "]", from, true)
    closing = closing or #text + 1
    return last or #text, text:sub(from, closing - 1):gsub("^\r?\n", "")
  end
end

-- The token at `position` (which is not blank): kind, value, its last position.
local function read(text, position)
  local byte = text:sub(position, position)
  local last = text:match("^%-%-%[=*%[()", position)
  if last then
    return "comment", nil, long_bracket(text, position + 2) or #text
  elseif text:find("^%-%-", position) then
    return "comment", nil, (text:find("\n", position, true) or #text + 1) - 1
  elseif byte == '"' or byte == "'" then
    last = quoted_end(text, position)
    return "string", unescape(text:sub(position + 1, last - 1)), last
  end
  local long_last, inside = long_bracket(text, position)
  if long_last then
    return "string", inside, long_last
  end
  local word = text:match("^[%a_][%w_]*", position)
  if word then
    return "word", word, position + #word - 1
  end
  local number = text:match("^0[xX][%x.]+[pP]?[+-]?%d*", position)
    or text:match("^%d[%d.]*[eE][+-]?%d+", position)
    or text:match("^%d[%d.]*", position)
  if number then
    return "number", tonumber(number), position + #number - 1
  end
  -- `==` must not read as two assignments.
  local operator = text:match("^[=~<>]=", position) or byte
  return "other", operator, position + #operator - 1
end

--- Splits Lua source into tokens without comments and blanks.
-- @tparam string text
-- @treturn table list of {kind, value, line}; kind is string, word, number or other
function M.tokens(text)
  local list, line, position = {}, 1, 1
  -- A first line that begins with `#` is skipped, as Lua does.
  if text:sub(1, 1) == "#" then
    position = text:find("\n", 1, true) or #text + 1
  end
  while true do
    local first = text:find("%S", position)
    if not first then
      return list
    end
    line = line + select(2, text:sub(position, first - 1):gsub("\n", ""))
    local kind, value, last = read(text, first)
    if kind ~= "comment" then
      list[#list + 1] = { kind = kind, value = value, line = line }
    end
    line = line + select(2, text:sub(first, last):gsub("\n", ""))
    position = last + 1
  end
end

return M
