--- Subnets of IPv4: a pool cut into /30s, and what of it this host uses already.
-- @module moonport.hypervisor.subnets

local errors = require "moonport.errors"

local M = {}

local SIZE = 4 -- addresses in a /30

local function to_number(text)
  local a, b, c, d = text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  if not a then return nil end
  return ((tonumber(a) * 256 + tonumber(b)) * 256 + tonumber(c)) * 256 + tonumber(d)
end

--- An address as text.
-- @tparam integer number
-- @treturn string
function M.text(number)
  return ("%d.%d.%d.%d"):format(number >> 24 & 255, number >> 16 & 255, number >> 8 & 255,
    number & 255)
end

--- The first and last address of a prefix, as numbers.
-- @tparam string prefix such as "172.30.0.0/16" or an address
-- @treturn integer|nil nil for what is not IPv4
-- @treturn integer
function M.range(prefix)
  local address, length = prefix:match "^([%d.]+)/(%d+)$"
  local number = to_number(address or prefix)
  if not number then return nil end
  local size = 1 << 32 - math.tointeger(tonumber(length or 32))
  local first = number - number % size
  return first, first + size - 1
end

--- The /30s of a pool in the order to try them: from a place of the store's own, so that two stores
-- on one host hardly meet.
-- @tparam string pool
-- @tparam string store its UUID
-- @treturn function iterator over text such as "172.30.0.4/30"
function M.each(pool, store)
  local first, last = M.range(pool)
  local count = (last - first + 1) // SIZE
  local start, tried = tonumber(store:sub(1, 8), 16) % count, 0
  return function()
    if tried == count then return nil end
    local at = first + (start + tried) % count * SIZE
    tried = tried + 1
    return M.text(at) .. "/30"
  end
end

--- How many /30s a pool has.
-- @tparam string pool
-- @treturn integer
function M.count(pool)
  local first, last = M.range(pool)
  return (last - first + 1) // SIZE
end

--- The two ends of a /30.
-- @tparam string subnet
-- @treturn string host
-- @treturn string guest
function M.ends(subnet)
  local first = M.range(subnet)
  return M.text(first + 1), M.text(first + 2)
end

-- What is in use.

-- Routes that lead everywhere use nothing, nor do those that follow from an address.
local function is_use(route)
  return route.family == "inet" and route.dst ~= "default" and route.table ~= "local"
    and route.protocol ~= "kernel"
end

local function read(net)
  local uses = {}
  local function add(prefix, link, what)
    local first, last = M.range(prefix)
    if first then
      uses[#uses + 1] = { first = first, last = last, link = link, prefix = prefix, what = what }
    end
  end
  for _, address in ipairs(net.addresses { family = "inet" }) do
    add(address.address, address.link, ("interface `%s`"):format(address.link or address.index))
    if address.peer then
      add(address.peer, address.link, ("interface `%s`"):format(address.link or address.index))
    end
  end
  for _, route in ipairs(net.routes { table = "all" }) do
    if is_use(route) then
      add(route.dst, route.link, route.link and ("route on `%s`"):format(route.link) or "route")
    end
  end
  table.sort(uses, function(a, b) return a.first < b.first end)
  return uses
end

local Uses = {}
Uses.__index = Uses
Uses.__name = "moonport.hypervisor.uses"

--- What this host's interfaces and routes use, kept current by the kernel's events.
-- @treturn Uses to be closed, best by `<close>`
function M.uses()
  local netlink = require "moonport.netlink"
  -- Listening begins before looking: what comes in between is seen twice rather than never.
  local self = setmetatable({ events = netlink.monitor { "address", "route" } }, Uses)
  self.list = read(netlink)
  return self
end

--- Looks again where the kernel has told of changes, or has lost some.
-- @treturn boolean true when it has looked
function Uses:refresh()
  local changed = false
  while self.events:poll() do changed = true end
  if changed then self.list = read(require "moonport.netlink") end
  return changed
end

--- Stops listening.
function Uses:close()
  self.events:close()
end

Uses.__close = Uses.close

--- The first use that a subnet would collide with.
-- @tparam string subnet
-- @tparam[opt] string own a link whose uses do not count
-- @treturn table|nil {prefix, what, link}
function Uses:conflict(subnet, own)
  local first, last = M.range(subnet)
  for _, use in ipairs(self.list) do
    if use.first > last then return nil end
    if use.last >= first and not (own and use.link == own) then return use end
  end
  return nil
end

--- Those that lie in a pool.
-- @tparam string pool
-- @treturn {table,...}
function Uses:within(pool)
  local first, last = M.range(pool)
  local found = {}
  for _, use in ipairs(self.list) do
    if use.first <= last and use.last >= first then found[#found + 1] = use end
  end
  return found
end

--- Raises where a subnet collides with what this host uses.
-- @tparam string subnet
-- @tparam string own the link that has it
-- @raise {kind="hypervisor", code="conflict"}
function Uses:refuse_conflict(subnet, own)
  local use = self:conflict(subnet, own)
  if not use then return end
  errors.raise {
    kind = "hypervisor", code = "conflict",
    message = ("the VM's subnet %s is also that of the %s (%s)"):format(subnet, use.what,
      use.prefix),
    hint = "`moonport rm` and deploy again gives it another one; another pool is set by "
      .. "`network.pool` in the site's config.lua",
  }
end

return M
