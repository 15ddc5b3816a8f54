--- What `moonport doctor` checks of the firewall: of all VMs, and of the packets of one.
--
-- @module moonport.hypervisor.firewall.doctor
local errors = require "moonport.errors"
local firewall = require "moonport.hypervisor.firewall"
local foreign = require "moonport.hypervisor.firewall.foreign"
local path = require "moonport.hypervisor.firewall.path"
local records = require "moonport.hypervisor.firewall.records"
local shim = require "moonport.shim"
local trace = require "moonport.hypervisor.firewall.trace"
local ways = require "moonport.hypervisor.firewall.ways"

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

-- -- By packets ---------------------------------------------------------------------------------

local function from_host(packet, from)
  shim.probe { protocol = packet.protocol, address = packet.daddr, port = packet.port,
    from = from }
end

-- The ways that a packet can be sent on now.
local function sendable(list, guest)
  local chosen = {}
  for _, way in ipairs(list) do
    if way.packet and (way.from == "host" or guest) then
      way.packet.send = way.from == "host" and from_host or guest
      chosen[#chosen + 1] = way
    end
  end
  return chosen
end

-- Sends what can be sent: each way then has a `result`. Gives why it could not.
local function send(state, list, guest)
  local chosen, packets = sendable(list, guest), {}
  for i, way in ipairs(chosen) do
    packets[i] = way.packet
  end
  if #packets == 0 then
    return nil
  end
  local results, lost = try(trace.run, state.uuid, packets)
  if not results then
    if errors.is(lost, "task", "cancelled") then
      error(lost, 0)
    end
    return lost
  end
  for i, way in ipairs(chosen) do
    local failed = results[i].verdict == "unsent" and not results[i].why.code:find "^E%u+$"
    local guessed = lost and (results[i].verdict == "lost" or results[i].verdict == "unseen")
    way.result = not failed and not guessed and results[i] or nil
    way.why = failed and results[i].why
      or guessed and { message = "the kernel had more to tell than it could keep" } or nil
  end
end

-- -- What is told of a way ------------------------------------------------------------------------

local function dropper(found, tap)
  local who, hint = foreign.advise(found, tap)
  local how = found.policy and ", by its policy" or found.rule
    and (", by its rule `%s`"):format(found.rule) or ""
  return ("dropped by the chain `%s`%s%s"):format(found.chain, who and " of " .. who or "", how),
    hint
end

local KERNEL = "the kernel itself did: ask it with `ip route get`, and look at rp_filter"

local TOLD = {}

function TOLD.left(result)
  return "leaves by `" .. tostring(result.interface) .. "`"
end

function TOLD.arrived()
  return "arrives"
end

function TOLD.drop(result, _, tap)
  return dropper(result, tap)
end

-- nftables did not drop it: what else has rules?
function TOLD.lost(result, read, tap)
  local rules = read()
  local after = result.after and ("lost after the chain `%s`"):format(result.after) or "lost"
  if rules.verdict == "drop" then
    local text, hint = dropper({ chain = rules.chain, program = rules.program,
      policy = rules.policy }, tap)
    return ("%s: by what its rules say, %s"):format(after, text), hint
  end
  return after .. ", and no chain dropped it", KERNEL
end

function TOLD.unseen(_, _, tap, way)
  if way.from == "host" then
    return "sent, and no chain has seen it", KERNEL
  end
  return ("sent, and it never came in by `%s`"):format(tap),
    "the guest's own firewall, or a chain of the family netdev at that interface, keeps it"
end

function TOLD.unsent(result)
  return "cannot be sent: " .. result.why.message,
    "see the routes there: `ip route`"
end

local PASSES = { left = true, arrived = true }

local function by_packet(way, read, tap)
  local result = way.result
  local text, hint = TOLD[result.verdict](result, read, tap, way)
  local passes = PASSES[result.verdict] or false
  if passes and not way.closed and result.back and result.back.verdict == "drop" then
    result, passes = result.back, false
    local dropped
    dropped, hint = dropper(result, tap)
    text = ("%s, and its answer is %s"):format(text, dropped)
  end
  local good = passes ~= way.closed
  if way.closed then
    text = good and "stays closed: " .. text or text .. ", and must not"
    hint = "`moonport restore` puts the rules right"
  end
  return {
    check = "packets", how = "packet", result = good and "ok" or "failed",
    found = ("%s: %s"):format(way.what, text), hint = not good and hint or nil,
    chain = result.chain, rule = result.rule, interface = result.interface,
  }
end

local function by_rules(way, read, tap)
  local rules = read()
  local passes = rules.verdict == "accept"
  local good = passes ~= way.closed
  local text, hint = "pass", nil
  if not passes then
    text, hint = dropper({ chain = rules.chain, program = rules.program, policy = rules.policy },
      tap)
  end
  return {
    check = "packets", how = "rules", result = good and "ok" or rules.certain and "failed"
      or "warning",
    found = ("%s: %s, by what the rules say"):format(way.what, text), hint = not good and hint
      or nil,
    chain = rules.chain,
  }
end

-- -- The whole ------------------------------------------------------------------------------------

-- How the answers were come by.
local function head(list, why)
  local sent, first = 0, nil
  for _, way in ipairs(list) do
    sent = sent + (way.result and 1 or 0)
    first = first or way.why
  end
  why = why or first
  local found = sent == 0 and "no packet was sent"
    or ("%d packet%s sent and followed"):format(sent, sent == 1 and "" or "s")
  if why then
    return { check = "probe", result = "warning", hint = why.hint,
      found = ("%s: %s; %s are told by what the rules say"):format(
        sent == 0 and found or found .. ", others not", why.message,
        sent == 0 and "the ways" or "their ways") }
  end
  return { check = "probe", result = "ok", found = found }
end

local function all_rows(state, deployment, about)
  local rows, all, why = {}, {}, about.why
  for _, record in ipairs(records.of(state, deployment)) do
    local serves = not about.revision or record.revision == about.revision
    local list = ways.of(record, path.BEYOND, serves and about.ports or nil)
    why = send(state, list, serves and about.guest or nil) or why
    for _, way in ipairs(list) do
      -- Only where a packet does not tell it.
      local function read() return path.follow(record, way.wanted, firewall.uplinks()) end
      all[#all + 1] = way
      rows[#rows + 1] = (way.result and by_packet or by_rules)(way, read, record.tap)
    end
  end
  if #all > 0 then
    table.insert(rows, 1, head(all, why))
  end
  for _, difference in ipairs(firewall.verify(state)) do
    rows[#rows + 1] = { check = "firewall", result = "failed", found = difference,
      hint = "`moonport restore` puts it right" }
  end
  return rows
end

--- The ways of a VM's packets: packets are sent and followed where that can be done, and else it is
-- told what the rules say.
-- @tparam state state
-- @tparam string deployment its id
-- @tparam ?table about `guest(packet, from)` has the guest of `revision` send {protocol, daddr,
-- port} from a port; without it, `why` is the error that says why not. `ports` of the guest that
-- are probed from this host
-- @treturn table rows {check, result, found, hint, how = "packet" or "rules", chain, rule,
-- interface}
function M.rows(state, deployment, about)
  local rows, why = try(all_rows, state, deployment, about or {})
  if rows then
    return rows
  elseif may_look(why) then
    error(why, 0)
  end
  return { { check = "packets", result = "warning", found = "cannot be followed: " .. why.message,
    hint = why.hint or "sending packets and reading the rules takes CAP_NET_ADMIN" } }
end

return M
