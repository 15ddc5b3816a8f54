--- Rules as the `nft` program writes them, for people.
--
-- @module moonport.nft.text
local fields = require "moonport.nft.fields"
local statements = require "moonport.nft.statements"

local M = {}

-- -- Values -------------------------------------------------------------------------------------

local QUOTED = { ifname = true }
local MARKS = { mark = true }

local function scalar(t, value)
  if value == "*" or type(value) == "string" and value:sub(1, 1) == "@" then
    return value
  elseif QUOTED[t.name] then
    return ('"%s"'):format(value)
  elseif MARKS[t.name] and math.type(value) == "integer" then
    return ("0x%08x"):format(value)
  end
  return tostring(value)
end

local function joined(list, separator, show)
  local texts = {}
  for i, each in ipairs(list) do
    texts[i] = show(each)
  end
  return table.concat(texts, separator)
end

local function braces(list, show)
  return "{ " .. joined(list, ", ", show) .. " }"
end

local function bits(t, value)
  if type(value) ~= "table" then
    return scalar(t, value)
  end
  return #value > 0 and joined(value, ",", tostring) or "0x0"
end

local function plain(t, value)
  if type(value) ~= "table" then
    return scalar(t, value)
  elseif t.bits then
    return bits(t, value)
  end
  return braces(value, function(each) return scalar(t, each) end)
end

local ORDERED = { lt = "<", le = "<=", gt = ">", ge = ">=" }

local function masked(t, value)
  local wanted, unlike = value.value, value.ne ~= nil
  if unlike then
    wanted = value.ne
  end
  if t.name == "tcp_flag" then
    return ("%s%s / %s"):format(unlike and "!= " or "", bits(t, wanted), bits(t, value.mask))
  end
  return ("& %s %s %s"):format(bits(t, value.mask), unlike and "!=" or "==", bits(t, wanted))
end

-- What stands behind a field's name.
local function condition(t, value)
  if type(value) ~= "table" or value[1] ~= nil then
    return plain(t, value)
  elseif value.mask ~= nil then
    return masked(t, value)
  end
  local operator, operand = next(value)
  return ("%s %s"):format(ORDERED[operator] or "!=", plain(t, operand))
end

-- -- Fields -------------------------------------------------------------------------------------

-- Those of the packet's outside that need no word before them.
local BARE = { iif = true, iifname = true, iiftype = true, iifgroup = true, oif = true,
  oifname = true, oiftype = true, oifgroup = true }

local function field_name(name)
  local group, member = name:match "^(%w+)%.(.+)$"
  if group == "fib" then
    return ("fib %s type"):format(member)
  elseif group then
    return ("%s %s"):format(group, (member:gsub("_", " ")))
  end
  return BARE[name] and name or "meta " .. name
end

local function key_text(key)
  return type(key) == "table" and joined(key, " . ", field_name) or field_name(key)
end

local function key_types(key)
  local list = {}
  for i, name in ipairs(type(key) == "table" and key or { key }) do
    local field = fields.get(name)
    list[i] = field and field.type or {}
  end
  return list
end

local function key_value(types, value)
  if type(value) ~= "table" then
    return scalar(types[1], value)
  end
  local texts = {}
  for i, each in ipairs(value) do
    texts[i] = scalar(types[i] or {}, each)
  end
  return table.concat(texts, " . ")
end

local function lookup_text(lookup)
  local types, set = key_types(lookup.key), lookup.set
  if type(set) == "table" then
    set = braces(set, function(each)
      return key_value(types, type(each) == "table" and each.key or each)
    end)
  end
  return ("%s %s%s"):format(key_text(lookup.key), lookup.ne and "!= " or "", set)
end

local function map_text(value)
  if type(value.map) ~= "table" then
    return value.map
  end
  local types = key_types(value.key)
  return braces(value.map, function(each)
    local data = type(each.data) == "table" and table.concat(each.data, " . ") or each.data
    return ("%s : %s"):format(key_value(types, each.key), tostring(data))
  end)
end

-- -- Statements ---------------------------------------------------------------------------------

local STATEMENTS = {}

function STATEMENTS.limit(value)
  if type(value) == "string" then
    return "limit rate " .. value
  end
  local unit = value.unit == "bytes" and " bytes" or ""
  local text = ("limit rate %s%d%s/%s"):format(value.over and "over " or "", value.rate, unit,
    value.per or "second")
  local usual = unit == "" and 5 or 0
  if (value.burst or usual) ~= usual then
    text = ("%s burst %d %s"):format(text, value.burst, value.unit or "packets")
  end
  return text
end

function STATEMENTS.quota(value)
  local quota = type(value) == "table" and value or { bytes = value }
  local used = (quota.used or 0) > 0 and (" used %d bytes"):format(quota.used) or ""
  return ("quota %s%d bytes%s"):format(quota.over and "over " or "", quota.bytes, used)
end

function STATEMENTS.counter(value)
  if type(value) == "string" then
    return ('counter name "%s"'):format(value)
  elseif type(value) == "table" then
    return ("counter packets %d bytes %d"):format(value.packets or 0, value.bytes or 0)
  end
  return "counter"
end

function STATEMENTS.log(value)
  local log = type(value) == "table" and value or {}
  local parts = { "log" }
  local function add(word, found, format)
    parts[#parts + 1] = found and (word .. " " .. format):format(found) or nil
  end
  add("prefix", type(value) == "string" and value or log.prefix, '"%s"')
  add("group", log.group, "%d")
  add("snaplen", log.snaplen, "%d")
  add("queue-threshold", log.threshold, "%d")
  add("level", log.level, "%s")
  for _, detail in ipairs(type(log.flags) == "table" and log.flags or { log.flags }) do
    add("flags", detail, "%s")
  end
  return table.concat(parts, " ")
end

function STATEMENTS.set(value)
  local parts = {}
  for _, name in ipairs(statements.SET_ORDER) do
    local to = value[name]
    if to ~= nil then
      local from = type(to) == "string" and fields.get(to)
      parts[#parts + 1] = ("%s set %s"):format(field_name(name),
        from and field_name(to) or scalar({ name = statements.SETTABLE[name][3] }, to))
    end
  end
  return table.concat(parts, " ")
end

function STATEMENTS.notrack()
  return "notrack"
end

function STATEMENTS.vmap(value)
  return ("%s vmap %s"):format(key_text(value.key), map_text(value))
end

local FLAGS = { { "random", "random" }, { "fully_random", "fully-random" },
  { "persistent", "persistent" } }

local function with_flags(text, value)
  for _, each in ipairs(type(value) == "table" and FLAGS or {}) do
    text = value[each[1]] and text .. " " .. each[2] or text
  end
  return text
end

local function target(value)
  if value.map then
    return ("%s map %s"):format(key_text(value.key), map_text(value))
  elseif not value.port then
    return value.to
  end
  local six = value.to:find(":", 1, true)
  return ((six and "[%s]:%s") or "%s:%s"):format(value.to, value.port)
end

local function translation(name)
  return function(value, family)
    if type(value) == "string" then
      return ("%s to %s"):format(name, value)
    end
    local is_six = value.family == "ip6" or value.to and value.to:find(":", 1, true)
    local which = family == "inet" and (is_six and " ip6" or " ip") or ""
    return with_flags(("%s%s to %s"):format(name, which, target(value)), value)
  end
end

STATEMENTS.snat, STATEMENTS.dnat = translation "snat", translation "dnat"

local function to_port(name)
  return function(value)
    local port = type(value) == "table" and value.port
      or type(value) ~= "table" and value ~= true and value
    return with_flags(port and ("%s to :%s"):format(name, port) or name, value)
  end
end

STATEMENTS.masquerade, STATEMENTS.redirect = to_port "masquerade", to_port "redirect"

local KINDS = { ip = "icmp ", ip6 = "icmpv6 " }

function STATEMENTS.reject(value, family)
  if value == true then
    return "reject"
  elseif value == "tcp reset" or value:find "^icmpv?6?x? " then
    return "reject with " .. value
  end
  return ("reject with %s%s"):format(KINDS[family] or "icmpx ", value)
end

function STATEMENTS.verdict(value)
  return value
end

-- -- Rules --------------------------------------------------------------------------------------

local function value_in(part, name)
  local group, member = name:match "^(%w+)%.(.+)$"
  if not group then
    return part[name]
  end
  local of = part[group]
  if group == "ct" and of ~= nil and (type(of) ~= "table" or of[1] ~= nil) then
    of = { state = of }
  end
  return of and of[member]
end

local function add_part(texts, part, family)
  for _, field in ipairs(fields.all()) do
    local value = value_in(part, field.name)
    if value ~= nil then
      texts[#texts + 1] = ("%s %s"):format(field_name(field.name), condition(field.type, value))
    end
  end
  for _, lookup in ipairs(part.lookup and (part.lookup.key and { part.lookup } or part.lookup)
    or {}) do
    texts[#texts + 1] = lookup_text(lookup)
  end
  for _, each in ipairs(statements.LIST) do
    local value = part[each[1]]
    if value ~= nil and value ~= false then
      texts[#texts + 1] = STATEMENTS[each[1]](value, family)
    end
  end
end

local function other_text(name)
  local kind, word = name:match "^(%l+) (%S+)$"
  if kind == "match" or kind == "target" then
    return ('xt %s "%s"'):format(kind, word)
  end
  return ("<%s>"):format(name)
end

--- A rule's text.
-- @tparam table rule as `nft.list` gives it
-- @tparam ?string family of its table, "inet" unless told
-- @treturn string what is not known here stands in it as `<NAME>`, and what is iptables' as `xt
-- match "NAME"`
function M.rule(rule, family)
  local texts = {}
  family = family or rule.family or "inet"
  for _, part in ipairs(rule) do
    add_part(texts, part, family)
  end
  add_part(texts, rule, family)
  for _, name in ipairs(rule.other or {}) do
    texts[#texts + 1] = other_text(name)
  end
  if rule.comment then
    texts[#texts + 1] = ('comment "%s"'):format(rule.comment)
  end
  return table.concat(texts, " ")
end

return M
