--- What `moonport doctor` checks of the firewall: of all VMs, and of the packets of one.
--
-- @module moonport.hypervisor.firewall.doctor
local errors = require "moonport.errors"
local firewall = require "moonport.hypervisor.firewall"

local M = {}

-- Who may not look has nothing in there that could be wrong.
local function may_look(why)
  return not (errors.is(why, "nft", "EPERM") or errors.is(why, "nft", "library"))
end

local function blocking(blockers)
  local first = blockers[1]
  return ("%s: the chain `%s` %s %s"):format(first.program, first.chain,
    first.certain and "drops" or "perhaps drops", first.what), first.hint
end

--- The table, and other firewalls.
-- @tparam state state
-- @treturn string what was found
-- @treturn ?string hint
function M.check(state)
  local differences, why = try(firewall.verify, state)
  if not differences then
    if may_look(why) then
      error(why, 0)
    end
    return "cannot be looked at: " .. why.message,
      "only the hypervisor target needs it; looking takes CAP_NET_ADMIN"
  elseif #differences > 0 then
    return ("not as it is to be: %s%s"):format(differences[1],
      #differences > 1 and (", and %d more"):format(#differences - 1) or ""),
      "`moonport watch` puts it right and keeps it so, `moonport restore` puts it right once"
  end
  local blockers = firewall.blockers()
  if #blockers > 0 then
    return blocking(blockers)
  end
  return "nothing stands in the way of virtual machines' packets"
end

--- The ways of a VM's packets.
-- @tparam state state
-- @tparam string deployment its id
-- @treturn table rows {check, result, found, hint}
function M.rows(state, deployment)
  local rows = {}
  for i, each in ipairs(firewall.probe(state, deployment)) do
    local passes = each.verdict == "accept"
    rows[i] = {
      check = "packets",
      result = passes and "ok" or each.certain and "failed" or "warning",
      found = each.what .. (passes and ": pass"
        or (": dropped by the chain `%s`"):format(each.chain)),
    }
  end
  for _, difference in ipairs(firewall.verify(state)) do
    rows[#rows + 1] = { check = "firewall", result = "failed", found = difference,
      hint = "`moonport restore` puts it right" }
  end
  return rows
end

return M
