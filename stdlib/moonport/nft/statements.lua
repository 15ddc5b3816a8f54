--- What a rule does, besides its conditions, to the kernel's expressions.
--
-- @module moonport.nft.statements
local fields = require "moonport.nft.fields"
local match = require "moonport.nft.match"
local problem = require "moonport.nft.problem"
local reject = require "moonport.nft.reject"
local types = require "moonport.nft.types"
local translation = require "moonport.nft.translation"
local verdicts = require "moonport.nft.verdicts"

local M = {}

local NAMED_COUNTER = 1

--- Seconds of the words that limits are per.
M.PERIODS = { second = 1, minute = 60, hour = 3600, day = 86400, week = 604800 }
--- The kernel's numbers for the levels of logs.
M.LEVELS = {
  emerg = 0, alert = 1, crit = 2, err = 3, warn = 4, notice = 5, info = 6, debug = 7, audit = 8,
}

-- What `set` can set: the field's key for `meta` or `ct`, and its type.
M.SETTABLE = {
  mark = { "meta", 3, "mark" },
  ["ct.mark"] = { "ct", 3, "mark" },
  nftrace = { "meta", 12, "integer8" },
  pkttype = { "meta", 19, "pkt_type" },
}
M.SET_ORDER = { "mark", "ct.mark", "nftrace", "pkttype" }

local function number(value, where, most)
  local whole = math.tointeger(value)
  if not whole or whole < 0 or whole > (most or math.maxinteger) then
    problem.expected(where, value, "a whole number" .. (most and (" up to %d"):format(most) or ""))
  end
  return whole
end

-- -- limit -------------------------------------------------------------------------------------

local LIMIT = { rate = true, per = true, burst = true, over = true, unit = true }

local function limit_table(value)
  if type(value) == "string" then
    local rate, per = value:match "^(%d+)/(%l+)$"
    if not rate then
      problem.expected("limit", value, 'such as "10/second", or { rate = 10, per = "second" }')
    end
    return { rate = tonumber(rate), per = per }
  elseif type(value) ~= "table" then
    problem.expected("limit", value, 'such as "10/second", or { rate = 10, per = "second" }')
  end
  problem.only(value, LIMIT, "limit")
  return value
end

local function limit(out, value)
  value = limit_table(value)
  local per = value.per or "second"
  local unit = value.unit or "packets"
  if not M.PERIODS[per] then
    problem.unknown("period", tostring(per), M.PERIODS)
  elseif unit ~= "packets" and unit ~= "bytes" then
    problem.expected("limit.unit", unit, '"packets" or "bytes"')
  end
  out[#out + 1] = {
    "limit",
    rate = number(value.rate, "limit.rate"),
    unit = M.PERIODS[per],
    burst = number(value.burst or unit == "packets" and 5 or 0, "limit.burst", 0xffffffff),
    type = unit == "bytes" and 1 or 0,
    flags = value.over and 1 or 0,
  }
end

-- -- counter, quota, log, notrack ---------------------------------------------------------------

local function counter(out, value)
  if type(value) == "string" then
    out[#out + 1] = { "objref", type = NAMED_COUNTER, name = value }
  elseif value == true or type(value) == "table" then
    local set = value == true and {} or value
    problem.only(set, { packets = true, bytes = true }, "counter")
    out[#out + 1] = {
      "counter",
      packets = number(set.packets or 0, "counter.packets"),
      bytes = number(set.bytes or 0, "counter.bytes"),
    }
  else
    problem.expected("counter", value, "true, { packets = ..., bytes = ... } or a counter's name")
  end
end

local function quota(out, value)
  local set = type(value) == "table" and value or { bytes = value }
  problem.only(set, { bytes = true, over = true, used = true }, "quota")
  out[#out + 1] = {
    "quota",
    bytes = number(set.bytes, "quota.bytes"),
    consumed = number(set.used or 0, "quota.used"),
    flags = set.over and 1 or 0,
  }
end

local LOG = { prefix = true, level = true, group = true, snaplen = true, threshold = true,
  flags = true }
-- What a log tells of a packet besides, in the order of the kernel's bits.
local DETAILS = { "tcp sequence", "tcp options", "ip options", "skuid", false, "ether" }

local function details_of(flags)
  local bits = 0
  for _, word in ipairs(type(flags) == "table" and flags or { flags }) do
    local bit
    for i, each in ipairs(DETAILS) do
      bit = each == word and 1 << i - 1 or bit
    end
    if not bit then
      problem.expected("log.flags", word, ('some of "%s"'):format(
        'tcp sequence", "tcp options", "ip options", "skuid", "ether'))
    end
    bits = bits | bit
  end
  return bits
end

--- The words for what a log tells besides.
-- @tparam integer bits of the kernel
-- @treturn ?table nil where a bit has none
function M.log_details(bits)
  local words = {}
  for i, word in ipairs(DETAILS) do
    local bit = 1 << i - 1
    if word and bits & bit ~= 0 then
      words[#words + 1], bits = word, bits & ~bit
    end
  end
  return bits == 0 and words or nil
end

local function log(out, value)
  local set = value
  if value == true then
    set = {}
  elseif type(value) == "string" then
    set = { prefix = value }
  elseif type(value) ~= "table" then
    problem.expected("log", value, "true, a prefix or a table")
  end
  problem.only(set, LOG, "log")
  if set.prefix and (type(set.prefix) ~= "string" or #set.prefix > 127 or #set.prefix == 0) then
    problem.expected("log.prefix", set.prefix, "text of 1 to 127 bytes")
  elseif set.level and not M.LEVELS[set.level] then
    problem.unknown("level of logs", tostring(set.level), M.LEVELS)
  elseif (set.level or set.flags) and set.group then
    problem.raise "a log goes to the kernel's log with `level` and `flags`, or to a `group`"
  end
  out[#out + 1] = {
    "log",
    prefix = set.prefix,
    level = M.LEVELS[set.level],
    flags = set.flags and details_of(set.flags),
    group = set.group and number(set.group, "log.group", 0xffff),
    snaplen = set.snaplen and number(set.snaplen, "log.snaplen", 0xffffffff),
    threshold = set.threshold and number(set.threshold, "log.threshold", 0xffff),
  }
end

local function notrack(out, value)
  if value ~= true then
    problem.expected("notrack", value, "true")
  end
  out[#out + 1] = { "notrack" }
end

-- -- set ---------------------------------------------------------------------------------------

local function set_one(out, name, value)
  local kind, key, type_name = table.unpack(M.SETTABLE[name])
  local from = type(value) == "string" and fields.get(value)
  if from then
    if from.type.name ~= type_name then
      problem.raise(("`%s` cannot be set to `%s`, which is of another type"):format(name, value))
    end
    match.load(out, from)
  else
    local data = types.encode(types.get(type_name), value, "set." .. name)
    out[#out + 1] = { "immediate", dreg = 1, data = data }
  end
  out[#out + 1] = { kind, key = key, sreg = 1 }
end

local function set(out, value)
  if type(value) ~= "table" then
    problem.expected("set", value, "a table such as { mark = 1 }")
  end
  problem.only(value, M.SETTABLE, "`set`")
  for _, name in ipairs(M.SET_ORDER) do
    if value[name] ~= nil then
      set_one(out, name, value[name])
    end
  end
end

-- -- verdicts ----------------------------------------------------------------------------------

local function verdict(out, value)
  local expression = { "immediate", dreg = 0 }
  verdicts.encode(expression, value, "verdict")
  out[#out + 1] = expression
end

local function vmap(out, value, context)
  if type(value) ~= "table" then
    problem.expected("vmap", value, '{ key = "iifname", map = "@name" or { { key, data } } }')
  end
  problem.only(value, { key = true, map = true }, "`vmap`")
  local key = context:key(value.key, "vmap.key")
  local name, id = context:map(value.map, key, { verdict = true }, "vmap.map")
  context:load_all(out, key)
  out[#out + 1] = { "lookup", set = name, id = id, sreg = 1, dreg = 0 }
end

--- The statements in the order in which they stand in a rule; each {name, function(out, value,
-- context)}.
M.LIST = {
  { "limit", limit },
  { "quota", quota },
  { "counter", counter },
  { "log", log },
  { "set", set },
  { "notrack", notrack },
  { "vmap", vmap },
  { "snat", translation.snat },
  { "dnat", translation.dnat },
  { "masquerade", translation.masquerade },
  { "redirect", translation.redirect },
  { "reject", reject.compile },
  { "verdict", verdict },
}

M.BY_NAME = {}
for i, each in ipairs(M.LIST) do
  M.BY_NAME[each[1]] = { order = fields.STATEMENTS + i, compile = each[2] }
end

return M
