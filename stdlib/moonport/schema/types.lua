--- How each type of field is checked; the part of `moonport.schema` that walks data.
--
-- @module moonport.schema.types
local keypath = require "moonport.keypath"
local nearest = require "moonport.nearest"
local units = require "moonport.units"

local M = {}

local SHOWN = 48 -- bytes of a value that an error shows

--- Renders a value for an error.
-- @param value
-- @treturn string
function M.show(value)
  if type(value) == "string" then
    local text = #value > SHOWN and value:sub(1, SHOWN) .. "..." or value
    return (("%q"):format(text):gsub("\\\n", "\\n"))
  elseif type(value) == "table" then
    return next(value) == nil and "an empty table" or #value > 0 and "a list" or "a table"
  elseif type(value) == "userdata" then
    return "null"
  end
  return tostring(value)
end

--- Copies plain data.
function M.copy(value)
  if type(value) ~= "table" then
    return value
  end
  local copy = {}
  for key, element in pairs(value) do
    copy[key] = M.copy(element)
  end
  return copy
end

--- Adds a problem, with the place that `state.locate` knows for it or for what encloses it.
function M.report(state, path, message, hint)
  local file, line = state.locate(path)
  local problems = state.problems
  problems[#problems + 1] = {
    path = path,
    file = file,
    line = line,
    message = message,
    hint = hint,
    order = #problems,
  }
end

--- Sorts problems as a reader meets them: by file and line, then as they were found.
function M.in_order(problems)
  table.sort(problems, function(a, b)
    if a.file ~= b.file then
      return (a.file or "") < (b.file or "")
    elseif a.line ~= b.line then
      return (a.line or 0) < (b.line or 0)
    elseif a.path ~= b.path then
      return a.path < b.path
    end
    return a.order < b.order
  end)
  return problems
end

local function mismatch(field, value, path, state, expected, why, hint)
  local got = field.sensitive and "" or ", not " .. M.show(value)
  local subject = path == "" and "this" or ("`%s`"):format(path)
  local reason = why and (": %s"):format(why) or ""
  M.report(state, path, ("%s must be %s%s%s"):format(subject, expected, got, reason), hint)
end

local function range_text(field, format)
  format = format or tostring
  if field.min and field.max then
    return (" from %s to %s"):format(format(field.min), format(field.max))
  elseif field.min then
    return (" of at least %s"):format(format(field.min))
  elseif field.max then
    return (" of at most %s"):format(format(field.max))
  end
  return ""
end

local function outside(field, number)
  return field.min and number < field.min or field.max and number > field.max
end

local checkers = {}

function checkers.string(field, value, path, state)
  local expected = field.expected or "text"
  if type(value) ~= "string" then
    local hint = (math.type(value) or type(value) == "boolean")
      and ('write it as text: "%s"'):format(tostring(value))
    return mismatch(field, value, path, state, expected, nil, hint or nil)
  end
  local nul = value:find("\0", 1, true)
  if nul then
    return M.report(state, path, ("`%s` holds a NUL byte, at byte %d"):format(path, nul))
  elseif field.max and #value > field.max then
    local why = ("it has %d bytes, and %d are allowed"):format(#value, field.max)
    return mismatch(field, value, path, state, expected, why)
  elseif field.pattern and not value:find(field.pattern) then
    return mismatch(field, value, path, state, expected)
  end
  return value
end

function checkers.path(field, value, path, state)
  field = setmetatable({ expected = field.expected or "a path" }, { __index = field })
  value = checkers.string(field, value, path, state)
  if value == "" then
    return mismatch(field, value, path, state, "a path")
  elseif value and state.base and value:sub(1, 1) ~= "/" then
    value = state.base .. "/" .. value:gsub("^%./+", "")
  end
  return value
end

function checkers.number(field, value, path, state)
  if not math.type(value) or value ~= value or outside(field, value) then
    return mismatch(field, value, path, state, "a number" .. range_text(field))
  end
  return value
end

function checkers.integer(field, value, path, state)
  local number = math.type(value) and math.tointeger(value)
  if not number or outside(field, number) then
    return mismatch(field, value, path, state, "a whole number" .. range_text(field))
  end
  return number
end

function checkers.boolean(field, value, path, state)
  if type(value) ~= "boolean" then
    return mismatch(field, value, path, state, "true or false")
  end
  return value
end

local function quantity(parse, format, expected)
  return function(field, value, path, state)
    local number, why = parse(value)
    if not number or outside(field, number) then
      return mismatch(field, value, path, state, expected .. range_text(field, format), why)
    end
    return number
  end
end

checkers.size = quantity(units.size, units.format_size, 'a size such as "512MiB"')
checkers.duration = quantity(units.duration, units.format_duration, 'a duration such as "30s"')

local SOURCES = { file = true, env = true, command = true }

-- The key and value of a table that has no other; nil for anything else.
local function only_item(value)
  local key, item = next(type(value) == "table" and value or {})
  if key ~= nil and next(value, key) == nil then
    return key, item
  end
end

local function check_secret_source(source, argument, field, value, path, state)
  if source == "command" then
    local ok = type(argument) == "table" and #argument > 0
    for _, word in ipairs(ok and argument or {}) do
      ok = ok and type(word) == "string" and not word:find("\0", 1, true)
    end
    return ok and { command = M.copy(argument) }
      or mismatch(field, value, path, state, "a secret whose command is a list of words")
  elseif type(argument) ~= "string" or argument == "" or argument:find("\0", 1, true) then
    return mismatch(field, value, path, state, ("a secret whose `%s` is text"):format(source))
  elseif source == "file" and state.base and argument:sub(1, 1) ~= "/" then
    argument = state.base .. "/" .. argument:gsub("^%./+", "")
  end
  return { [source] = argument }
end

function checkers.secret(field, value, path, state)
  local reference = type(value) == "table" and rawget(value, "$secret")
  if not reference then
    field = setmetatable({ expected = "text or a secret" }, { __index = field })
    return checkers.string(field, value, path, state)
  end
  local source, argument = only_item(reference)
  if not SOURCES[source] or not only_item(value) then
    local hint = 'write secret.file "PATH", secret.env "NAME" or secret.command { "WORD", ... }'
    return mismatch(field, value, path, state, "text or a secret", nil, hint)
  end
  local normal = check_secret_source(source, argument, field, value, path, state)
  return normal and { ["$secret"] = normal }
end

function checkers.any(_, value)
  return M.copy(value)
end

function checkers.enum(field, value, path, state)
  for _, word in ipairs(field) do
    if word == value then
      return value
    end
  end
  local expected = ("one of `%s`"):format(table.concat(field, "`, `"))
  local near = type(value) == "string" and nearest.find(value, field)
  local hint = near and ("did you mean `%s`?"):format(near) or nil
  return mismatch(field, value, path, state, expected, nil, hint)
end

-- The first key that a list cannot have, or nil.
local function stray_key(value)
  local count = #value
  for key in pairs(value) do
    if math.type(key) ~= "integer" or key < 1 or key > count then
      return key
    end
  end
end

function checkers.list(field, value, path, state)
  if type(value) ~= "table" or stray_key(value) ~= nil then
    return mismatch(field, value, path, state, "a list")
  elseif outside(field, #value) then
    local expected = ("a list with%s elements"):format(range_text(field):gsub("^ of", ""))
    return mismatch(field, value, path, state, expected)
  end
  local normal = {}
  for index, element in ipairs(value) do
    normal[index] = M.check(field.of, element, keypath.join(path, index), state)
  end
  return normal
end

function checkers.map(field, value, path, state)
  if type(value) ~= "table" then
    return mismatch(field, value, path, state, "a table")
  end
  local normal = {}
  for key, element in pairs(value) do
    local sub_path = keypath.join(path, key)
    local why, hint
    if type(key) ~= "string" then
      why = ("`%s` holds a list element where names are expected"):format(path)
    elseif key:find("\0", 1, true) then
      why = ("`%s` has a NUL byte in its name"):format(sub_path)
    elseif field.key then
      why, hint = field.key(key, sub_path)
    end
    if why then
      M.report(state, sub_path, why, hint)
    else
      normal[key] = M.check(field.of, element, sub_path, state)
    end
  end
  return normal
end

function checkers.record(field, value, path, state)
  if type(value) ~= "table" then
    return mismatch(field, value, path, state, "a table")
  end
  local normal = {}
  for key, element in pairs(value) do
    local sub_path = keypath.join(path, key)
    local sub = field.fields[key]
    if sub then
      normal[key] = M.check(sub, element, sub_path, state)
    else
      local hint = field.stray and field.stray(key) or nearest.hint(tostring(key), field.fields)
      M.report(state, sub_path, ("unknown field `%s`"):format(sub_path), hint)
    end
  end
  return normal
end

-- An alternative that takes tables is what the writer of a table meant.
local TABLES = { list = true, map = true, record = true }

function checkers.one_of(field, value, path, state)
  local likely, expected = nil, {}
  for _, alternative in ipairs(field.alternatives) do
    local attempt = setmetatable({ problems = {} }, { __index = state })
    local normal = M.check(alternative, value, path, attempt)
    if #attempt.problems == 0 then
      return normal
    elseif type(value) == "table" and TABLES[alternative.type] then
      likely = likely or attempt.problems
    end
    expected[#expected + 1] = alternative.expected or alternative.type
  end
  if not likely then
    return mismatch(field, value, path, state, field.expected or table.concat(expected, " or "))
  end
  table.move(likely, 1, #likely, #state.problems + 1, state.problems)
end

--- Checks one value; returns its normal form and adds to `state.problems`.
function M.check(field, value, path, state)
  local count = #state.problems
  local normal = checkers[field.type](field, value, path, state)
  if field.check and normal ~= nil and #state.problems == count then
    local why, hint = field.check(normal)
    if why then
      M.report(state, path, ("`%s` %s"):format(path, why), hint)
    end
  end
  return normal
end

--- See `moonport.schema.find`.
function M.find(field, path)
  local so_far = ""
  for _, key in ipairs(keypath.split(path) or {}) do
    local sub
    if field.type == "record" then
      sub = field.fields[key]
      if not sub then
        local near = nearest.find(tostring(key), field.fields)
        return nil, near and keypath.join(so_far, near)
      end
    elseif field.type == "list" or field.type == "map" then
      sub = field.of
    end
    if not sub then
      return nil, so_far ~= "" and so_far or nil
    end
    field, so_far = sub, keypath.join(so_far, key)
  end
  return field
end

local NAMES = { size = "size", duration = "duration", path = "path", secret = "text or secret" }

local function type_name(field)
  if field.type == "enum" then
    return table.concat(field, " | ")
  elseif field.type == "list" then
    return "list of " .. type_name(field.of)
  elseif field.type == "map" then
    return "table of " .. type_name(field.of)
  elseif field.type == "one_of" then
    local names = {}
    for index, alternative in ipairs(field.alternatives) do
      names[index] = type_name(alternative)
    end
    return table.concat(names, " or ")
  elseif field.type == "string" then
    return "text"
  end
  return NAMES[field.type] or field.type
end

local function show_default(field)
  if type(field.default) == "table" then
    return nil
  elseif field.type == "size" and field.default then
    return units.format_size(field.default)
  elseif field.type == "duration" and field.default then
    return units.format_duration(field.default)
  end
  return field.default
end

--- See `moonport.schema.describe`.
function M.describe(field, path, rows)
  if path ~= "" then
    rows[#rows + 1] = {
      path = path,
      type = field.type == "record" and "table" or type_name(field),
      default = show_default(field),
      required = field.required or false,
      doc = field.doc or "",
    }
  end
  for name, sub in pairs(field.fields or {}) do
    M.describe(sub, keypath.join(path, name), rows)
  end
end

return M
