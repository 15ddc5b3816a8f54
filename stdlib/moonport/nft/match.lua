--- One condition of a rule, `field = value`, to the kernel's expressions.
--
-- A value is what the field shall be; "10.0.0.0/8", "80-90", "tap*"; a list of such (an anonymous
-- set); "@name" (a set); `{ ne = ... }` (anything else), `{ lt = ... }` `le` `gt` `ge`; and `{ mask
-- = ..., value = ... }` (only these bits are looked at). Fields whose values are sets of bits
-- (`ct.state`, `tcp.flags`) are matched when any of the bits is there.
--
-- @module moonport.nft.match
local address = require "moonport.nft.address"
local problem = require "moonport.nft.problem"
local registers = require "moonport.nft.registers"
local sets = require "moonport.nft.sets"
local types = require "moonport.nft.types"

local M = {}

local EQ, NE, LT, LE, GT, GE = 0, 1, 2, 3, 4, 5
local ORDERED = { lt = LT, le = LE, gt = GT, ge = GE }
local OPERATORS = { ne = true, lt = true, le = true, gt = true, ge = true, mask = true,
  value = true }
local INVERTED = 1

local function emit(out, expression)
  out[#out + 1] = expression
end

--- Emits the load of a field.
-- @tparam table out list of expressions
-- @tparam table field
-- @tparam ?integer slot the register, counted in 4 bytes; 0 unless told
function M.load(out, field, slot)
  local load = { dreg = registers.number(slot or 0) }
  for key, value in pairs(field.load) do
    load[key] = value
  end
  emit(out, load)
end

local function compare(out, op, data)
  emit(out, { "cmp", sreg = 1, op = op, data = data })
end

local function bitwise(out, mask)
  local none = ("\0"):rep(#mask)
  emit(out, { "bitwise", sreg = 1, dreg = 1, len = #mask, op = 0, mask = mask, xor = none })
end

-- What is in the machine's byte order is ordered only after it has been turned round.
local function in_order(out, t, bytes)
  if not t.host then
    return bytes
  end
  emit(out, { "byteorder", sreg = 1, dreg = 1, op = 1, len = t.size, size = t.size })
  return bytes:reverse()
end

local function ordered(out, field, op, value)
  local t = field.type
  if t.bits or not (t.integer or t.ranges) then
    problem.raise(("`%s` has no order to compare by"):format(field.name))
  end
  M.load(out, field)
  local bytes = types.encode(t, value, field.name)
  local data = in_order(out, t, bytes)
  compare(out, op, data)
end

-- A name that ends in `*` stands for all that begin so.
local function wildcard(out, field, op, value)
  local first = field.type.wild and field.type.wild(value)
  if first then
    M.load(out, field)
    compare(out, op, first:match "^[^%z]+")
    return true
  end
end

local function span(out, field, op, value)
  local t = field.type
  local found = types.span(t, value, field.name)
  M.load(out, field)
  if found.mask then
    bitwise(out, found.mask)
    compare(out, op, found.from)
  elseif found.from == found.to then
    compare(out, op, found.from)
  else
    local from = in_order(out, t, found.from)
    local to = t.host and found.to:reverse() or found.to
    emit(out, { "range", sreg = 1, op = op, from = from, to = to })
  end
end

local function any_bit(out, field, op, value)
  local mask = types.encode_bits(field.type, value, field.name)
  M.load(out, field)
  bitwise(out, mask)
  -- Any of them: the result is not zero.
  compare(out, op == EQ and NE or EQ, ("\0"):rep(#mask))
end

local function lookup(out, field, op, name, id)
  M.load(out, field)
  emit(out, { "lookup", set = name, id = id, sreg = 1, flags = op == NE and INVERTED or 0 })
end

local function scalar(out, field, op, value)
  if type(value) == "string" and value:match "^@." then
    lookup(out, field, op, value:sub(2))
  elseif field.type.bits then
    any_bit(out, field, op, value)
  elseif not wildcard(out, field, op, value) then
    span(out, field, op, value)
  end
end

local function list(out, field, op, values, context)
  if field.type.bits then
    any_bit(out, field, op, values)
  elseif #values == 1 then
    scalar(out, field, op, values[1])
  else
    local name, id = context:anonymous(sets.anonymous({ field }, values, field.name))
    lookup(out, field, op, name, id)
  end
end

local function masked(out, field, value)
  local t = field.type
  local wanted = value.value
  local op = EQ
  if wanted == nil then
    wanted, op = value.ne, NE
  end
  if not (t.integer or t.ranges) or wanted == nil or value.mask == nil then
    problem.expected(field.name, value, "{ mask = ..., value = ... } or { mask = ..., ne = ... }")
  end
  local mask = types.encode(t, value.mask, field.name .. ".mask")
  local bytes = t.encode(wanted)
    or t.bits and type(wanted) == "table" and #wanted == 0 and ("\0"):rep(t.size)
    or types.encode(t, wanted, field.name)
  if address.combine(bytes, mask, function(a, b) return a & ~b end):find "[^%z]" then
    problem.raise(("`%s` can never be `%s` under this mask"):format(field.name, tostring(wanted)))
  end
  M.load(out, field)
  bitwise(out, mask)
  compare(out, op, bytes)
end

local function operators(out, field, value, context)
  problem.only(value, OPERATORS, ("condition on `%s`"):format(field.name))
  if value.mask ~= nil then
    return masked(out, field, value)
  end
  local operator, operand = next(value)
  if operator == nil or operator == "value" or next(value, operator) ~= nil then
    problem.expected(field.name, value,
      "one of `ne`, `lt`, `le`, `gt`, `ge`, or `mask` and `value`")
  elseif operator ~= "ne" then
    ordered(out, field, ORDERED[operator], operand)
  elseif type(operand) == "table" then
    list(out, field, NE, operand, context)
  else
    scalar(out, field, NE, operand)
  end
end

--- Compiles a condition.
-- @tparam table out list of expressions to append to
-- @tparam table field
-- @param value
-- @tparam table context of the rule, which makes anonymous sets
function M.compile(out, field, value, context)
  if type(value) ~= "table" then
    scalar(out, field, EQ, value)
  elseif value[1] ~= nil then
    list(out, field, EQ, value, context)
  else
    operators(out, field, value, context)
  end
end

return M
