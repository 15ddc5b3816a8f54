--- What becomes of packets that a rule traces, step by step.
--
-- @module moonport.nft.trace
local address = require "moonport.nft.address"
local core = require "moonport.core.nftables"
local objects = require "moonport.nft.objects"
local types = require "moonport.nft.types"
local verdicts = require "moonport.nft.verdicts"

local M = {}

local trace = {}
trace.__index = trace

local KINDS = { "policy", "return", "rule" }

-- -- Headers ------------------------------------------------------------------------------------

local function protocol_of(byte)
  return types.decode(types.get "inet_proto", byte)
end

local NETWORK = {}

function NETWORK.ip(bytes)
  if #bytes >= 20 then
    return { protocol = protocol_of(bytes:sub(10, 10)), saddr = address.show(bytes:sub(13, 16)),
      daddr = address.show(bytes:sub(17, 20)) }
  end
end

function NETWORK.ip6(bytes)
  if #bytes >= 40 then
    return { protocol = protocol_of(bytes:sub(7, 7)), saddr = address.show(bytes:sub(9, 24)),
      daddr = address.show(bytes:sub(25, 40)) }
  end
end

local NETWORKS = { [4] = "ip", [6] = "ip6" }

local function ports(bytes)
  if #bytes >= 4 then
    local sport, dport = string.unpack(">I2I2", bytes)
    return { sport = sport, dport = dport }
  end
end

local function icmp(bytes)
  if #bytes >= 2 then
    return { type = bytes:byte(1), code = bytes:byte(2) }
  end
end

local TRANSPORT = { tcp = ports, udp = ports, icmp = icmp, icmpv6 = icmp }

-- The headers may be of another protocol than we read, or cut off: what is not known is not told.
local function add_headers(step, message)
  local network = message.network
  local name = network and #network > 0 and NETWORKS[network:byte(1) >> 4]
  local found = name and NETWORK[name](network)
  if not found then
    return
  end
  step[name] = found
  local read = TRANSPORT[found.protocol]
  if read and message.transport then
    step[found.protocol] = read(message.transport)
  end
end

-- -- Steps --------------------------------------------------------------------------------------

--- A step from the kernel's message.
-- @tparam table message
-- @treturn table
function M.step(message)
  local step = {
    id = message.id,
    what = KINDS[message.type] or message.type,
    family = objects.FAMILY_NAMES[message.family] or message.family,
    table = message.table,
    chain = message.chain,
    handle = message.handle,
    verdict = message.verdict
      and verdicts.decode { verdict = message.verdict, chain = message.target },
    policy = message.policy and verdicts.decode { verdict = message.policy },
    iif = message.iif,
    oif = message.oif,
    mark = message.mark,
    nfproto = message.nfproto and types.decode(types.get "nf_proto", string.char(message.nfproto
      & 255)),
  }
  add_headers(step, message)
  return step
end

-- Where a chain ends, the kernel tells of the end as of a rule that is none.
local function is_step(message)
  return message.handle or KINDS[message.type] ~= "rule"
end

local PACKET = { "iif", "oif", "mark", "nfproto", "ip", "ip6", "tcp", "udp", "icmp", "icmpv6" }

-- What the end of a chain told of the packet belongs to the next step.
local function take(self, message)
  local step = M.step(message)
  local told = self.told[step.id] or {}
  for _, name in ipairs(PACKET) do
    step[name] = step[name] == nil and told[name] or step[name]
  end
  if is_step(message) then
    self.told[step.id] = nil
    table.insert(self.ready, step)
  else
    self.told[step.id] = step
  end
end

--- The next step of a packet.
-- @treturn ?table nil once closed
function trace:next()
  while #self.ready == 0 do
    local messages, lost = self.core:next()
    if not messages then
      return nil
    elseif lost then
      self.told = {}
      table.insert(self.ready, { lost = true })
    end
    for _, message in ipairs(messages) do
      if message.kind == "trace" then
        take(self, message)
      end
    end
  end
  return table.remove(self.ready, 1)
end

trace.__call = trace.next

--- Ends it.
function trace:close()
  self.core:close()
end

trace.__close = trace.close

--- Opens one.
-- @tparam ?table options `netns`
-- @treturn trace
function M.open(options)
  local netns = options and options.netns
  local open = core.trace(netns and tostring(netns))
  return setmetatable({ core = open, ready = {}, told = {} }, trace)
end

return M
