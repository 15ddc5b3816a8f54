--- Refusing a packet with an answer.
--
-- @module moonport.nft.reject
local problem = require "moonport.nft.problem"

local M = {}

local ICMP, RESET, ICMPX = 0, 1, 2

-- By which words each kind of answer goes.
local CODES = {
  icmpx = { ["no-route"] = 0, ["port-unreachable"] = 1, ["host-unreachable"] = 2,
    ["admin-prohibited"] = 3 },
  icmp = { ["net-unreachable"] = 0, ["host-unreachable"] = 1, ["prot-unreachable"] = 2,
    ["port-unreachable"] = 3, ["net-prohibited"] = 9, ["host-prohibited"] = 10,
    ["admin-prohibited"] = 13 },
  icmpv6 = { ["no-route"] = 0, ["admin-prohibited"] = 1, ["addr-unreachable"] = 3,
    ["port-unreachable"] = 4, ["policy-fail"] = 5, ["reject-route"] = 6 },
}

-- What a word without a kind means in a family.
local KINDS = { ip = "icmp", ip6 = "icmpv6" }

local function kind_of(family)
  return KINDS[family] or "icmpx"
end

--- Compiles `reject`.
-- @tparam table out
-- @param value true, "tcp reset", or the word of an answer, "icmp " or "icmpv6 " before it where
-- the family has both
-- @tparam table context
function M.compile(out, value, context)
  if value == "tcp reset" then
    context:need { l4proto = "tcp" }
    out[#out + 1] = { "reject", type = RESET, code = 0 }
    return
  end
  local word = value == true and "port-unreachable" or value
  if type(word) ~= "string" then
    problem.expected("reject", value, 'true, "tcp reset" or an answer such as "port-unreachable"')
  end
  local kind, rest = word:match "^(icmpv?6?x?) (.+)$"
  kind = kind or kind_of(context.family)
  local code = CODES[kind] and CODES[kind][rest or word]
  if not code then
    problem.unknown("answer", word, CODES[kind] or CODES.icmpx)
  elseif kind ~= "icmpx" and context.family ~= "ip" and context.family ~= "ip6" then
    context:need { nfproto = kind == "icmp" and "ipv4" or "ipv6" }
  end
  out[#out + 1] = { "reject", type = kind == "icmpx" and ICMPX or ICMP, code = code }
end

--- The data of a rule's expression.
-- @tparam table expression
-- @tparam string family
-- @tparam table known what the rule matched before
-- @return as in rule data; nil for an answer that has no word
-- @treturn ?table what it implies
function M.decode(expression, family, known)
  if expression.type == RESET then
    return "tcp reset", { l4proto = "tcp" }
  end
  local usual = kind_of(family)
  local kind = expression.type == ICMPX and "icmpx" or known.nfproto == "ipv6" and "icmpv6"
    or "icmp"
  local implied = kind ~= usual and { nfproto = kind == "icmp" and "ipv4" or "ipv6" } or nil
  for word, code in pairs(CODES[kind]) do
    if code == expression.code then
      if kind == usual and word == "port-unreachable" then
        return true
      end
      return kind == usual and word or ("%s %s"):format(kind, word), implied
    end
  end
  return nil
end

return M
