--- Watching the firewall: what was flushed or changed is put right at once, and who did it is told.
--
-- @module moonport.hypervisor.firewall.watch
local errors = require "moonport.errors"
local firewall = require "moonport.hypervisor.firewall"
local iptables = require "moonport.hypervisor.firewall.iptables"
local layout = require "moonport.hypervisor.firewall.layout"
local netlink = require "moonport.netlink"
local nft = require "moonport.nft"
local task = require "moonport.task"

local M = {}

local BLOCKING = { chain = true, rule = true, table = true }

-- Our own changes are no news.
local function is_ours(event)
  return event.port == nft.port()
end

-- What a transaction did to a table: "flushed", "changed" or nothing.
local function done_to(event, name)
  local done
  for _, change in ipairs(event.changes) do
    if change.table == name then
      if change.what == "table" and change.gone then
        return "flushed"
      end
      done = "changed"
    end
  end
  return done
end

local function touches_others(event, name)
  for _, change in ipairs(event.changes) do
    if change.table ~= name and BLOCKING[change.what] then
      return true
    end
  end
  return false
end

-- Tells what has come to stand in the way since the last look, and what is gone from there.
local function look_at_others(self)
  local now, found = {}, try(firewall.blockers) or {}
  for _, blocker in ipairs(found) do
    now[blocker.chain] = blocker
    if not self.blocked[blocker.chain] then
      self.observer { type = "blocked", program = blocker.program, chain = blocker.chain,
        what = blocker.what, hint = blocker.hint, certain = blocker.certain }
    end
  end
  for chain, blocker in pairs(self.blocked) do
    if not now[chain] then
      self.observer { type = "unblocked", program = blocker.program, chain = chain }
    end
  end
  self.blocked = now
end

-- Puts the table right; one that cannot be is told, and tried again at the next event.
local function mend(self, why)
  local changed, problem = try(firewall.ensure, self.state)
  if changed then
    why.type = "mended"
    self.observer(why)
  elseif problem and not errors.is(problem, nil, "cancelled") then
    self.observer { type = "failed", error = problem }
  elseif problem then
    error(problem, 0)
  end
end

-- What others' firewalls have come to do; what may be accepted there is, again.
local function see_others(self)
  mend(self, { what = "others" })
  look_at_others(self)
end

local function watch_rules(self, monitor)
  local name = layout.name(self.state.uuid)
  for event in monitor do
    local done = done_to(event, name)
    if event.lost then
      mend(self, { what = "lost" })
      look_at_others(self)
    elseif done and not is_ours(event) then
      mend(self, { what = done, process = event.process, pid = event.pid })
    end
    if touches_others(event, name) then
      see_others(self)
    end
  end
end

-- The default route says which interfaces are uplinks.
local function watch_routes(self, monitor)
  for event in monitor do
    if event.action == "lost" or event.route and event.route.dst == "default" then
      mend(self, { what = "route" })
    end
  end
end

--- Watches until it is cancelled.
-- @tparam state state
-- @tparam function observer of {type = "watching"}; {type = "unheard", program, hint}: its rules
-- are looked at only when nftables changes; {type = "mended", what = "flushed", "changed", "start",
-- "route", "others" or "lost", process, pid (as of `nft.monitor`)}; {type = "blocked", program,
-- chain, what, hint} and "unblocked"; {type = "failed", error}
function M.run(state, observer)
  local self = { state = state, observer = observer, blocked = {} }
  -- Listened to before anything is looked at, so that nothing is missed in between.
  local rules <close> = nft.monitor()
  local routes <close> = netlink.monitor { "route" }
  mend(self, { what = "start" })
  look_at_others(self)
  observer { type = "watching" }
  if iptables.legacy_is_used() then
    observer { type = "unheard", program = "legacy iptables",
      hint = "`moonport doctor` reads it; its successor iptables-nft is heard" }
  end
  task.all {
    function() watch_rules(self, rules) end,
    function() watch_routes(self, routes) end,
  }
end

return M
