--- The kernel's expressions back to rules as data: the reverse of moonport.nft.compile.
--
-- Expressions are followed like the kernel does: loads fill registers, what comes after uses them.
-- What has no form in our data is named in `other`, and the rest is told all the same.
--
-- @module moonport.nft.decompile
local address = require "moonport.nft.address"
local compile = require "moonport.nft.compile"
local fields = require "moonport.nft.fields"
local registers = require "moonport.nft.registers"
local reject = require "moonport.nft.reject"
local statements = require "moonport.nft.statements"
local translation = require "moonport.nft.translation"
local types = require "moonport.nft.types"
local verdicts = require "moonport.nft.verdicts"

local M = {}

local EQ, NE, LT, LE, GT, GE = 0, 1, 2, 3, 4, 5
local ORDERED = { [LT] = "lt", [LE] = "le", [GT] = "gt", [GE] = "ge" }
local COUNTER_OBJECT = 1

local reader = {}
reader.__index = reader

-- -- Items --------------------------------------------------------------------------------------

function reader:add(item)
  self.items[#self.items + 1] = item
  return item
end

function reader:other(name)
  self.others[#self.others + 1] = name
  self.pending = {}
end

function reader:condition(field, value, needs)
  compile.learn(self.known, field.name, value)
  return self:add { order = field.order, name = field.name, value = value,
    needs = needs or field.needs }
end

function reader:statement(name, value, needs)
  local order = statements.BY_NAME[name].order
  return self:add { order = order, name = name, value = value, needs = needs or {},
    statement = true }
end

-- -- Loads --------------------------------------------------------------------------------------

-- A prefix of whole bytes may be loaded as these bytes alone.
local function shortened(expression, known)
  if expression[1] ~= "payload" or not expression.len then
    return nil
  end
  for _, size in ipairs { 4, 6, 16 } do
    local whole = { "payload", base = expression.base, offset = expression.offset, len = size }
    local field = expression.len < size and fields.loaded(whole, known)
    if field and field.type.ranges then
      return field
    end
  end
end

function reader:load(expression)
  if expression.sreg or not registers.slot(expression.dreg) then
    return self:other(expression[1] .. " set")
  end
  local field = fields.loaded(expression, self.known)
  local short
  if not field then
    field = shortened(expression, self.known)
    short = field and expression.len
  end
  local load = { field = field, slot = registers.slot(expression.dreg), short = short,
    what = expression[1] }
  table.insert(self.pending, load)
end

-- The one field that was loaded last into a register, if it is just one.
function reader:single(sreg)
  local load = #self.pending == 1 and self.pending[1]
  if load and load.slot == registers.slot(sreg) then
    return load
  end
end

-- The fields that were loaded for a key; nil where one is not known.
function reader:key(sreg)
  local slot, list = registers.slot(sreg), {}
  for _, load in ipairs(self.pending) do
    if load.slot ~= slot or not load.field or load.short or load.mask then
      return nil
    end
    list[#list + 1] = load.field
    slot = slot + registers.slots(load.field.type.size)
  end
  return #list > 0 and list or nil
end

local function needs_of(list)
  local needs = {}
  for _, field in ipairs(list) do
    for name, value in pairs(field.needs) do
      needs[name] = value
    end
  end
  return needs
end

-- -- Comparisons --------------------------------------------------------------------------------

local function either(op, value)
  if op == NE then
    return { ne = value }
  end
  return value
end

local function is_zero(bytes)
  return not bytes:find "[^%z]"
end

-- A field whose bits were masked.
local function masked(t, mask, op, data)
  if t.bits and is_zero(data) then
    -- Not zero: any of the bits.
    return either(op == EQ and NE or EQ, types.decode_bits(t, mask))
  end
  local bits = t.ranges and address.bits(mask)
  if bits and bits > 0 then
    return either(op, ("%s/%d"):format(address.show(data), bits))
  end
  local value = { mask = types.decode(t, mask) }
  local wanted = t.bits and is_zero(data) and {} or types.decode(t, data)
  value[op == NE and "ne" or "value"] = wanted
  return value
end

-- A name of fewer bytes is one that others begin with, unless its end is compared too, as iptables
-- does.
local function begins_with(t, data, op)
  local name, zeros = data:match "^([^%z]+)(%z*)$"
  if t.wild and (op == EQ or op == NE) and #data < t.size and name then
    return either(op, zeros == "" and name .. "*" or name)
  end
end

local function compared(load, op, data)
  local t = load.field.type
  if load.mask then
    local whole = (op == EQ or op == NE) and #data == t.size
    return whole and masked(t, load.mask, op, data) or nil
  elseif load.short then
    if (op ~= EQ and op ~= NE) or #data ~= load.short then
      return nil
    end
    local whole = data .. ("\0"):rep(t.size - #data)
    return either(op, ("%s/%d"):format(address.show(whole), load.short * 8))
  elseif begins_with(t, data, op) then
    return begins_with(t, data, op)
  elseif #data ~= t.size then
    return nil
  end
  if load.swapped then
    data = data:reverse()
  end
  if ORDERED[op] then
    local comparable = not t.bits and (t.integer or t.ranges) and (not t.host or load.swapped)
    return comparable and { [ORDERED[op]] = t.decode(data) } or nil
  elseif op ~= EQ and op ~= NE then
    return nil
  elseif t.bits then
    return { mask = types.decode(t, ("\xff"):rep(t.size)),
      [op == NE and "ne" or "value"] = t.decode(data) }
  end
  return either(op, t.decode(data))
end

-- `>=` and `<=` of one load are a range.
function reader:as_range(load, op, data)
  local low, size = self.low, load.field.type.size
  if load.mask or load.short or #data ~= size then
    return false
  end
  self.low = op == GE and { load = load, data = data, item = #self.items + 1 } or nil
  if op ~= LE or not low or low.load ~= load then
    return false
  end
  local from, to = low.data, data
  if load.swapped then
    from, to = from:reverse(), to:reverse()
  end
  self.items[low.item].value = types.show_span(load.field.type, from, to)
  return true
end

function reader:compare(expression)
  local load = self:single(expression.sreg)
  -- The second of two comparisons of one load.
  if not load and self.low and #self.pending == 0 and expression.op == LE then
    load = self.low.load
  end
  if not load or not load.field or not expression.data then
    return self:other(load and load.what or "cmp")
  end
  if self:as_range(load, expression.op, expression.data) then
    self.pending = {}
    return nil
  end
  local value = compared(load, expression.op, expression.data)
  if value == nil then
    return self:other "cmp"
  end
  self:condition(load.field, value)
  self.pending = {}
end

function reader:range(expression)
  local load = self:single(expression.sreg)
  local from, to = expression.from or "", expression.to or ""
  local t = load and load.field and not load.mask and not load.short and load.field.type
  if not t or t.bits or #from ~= t.size or #to ~= t.size then
    return self:other "range"
  end
  if load.swapped then
    from, to = from:reverse(), to:reverse()
  end
  self:condition(load.field, either(expression.op, types.show_span(load.field.type, from, to)))
  self.pending = {}
end

function reader:bitwise(expression)
  local load = self:single(expression.sreg)
  local plain = (expression.op or 0) == 0 and expression.xor and is_zero(expression.xor)
  if not load or not plain or not load.field or load.short
    or load.mask or load.swapped or expression.dreg ~= expression.sreg
    or #(expression.mask or "") ~= load.field.type.size then
    return self:other "bitwise"
  end
  load.mask = expression.mask
end

function reader:byteorder(expression)
  local load = self:single(expression.sreg)
  if not load or not load.field or not load.field.type.host or load.mask or load.swapped
    or expression.dreg ~= expression.sreg then
    return self:other "byteorder"
  end
  load.swapped = true
end

-- -- Sets ---------------------------------------------------------------------------------------

local function short_elements(elements)
  local list = {}
  for i, element in ipairs(elements) do
    list[i] = element.key
  end
  return list
end

local function map_elements(elements)
  local list = {}
  for i, element in ipairs(elements) do
    list[i] = { key = element.key, data = element.data }
  end
  return list
end

local function has_key(set, key)
  for i, field in ipairs(key) do
    if set.shape.key[i] ~= field.type then
      return false
    end
  end
  return #set.shape.key == #key
end

-- "@name", or what an anonymous set holds; nil where its keys are of other types than the fields.
function reader:set(name, key, as)
  local set = self.sets[name]
  if set and set.anonymous then
    return set.elements and has_key(set, key) and as(set.elements) or nil
  end
  return "@" .. name
end

function reader:lookup(expression)
  local key = self:key(expression.sreg)
  if not key or not expression.set then
    return self:other "lookup"
  end
  self.pending = {}
  if expression.dreg then
    return self:map(expression, key)
  end
  local set = self:set(expression.set, key, short_elements)
  local inverted = (expression.flags or 0) & 1 ~= 0
  if not set then
    return self:other "lookup"
  elseif #key == 1 then
    self:condition(key[1], either(inverted and NE or EQ, set))
  else
    local value = { key = types.names(key), set = set, ne = inverted or nil }
    self:add { order = fields.LOOKUP, name = "lookup", value = value, needs = needs_of(key) }
  end
end

function reader:map(expression, key)
  local map = self:set(expression.set, key, map_elements)
  if not map then
    return self:other "lookup"
  end
  local value = { key = types.names(key), map = map }
  if expression.dreg == 0 then
    self:statement("vmap", value, needs_of(key))
  else
    self.held = { [registers.slot(expression.dreg)] = value }
    self.held_needs = needs_of(key)
  end
end

-- -- Statements ---------------------------------------------------------------------------------

function reader:immediate(expression)
  local verdict, slot = verdicts.decode(expression), registers.slot(expression.dreg)
  if expression.dreg == 0 and verdict then
    self:statement("verdict", verdict)
  elseif slot and expression.data then
    self.held = self.held or {}
    self.held[slot] = expression.data
  else
    self:other "immediate"
  end
end

function reader:take_held()
  local held, needs = self.held or {}, self.held_needs
  self.held, self.held_needs = nil, nil
  return function(register)
    return held[registers.slot(register)]
  end, needs
end

function reader:translate(expression)
  local held, needs = self:take_held()
  local name, value = translation.decode(expression, held, self.family)
  if value == nil then
    return self:other(name)
  end
  self:statement(name, value, needs)
end

function reader:counter(expression)
  self:statement("counter", { packets = expression.packets, bytes = expression.bytes })
end

function reader:objref(expression)
  if expression.type == COUNTER_OBJECT and expression.name then
    return self:statement("counter", expression.name)
  end
  self:other "objref"
end

local function word_of(words, number)
  for word, each in pairs(words) do
    if each == number then
      return word
    end
  end
end

function reader:limit(expression)
  local per = word_of(statements.PERIODS, expression.unit)
  if not per or not expression.rate then
    return self:other "limit"
  end
  self:statement("limit", {
    rate = expression.rate,
    per = per,
    burst = expression.burst,
    unit = expression.type == 1 and "bytes" or nil,
    over = (expression.flags or 0) & 1 ~= 0 or nil,
  })
end

function reader:quota(expression)
  if not expression.bytes then
    return self:other "quota"
  end
  self:statement("quota", {
    bytes = expression.bytes,
    used = (expression.consumed or 0) > 0 and expression.consumed or nil,
    over = (expression.flags or 0) & 1 ~= 0 or nil,
  })
end

function reader:log(expression)
  local level = word_of(statements.LEVELS, expression.level)
  local details = statements.log_details(expression.flags or 0)
  if not details or (expression.group and (expression.flags or 0) ~= 0) then
    return self:other "log"
  end
  local value = {
    prefix = expression.prefix,
    level = level ~= "warn" and not expression.group and level or nil,
    group = expression.group,
    flags = details[1] and details or nil,
    snaplen = (expression.snaplen or 0) > 0 and expression.snaplen or nil,
    threshold = (expression.threshold or 0) > 0 and expression.threshold or nil,
  }
  self:statement("log", next(value) and value or true)
end

-- `meta` or `ct` that sets something: a value, or a field that was loaded.
function reader:set_field(expression)
  local held = self:take_held()(expression.sreg)
  local load = self:single(expression.sreg)
  self.pending = {}
  for name, to in pairs(statements.SETTABLE) do
    if to[1] == expression[1] and to[2] == expression.key then
      local t = types.get(to[3])
      local value
      if type(held) == "string" and #held >= t.size then
        value = t.decode(held:sub(1, t.size))
      elseif not held and load and load.field and load.field.type == t and not load.mask
        and not load.swapped then
        value = load.field.name
      end
      if value == nil then
        break
      end
      return self:statement("set", { [name] = value })
    end
  end
  self:other(expression[1] .. " set")
end

function reader:meta_or_ct(expression)
  if expression.sreg then
    self:set_field(expression)
  elseif expression.direction then
    self:other "ct"
  else
    self:load(expression)
  end
end

function reader:refuse(expression)
  local value, implied = reject.decode(expression, self.family, self.known)
  if not value then
    return self:other "reject"
  end
  self:statement("reject", value, implied)
end

local HANDLERS = {
  meta = reader.meta_or_ct, ct = reader.meta_or_ct, payload = reader.load, fib = reader.load,
  cmp = reader.compare, range = reader.range, bitwise = reader.bitwise,
  byteorder = reader.byteorder, lookup = reader.lookup, immediate = reader.immediate,
  nat = reader.translate, masq = reader.translate, redir = reader.translate,
  counter = reader.counter, objref = reader.objref, limit = reader.limit, quota = reader.quota,
  log = reader.log, reject = reader.refuse,
}

function HANDLERS.notrack(self)
  self:statement("notrack", true)
end

-- -- The rule -----------------------------------------------------------------------------------

local function needed(items, from, name, value)
  for i = from, #items do
    local needs = items[i].needs
    local implied = needs[name]
    if name == "protocol" and not implied and needs.nfproto then
      implied = compile.ETHER_TYPES[needs.nfproto]
    end
    if implied == value then
      return true
    end
  end
  return false
end

-- Without the conditions that later ones imply.
local function without_implied(items)
  local kept = {}
  for i, item in ipairs(items) do
    local name = item.name == "ether.type" and "protocol" or item.name
    local implied = compile.TELLING[item.name] and type(item.value) ~= "table"
      and needed(items, i + 1, name, item.value)
    if not implied then
      kept[#kept + 1] = item
    end
  end
  return kept
end

local function put(part, item)
  local group, member = item.name:match "^(%w+)%.(.+)$"
  if item.statement or not group then
    part[item.name] = item.value
  else
    part[group] = part[group] or {}
    part[group][member] = item.value
  end
end

-- ct = { state = ... } is written as its state.
local function shorten(part)
  if part.ct and part.ct.state ~= nil and next(part.ct, next(part.ct)) == nil then
    local state = part.ct.state
    if type(state) == "string" or state[1] ~= nil then
      part.ct = state
    end
  end
end

-- Several statements that set, in their order, are one.
local function merge_set(last, item)
  if not last or last.name ~= "set" or item.name ~= "set" then
    return false
  end
  local order = {}
  for i, name in ipairs(statements.SET_ORDER) do
    order[name] = i
  end
  local highest = 0
  for name in pairs(last.value) do
    highest = math.max(highest, order[name])
  end
  local name, value = next(item.value)
  if order[name] <= highest then
    return false
  end
  last.value[name] = value
  return true
end

local function merge_lookup(last, item)
  if not last or last.name ~= "lookup" or item.name ~= "lookup" then
    return false
  end
  if last.value[1] == nil then
    last.value = { last.value }
  end
  table.insert(last.value, item.value)
  return true
end

-- As few parts as keep the order.
local function assemble(items)
  local parts, part, highest, last = {}, {}, 0, nil
  for _, item in ipairs(items) do
    if not merge_set(last, item) and not merge_lookup(last, item) then
      if item.order <= highest then
        parts[#parts + 1] = part
        part = {}
      end
      put(part, item)
      highest, last = item.order, item
    end
    put(part, last)
  end
  for _, each in ipairs(parts) do
    shorten(each)
  end
  shorten(part)
  for i, each in ipairs(parts) do
    part[i] = each
  end
  return part
end

--- A rule's data.
-- @tparam table exprs list of expressions
-- @tparam string family of its table
-- @tparam ?table sets name -> {anonymous = boolean, shape, elements = list} of its table's sets
-- @treturn table
function M.rule(exprs, family, sets)
  local self = setmetatable({
    family = family,
    known = compile.known(family),
    sets = sets or {},
    items = {},
    others = {},
    pending = {},
  }, reader)
  for _, expression in ipairs(exprs) do
    local name = expression[1]
    local handler = HANDLERS[name]
    if handler then
      handler(self, expression)
    else
      self:other(expression.name and ("%s %s"):format(name, expression.name) or name)
    end
    if name ~= "cmp" then
      self.low = nil
    end
  end
  local rule = assemble(without_implied(self.items))
  if #self.others > 0 then
    rule.other = self.others
  end
  return rule
end

return M
