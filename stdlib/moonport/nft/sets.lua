--- Sets and maps: their types, their flags, and their elements as bytes and as data.
--
-- A shape says what the bytes of a set mean: {key = list of types, data = list of types (maps) or
-- nil, verdict = true (verdict maps), object = true (maps to named counters), interval = boolean}.
--
-- @module moonport.nft.sets
local address = require "moonport.nft.address"
local problem = require "moonport.nft.problem"
local registers = require "moonport.nft.registers"
local types = require "moonport.nft.types"
local userdata = require "moonport.nft.userdata"
local verdicts = require "moonport.nft.verdicts"

local M = {}

local ANONYMOUS, CONSTANT, INTERVAL, MAP, TIMEOUT, OBJECT, CONCAT = 1, 2, 4, 8, 0x10, 0x40, 0x80
local EVAL = 0x20
local VERDICT_TYPE = 0xffffff00
local COUNTER = 1
local END, REST = 1, 2 -- of an element: it ends the interval before it; it is all other keys
local TYPE_BITS = 6

-- What `flags` of a set may say besides what follows from its other fields.
local FLAGS = { constant = CONSTANT, interval = INTERVAL, timeout = TIMEOUT, dynamic = EVAL }

--- A list of types from a name or a list of names.
-- @param names
-- @tparam string where for errors
-- @treturn table
function M.types(names, where)
  local list = {}
  for _, name in ipairs(type(names) == "table" and names or { names }) do
    if type(name) ~= "string" then
      problem.expected(where, name, "the name of a type, or a list of names")
    end
    list[#list + 1] = types.get(name)
  end
  if #list == 0 then
    problem.expected(where, names, "the name of a type, or a list of names")
  end
  return list
end

local function code_of(list)
  local code = 0
  for _, each in ipairs(list) do
    code = code << TYPE_BITS | each.code
  end
  return code
end

local function size_of(list)
  if #list == 1 then
    return list[1].size
  end
  local slots = 0
  for _, each in ipairs(list) do
    slots = slots + registers.slots(each.size)
  end
  return slots * 4
end

-- The sizes of the parts of a key, by which the kernel keeps intervals of several fields.
local function parts_of(list)
  local sizes = {}
  for i, each in ipairs(list) do
    sizes[i] = string.char(each.size)
  end
  return table.concat(sizes)
end

local function host_of(list)
  return #list == 1 and list[1].host or false
end

--- The attributes of a set of this shape.
-- @tparam table shape
-- @tparam integer flags besides those that the shape implies
-- @tparam ?string comment
-- @treturn table message fields
function M.attributes(shape, flags, comment)
  local fields = { key_type = code_of(shape.key), key_len = size_of(shape.key) }
  if shape.interval then
    flags = flags | INTERVAL
    if #shape.key > 1 then
      flags = flags | CONCAT
      fields.parts = parts_of(shape.key)
    end
  end
  local data_host
  if shape.object then
    flags = flags | OBJECT
    fields.object_type = COUNTER
  elseif shape.verdict then
    flags = flags | MAP
    fields.data_type = VERDICT_TYPE
  elseif shape.data then
    flags = flags | MAP
    data_host = host_of(shape.data)
    fields.data_type, fields.data_len = code_of(shape.data), size_of(shape.data)
  end
  fields.flags = flags
  fields.userdata = userdata.set(host_of(shape.key), data_host, comment)
  return fields
end

--- The shape of a set from its definition.
-- @tparam table definition `type`, `data`, `flags`
-- @treturn table
function M.shape(definition)
  local shape = { key = M.types(definition.type, "type") }
  local data = definition.data
  if data == "verdict" then
    shape.verdict = true
  elseif data == "counter" then
    shape.object = true
  elseif data ~= nil then
    shape.data = M.types(data, "data")
  end
  for _, flag in ipairs(M.flag_list(definition.flags)) do
    shape.interval = shape.interval or flag == "interval"
  end
  if size_of(shape.key) > 64 then
    problem.raise("the key of a set is longer than 64 bytes")
  end
  return shape
end

--- The flags of a definition as a list.
-- @param flags
-- @treturn table
function M.flag_list(flags)
  local list = type(flags) == "table" and flags or { flags }
  for _, flag in ipairs(list) do
    if not FLAGS[flag] then
      problem.unknown("flag of a set", tostring(flag), FLAGS)
    end
  end
  return list
end

--- The number for flags of a definition.
-- @param flags
-- @treturn integer
function M.flags(flags)
  local number = 0
  for _, flag in ipairs(M.flag_list(flags)) do
    number = number | FLAGS[flag]
  end
  return number
end

local function types_of(code, size)
  local list = {}
  repeat
    table.insert(list, 1, types.by_code(code & (1 << TYPE_BITS) - 1, size) or false)
    code = code >> TYPE_BITS
  until code == 0
  for _, each in ipairs(list) do
    if not each then
      return nil
    end
  end
  return list
end

--- The shape of a set that the kernel lists, and its definition.
-- @tparam table message
-- @treturn ?table shape; nil where its types are none of ours
-- @treturn table definition: `type`, `data`, `flags` as far as they are known
function M.read(message)
  local flags = message.flags or 0
  local key = types_of(message.key_type or 0, message.key_len)
  if key and size_of(key) ~= message.key_len then
    key = nil
  end
  local shape = { key = key, interval = flags & INTERVAL ~= 0 }
  local definition = { type = key and types.names(key) }
  local data_known = true
  if flags & OBJECT ~= 0 then
    shape.object, definition.data = true, "counter"
    data_known = message.object_type == COUNTER
  elseif flags & MAP ~= 0 and message.data_type == VERDICT_TYPE then
    shape.verdict, definition.data = true, "verdict"
  elseif flags & MAP ~= 0 then
    shape.data = types_of(message.data_type or 0, message.data_len)
    if shape.data and size_of(shape.data) ~= message.data_len then
      shape.data = nil -- as where a map leads to ranges
    end
    definition.data, data_known = shape.data and types.names(shape.data), shape.data ~= nil
  end
  local words = {}
  for word, bit in pairs(FLAGS) do
    words[#words + 1] = flags & bit ~= 0 and word or nil
  end
  table.sort(words)
  definition.flags = #words > 0 and words or nil
  definition.is_map = flags & (MAP | OBJECT) ~= 0
  definition.anonymous = flags & ANONYMOUS ~= 0
  return key and data_known and shape or nil, definition
end

-- -- Elements ----------------------------------------------------------------------------------

local ELEMENT = {
  key = true, data = true, timeout = true, expires = true, comment = true, counter = true,
}

-- An element written short: a key alone.
local function full(element)
  if type(element) == "table" and element.key ~= nil then
    problem.only(element, ELEMENT, "element")
    return element
  end
  return { key = element }
end

local function values(list, value, where)
  if #list == 1 then
    return { value }
  elseif type(value) ~= "table" or #value ~= #list then
    problem.expected(where, value, ("a list of %d values"):format(#list))
  end
  return value
end

local function encode_all(list, value, where)
  if #list == 1 then
    return types.encode(list[1], value, where)
  end
  local parts = {}
  for i, each in ipairs(values(list, value, where)) do
    parts[i] = registers.pad(types.encode(list[i], each, where))
  end
  return table.concat(parts)
end

local function refuse_host_span(t, span, where)
  if t.host and span.from ~= span.to and not span.wild then
    problem.raise(("`%s`: a set cannot hold a range of `%s`"):format(where, t.name))
  end
end

-- The first and the last key of an interval.
local function encode_span(list, value, where)
  local from, to = {}, {}
  for i, each in ipairs(values(list, value, where)) do
    local span = types.span(list[i], each, where)
    refuse_host_span(list[i], span, where)
    from[i], to[i] = span.from, span.to
    if #list > 1 then
      from[i], to[i] = registers.pad(span.from), registers.pad(span.to)
    end
  end
  return table.concat(from), table.concat(to)
end

local function counter_of(counter)
  local set = type(counter) == "table" and counter or {}
  return { { "counter", packets = set.packets or 0, bytes = set.bytes or 0 } }
end

local function seconds(value, where)
  if type(value) ~= "number" or value <= 0 then
    problem.expected(where, value, "a number of seconds")
  end
  return math.ceil(value * 1000)
end

local function add_data(message, shape, element, where)
  if shape.verdict then
    verdicts.encode(message, element.data, where)
  elseif shape.object then
    if type(element.data) ~= "string" then
      problem.expected(where, element.data, "the name of a counter")
    end
    message.object = element.data
  elseif shape.data then
    if element.data == nil then
      problem.raise(("an element of `%s` has no `data`"):format(where))
    end
    message.data = encode_all(shape.data, element.data, where)
  end
end

local function encode_element(shape, element, where)
  local message = {}
  if element.key == "*" then
    message.flags = REST
  elseif shape.interval then
    message.key, message.key_end = encode_span(shape.key, element.key, where)
  else
    message.key = encode_all(shape.key, element.key, where)
  end
  if shape.data or shape.verdict or shape.object then
    add_data(message, shape, element, where)
  elseif element.data ~= nil then
    problem.raise(("an element of the set `%s` has `data`, which only maps have"):format(where))
  end
  if element.timeout then
    message.timeout = seconds(element.timeout, "timeout")
  end
  if element.comment then
    message.userdata = userdata.comment(element.comment)
  end
  if element.counter then
    message.exprs = counter_of(element.counter)
  end
  return message
end

-- What is all other keys comes after all.
local function by_key(a, b)
  if not a.key or not b.key then
    return a.key ~= nil and not b.key
  end
  return a.key < b.key
end

-- Intervals of one field are kept as their first key, and an end after their last.
local function split_intervals(list, where)
  table.sort(list, by_key)
  local out = {}
  for i, each in ipairs(list) do
    local following = list[i + 1]
    if following and following.key and following.key <= each.key_end then
      problem.raise(("two elements of `%s` overlap"):format(where))
    end
    local last = each.key_end and address.next(each.key_end)
    each.key_end = nil
    out[#out + 1] = each
    if last then
      out[#out + 1] = { key = last, flags = END }
    end
  end
  return out
end

--- Elements as the kernel takes them.
-- @tparam table shape
-- @tparam table elements keys, or {key, data, timeout, comment, counter}
-- @tparam string where the set's name, for errors
-- @treturn table list of element messages
function M.encode(shape, elements, where)
  local list = {}
  for i = 1, #elements do
    list[i] = encode_element(shape, full(elements[i]), where)
  end
  if shape.interval and #shape.key == 1 then
    return split_intervals(list, where)
  end
  return list
end

local function decode_all(list, bytes)
  if #list == 1 then
    return types.decode(list[1], bytes)
  end
  local decoded, at = {}, 1
  for i, each in ipairs(list) do
    decoded[i] = types.decode(each, bytes:sub(at, at + each.size - 1))
    at = at + registers.slots(each.size) * 4
  end
  return decoded
end

local function decode_span(list, from, to)
  if #list == 1 then
    return types.show_span(list[1], from, to)
  end
  local decoded, at = {}, 1
  for i, each in ipairs(list) do
    local stop = at + each.size - 1
    decoded[i] = types.show_span(each, from:sub(at, stop), to:sub(at, stop))
    at = at + registers.slots(each.size) * 4
  end
  return decoded
end

local function decode_data(shape, message)
  if shape.verdict then
    return verdicts.decode(message)
  elseif shape.object then
    return message.object
  end
  return shape.data and message.data and decode_all(shape.data, message.data)
end

local function decode_element(shape, message)
  local element = { data = decode_data(shape, message) }
  if not message.key then
    element.key = "*"
  elseif message.key_end then
    element.key = decode_span(shape.key, message.key, message.key_end)
  else
    element.key = decode_all(shape.key, message.key)
  end
  element.timeout = message.timeout and message.timeout / 1000
  element.expires = message.expiration and message.expiration / 1000
  element.comment = userdata.comment_of(message.userdata)
  for _, expr in ipairs(message.exprs or {}) do
    if expr[1] == "counter" then
      element.counter = { packets = expr.packets, bytes = expr.bytes }
    end
  end
  return element
end

local function is_end(message)
  return (message.flags or 0) & END ~= 0
end

-- The reverse of split_intervals. An end at the key of a beginning comes before it.
local function join_intervals(shape, messages)
  table.sort(messages, function(a, b)
    if a.key ~= b.key then
      return by_key(a, b)
    end
    return is_end(a) and not is_end(b)
  end)
  local list = {}
  for i, each in ipairs(messages) do
    if not is_end(each) then
      local following = messages[i + 1]
      each.key_end = each.key and (following and following.key and address.previous(following.key)
        or ("\xff"):rep(shape.key[1].size))
      list[#list + 1] = each
    end
  end
  return list
end

-- Whether an element has what its set says.
local function is_whole(shape, message)
  local size = size_of(shape.key)
  local key, key_end, data = message.key, message.key_end, message.data
  return (key == nil and (message.flags or 0) & REST ~= 0 or key ~= nil and #key == size)
    and (key_end == nil or key ~= nil and #key_end == size)
    and (not shape.data or data == nil or #data == size_of(shape.data))
end

--- Elements as the kernel lists them, as data.
-- @tparam table shape
-- @tparam table messages
-- @treturn ?table list of {key, data, timeout, expires, comment, counter}, sorted by their keys,
-- "*" (all other keys) last; nil where they are not what the shape says
function M.decode(shape, messages)
  for _, each in ipairs(messages) do
    if not is_whole(shape, each) then
      return nil
    end
  end
  if shape.interval and #shape.key == 1 then
    messages = join_intervals(shape, messages)
  else
    table.sort(messages, by_key)
  end
  local list = {}
  for i, each in ipairs(messages) do
    list[i] = decode_element(shape, each)
  end
  return list
end

-- -- Anonymous sets ----------------------------------------------------------------------------

local function has_span(list, elements, where)
  for _, element in ipairs(elements) do
    local key = full(element).key
    for i, each in ipairs(key ~= "*" and values(list, key, where) or {}) do
      local span = types.span(list[i], each, where)
      if span.from ~= span.to then
        return true
      end
    end
  end
  return false
end

--- An anonymous set or verdict map.
-- @tparam table fields those of the key
-- @tparam table elements as for `encode`
-- @tparam string where for errors
-- @tparam ?table options `verdict` or `data` (list of types) make it a map
-- @treturn table {attributes, elements, map}
function M.anonymous(fields, elements, where, options)
  options = options or {}
  local shape = { key = {}, verdict = options.verdict, data = options.data }
  for i, field in ipairs(fields) do
    shape.key[i] = field.type
  end
  shape.interval = has_span(shape.key, elements, where)
  local attributes = M.attributes(shape, ANONYMOUS | CONSTANT)
  attributes.size = #elements
  return {
    attributes = attributes,
    elements = M.encode(shape, elements, where),
    map = (options.verdict or options.data) and true or false,
  }
end

return M
