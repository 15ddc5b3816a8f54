--- Tables, chains, sets, maps and counters: between data and the kernel's attributes.
--
-- @module moonport.nft.objects
local problem = require "moonport.nft.problem"
local sets = require "moonport.nft.sets"
local userdata = require "moonport.nft.userdata"

local M = {}

local COUNTER = 1
local DORMANT, OWNER = 1, 2
local BASE = 1
local ACCEPT = 1

--- The kernel's numbers for the families.
M.FAMILIES = { inet = 1, ip = 2, arp = 3, netdev = 5, bridge = 7, ip6 = 10 }

M.FAMILY_NAMES = {}
for name, number in pairs(M.FAMILIES) do
  M.FAMILY_NAMES[number] = name
end

local ROUTED = { prerouting = 0, input = 1, forward = 2, output = 3, postrouting = 4 }
local HOOKS = {
  inet = { prerouting = 0, input = 1, forward = 2, output = 3, postrouting = 4, ingress = 5 },
  ip = ROUTED,
  ip6 = ROUTED,
  bridge = ROUTED,
  arp = { input = 0, output = 1 },
  netdev = { ingress = 0, egress = 1 },
}

local USUAL = { raw = -300, mangle = -150, dstnat = -100, filter = 0, security = 50, srcnat = 100 }
local PRIORITIES = {
  inet = USUAL,
  ip = USUAL,
  ip6 = USUAL,
  bridge = { dstnat = -300, filter = -200, out = 100, srcnat = 300 },
  arp = { filter = 0 },
  netdev = { filter = 0 },
}

local TYPES = { filter = true, nat = true, route = true }

--- A family's number.
-- @tparam ?string name "inet" unless told
-- @treturn integer
-- @treturn string its name
function M.family(name)
  name = name == nil and "inet" or name
  return M.FAMILIES[name] or problem.unknown("family", tostring(name), M.FAMILIES), name
end

--- A name that the kernel may take.
-- @param name
-- @tparam string where
-- @treturn string
function M.name(name, where)
  if type(name) ~= "string" or #name == 0 or #name > 255 or name:find "[%z%s]" then
    problem.expected(where, name, "a name of 1 to 255 bytes without spaces")
  end
  return name
end

-- -- Tables -------------------------------------------------------------------------------------

--- The fields of each kind of object, for checks.
M.TABLE = {
  family = true, name = true, comment = true, dormant = true, owner = true, handle = true,
  chains = true, sets = true, maps = true, counters = true, rules = true,
}

--- A table's attributes.
-- @tparam table def
-- @treturn table
function M.table(def)
  problem.only(def, M.TABLE, "table")
  return {
    kind = "table",
    family = M.family(def.family),
    name = M.name(def.name, "table.name"),
    flags = (def.dormant or def.owner)
      and (def.dormant and DORMANT or 0) | (def.owner and OWNER or 0) or nil,
    userdata = userdata.comment(def.comment),
  }
end

--- A table from the kernel.
-- @tparam table message
-- @treturn table
function M.read_table(message)
  return {
    family = M.FAMILY_NAMES[message.family] or message.family,
    name = message.name,
    handle = message.handle,
    comment = userdata.comment_of(message.userdata),
    dormant = (message.flags or 0) & DORMANT ~= 0 or nil,
    owner = (message.flags or 0) & OWNER ~= 0 or nil,
    chains = {},
    sets = {},
    maps = {},
    counters = {},
  }
end

-- -- Chains -------------------------------------------------------------------------------------

M.CHAIN = {
  family = true, table = true, name = true, type = true, hook = true, priority = true,
  policy = true, device = true, devices = true, comment = true, handle = true, rules = true,
}

local function priority_of(family, value)
  local names = PRIORITIES[family]
  if math.tointeger(value) then
    return math.tointeger(value)
  end
  local name, sign, offset = tostring(value):match "^(%l+)%s*([+-]?)%s*(%d*)$"
  if type(value) ~= "string" or not name or (sign == "") ~= (offset == "") then
    problem.expected("priority", value, 'a number, a name, or one such as "filter - 10"')
  elseif not names[name] then
    problem.unknown(("priority of `%s`"):format(family), name, names)
  end
  return names[name] + (offset == "" and 0 or tonumber(sign .. offset))
end

local function hook_of(family, def)
  local hooks = HOOKS[family]
  if not TYPES[def.type or "filter"] then
    problem.unknown("type of chains", tostring(def.type), TYPES)
  elseif not hooks[def.hook] then
    problem.unknown(("hook of `%s`"):format(family), tostring(def.hook), hooks)
  end
  return hooks[def.hook]
end

local function set_base(message, def, family)
  message.hook = hook_of(family, def)
  message.type = def.type or "filter"
  message.priority = priority_of(family, def.priority or "filter")
  if def.policy ~= nil and def.policy ~= "accept" and def.policy ~= "drop" then
    problem.expected("policy", def.policy, '"accept" or "drop"')
  end
  message.policy = def.policy == "drop" and 0 or ACCEPT
  message.device = def.device
  message.devices = def.devices and table.concat(def.devices, "\0")
end

--- A chain's attributes.
-- @tparam table def
-- @treturn table
function M.chain(def)
  problem.only(def, M.CHAIN, "chain")
  local number, family = M.family(def.family)
  local message = {
    kind = "chain",
    family = number,
    table = M.name(def.table, "chain.table"),
    name = M.name(def.name, "chain.name"),
    userdata = userdata.comment(def.comment),
  }
  if def.hook ~= nil then
    set_base(message, def, family)
  elseif def.type or def.priority or def.policy or def.device then
    problem.raise(("the chain `%s` has a type, priority, policy or device, but no `hook`")
      :format(def.name))
  end
  return message
end

local function name_of(names, number)
  for name, each in pairs(names or {}) do
    if each == number then
      return name
    end
  end
end

local function split(names)
  local list = {}
  for name in names:gmatch "[^%z]+" do
    list[#list + 1] = name
  end
  return list
end

--- A chain from the kernel.
-- @tparam table message
-- @treturn table
function M.read_chain(message)
  local family = M.FAMILY_NAMES[message.family]
  local chain = {
    name = message.name,
    handle = message.handle,
    comment = userdata.comment_of(message.userdata),
    rules = {},
  }
  if message.hook and (message.flags or BASE) & BASE ~= 0 then
    chain.type = message.type
    chain.hook = name_of(HOOKS[family], message.hook) or message.hook
    chain.priority = name_of(PRIORITIES[family], message.priority) or message.priority
    chain.policy = message.policy == 0 and "drop" or "accept"
    chain.device = message.device
    chain.devices = message.devices and split(message.devices)
    if chain.devices and #chain.devices == 1 then
      chain.device, chain.devices = chain.devices[1], nil
    end
  end
  return chain
end

--- A priority's number.
-- @tparam string family
-- @param priority a name or a number
-- @treturn integer
function M.priority(family, priority)
  return priority_of(family, priority)
end

-- -- Sets and maps ------------------------------------------------------------------------------

M.SET = {
  family = true, table = true, name = true, type = true, flags = true, timeout = true,
  size = true, comment = true, counter = true, elements = true, handle = true,
}

local function known_of(is_map)
  if not is_map then
    return M.SET
  end
  local known = { data = true }
  for name in pairs(M.SET) do
    known[name] = true
  end
  return known
end

local function milliseconds(value)
  if type(value) ~= "number" or value <= 0 then
    problem.expected("timeout", value, "a number of seconds")
  end
  return math.ceil(value * 1000)
end

--- A set's or map's attributes, without its elements.
-- @tparam table def
-- @tparam boolean is_map
-- @treturn table
-- @treturn table its shape, as moonport.nft.sets has it
function M.set(def, is_map)
  problem.only(def, known_of(is_map), is_map and "map" or "set")
  if is_map and def.data == nil then
    problem.raise(('the map `%s` has no `data`: a type, a list of them, "verdict" or "counter"')
      :format(tostring(def.name)))
  end
  local shape = sets.shape(def)
  local flags = sets.flags(def.flags) | (def.timeout and sets.flags "timeout" or 0)
  local message = sets.attributes(shape, flags, def.comment)
  message.kind, message.family = "set", M.family(def.family)
  message.table, message.name = M.name(def.table, "table"), M.name(def.name, "name")
  message.timeout = def.timeout and milliseconds(def.timeout)
  message.size = def.size
  message.exprs = def.counter and { { "counter", packets = 0, bytes = 0 } } or nil
  return message, shape
end

--- A set or map from the kernel, without its elements.
-- @tparam table message
-- @treturn table
-- @treturn ?table its shape; nil where its types are not known here
-- @treturn table as moonport.nft.sets.read gives it
function M.read_set(message)
  local shape, read = sets.read(message)
  local set = {
    name = message.name,
    handle = message.handle,
    type = read.type,
    data = read.data,
    flags = read.flags,
    timeout = message.timeout and message.timeout / 1000,
    size = message.size,
    comment = userdata.set_comment_of(message.userdata),
    elements = {},
  }
  for _, expr in ipairs(message.exprs or {}) do
    set.counter = set.counter or expr[1] == "counter" or nil
  end
  if set.timeout and set.flags then
    -- The timeout says so itself.
    local rest = {}
    for _, flag in ipairs(set.flags) do
      rest[#rest + 1] = flag ~= "timeout" and flag or nil
    end
    set.flags = #rest > 0 and rest or nil
  end
  return set, shape, read
end

-- -- Counters -----------------------------------------------------------------------------------

M.COUNTER = {
  family = true, table = true, name = true, packets = true, bytes = true, comment = true,
  handle = true,
}

--- A named counter's attributes.
-- @tparam table def
-- @treturn table
function M.counter(def)
  problem.only(def, M.COUNTER, "counter")
  return {
    kind = "object",
    type = COUNTER,
    family = M.family(def.family),
    table = M.name(def.table, "counter.table"),
    name = M.name(def.name, "counter.name"),
    packets = def.packets or 0,
    bytes = def.bytes or 0,
    userdata = userdata.comment(def.comment),
  }
end

--- A named counter from the kernel; nil for an object of another type.
-- @tparam table message
-- @treturn ?table
function M.read_counter(message)
  if message.type ~= COUNTER then
    return nil
  end
  return {
    name = message.name,
    handle = message.handle,
    packets = message.packets,
    bytes = message.bytes,
    comment = userdata.comment_of(message.userdata),
  }
end

return M
