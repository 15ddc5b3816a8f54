--- The way of packets that are really sent: which chain dropped one, by which rule, or by which
-- interface it left.
--
-- For as long as it takes, a table of its own has the kernel trace these packets and no others: by
-- interface, addresses and ports. It goes with the socket that made it, so it goes with a killed
-- process too; where the kernel is too old for that (before Linux 5.12), `moonport gc` and the next
-- trace remove it. The table drops nothing, and several traces at once know nothing of each other.
--
-- @module moonport.hypervisor.firewall.trace
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local netlink = require "moonport.netlink"
local nft = require "moonport.nft"
local sys = require "moonport.sys"
local task = require "moonport.task"

local M = {}

-- Seconds after which what has not come to its end will not.
local PATIENCE = 2
-- Above the ports that kernels give out themselves.
local FIRST_PORT, LAST_PORT = 61000, 65500
local CANDIDATES = 3
-- Before and after everything else: -400 is where fragments are put together.
local FIRST, LAST = -2147483647, 2147483646
local PREFIX = "moonport-trace-"

-- -- The table ----------------------------------------------------------------------------------

local CHAINS = {
  { name = "in", hook = "prerouting", priority = FIRST },
  { name = "out", hook = "output", priority = FIRST },
  { name = "arrived", hook = "input", priority = LAST },
  { name = "left", hook = "postrouting", priority = LAST },
}

local function mark()
  local me = sys.identity()
  return ("%d %s %s"):format(me.pid, tostring(me.start), me.boot_id)
end

local function maker_of(table_)
  local pid, start, boot_id = tostring(table_.comment):match "^(%d+) (%d+) (%S+)$"
  return pid and { pid = math.tointeger(tonumber(pid)), start = math.tointeger(tonumber(start)),
    boot_id = boot_id }
end

local function rule_of(name, from, ports)
  return {
    table = name, chain = from.iifname and "in" or "out", iifname = from.iifname,
    ip = { saddr = from.saddr, daddr = from.daddr }, [from.protocol] = ports,
    set = { nftrace = 1 },
  }
end

-- By rules: the packets, and their answers where these come by here. Addresses are translated back
-- only later, so an answer is known by the port that it goes to.
local function rules_of(name, journeys)
  local list = {}
  for i, journey in ipairs(journeys) do
    local packet = journey.packet
    list[i] = journey.back and rule_of(name, packet.back, { dport = packet.sports })
      or rule_of(name, packet, { sport = packet.sports, dport = packet.port })
  end
  return list
end

local function operations(name, journeys, owner)
  local ops = { { op = "create", table = { name = name, owner = owner, comment = mark() } } }
  for _, chain in ipairs(CHAINS) do
    local copy = { table = name }
    for key, value in pairs(chain) do
      copy[key] = value
    end
    ops[#ops + 1] = { op = "add", chain = copy }
  end
  local by_op = {}
  for i, rule in ipairs(rules_of(name, journeys)) do
    ops[#ops + 1] = { op = "add", rule = rule }
    by_op[#ops] = journeys[i]
  end
  return ops, by_op
end

local TOO_NEW = { EOPNOTSUPP = true, EINVAL = true }

-- The journeys by the handles of the rules that mark their packets.
local function make_table(socket, name, journeys)
  local ops, by_op = operations(name, journeys, true)
  local made, why = try(socket.apply, socket, ops, { echo = true })
  if not made and errors.is(why, "nft") and TOO_NEW[why.code] then
    ops, by_op = operations(name, journeys)
    made = socket:apply(ops, { echo = true })
  elseif not made then
    error(why, 0)
  end
  local by_handle = {}
  for _, each in ipairs(made) do
    if each.kind == "rule" then
      by_handle[each.handle] = by_op[each.op]
    end
  end
  return by_handle
end

local function prefix_of(store)
  return ("%s%s-"):format(PREFIX, store:sub(1, 8))
end

--- The tables that killed processes left, on kernels that do not remove them.
-- @tparam string store its UUID
-- @treturn table list of names
function M.abandoned(store)
  local list, prefix = {}, prefix_of(store)
  for _, each in ipairs((nft.list { family = "inet", elements = false, rules = false })) do
    local maker = each.name:find(prefix, 1, true) == 1 and not each.owner and maker_of(each)
    if maker and not sys.is_alive(maker) then
      list[#list + 1] = each.name
    end
  end
  return list
end

--- Removes such a table.
-- @tparam string name
function M.remove(name)
  nft.apply { { op = "destroy", table = { name = name } } }
end

-- -- Following ----------------------------------------------------------------------------------

local following = {}
following.__index = following

local function is_drop(step)
  return step.verdict == "drop" or step.what == "policy" and step.policy == "drop"
end

local ENDS = { arrived = "iif", left = "oif" }

-- Nobody answers to what did not get through.
function following:settle(journey, outcome)
  if journey.outcome then
    return
  end
  journey.outcome, self.open = outcome, self.open - 1
  if journey.answer and not ENDS[outcome.verdict] then
    self:settle(journey.answer, { verdict = "unseen" })
  end
end

-- A rule of a trace's table marks a packet: ours, or that of another trace, whose buffer may have
-- been ours before.
function following:identify(step, ours)
  if step.what ~= "rule" or step.table:find(PREFIX, 1, true) ~= 1 then
    return
  end
  self.by_id[step.id] = ours and self.by_handle[step.handle] or nil
end

function following:see(step)
  local ours = step.table == self.name and step.family == "inet"
  self:identify(step, ours)
  local journey = self.by_id[step.id]
  if not journey then
    return
  end
  journey.seen = true
  if is_drop(step) then
    self:settle(journey, { verdict = "drop", step = step })
  elseif not ours then
    journey.last = step
  elseif ENDS[step.chain] then
    self:settle(journey, { verdict = step.chain, interface = step[ENDS[step.chain]] })
  end
end

function following:run(trace)
  while self.open > 0 do
    local step = trace:next()
    if not step then
      return
    elseif step.lost then
      self.lost = true
    else
      self:see(step)
    end
  end
end

-- -- Sending ------------------------------------------------------------------------------------

-- Some ports above the others', no two packets the same.
local function choose_ports(packets)
  local taken = {}
  for _, packet in ipairs(packets) do
    packet.sports = {}
    while #packet.sports < CANDIDATES do
      local port = FIRST_PORT
        + string.unpack("I4", crypto.random(4)) % (LAST_PORT - FIRST_PORT + 1)
      if not taken[port] then
        taken[port] = true
        table.insert(packet.sports, port)
      end
    end
  end
end

-- From the first port that is free there. Where our own rules drop it, it was sent all the same.
local function send(packet)
  for _, port in ipairs(packet.sports) do
    local _, why = try(packet.send, packet, port)
    if not why or why.code == "EPERM" and not packet.iifname then
      return nil
    elseif why.code ~= "EADDRINUSE" or port == packet.sports[#packet.sports] then
      return why
    end
  end
end

function following:send_all(journeys)
  for _, journey in ipairs(journeys) do
    local why = not journey.back and send(journey.packet)
    if why then
      if errors.is(why, "task", "cancelled") then
        error(why, 0)
      end
      self:settle(journey, { verdict = "unsent", why = why })
    end
  end
end

-- Each packet's, and that of its answer.
local function journeys_of(packets)
  local list = {}
  for _, packet in ipairs(packets) do
    local journey = { packet = packet }
    list[#list + 1] = journey
    if packet.back then
      packet.back.protocol = packet.protocol
      journey.answer = { packet = packet, back = true }
      list[#list + 1] = journey.answer
    end
  end
  return list
end

-- -- What came of it ----------------------------------------------------------------------------

local function rule_text(step)
  local listed = nft.list { family = step.family, table = step.table }
  for _, table_ in ipairs(listed) do
    for _, chain in ipairs(table_.chains) do
      for _, rule in ipairs(chain.name == step.chain and chain.rules or {}) do
        if rule.handle == step.handle then
          return (nft.text(rule, step.family):gsub(" packets %d+ bytes %d+", ""))
        end
      end
    end
  end
end

local function chain_text(step)
  return ("%s %s %s"):format(step.family, step.table, step.chain)
end

local function interface_name(index)
  local link = index and try(netlink.link, index)
  return link and link.name or index and ("number %d"):format(index) or nil
end

local function result_of(journey)
  local outcome = journey.outcome
    or { verdict = journey.seen and "lost" or "unseen" }
  local step = outcome.step
  local result = {
    verdict = outcome.verdict, why = outcome.why,
    interface = interface_name(outcome.interface),
    after = outcome.verdict == "lost" and journey.last and chain_text(journey.last) or nil,
  }
  if step then
    result.chain, result.policy = chain_text(step), step.what == "policy"
    result.handle = step.handle
    result.rule = step.what == "rule" and rule_text(step) or nil
  end
  return result
end

--- Sends packets and follows them.
-- @tparam string store its UUID
-- @tparam table packets each {protocol, saddr, daddr, port, iifname, send, back}: `iifname` where
-- it comes in by an interface, else it is this host that sends it; `send(packet, from)` sends it
-- from that port; `back`: {iifname, saddr, daddr} of its answer, where one is to be waited for and
-- comes by here
-- @treturn table for each {verdict, interface, chain, rule, handle, policy, after, why}: `verdict`
-- is "left" or "arrived" (by `interface`), "drop" (by `chain`, by its `policy` or by the `rule`
-- with that `handle`), "lost" (no chain of nftables dropped it `after` that one, and yet it did
-- not get any further), "unseen" (it never came here), or "unsent" (`why`); `back`: the same of its
-- answer
-- @treturn boolean whether the kernel had more to tell than it could keep
-- @raise {kind="nft"} where this process may not trace
function M.run(store, packets)
  for _, name in ipairs(M.abandoned(store)) do
    M.remove(name)
  end
  choose_ports(packets)
  local journeys = journeys_of(packets)
  local name = prefix_of(store) .. crypto.hex(crypto.random(6))
  local trace <close> = nft.trace()
  local socket <close> = nft.open()
  local self = setmetatable({ name = name, open = #journeys, by_id = {} }, following)
  self.by_handle = make_table(socket, name, journeys)
  local _ <close> = setmetatable({}, { __close = function()
    try(socket.apply, socket, { { op = "destroy", table = { name = name } } })
  end })
  task.race {
    function() self:run(trace) end,
    function()
      self:send_all(journeys)
      task.sleep(PATIENCE)
    end,
  }
  local results = {}
  for _, journey in ipairs(journeys) do
    if not journey.back then
      local result = result_of(journey)
      result.back = journey.answer and result_of(journey.answer)
      results[#results + 1] = result
    end
  end
  return results, self.lost or false
end

return M
