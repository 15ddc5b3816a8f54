--- Events of nftables, one for each transaction.
--
-- @module moonport.nft.monitor
local core = require "moonport.core.nftables"
local fs = require "moonport.fs"
local objects = require "moonport.nft.objects"
local problem = require "moonport.nft.problem"

local M = {}

local monitor = {}
monitor.__index = monitor

-- PROC_PID_INIT_INO of linux/proc_ns.h, the same on every machine.
local INITIAL = "pid:[4026531836]"

-- The kernel tells process ids of the initial PID namespace. In a container such an id is nobody's,
-- or another process's; only the name is true there.
local function tells_our_ids()
  return try(fs.readlink, "/proc/self/ns/pid") == INITIAL
end

local function change_of(message)
  return {
    what = message.kind == "object" and "counter" or message.kind,
    gone = message.gone or false,
    family = objects.FAMILY_NAMES[message.family] or message.family,
    table = message.kind == "table" and message.name or message.table,
    name = message.kind ~= "table" and message.name or nil,
    chain = message.chain,
    handle = message.handle,
  }
end

-- Messages up to a generation are one transaction.
local function take(self, message)
  if message.kind == "generation" then
    table.insert(self.ready, {
      generation = message.generation,
      pid = self.tells_ids and message.pid or nil,
      process = message.process,
      port = message.port,
      changes = self.changes,
    })
    self.changes = {}
  else
    table.insert(self.changes, change_of(message))
  end
end

--- The next transaction.
-- @treturn ?table nil once closed; {generation, process, pid, port, changes}, where `pid` is only
-- known in the initial PID namespace; {lost = true, changes}
function monitor:next()
  while #self.ready == 0 do
    local messages, lost = self.core:next()
    if not messages then
      return nil
    elseif lost then
      self.changes = {}
      table.insert(self.ready, { lost = true, changes = {} })
    end
    for _, message in ipairs(messages) do
      take(self, message)
    end
  end
  return table.remove(self.ready, 1)
end

monitor.__call = monitor.next

--- Ends it.
function monitor:close()
  self.core:close()
end

monitor.__close = monitor.close

--- Opens a monitor.
-- @tparam ?table options `netns`
-- @treturn monitor
function M.open(options)
  problem.options(options, { netns = true }, "`nft.monitor`")
  local netns = options and options.netns
  local tells_ids = tells_our_ids()
  return setmetatable({ core = core.monitor(netns and tostring(netns)), ready = {}, changes = {},
    tells_ids = tells_ids }, monitor)
end

return M
