--- Values as text, for people.
--
--     local inspect = require "moonport.inspect"
--     print(inspect { name = "web", ports = { 80, 443 } })
--     --> { name = "web", ports = { 80, 443 } }
--
-- Tables are shown on one line where they fit, their list part first and then their keys in order.
-- Cycles, long strings and long tables are cut short and say so. Secrets show where they come from
-- and never what they are. Looking never raises, whatever metamethods a value has.
-- @module moonport.inspect

local errors = require "moonport.errors"
local secret = require "moonport.core.secret"
local terminal = require "moonport.core.terminal"
local text = require "moonport.text"

local M = {}

local defaults = {
  depth = 6,       -- tables within tables
  items = 100,     -- entries of one table
  total = 4000,    -- entries altogether: a table that is reached by many ways is shown each time
  string = 400,    -- bytes of one string
  width = 80,      -- columns
}

-- SGR codes by kind of value.
local colours = {
  string = "32", number = "33", boolean = "35", ["nil"] = "35", key = "36", special = "34",
  dim = "2", error = "31", hint = "33",
}

local most_keys = 20000 -- sorted; of a table with more, any so many are shown

-- A piece of output: its text and its columns; `columns` is nil when it takes several lines.
local function piece(state, kind, plain)
  local shown = plain
  if state.colour and colours[kind] then
    shown = "\27[" .. colours[kind] .. "m" .. plain .. "\27[0m"
  end
  return { text = shown, columns = terminal.columns(plain), simple = true }
end

local function number_text(value)
  if math.type(value) == "integer" then return string.format("%d", value) end
  if value ~= value then return "nan" end
  if value == math.huge then return "inf" end
  if value == -math.huge then return "-inf" end
  for digits = 14, 17 do
    local written = string.format("%." .. digits .. "g", value)
    if tonumber(written) == value then
      return written:find("[.eE]") and written or written .. ".0"
    end
  end
end

local function string_piece(state, value)
  local shown = text.cut(value, state.string)
  local result = piece(state, "string", text.quote(shown))
  if #shown < #value then
    local rest = string.format("… (%d bytes)", #value)
    local mark = piece(state, "dim", rest)
    result = { text = result.text .. mark.text, columns = result.columns + mark.columns }
  end
  return result
end

-- The outcome of a metamethod that a stranger wrote: one line of text, or nil.
local function described(value)
  local ok, result = pcall(tostring, value)
  if not ok or type(result) ~= "string" then return nil end
  return text.visible(text.cut(result, 200))
end

local function reference_text(reference)
  if type(reference) ~= "table" then return "?" end
  if type(reference.concat) == "table" then
    local parts = {}
    for i, part in ipairs(reference.concat) do parts[i] = reference_text(part) end
    return table.concat(parts, " .. ")
  end
  if reference.text ~= nil then return text.quote(tostring(reference.text)) end
  local kind, where = next(reference)
  if type(where) == "table" then
    local words = {}
    for i, word in ipairs(where) do words[i] = tostring(word) end
    where = table.concat(words, " ")
  end
  return kind and text.visible(string.format("%s:%s", kind, tostring(where))) or "given"
end

local function secret_piece(state, value)
  return piece(state, "special", "<secret " .. reference_text(secret.reference(value)) .. ">")
end

local function function_piece(state, value)
  local info = debug.getinfo(value, "S")
  local where = info.what == "C" and "built in" or
    string.format("%s:%d", text.visible(info.short_src), info.linedefined)
  return piece(state, "special", "<function " .. where .. ">")
end

local function metafield(value, name)
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and rawget(meta, name) or nil
end

local function userdata_piece(state, value)
  if secret.is(value) then return secret_piece(state, value) end
  local json = package.loaded["moonport.json"]
  if type(json) == "table" then
    if rawequal(json.null, value) then return piece(state, "nil", "null") end
    if json.is_number(value) then return piece(state, "number", tostring(value)) end
  end
  local name = metafield(value, "__name")
  name = type(name) == "string" and text.visible(name) or "userdata"
  local told = metafield(value, "__tostring") and described(value)
  if not told then return piece(state, "special", "<" .. name .. ">") end
  if told:sub(1, #name) ~= name and name ~= "userdata" then told = name .. ": " .. told end
  return piece(state, "special", "<" .. told .. ">")
end

local simple = {
  ["nil"] = function(state) return piece(state, "nil", "nil") end,
  boolean = function(state, value) return piece(state, "boolean", tostring(value)) end,
  number = function(state, value) return piece(state, "number", number_text(value)) end,
  string = string_piece,
  ["function"] = function_piece,
  userdata = userdata_piece,
  thread = function(state, value)
    return piece(state, "special", "<coroutine " .. coroutine.status(value) .. ">")
  end,
}

-- Tables.

local rank = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local rank_a, rank_b = rank[type(a)] or 4, rank[type(b)] or 4
  if rank_a ~= rank_b then return rank_a < rank_b end
  if rank_a <= 2 then return a < b end
  if rank_a == 3 then return not a and b end
  return type(a) < type(b)
end

-- The keys behind the list part, sorted, and how many there are.
local function other_keys(value, list_length)
  local keys, count = {}, 0
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= list_length) then
      count = count + 1
      if count <= most_keys then keys[count] = key end
    end
  end
  table.sort(keys, before)
  return keys, count
end

local function list_length(value)
  local length = 0
  while rawget(value, length + 1) ~= nil do length = length + 1 end
  return length
end

local reserved = {}
for word in ("and break do else elseif end false for function goto if in local nil not or " ..
  "repeat return then true until while"):gmatch("%a+") do
  reserved[word] = true
end

local function is_name(key)
  return type(key) == "string" and key:find("^[%a_][%w_]*$") and not reserved[key]
end

local function step_of(key)
  if is_name(key) then return "." .. key end
  if type(key) == "string" then return "[" .. text.quote(text.cut(key, 40)) .. "]" end
  if type(key) == "number" then return "[" .. number_text(key) .. "]" end
  return "[" .. type(key) .. "]"
end

local render

local function key_piece(state, key)
  if is_name(key) then return piece(state, "key", key) end
  if type(key) == "table" then return piece(state, "key", "[<table>]") end
  local inner = simple[type(key)](state, key)
  return { text = "[" .. inner.text .. "]", columns = inner.columns + 2 }
end

local function entry_piece(state, key, value, indent, path)
  local name = key_piece(state, key)
  local item = render(state, value, indent + 2, path .. step_of(key))
  return {
    text = name.text .. " = " .. item.text,
    columns = item.columns and name.columns + 3 + item.columns,
  }
end

local function more_piece(state, count)
  local mark = piece(state, "dim", string.format("… %d more", count))
  mark.last = true
  return mark
end

-- All entries of a table as pieces, within the limits.
local function entry_pieces(state, value, indent, path)
  local pieces, length = {}, list_length(value)
  local room = state.items
  for index = 1, length do
    if room == 0 or state.left <= 0 then
      pieces[#pieces + 1] = more_piece(state, length - index + 1)
      break
    end
    room, state.left = room - 1, state.left - 1
    pieces[#pieces + 1] = render(state, rawget(value, index), indent + 2, path .. step_of(index))
  end
  local keys, count = other_keys(value, length)
  room = math.max(room, state.items // 4)
  for index, key in ipairs(keys) do
    if room == 0 or state.left <= 0 then
      pieces[#pieces + 1] = more_piece(state, count - index + 1)
      break
    end
    room, state.left = room - 1, state.left - 1
    pieces[#pieces + 1] = entry_piece(state, key, rawget(value, key), indent, path)
  end
  return pieces, count == 0
end

-- Short list items side by side, as many to a line as fit.
local function filled(state, pieces, indent)
  local lines, line, columns = {}, {}, 0
  for _, item in ipairs(pieces) do
    if #line > 0 and indent + 2 + columns + item.columns + 1 > state.width then
      lines[#lines + 1] = table.concat(line, " ")
      line, columns = {}, 0
    end
    line[#line + 1] = item.text .. (item.last and "" or ",")
    columns = columns + item.columns + 2
  end
  lines[#lines + 1] = table.concat(line, " ")
  return lines
end

local function can_fill(pieces, only_list)
  if not only_list or #pieces < 8 then return false end
  for _, item in ipairs(pieces) do
    if not item.simple or item.columns > 24 then return false end
  end
  return true
end

local function one_line(state, pieces, indent, prefix)
  local texts, columns = {}, #prefix + 4
  for i, item in ipairs(pieces) do
    if not item.columns then return nil end
    texts[i] = item.text
    columns = columns + item.columns + (i > 1 and 2 or 0)
    if indent + columns > state.width then return nil end
  end
  return { text = prefix .. "{ " .. table.concat(texts, ", ") .. " }", columns = columns }
end

local function layout(state, pieces, only_list, indent, prefix)
  local short = one_line(state, pieces, indent, prefix)
  if short then return short end
  local lines
  if can_fill(pieces, only_list) then
    lines = filled(state, pieces, indent)
  else
    lines = {}
    for i, item in ipairs(pieces) do lines[i] = item.text .. (item.last and "" or ",") end
  end
  local margin = "\n" .. string.rep(" ", indent + 2)
  return {
    text = prefix .. "{" .. margin .. table.concat(lines, margin) ..
      "\n" .. string.rep(" ", indent) .. "}",
  }
end

local function is_json_array(value)
  local json = package.loaded["moonport.json"]
  return type(json) == "table" and json.is_array(value)
end

local function count_of(value)
  local count = 0
  for _ in next, value do
    count = count + 1
    if count > 999 then return "999+" end
  end
  return tostring(count)
end

local function error_summary(value)
  local function field(name)
    local found = rawget(value, name)
    return type(found) == "string" and text.visible(text.cut(found, 200)) or "?"
  end
  return string.format("<error %s/%s: %s>", field("kind"), field("code"), field("message"))
end

local function table_piece(state, value, indent, path)
  if state.path[value] then
    local up = state.path[value]
    return piece(state, "special", "<cycle" .. (up == "" and "" or " " .. up) .. ">")
  end
  if not state.raw then
    if errors.is(value) then return piece(state, "error", error_summary(value)) end
    local told = metafield(value, "__tostring") and described(value)
    if told then return piece(state, "special", "<" .. told .. ">") end
  end
  local name = metafield(value, "__name")
  local prefix = type(name) == "string" and not name:find("^json%.") and
    text.visible(name) .. " " or ""
  if next(value) == nil then
    return piece(state, nil, prefix .. (is_json_array(value) and "[]" or "{}"))
  end
  if state.level >= state.depth then
    return piece(state, "dim", prefix .. "{… " .. count_of(value) .. "}")
  end
  state.path[value], state.level = path, state.level + 1
  local pieces, only_list = entry_pieces(state, value, indent, path)
  state.path[value], state.level = nil, state.level - 1
  return layout(state, pieces, only_list, indent, prefix)
end

function render(state, value, indent, path)
  local kind = type(value)
  if kind == "table" then return table_piece(state, value, indent, path) end
  return simple[kind](state, value)
end

-- Errors, told in full.

local told_apart = {
  message = true, hint = true, cause = true, where = true, kind = true, code = true, exit = true,
}

local function error_lines(state, value, margin, lines, seen)
  local function add(kind, label, content)
    content = text.visible(content, "\n"):gsub("\n", "\n" .. margin .. "  ")
    lines[#lines + 1] = margin .. piece(state, kind, label).text .. content
  end
  if type(value) ~= "table" or not errors.is(value) or seen[value] then
    lines[#lines + 1] = margin .. "because: " .. (described(value) or "<" .. type(value) .. ">")
    return
  end
  seen[value] = true
  add("error", margin == "" and "error: " or "because: ", tostring(rawget(value, "message")))
  margin = margin .. "  "
  local kind, code = rawget(value, "kind"), rawget(value, "code")
  if kind or code then
    add("dim", "kind: ", string.format("%s, code: %s", tostring(kind), tostring(code)))
  end
  if rawget(value, "where") then add("dim", "where: ", tostring(rawget(value, "where"))) end
  local keys = other_keys(value, 0)
  for _, key in ipairs(keys) do
    if not told_apart[key] then
      local shown = render(state, rawget(value, key), #margin, step_of(key))
      lines[#lines + 1] = margin .. key_piece(state, key).text .. ": " .. shown.text
    end
  end
  local cause = rawget(value, "cause")
  if cause ~= nil then error_lines(state, cause, margin, lines, seen) end
  if rawget(value, "hint") then add("hint", "hint: ", tostring(rawget(value, "hint"))) end
end

local function new_state(options)
  local state = { path = {}, level = 0 }
  for name, default in pairs(defaults) do
    state[name] = options and options[name] or default
  end
  if options then state.colour, state.raw = options.colour, options.raw end
  state.left = state.total
  return state
end

--- Writes a structured error over several lines: message, kind and code, where, other fields,
-- cause, hint.
-- @tparam table value
-- @tparam[opt] table options as for @{format}
-- @treturn string
function M.error(value, options)
  local lines = {}
  error_lines(new_state(options), value, "", lines, {})
  return secret.scrub(table.concat(lines, "\n"))
end

--- Writes a value. `inspect(value)` does the same.
-- @param value any value
-- @tparam[opt] table options `width` in columns (80), `depth` of tables within tables (6), `items`
--   of one table (100), `string` in bytes (400), `colour` (true for escape codes), `raw` (true to
--   see the fields of tables that have a `__tostring`)
-- @treturn string
function M.format(value, options)
  local state = new_state(options)
  return secret.scrub(render(state, value, 0, "").text)
end

return setmetatable(M, { __call = function(_, value, options) return M.format(value, options) end })
