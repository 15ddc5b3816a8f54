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

local function rule_of(packet, name)
  local rule = {
    table = name, chain = packet.iifname and "in" or "out", iifname = packet.iifname,
    ip = { saddr = packet.saddr, daddr = packet.daddr }, set = { nftrace = 1 },
  }
  rule[packet.protocol] = { sport = packet.sports, dport = packet.port }
  return rule
end

local function operations(name, packets, owner)
  local ops = { { op = "create", table = { name = name, owner = owner, comment = mark() } } }
  for _, chain in ipairs(CHAINS) do
    local copy = { table = name }
    for key, value in pairs(chain) do
      copy[key] = value
    end
    ops[#ops + 1] = { op = "add", chain = copy }
  end
  local by_op = {}
  for _, packet in ipairs(packets) do
    ops[#ops + 1] = { op = "add", rule = rule_of(packet, name) }
    by_op[#ops] = packet
  end
  return ops, by_op
end

local TOO_NEW = { EOPNOTSUPP = true, EINVAL = true }

-- The packets by the handles of the rules that mark them.
local function make_table(socket, name, packets)
  local ops, by_op = operations(name, packets, true)
  local made, why = try(socket.apply, socket, ops, { echo = true })
  if not made and errors.is(why, "nft") and TOO_NEW[why.code] then
    ops, by_op = operations(name, packets)
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

function following:settle(packet, outcome)
  if not packet.outcome then
    packet.outcome, self.open = outcome, self.open - 1
  end
end

local ENDS = { arrived = "iif", left = "oif" }

function following:see(step)
  local ours = step.table == self.name and step.family == "inet"
  if ours and step.what == "rule" and self.by_handle[step.handle] then
    self.by_id[step.id] = self.by_handle[step.handle]
  end
  local packet = self.by_id[step.id]
  if not packet then
    return
  end
  packet.seen = true
  if is_drop(step) then
    self:settle(packet, { verdict = "drop", step = step })
  elseif not ours then
    packet.last = step
  elseif ENDS[step.chain] then
    self:settle(packet, { verdict = step.chain, interface = step[ENDS[step.chain]] })
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

function following:send_all(packets)
  for _, packet in ipairs(packets) do
    local why = send(packet)
    if why then
      if errors.is(why, "task", "cancelled") then
        error(why, 0)
      end
      self:settle(packet, { verdict = "unsent", why = why })
    end
  end
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

local function result_of(packet)
  local outcome = packet.outcome
    or { verdict = packet.seen and "lost" or "unseen" }
  local step = outcome.step
  local result = {
    verdict = outcome.verdict, why = outcome.why,
    interface = interface_name(outcome.interface),
    after = outcome.verdict == "lost" and packet.last and chain_text(packet.last) or nil,
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
-- @tparam table packets each {protocol, saddr, daddr, port, iifname, send}: `iifname` where it
-- comes in by an interface, else it is this host that sends it; `send(packet, from)` sends it from
-- that port
-- @treturn table for each {verdict, interface, chain, rule, handle, policy, after, why}: `verdict`
-- is "left" or "arrived" (by `interface`), "drop" (by `chain`, by its `policy` or by the `rule`
-- with that `handle`), "lost" (no chain of nftables dropped it `after` that one, and yet it did
-- not get any further), "unseen" (it never came here), or "unsent" (`why`)
-- @treturn boolean whether the kernel had more to tell than it could keep
-- @raise {kind="nft"} where this process may not trace
function M.run(store, packets)
  for _, name in ipairs(M.abandoned(store)) do
    M.remove(name)
  end
  choose_ports(packets)
  local name = prefix_of(store) .. crypto.hex(crypto.random(6))
  local trace <close> = nft.trace()
  local socket <close> = nft.open()
  local self = setmetatable({ name = name, open = #packets, by_id = {} }, following)
  self.by_handle = make_table(socket, name, packets)
  local _ <close> = setmetatable({}, { __close = function()
    try(socket.apply, socket, { { op = "destroy", table = { name = name } } })
  end })
  task.race {
    function() self:run(trace) end,
    function()
      self:send_all(packets)
      task.sleep(PATIENCE)
    end,
  }
  local results = {}
  for i, packet in ipairs(packets) do
    results[i] = result_of(packet)
  end
  return results, self.lost or false
end

return M
