--- Rules as data to the kernel's expressions.
--
-- A rule is a table of conditions and statements. They stand in the kernel in a fixed order,
-- whatever order the table has; where another order is meant, the rule begins with parts: tables
-- like it, in a list.
--
-- @module moonport.nft.compile
local fields = require "moonport.nft.fields"
local match = require "moonport.nft.match"
local problem = require "moonport.nft.problem"
local registers = require "moonport.nft.registers"
local sets = require "moonport.nft.sets"
local statements = require "moonport.nft.statements"

local M = {}

-- What belongs to the rule and not to its content.
M.ABOUT = {
  family = true, table = true, chain = true, handle = true, position = true, comment = true,
}

--- The Ethernet types of the families of addresses.
M.ETHER_TYPES = { ipv4 = "ip", ipv6 = "ip6" }

local context = {}
context.__index = context

-- Which conditions say what the packet is, so that fields of its headers mean something.
M.TELLING = {
  nfproto = true, l4proto = true, protocol = true, iiftype = true, ["ether.type"] = true,
}

--- What a rule of a family knows before it matches anything.
-- @tparam string family
-- @treturn table
function M.known(family)
  if family == "ip" then
    return { nfproto = "ipv4" }
  elseif family == "ip6" then
    return { nfproto = "ipv6" }
  elseif family == "bridge" then
    return { iiftype = "ether" }
  elseif family == "arp" then
    return { protocol = "arp" }
  end
  return {}
end

--- Notes what a condition tells of the packet.
-- @tparam table known
-- @tparam string name the field
-- @param value
function M.learn(known, name, value)
  if M.TELLING[name] and type(value) ~= "table" then
    name = name == "ether.type" and "protocol" or name
    known[name] = value
    if name == "protocol" then
      known.nfproto = value == "ip" and "ipv4" or value == "ip6" and "ipv6" or known.nfproto
    end
  end
end

-- Adds the conditions without which fields mean nothing.
function context:need(needs)
  for _, name in ipairs { "iiftype", "protocol", "nfproto", "l4proto" } do
    local value = needs[name]
    if value and self.known[name] ~= value then
      self:tell(name, value)
    end
  end
end

function context:tell(name, value)
  local field_name, wanted = name, value
  if self.family == "arp" then
    problem.raise(("a table of the family `arp` sees no packets of `%s`"):format(value))
  elseif self.known[name] and (name == "nfproto" or name == "l4proto") then
    problem.raise(
      ("a packet cannot be of `%s` and of `%s` at once"):format(tostring(self.known[name]), value))
  elseif name == "nfproto" and (self.family == "bridge" or self.family == "netdev") then
    field_name, wanted = "protocol", M.ETHER_TYPES[value]
  elseif name == "protocol" and (self.family == "inet" or self.family:match "^ip6?$") then
    problem.raise(("a table of the family `%s` sees no packets of `%s`"):format(self.family, value))
  end
  if field_name == "protocol" and self.family == "bridge" then
    field_name = "ether.type" -- as `nft` does there
  end
  match.compile(self.out, fields.get(field_name), wanted, self)
  M.learn(self.known, field_name, wanted)
end

-- The fields that a key is made of.
function context:key(names, where)
  local list = {}
  for i, name in ipairs(type(names) == "table" and names or { names }) do
    local field = type(name) == "string" and fields.get(name)
    if not field then
      M.unknown_field(tostring(name))
    end
    list[i] = field
  end
  if #list == 0 then
    problem.expected(where, names, 'a field such as "iifname", or a list of fields')
  end
  for _, field in ipairs(list) do
    self:need(field.needs)
  end
  return list
end

function context:load_all(out, key) -- luacheck: ignore self
  local slot = 0
  for _, field in ipairs(key) do
    match.load(out, field, slot)
    slot = slot + registers.slots(field.type.size)
  end
  if slot > registers.SLOTS then
    problem.raise "a key is longer than 64 bytes"
  end
end

function context:anonymous(set)
  self.batch.ids = (self.batch.ids or 0) + 1
  set.name = set.map and "__map%d" or "__set%d"
  set.id = self.batch.ids
  table.insert(self.sets, set)
  return set.name, set.id
end

local function pairs_as_elements(map)
  if map[1] ~= nil then
    return map
  end
  local list = {}
  for key, data in pairs(map) do
    list[#list + 1] = { key = key, data = data }
  end
  table.sort(list, function(a, b)
    return tostring(a.key) < tostring(b.key)
  end)
  return list
end

-- A map by its name, or made of its elements.
function context:map(map, key, options, where)
  if type(map) == "string" and map:match "^@." then
    return map:sub(2)
  elseif type(map) ~= "table" or next(map) == nil then
    problem.expected(where, map, '"@name", or a list of { key = ..., data = ... }')
  end
  return self:anonymous(sets.anonymous(key, pairs_as_elements(map), where, options))
end

-- -- Conditions ---------------------------------------------------------------------------------

local function known_names()
  local names = {}
  for name in pairs(fields.tree()) do
    names[name] = true
  end
  for name in pairs(statements.BY_NAME) do
    names[name] = true
  end
  names.lookup = true
  return names
end

--- Raises for a field that no rule has.
-- @tparam string name
function M.unknown_field(name)
  local group, member = name:match "^(%w+)%.(.+)$"
  local inside = group and fields.tree()[group]
  if type(inside) == "table" then
    problem.unknown(("field of `%s`"):format(group), member, inside)
  end
  problem.unknown("field", name, known_names())
end

local function one_lookup(self, value)
  if type(value) ~= "table" then
    problem.expected("lookup", value, '{ key = { fields }, set = "@name" or a list }')
  end
  problem.only(value, { key = true, set = true, ne = true }, "`lookup`")
  local key = self:key(value.key, "lookup.key")
  local set = value.set
  local name, id
  if type(set) == "string" and set:match "^@." then
    name = set:sub(2)
  elseif type(set) == "table" and #set > 0 then
    name, id = self:anonymous(sets.anonymous(key, set, "lookup.set"))
  else
    problem.expected("lookup.set", set, '"@name", or a list of keys')
  end
  self:load_all(self.out, key)
  table.insert(self.out, { "lookup", set = name, id = id, sreg = 1, flags = value.ne and 1 or 0 })
end

local function lookup(self, value)
  if type(value) == "table" and value[1] ~= nil then
    for _, each in ipairs(value) do
      one_lookup(self, each)
    end
  else
    one_lookup(self, value)
  end
end

local function condition(self, field, value)
  self:need(field.needs)
  match.compile(self.out, field, value, self)
  -- A range or a set says less than one value.
  local bytes = M.TELLING[field.name] and type(value) ~= "table" and field.type.encode(value)
  if bytes then
    M.learn(self.known, field.name, field.type.decode(bytes))
  end
end

-- -- Rules --------------------------------------------------------------------------------------

local function add_group(items, group, value)
  -- ct = { "established", "related" } means its state.
  if group == "ct" and (type(value) == "string" or type(value) == "table" and value[1] ~= nil) then
    value = { state = value }
  end
  if type(value) ~= "table" then
    problem.expected(group, value, "a table of fields")
  end
  for member, each in pairs(value) do
    local field = fields.get(("%s.%s"):format(group, tostring(member)))
    if not field then
      M.unknown_field(("%s.%s"):format(group, tostring(member)))
    end
    items[#items + 1] = { order = field.order, field = field, value = each }
  end
end

-- What a part says, in the order of the kernel.
local function items_of(part)
  local items = {}
  for name, value in pairs(part) do
    local statement = statements.BY_NAME[name]
    local group = fields.tree()[name]
    if math.type(name) == "integer" or M.ABOUT[name] then -- luacheck: ignore
    elseif name == "lookup" then
      items[#items + 1] = { order = fields.LOOKUP, lookup = value }
    elseif statement then
      items[#items + 1] = { order = statement.order, statement = statement, value = value }
    elseif group == true then
      local field = fields.get(name)
      items[#items + 1] = { order = field.order, field = field, value = value }
    elseif group then
      add_group(items, name, value)
    elseif name == "other" then
      problem.raise "a rule with `other` has expressions that moonport cannot write"
    else
      M.unknown_field(tostring(name))
    end
  end
  table.sort(items, function(a, b)
    return a.order < b.order
  end)
  return items
end

local function compile_part(self, part, nested)
  if type(part) ~= "table" then
    problem.expected("a rule's part", part, "a table")
  end
  for _, each in ipairs(part) do
    if nested then
      problem.raise "a rule's part has no parts of its own"
    end
    compile_part(self, each, true)
  end
  for _, item in ipairs(items_of(part)) do
    if item.field then
      condition(self, item.field, item.value)
    elseif item.statement then
      item.statement.compile(self.out, item.value, self)
    else
      lookup(self, item.lookup)
    end
  end
end

--- Compiles a rule.
-- @tparam table rule
-- @tparam string family of its table
-- @tparam ?table batch shared by the rules that are sent together: numbers their anonymous sets
-- @treturn table {exprs = list of expressions, sets = list of anonymous sets {name, id, attributes,
-- elements}}
-- @raise {kind = "nft", code = "invalid"}
function M.rule(rule, family, batch)
  local self = setmetatable({
    out = {},
    sets = {},
    family = family,
    known = M.known(family),
    batch = batch or {},
  }, context)
  compile_part(self, rule, false)
  return { exprs = self.out, sets = self.sets }
end

return M
