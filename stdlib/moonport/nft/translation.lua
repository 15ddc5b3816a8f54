--- Network address translation: snat, dnat, masquerade, redirect.
--
--    snat = "1.2.3.4"                       dnat = "10.0.0.2:8080"
--    dnat = { to = "10.0.0.2", port = 8080, random = true }
--    dnat = { key = { "ip.daddr", "tcp.dport" }, map = "@published", port = true }
--    masquerade = true                      redirect = 8080
--
-- @module moonport.nft.translation
local problem = require "moonport.nft.problem"
local registers = require "moonport.nft.registers"
local types = require "moonport.nft.types"

local M = {}

local SNAT, DNAT = 0, 1
local HAS_PORT = 2
local FLAGS = { random = 4, persistent = 8, fully_random = 16 }
local FAMILIES = { ip = { 2, "ipv4_addr", "ipv4" }, ip6 = { 10, "ipv6_addr", "ipv6" } }
local SAME = { ip = true, ip6 = true } -- tables whose addresses are all of one family
local TRANSLATING = { inet = true, ip = true, ip6 = true }
local OPTIONS = {
  to = true, port = true, key = true, map = true, family = true, random = true,
  persistent = true, fully_random = true,
}

local function flags_of(value)
  local flags = 0
  for name, bit in pairs(FLAGS) do
    flags = flags | (value[name] and bit or 0)
  end
  return flags
end

-- "10.0.0.2:80", "[fe80::1]:80", "10.0.0.2"
local function split(text, where)
  local to, port = text:match "^%[(.-)%]:([%d-]+)$"
  if not to then
    to, port = text:match "^([^:]+):([%d-]+)$"
  end
  if not to then
    to = text:match "^%[(.-)%]$" or text
  end
  if to == "" then
    problem.expected(where, text, 'an address, or one with a port: "10.0.0.2:8080"')
  end
  return { to = to, port = port }
end

local function options(value, where)
  if type(value) == "string" then
    return split(value, where)
  elseif type(value) ~= "table" then
    problem.expected(where, value, 'an address ("10.0.0.2", "10.0.0.2:8080") or a table')
  end
  problem.only(value, OPTIONS, ("`%s`"):format(where))
  return value
end

-- Loads a value or the two of a range into registers from `slot` on.
local function load_span(out, span, slot)
  local first, last = registers.number(slot), nil
  out[#out + 1] = { "immediate", dreg = first, data = span.from }
  if span.from ~= span.to then
    -- Each in a register of 16 bytes of its own, as `nft` does.
    slot = slot + 4
    last = registers.number(slot)
    out[#out + 1] = { "immediate", dreg = last, data = span.to }
  end
  return first, last, slot + 4
end

local function load_port(out, expression, port, slot, where)
  if port ~= nil then
    local wanted = math.tointeger(port) or port
    local span = types.span(types.get "inet_service", wanted, where .. ".port")
    expression.port, expression.port_end = load_span(out, span, slot)
    expression.flags = expression.flags | HAS_PORT
  end
end

local function family_for(value, where, context)
  local named = value.family
  if not named and value.to then
    named = type(value.to) == "string" and value.to:find(":", 1, true) and "ip6" or "ip"
  end
  named = named or (context.known.nfproto == "ipv6" and "ip6") or "ip"
  local family = FAMILIES[named]
  if not family then
    problem.expected(where .. ".family", named, '"ip" or "ip6"')
  end
  if SAME[context.family] and context.family ~= named then
    problem.raise(("`%s` is to an address of another family than the table's"):format(where))
  end
  return family, named
end

local function from_map(out, expression, value, where, context)
  local key = context:key(value.key, where .. ".key")
  local family = family_for(value, where, context)
  local data = { types.get(family[2]) }
  if value.port then
    data[2] = types.get "inet_service"
  end
  local name, id = context:map(value.map, key, { data = data }, where .. ".map")
  context:load_all(out, key)
  out[#out + 1] = { "lookup", set = name, id = id, sreg = 1, dreg = 1 }
  expression.family, expression.address = family[1], 1
  expression.port = value.port and registers.number(registers.slots(data[1].size)) or nil
end

local function check_family(context)
  if not TRANSLATING[context.family] then
    problem.raise(("a table of the family `%s` translates no addresses"):format(context.family))
  end
end

local function nat(kind, where)
  return function(out, value, context)
    check_family(context)
    value = options(value, where)
    local expression = { "nat", type = kind, flags = flags_of(value) }
    if value.map ~= nil or value.key ~= nil then
      from_map(out, expression, value, where, context)
    else
      local family = family_for(value, where, context)
      local span = types.span(types.get(family[2]), value.to, where)
      local slot
      if span.mask then
        span.mask = nil
      end
      expression.family = family[1]
      expression.address, expression.address_end, slot = load_span(out, span, 0)
      load_port(out, expression, value.port, slot, where)
    end
    out[#out + 1] = expression
  end
end

-- masquerade and redirect have no address.
local function only_port(name, where)
  return function(out, value, context)
    check_family(context)
    if value == true then
      value = {}
    elseif type(value) ~= "table" then
      value = { port = value }
    end
    problem.only(value, OPTIONS, ("`%s`"):format(where))
    local expression = { name, flags = flags_of(value) }
    load_port(out, expression, value.port, 0, where)
    if expression.flags == 0 then
      expression.flags = nil
    end
    out[#out + 1] = expression
  end
end

M.snat = nat(SNAT, "snat")
M.dnat = nat(DNAT, "dnat")
M.masquerade = only_port("masq", "masquerade")
M.redirect = only_port("redir", "redirect")

-- -- Back --------------------------------------------------------------------------------------

local function span_of(t, from, to)
  return from and types.show_span(t, from, to or from)
end

local KNOWN = 1 | HAS_PORT | FLAGS.random | FLAGS.persistent | FLAGS.fully_random

local function add_flags(value, flags)
  for name, bit in pairs(FLAGS) do
    if flags and flags & bit ~= 0 then
      value[name] = true
    end
  end
  return value
end

-- The bytes of a type that a register holds.
local function bytes_in(register, held, t)
  local bytes = register and held(register)
  return type(bytes) == "string" and #bytes >= t.size and bytes:sub(1, t.size) or nil
end

-- A value or a range; false where registers hold none.
local function span_in(first, last, held, t)
  local from = bytes_in(first, held, t)
  local to = last and bytes_in(last, held, t) or not last and from
  return from and to and span_of(t, from, to) or false
end

local function port_of(expression, held)
  if not expression.port then
    return nil
  end
  return span_in(expression.port, expression.port_end, held, types.get "inet_service")
end

--- The data of an expression.
-- @tparam table expression
-- @tparam function held of a register's number: its bytes, or {key, map} for a map's result
-- @tparam string table_family of the rule's table
-- @treturn string "snat", "dnat", "masquerade" or "redirect"
-- @return as in rule data; nil where it is nothing that we write
function M.decode(expression, held, table_family)
  local name = expression[1]
  local no_address = name == "masq" and "masquerade" or name == "redir" and "redirect"
  local kind = no_address or expression.type == SNAT and "snat" or "dnat"
  if (expression.flags or 0) & ~KNOWN ~= 0 or not TRANSLATING[table_family] then
    return kind, nil
  elseif no_address then
    local port = port_of(expression, held)
    local value = add_flags({ port = port }, expression.flags)
    return kind, port ~= false and (next(value) and value or true) or nil
  end
  local family = expression.family == 10 and "ip6" or "ip"
  if SAME[table_family] and table_family ~= family then
    return kind, nil
  end
  local from = expression.address and held(expression.address)
  if type(from) == "table" then
    local value = { key = from.key, map = from.map, port = expression.port and true or nil }
    value.family = family == "ip6" and family or nil
    return kind, add_flags(value, expression.flags)
  end
  local t = types.get(FAMILIES[family][2])
  local to = span_in(expression.address, expression.address_end, held, t)
  local port = port_of(expression, held)
  if not to or port == false then
    return kind, nil
  end
  return kind, add_flags({ to = to, port = port }, expression.flags)
end

return M
