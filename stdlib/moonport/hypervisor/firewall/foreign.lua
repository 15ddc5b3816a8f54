--- Other programs' firewalls on this host: an accept of ours does not save a packet that a chain of
-- theirs drops. So it is looked for beforehand, and named.
--
-- @module moonport.hypervisor.firewall.foreign
local errors = require "moonport.errors"
local iptables = require "moonport.hypervisor.firewall.iptables"
local layout = require "moonport.hypervisor.firewall.layout"
local nft = require "moonport.nft"
local process = require "moonport.process"
local walk = require "moonport.hypervisor.firewall.walk"

local M = {}

-- What stands for any host beyond, and for any guest, where a packet is only imagined.
local BEYOND, GUEST, TAP = "192.0.2.1", "172.30.255.254", "mp-0000000000"
local USERS = "DOCKER-USER"
local EPHEMERAL = 40000
local SECONDS = 10

-- -- What there is --------------------------------------------------------------------------------

local IPTABLES = { filter = true, nat = true, mangle = true, raw = true, security = true }

-- Tables of iptables-nft that hold what only xtables understands.
local function needs_iptables(table_)
  if table_.family ~= "ip" or not IPTABLES[table_.name] then
    return false
  end
  for _, chain in ipairs(table_.chains) do
    for _, rule in ipairs(chain.rules) do
      if rule.other then
        return true
      end
    end
  end
  return false
end

--- All rules of this host, ours too, legacy iptables included.
-- @treturn table list of tables in the form of `nft.list`
-- @treturn ?string what could not be read, and why
function M.tables()
  local all, readable = {}, nil
  for _, table_ in ipairs((nft.list())) do
    local replaced = false
    if needs_iptables(table_) then
      readable = readable or iptables.nft() or {}
      for _, each in ipairs(readable) do
        if each.name == table_.name then
          all[#all + 1], replaced = each, true
        end
      end
    end
    if not replaced then
      all[#all + 1] = table_
    end
  end
  local legacy, problem = iptables.legacy()
  table.move(legacy, 1, #legacy, #all + 1, all)
  return all, problem
end

local function is_ours(table_)
  return table_.family == "inet" and table_.name:find "^moonport%-" ~= nil
end

local function without_ours(tables)
  local list = {}
  for _, table_ in ipairs(tables) do
    list[#list + 1] = not is_ours(table_) and table_ or nil
  end
  return list
end

-- -- Who it is ------------------------------------------------------------------------------------

local function has_chain(tables, pattern)
  for _, table_ in ipairs(tables) do
    for _, chain in ipairs(table_.chains) do
      if chain.name:find(pattern) then
        return true
      end
    end
  end
  return false
end

local function program_of(step, tables)
  local chain = step.chain
  if chain:find "firewalld" then
    return "firewalld"
  elseif chain:find "ufw%-" or has_chain(tables, "^ufw%-") and step.policy then
    return "ufw"
  elseif chain:find "DOCKER" or has_chain(tables, "^DOCKER") and step.policy then
    return "Docker"
  end
  return step.program or "another program"
end

local HINTS = {
  firewalld = "firewall-cmd --permanent --zone=trusted --add-interface=%s",
  ufw = "ufw route allow in on %s, and ufw allow in on %s for what it may reach here",
  Docker = "`hypervisor.network.foreign = \"insert\"` lets moonport accept its packets in the "
    .. "chain DOCKER-USER",
}

--- Whose chain it is, and what helps.
-- @tparam table found {chain = "FAMILY TABLE CHAIN", policy, program}
-- @tparam string tap
-- @treturn ?string the program, where it is known and not moonport
-- @treturn string hint
function M.advise(found, tap)
  if found.chain:find "^inet moonport%-" then
    return nil, "`moonport restore` puts the rules right"
  end
  local program = program_of(found, without_ours((M.tables())))
  local hint = HINTS[program] or "let its packets pass there, or remove that rule"
  return program ~= "another program" and program or nil, (hint:gsub("%%s", tap))
end

-- -- Packets that shall pass ----------------------------------------------------------------------

local function packets(wanted, uplinks)
  local tap, guest = wanted.tap or TAP, wanted.guest or GUEST
  local uplink = wanted.uplink or uplinks[1] or "uplink"
  local list = {}
  local function add(what, hooks, packet)
    packet.sport = packet.sport or EPHEMERAL
    packet.state = packet.state or "new"
    list[#list + 1] = { what = what, hooks = hooks, packet = packet }
  end
  if wanted.egress ~= false then
    add("what the guest sends out", { "forward" }, { iifname = tap, oifname = uplink, saddr = guest,
      daddr = BEYOND, l4proto = "tcp", dport = 443, to_us = false })
    add("the answers to the guest", { "forward" },
      { iifname = uplink, oifname = tap, saddr = BEYOND,
      daddr = guest, l4proto = "tcp", sport = 443, dport = EPHEMERAL, state = "established",
      to_us = false })
  end
  for _, entry in ipairs(wanted.published or {}) do
    local port = entry.guest_port or entry.port
    local to = { oifname = tap, daddr = guest, l4proto = entry.protocol, dport = port,
      status = "dnat",
      to_us = false }
    if layout.is_local(entry) then
      to.saddr = "127.0.0.1"
      add(("what comes to the published port %d"):format(entry.port), { "output" }, to)
    else
      to.iifname, to.saddr = uplink, BEYOND
      add(("what comes to the published port %d"):format(entry.port), { "forward" }, to)
    end
  end
  for _, entry in ipairs(wanted.host_ports or {}) do
    add(("what the guest sends to this host's port %d"):format(entry.port), { "input" }, {
      iifname = tap, saddr = guest, daddr = entry.loopback and "127.0.0.1" or wanted.host
        or "172.30.255.253",
      l4proto = entry.protocol, dport = entry.port, to_us = true,
      status = entry.loopback and "dnat" or nil })
  end
  return list
end

--- Chains of other programs that would drop packets of a VM.
-- @tparam table wanted {egress, published, host_ports, tap, guest, host, uplink}
-- @tparam table uplinks
-- @treturn table list of {program, chain, policy, what, certain, hint, legacy, insertable}
-- @treturn ?string what could not be read, and why
function M.blockers(wanted, uplinks)
  local all, problem = M.tables()
  local tables = without_ours(all)
  local list, seen = {}, {}
  for _, each in ipairs(packets(wanted, uplinks)) do
    local follow = walk.begin(each.packet)
    for _, hook in ipairs(each.hooks) do
      if not walk.hook(follow, tables, hook) then
        local step = follow.dropped_by
        if not seen[step.chain] then
          local program = program_of(step, tables)
          seen[step.chain] = true
          list[#list + 1] = {
            program = program, chain = step.chain, policy = step.policy or false, what = each.what,
            certain = #follow.doubts == 0,
            hint = (HINTS[program] or "let its packets pass there, or remove that rule")
              :format(wanted.tap or "mp-*", wanted.tap or "mp-*"),
            legacy = step.program == "legacy iptables",
            insertable = hook == "forward" and has_chain(tables, "^" .. USERS:gsub("%-", "%%-")
              .. "$"),
          }
        end
        break
      end
    end
  end
  return list, problem
end

local function describe(blocker)
  return ("%s: the chain `%s` drops %s%s"):format(blocker.program, blocker.chain, blocker.what,
    blocker.policy and " by its policy" or "")
end

-- -- On consent: their chain for such rules -------------------------------------------------------

local function comment_of(store)
  return "moonport/" .. store
end

local function nft_tables_with_users()
  local list = {}
  for _, table_ in ipairs((nft.list { family = "ip" })) do
    for _, chain in ipairs(table_.chains) do
      if chain.name == USERS then
        list[#list + 1] = { table = table_.name, chain = chain }
      end
    end
  end
  return list
end

local function insert_nft(store)
  local changed = false
  for _, found in ipairs(nft_tables_with_users()) do
    local there = false
    for _, rule in ipairs(found.chain.rules) do
      there = there or rule.comment == comment_of(store)
    end
    if not there then
      local ops = {}
      for _, field in ipairs { "iifname", "oifname" } do
        ops[#ops + 1] = { op = "insert", rule = { family = "ip", table = found.table, chain = USERS,
          [field] = "mp-*", counter = true, verdict = "accept", comment = comment_of(store) } }
      end
      nft.apply(ops)
      changed = true
    end
  end
  return changed
end

local function legacy_rule(store, option)
  return { option, "mp-+", "-m", "comment", "--comment", comment_of(store), "-j", "ACCEPT" }
end

local function run_legacy(verb, store, option)
  local program = iptables.program "iptables-legacy"
  if not program then
    return false
  end
  local argv = { program, "-w", verb, USERS }
  local rule = legacy_rule(store, option)
  table.move(rule, 1, #rule, #argv + 1, argv)
  argv.check, argv.timeout = false, SECONDS
  return process.run(argv).code == 0
end

local function each_legacy(verb, store)
  local changed = false
  for _, option in ipairs { "-i", "-o" } do
    local there = run_legacy("-C", store, option)
    if (verb == "-I" and not there) or (verb == "-D" and there) then
      changed = run_legacy(verb, store, option) or changed
    end
  end
  return changed
end

--- Accepts the packets of our guests in the chain that Docker leaves to its users. Our own table
-- still decides what they may reach.
-- @tparam string store
-- @tparam table blockers
-- @treturn boolean true where they were not accepted already
function M.insert(store, blockers)
  local legacy = false
  for _, blocker in ipairs(blockers) do
    legacy = legacy or blocker.legacy
  end
  local changed = insert_nft(store)
  return legacy and each_legacy("-I", store) or changed
end

-- Whatever is forwarded to or from some guest.
local ANY_FORWARDED = { egress = true,
  published = { { protocol = "tcp", address = "0.0.0.0", port = 1 } } }

--- What stands in the way again of guests whose packets may be accepted in that chain: a reboot or
-- a reload takes our rules from there.
-- @tparam table records of all VMs
-- @tparam table uplinks
-- @treturn table blockers
function M.shut_out(records, uplinks)
  local allowed, found = false, {}
  for _, record in ipairs(records) do
    allowed = allowed or record.foreign == "insert"
  end
  for _, blocker in ipairs(allowed and M.blockers(ANY_FORWARDED, uplinks) or {}) do
    found[#found + 1] = blocker.insertable and blocker or nil
  end
  return found
end

--- Takes back what `insert` put in.
-- @tparam string store
function M.withdraw(store)
  local ops = {}
  for _, found in ipairs(nft_tables_with_users()) do
    for _, rule in ipairs(found.chain.rules) do
      if rule.comment == comment_of(store) then
        ops[#ops + 1] = { op = "delete", rule = { family = "ip", table = found.table, chain = USERS,
          handle = rule.handle } }
      end
    end
  end
  if #ops > 0 then
    nft.apply(ops)
  end
  for _, table_ in ipairs((iptables.legacy())) do
    for _, chain in ipairs(table_.chains) do
      for _, rule in ipairs(chain.name == USERS and chain.rules or {}) do
        if rule.comment == comment_of(store) then
          each_legacy("-D", store)
          return
        end
      end
    end
  end
end

-- -- Before a deployment --------------------------------------------------------------------------

local function refuse(blockers)
  local lines = {}
  for i, blocker in ipairs(blockers) do
    lines[i] = describe(blocker)
  end
  errors.raise {
    kind = "firewall",
    code = "refused",
    message = "another firewall on this host stands in the way: " .. table.concat(lines, "; "),
    hint = blockers[1].hint,
  }
end

--- Refuses where packets of a VM would be dropped; see `firewall.check`.
-- @tparam context ctx
-- @tparam table wanted
-- @tparam table uplinks
-- @treturn table list of texts: what is not certain, and is to be told
function M.check(ctx, wanted, uplinks)
  local blockers, problem = M.blockers(wanted, uplinks)
  local certain, insertable, doubts = {}, {}, {}
  for _, blocker in ipairs(blockers) do
    if not blocker.certain then
      doubts[#doubts + 1] = "perhaps " .. describe(blocker)
    elseif wanted.foreign == "insert" and blocker.insertable then
      insertable[#insertable + 1] = blocker
    else
      certain[#certain + 1] = blocker
    end
  end
  doubts[#doubts + 1] = problem
  if #certain > 0 then
    refuse(certain)
  end
  if #insertable > 0 and not ctx.planning then
    M.insert(ctx.store, insertable)
  end
  for _, text in ipairs(doubts) do
    ctx:warn("%s", text)
  end
  return doubts
end

return M
