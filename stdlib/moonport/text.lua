--- Text from elsewhere, made safe to show.
-- @module moonport.text

local M = {}

-- Beyond ASCII: C1 controls, line and paragraph separators, and the marks that turn the direction
-- of writing, with which text can be made to read as something else.
local function is_control(code)
  return code < 0x20 or (code >= 0x7f and code < 0xa0) or (code >= 0x2028 and code <= 0x202e) or
    (code >= 0x2066 and code <= 0x2069) or code == 0xfeff
end

local short = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

local function escape_byte(char) return string.format("\\x%02x", char:byte()) end

local function escape_wide(text)
  return (text:gsub(utf8.charpattern, function(char)
    if #char == 1 then return nil end
    local code = utf8.codepoint(char)
    if is_control(code) then return string.format("\\u{%x}", code) end
    return nil
  end))
end

-- The runs of valid UTF-8 through `escape_wide`, every other byte escaped.
local function escape_beyond_ascii(text)
  local parts, from = {}, 1
  while from <= #text do
    local _, bad = utf8.len(text, from)
    parts[#parts + 1] = escape_wide(text:sub(from, (bad or #text + 1) - 1))
    if not bad then break end
    parts[#parts + 1] = escape_byte(text:sub(bad, bad))
    from = bad + 1
  end
  return table.concat(parts)
end

--- Makes control characters and broken UTF-8 visible, so that text from elsewhere cannot drive the
-- terminal: ESC becomes `\x1b`, a newline `\n`.
-- @tparam string text
-- @tparam[opt] string keep control characters to leave as they are, such as "\n\t"
-- @treturn string
function M.visible(text, keep)
  if text:find("%c") then
    text = text:gsub("%c", function(char)
      if keep and keep:find(char, 1, true) then return nil end
      return short[char] or escape_byte(char)
    end)
  end
  if text:find("[\x80-\xff]") then text = escape_beyond_ascii(text) end
  return text
end

--- Writes a string as Lua would read it, on one line.
-- @tparam string text
-- @treturn string
function M.quote(text)
  return '"' .. M.visible((text:gsub('[\\"]', "\\%0"))) .. '"'
end

-- A word as a shell would take it.
local function word(value)
  if value:find("^[%w%-_./:=@%%+,]+$") then return value end
  -- What only a shell of today can write: $'...'.
  if value:find("%c") then return "$'" .. M.visible((value:gsub("[\\']", "\\%0"))) .. "'" end
  return "'" .. value:gsub("'", "'\\''") .. "'"
end

--- An argv in one line that a shell would read the same.
-- @tparam {string,...} argv
-- @treturn string
function M.argv(argv)
  local words = {}
  for index, value in ipairs(argv) do words[index] = word(tostring(value)) end
  return table.concat(words, " ")
end

--- Cuts text at a byte limit without cutting a character in two.
-- @tparam string text
-- @tparam integer limit in bytes
-- @treturn string
function M.cut(text, limit)
  if #text <= limit then return text end
  local last = limit
  while last > 0 and limit - last < 4 and text:byte(last + 1) & 0xc0 == 0x80 do last = last - 1 end
  return text:sub(1, last)
end

--- Writes a duration as people do: `12 ms`, `2.3 s`, `4 m 10 s`, `3 h 5 m`, `12 d 4 h`.
-- @tparam number seconds
-- @treturn string
function M.duration(seconds)
  if seconds < 0 then return "-" .. M.duration(-seconds) end
  if seconds < 0.001 then return string.format("%.0f us", seconds * 1e6) end
  if seconds < 0.9995 then return string.format("%.0f ms", seconds * 1e3) end
  if seconds < 59.95 then return string.format("%.1f s", seconds) end
  local whole = math.floor(seconds + 0.5)
  local function two(big, big_name, small, small_name)
    return string.format("%d %s %d %s", whole // big, big_name, whole % big // small, small_name)
  end
  if whole < 3600 then return two(60, "m", 1, "s") end
  if whole < 86400 then return two(3600, "h", 60, "m") end
  return two(86400, "d", 3600, "h")
end

return M
