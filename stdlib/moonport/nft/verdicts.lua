--- Verdicts: what becomes of a packet. Written as text: "accept", "drop", "continue", "return",
-- "jump CHAIN", "goto CHAIN".
--
-- @module moonport.nft.verdicts
local problem = require "moonport.nft.problem"

local M = {}

local CODES = {
  drop = 0, accept = 1, continue = -1, jump = -3, ["goto"] = -4, ["return"] = -5,
}
local TO_CHAIN = { jump = true, ["goto"] = true }
local EXPECTED = '"accept", "drop", "return", "continue", "jump CHAIN" or "goto CHAIN"'

local words = {}
for word, code in pairs(CODES) do
  words[code] = word
end

--- Sets `verdict` and `chain` of an expression or element.
-- @tparam table message
-- @param text
-- @tparam string where for errors
function M.encode(message, text, where)
  local word, chain = tostring(text):match "^(%l+)%s*(%S*)$"
  local code = type(text) == "string" and CODES[word]
  if not code or (TO_CHAIN[word] or false) ~= (chain ~= "") then
    problem.expected(where, text, EXPECTED)
  end
  message.verdict, message.chain = code, chain ~= "" and chain or nil
end

--- The text of a verdict.
-- @tparam table message {verdict, chain}
-- @treturn ?string nil for one that has none
function M.decode(message)
  local word = words[message.verdict]
  if not TO_CHAIN[word] then
    return word
  end
  return message.chain and word .. " " .. message.chain or nil
end

return M
