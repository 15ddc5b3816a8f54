--- A list of operations as one batch of messages, each of which remembers what it stands for.
--
-- @module moonport.nft.batch
local compile = require "moonport.nft.compile"
local errors = require "moonport.errors"
local objects = require "moonport.nft.objects"
local problem = require "moonport.nft.problem"
local sets = require "moonport.nft.sets"
local userdata = require "moonport.nft.userdata"

local M = {}

local OPS = { add = true, create = true, insert = true, replace = true, delete = true,
  destroy = true, flush = true }
local KINDS = { table = true, chain = true, rule = true, set = true, map = true, counter = true,
  elements = true, element = true }

local batch = {}
batch.__index = batch

-- -- What a message stands for -------------------------------------------------------------------

local function place(def)
  return ("`%s %s`"):format(def.family or "inet", tostring(def.table or def.name))
end

local DESCRIBE = {
  table = function(def)
    return ("the table %s"):format(place(def))
  end,
  rule = function(def, number)
    local which = def.handle and ("the rule with handle %d"):format(def.handle)
      or number and ("rule %d"):format(number) or "a rule"
    return ("%s of the chain `%s` in %s"):format(which, tostring(def.chain), place(def))
  end,
  elements = function(def)
    return ("elements of `%s` in %s"):format(tostring(def.set or def.map), place(def))
  end,
}

local function describe(kind, def, number)
  local how = DESCRIBE[kind]
  return how and how(def, number) or ("the %s `%s` in %s"):format(kind, tostring(def.name),
    place(def))
end

function batch:send(message, action)
  message.action = action
  self.messages[#self.messages + 1] = message
  self.about[#self.messages] = self.current
end

function batch:begin(index, kind, def, number)
  self.current = { op = index, kind = kind, def = def, number = number }
end

-- -- Kinds --------------------------------------------------------------------------------------

local function set_key(def)
  return ("%s %s %s"):format(def.family or "inet", def.table, def.name or def.set or def.map)
end

-- What is deleted is named; what it was made of does not matter.
local function only_names(message)
  return { kind = message.kind, family = message.family, table = message.table,
    name = message.name, type = message.kind == "object" and message.type or nil }
end

function batch:object(message, op)
  if op == "delete" then
    self:send(only_names(message), "delete")
  elseif op == "destroy" then
    -- Made where it is missing, so that deleting it cannot fail.
    self:send(only_names(message), "add")
    self:send(only_names(message), "delete")
  else
    self:send(message, op)
  end
end

local function refuse(op, kind)
  problem.raise(("nothing can `%s` a %s"):format(op, kind))
end

function batch:set(def, op, is_map)
  local kind = is_map and "map" or "set"
  if op == "flush" then
    return self:send({ kind = "elements", family = objects.family(def.family),
      table = objects.name(def.table, kind .. ".table"),
        name = objects.name(def.name, kind .. ".name") },
      "delete")
  elseif op == "delete" then
    return self:send({ kind = "set", family = objects.family(def.family),
      table = objects.name(def.table, kind .. ".table"),
        name = objects.name(def.name, kind .. ".name") },
      "delete")
  elseif op ~= "add" and op ~= "create" then
    refuse(op, kind)
  end
  local message, shape = objects.set(def, is_map)
  self.ids = self.ids + 1
  message.id = self.ids
  self.shapes[set_key(def)] = shape
  self:send(message, op)
end

local ELEMENTS = { family = true, table = true, set = true, map = true, type = true, data = true,
  flags = true, elements = true }

local ELEMENT = { family = true, table = true, set = true, map = true, key = true, data = true,
  timeout = true, comment = true, counter = true }

function batch:shape_of(def)
  local key = set_key(def)
  if def.type then
    return sets.shape { type = def.type, data = def.data, flags = def.flags }
  end
  local shape = self.shapes[key] or self.known_shape(def)
  self.shapes[key] = shape
  return shape
end

function batch:elements(def, op)
  problem.only(def, ELEMENTS, "list of elements")
  local name = objects.name(def.set or def.map, "elements.set")
  local family = objects.family(def.family)
  local where = objects.name(def.table, "elements.table")
  if type(def.elements) ~= "table" then
    problem.expected("elements", def.elements, "a list")
  end
  local list = def.elements
  if #list == 0 then
    return
  end
  local shape = self:shape_of(def)
  local function send(action)
    local encoded = sets.encode(shape, list, name)
    self:send({ kind = "elements", family = family, table = where, name = name,
      elements = encoded },
      action)
  end
  if op == "destroy" then
    send "add"
    send "delete"
  elseif op == "add" or op == "create" or op == "delete" then
    send(op)
  else
    refuse(op, "list of elements")
  end
end

function batch:anonymous(set, family, table_name)
  local message = { kind = "set", family = family, table = table_name, name = set.name,
    id = set.id }
  for key, value in pairs(set.attributes) do
    message[key] = value
  end
  self:send(message, "create")
  self:send({ kind = "elements", family = family, table = table_name, name = set.name, id = set.id,
    elements = set.elements }, "create")
end

-- A rule's own table and chain, and the rule that it replaces or stands beside.
local function rule_names(def, op)
  local message = {
    kind = "rule",
    family = objects.family(def.family),
    table = objects.name(def.table, "rule.table"),
    chain = objects.name(def.chain, "rule.chain"),
    handle = def.handle,
    position = def.position,
  }
  if (op == "replace" or op == "delete") and not math.tointeger(def.handle) then
    problem.expected("rule.handle", def.handle, "the handle of the rule, which a list shows")
  end
  return message
end

function batch:rule(def, op)
  local message = rule_names(def, op)
  if op == "delete" then
    return self:send(message, "delete")
  elseif op == "destroy" or op == "flush" then
    refuse(op, "rule")
  end
  local _, family = objects.family(def.family)
  local compiled = compile.rule(def, family, self)
  for _, set in ipairs(compiled.sets) do
    self:anonymous(set, message.family, message.table)
  end
  message.exprs = compiled.exprs
  message.userdata = userdata.comment(def.comment)
  if op ~= "replace" then
    message.handle = nil
  end
  self:send(message, op)
end

-- -- Tables with what is in them ------------------------------------------------------------------

local function within(def, each, chain)
  local copy = {}
  for key, value in pairs(each) do
    copy[key] = value
  end
  copy.family, copy.table, copy.chain = def.family, def.name, chain
  return copy
end

function batch:each(index, def, list, kind, op)
  for _, each in ipairs(list or {}) do
    self:one(index, kind, within(def, each), op)
  end
end

-- Sets before chains, since rules name them; elements after chains, since verdicts name these.
function batch:contents(index, def, op)
  self:each(index, def, def.counters, "counter", op)
  self:each(index, def, def.sets, "set", op)
  self:each(index, def, def.maps, "map", op)
  self:each(index, def, def.chains, "chain", op)
  for _, kind in ipairs { "set", "map" } do
    for _, set in ipairs(def[kind .. "s"] or {}) do
      local list = { family = def.family, table = def.name, [kind] = set.name,
        elements = set.elements }
      if set.elements and #set.elements > 0 then
        self:one(index, "elements", list, op)
      end
    end
  end
  for _, chain in ipairs(def.chains or {}) do
    for number, rule in ipairs(chain.rules or {}) do
      self:one(index, "rule", within(def, rule, chain.name), op, number)
    end
  end
end

-- A single element as a list of one.
local function one_element(def)
  local set = def.set or def.map
  problem.only(def, ELEMENT, "element")
  return {
    family = def.family,
    table = def.table,
    set = set,
    elements = { { key = def.key, data = def.data, timeout = def.timeout, comment = def.comment,
      counter = def.counter } },
  }
end

-- -- Operations -----------------------------------------------------------------------------------

function batch:one(index, kind, def, op, number)
  if type(def) ~= "table" then
    problem.expected(kind, def, "a table")
  end
  self:begin(index, kind, def, number)
  if kind == "rule" then
    self:rule(def, op)
  elseif kind == "set" or kind == "map" then
    self:set(def, op, kind == "map")
  elseif kind == "elements" then
    self:elements(def, op)
  elseif kind == "element" then
    self:elements(one_element(def), op)
  elseif op == "flush" then
    if kind == "counter" then
      refuse(op, kind)
    end
    self:send({ kind = "rule", family = objects.family(def.family),
      table = objects.name(kind == "table" and def.name or def.table, kind),
      chain = kind == "chain" and objects.name(def.name, "chain.name") or nil }, "delete")
  elseif op == "insert" or op == "replace" then
    refuse(op, kind)
  elseif kind == "table" then
    self:object(objects.table(def), op)
  elseif kind == "chain" then
    self:object(objects.chain(def), op)
  else
    self:object(objects.counter(def), op)
  end
end

-- An operation is {op = ..., KIND = definition}.
local function read_op(op, index)
  if type(op) ~= "table" then
    problem.expected(("operation %d"):format(index), op, '{ op = "add", rule = { ... } }')
  end
  local kind
  for key in pairs(op) do
    if key ~= "op" and not KINDS[key] then
      problem.unknown("operation on a", tostring(key), KINDS)
    elseif key ~= "op" then
      if kind then
        problem.raise(("operation %d is on a %s and on a %s"):format(index, kind, key))
      end
      kind = key
    end
  end
  local verb = op.op == nil and "add" or op.op
  if not OPS[verb] then
    problem.unknown("operation", tostring(verb), OPS)
  elseif not kind then
    problem.raise(("operation %d is on nothing"):format(index),
      'such as { op = "add", rule = { ... } }')
  end
  return kind, op[kind], verb
end

local PLAIN = { add = true, create = true }

-- An error about what somebody wrote tells where it stands.
local function located(self, why)
  local at = self.current
  if not errors.is(why, "nft", "invalid") or not at then
    error(why, 0)
  end
  local message = ("%s: %s"):format(describe(at.kind, at.def, at.number), why.message)
  local err = errors.new { kind = "nft", code = "invalid", message = message, hint = why.hint }
  err.op, err[at.kind] = at.op, at.def
  errors.raise(err)
end

--- Compiles operations.
-- @tparam table ops
-- @tparam function known_shape of a list of elements' set that no operation defines: its shape
-- @treturn table {messages, about}
-- @raise {kind = "nft", code = "invalid", op = index}
function M.compile(ops, known_shape)
  local self = setmetatable({
    messages = {}, about = {}, shapes = {}, ids = 0, known_shape = known_shape, numbers = {},
  }, batch)
  if type(ops) ~= "table" then
    problem.expected("a batch", ops, "a list of operations")
  end
  local ok, why = pcall(function()
    for index, op in ipairs(ops) do
      self.current = nil
      local kind, def, verb = read_op(op, index)
      self:one(index, kind, def, verb, kind == "rule" and self:next_number(def) or nil)
      if kind == "table" and PLAIN[verb] then
        self:contents(index, def, verb)
      elseif kind == "chain" and PLAIN[verb] and def.rules then
        for number, rule in ipairs(def.rules) do
          self:one(index, "rule", within({ family = def.family, name = def.table }, rule, def.name),
            verb, number)
        end
      elseif (kind == "set" or kind == "map") and PLAIN[verb] and def.elements
        and #def.elements > 0 then
        self:one(index, "elements", { family = def.family, table = def.table, [kind] = def.name,
          elements = def.elements }, verb)
      end
    end
  end)
  if not ok then
    located(self, why)
  end
  return self
end

-- How many rules of this chain the batch has had.
function batch:next_number(def)
  local key = type(def) == "table"
    and ("%s %s %s"):format(def.family or "inet", tostring(def.table), tostring(def.chain)) or ""
  self.numbers[key] = (self.numbers[key] or 0) + 1
  return self.numbers[key]
end

local HINTS = {
  EPERM = "it takes CAP_NET_ADMIN",
  EEXIST = "it exists already, and not as it should be",
  EBUSY = "something still uses it",
  EOPNOTSUPP = "this kernel lacks what it needs",
  EAGAIN = "the rules were changed meanwhile; try again",
  ENOSPC = "the set is full",
}
local MISSING = {
  rule = "a chain, set, map or counter that it names is missing, or this kernel lacks a module for "
    .. "it",
  elements = "the set or map, an element to delete, or a chain that an element names is missing",
}

--- The error for a batch that the kernel refused.
-- @tparam table why the error of the binding, whose `refused` is the number of a message
-- @tparam table compiled as `compile` gave it
-- @raise {kind = "nft", code = an errno's name, op = index, rule | set | ... = its definition}
function M.refused(why, compiled)
  local about = why.refused and compiled.about[why.refused]
  if not about then
    error(why, 0)
  end
  local what = describe(about.kind, about.def, about.number)
  local hint = why.code == "ENOENT" and MISSING[about.kind] or HINTS[why.code]
  if why.code == "ENOENT" and not hint then
    hint = "it, or its table, is missing"
  end
  local err = errors.new {
    kind = "nft",
    code = why.code,
    message = ("the kernel refused %s: %s"):format(what, why.message),
    hint = hint,
    cause = why.cause,
  }
  err.op, err[about.kind], err.others = about.op, about.def, why.others
  errors.raise(err)
end

return M
