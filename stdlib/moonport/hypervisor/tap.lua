--- The step that makes a virtual machine's TAP, and how TAPs that nobody has are found.
--
-- A TAP's alias is its mark: the deployment's, and the revision. It is compared whole, so that no
-- machine ever loses its interface to another one's end. The kernel gives a TAP to us with its
-- alias, its address and its settings in place, or not at all.
-- @module moonport.hypervisor.tap

local errors = require "moonport.errors"
local lease = require "moonport.hypervisor.lease"
local netlink = require "moonport.netlink"
local subnets = require "moonport.hypervisor.subnets"
local sys = require "moonport.sys"

local M = {
  --- From so many TAPs of ours on, no more are made: something leaks them.
  WATERMARK = 1000,
}

local LISTED = 10 -- orphans that an error names
local MARK = "^moonport/([%x-]+)/([^/]+)/(%d+)$"

local function refuse(code, message, hint)
  errors.raise { kind = "hypervisor", code = code, message = message, hint = hint }
end

-- Which TAPs are ours, and whose.

local function marked(links)
  local list = {}
  for _, link in ipairs(links) do
    local store, deployment, revision = (link.alias or ""):match(MARK)
    if store then
      list[#list + 1] = {
        name = link.name, alias = link.alias, store = store, deployment = deployment,
        revision = math.tointeger(tonumber(revision)),
      }
    end
  end
  return list
end

-- Links are listed before it is looked whose they are: a revision has its row before it has one.
local function orphans_among(state, taps)
  local found = {}
  for _, tap in ipairs(taps) do
    if tap.store == state.uuid and not lease.is_live(state, tap.deployment, tap.revision) then
      found[#found + 1] = {
        identity = { name = tap.name, alias = tap.alias },
        what = ("TAP `%s` of a VM that is gone"):format(tap.name),
      }
    end
  end
  return found
end

local function orphans(state)
  local links, why = try(netlink.links, { kind = "tap" })
  -- A sandbox may keep netlink from us, which is no failure of a sweep.
  if not links then return { { what = "TAPs", unseen = why.message } } end
  return orphans_among(state, marked(links))
end

-- The link with this name, if it has this alias and no other.
local function find(identity)
  local link, why = try(netlink.link, identity.name)
  if link then return link.alias == identity.alias and link or nil end
  if not errors.is(why, "netlink", "ENODEV") then error(why, 0) end
  return nil
end

local function remove(identity)
  if find(identity) then netlink.delete_links { identity.name } end
end

--- Removes several, for which the kernel takes hardly longer than for one.
-- @tparam {table,...} identities {name, alias}
-- @treturn integer how many there were
function M.remove_all(identities)
  local aliases, names = {}, {}
  for _, identity in ipairs(identities) do aliases[identity.name] = identity.alias end
  for _, link in ipairs(netlink.links { kind = "tap" }) do
    local wanted = aliases[link.name]
    if wanted and wanted == link.alias then names[#names + 1] = link.name end
  end
  return netlink.delete_links(names)
end

--- See `moonport.resources`.
M.resource = {
  remove = remove,
  remove_all = M.remove_all,
  describe = function(identity) return identity.name end,
  orphans = orphans,
}

-- A TAP that nobody removes costs memory, and each makes the next one slower: better to be told
-- while it still works.
local function check_watermark(ctx)
  local most = (ctx.config.network or {}).max_taps or M.WATERMARK
  local taps = marked(netlink.links { kind = "tap" })
  if #taps < most then return end
  local left, names = orphans_among(ctx.state, taps), {}
  for index = 1, math.min(#left, LISTED) do names[index] = left[index].identity.name end
  if #left > LISTED then names[#names + 1] = ("%d more"):format(#left - LISTED) end
  local message = "this host has %d TAPs of moonport's, %d of them of VMs that are gone"
  if #left > 0 then message = message .. ": " .. table.concat(names, ", ") end
  refuse("refused", message:format(#taps, #left),
    #left > 0 and "`moonport gc` removes them"
      or "the site's config.lua may allow more: `network.max_taps`")
end

-- The step.

-- A port of this host's loopback reaches the guest only if packets for 127.0.0.0/8 may be routed on
-- this one interface.
local function needs_loopback(ctx)
  return require("moonport.hypervisor.network").leads_to_loopback(ctx.manifest)
end

-- Published ports that are reached at 127.0.0.1 leave by the TAP with that address as their source.
local function publishes_on_loopback(ctx)
  for _, entry in ipairs(ctx.manifest.hypervisor.network.publish) do
    if entry.address:find "^127%." or entry.address == "0.0.0.0" then return true end
  end
  return false
end

--- Chooses what the TAP will be.
-- @tparam context ctx
-- @treturn table intent {name, alias, address, owner, loopback}
-- @treturn table resources
function M.allocate(ctx)
  local leased, user = ctx.intents.lease, (ctx.intents.data or {}).user
  local intent = {
    name = leased.tap,
    alias = ("%s/%d"):format(ctx.mark, ctx.revision),
    address = ("%s/%d"):format(leased.host, leased.prefix),
    owner = user and user.uid or sys.euid(),
    loopback = needs_loopback(ctx) or publishes_on_loopback(ctx),
  }
  return intent, { { "tap", { name = intent.name, alias = intent.alias } } }
end

--- Tells of the interface.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  check_watermark(ctx)
  return { { action = "create", what = "TAP", to = "an interface for this VM alone" } }
end

local function settings_of(intent)
  return {
    forwarding = true,
    rp_filter = 1, -- a guest's packets come from its own address, or from nowhere
    route_localnet = intent.loopback,
  }
end

local function make(intent)
  netlink.add_link {
    name = intent.name, kind = "tap", up = true, alias = intent.alias, owner = intent.owner,
    vnet_hdr = true, addresses = { intent.address }, ipv4 = settings_of(intent), ipv6 = false,
  }
end

-- What was made with this very intent is kept: a guest may be using it.
local function is_as_wanted(link, intent)
  if link.kind ~= "tap" or link.owner ~= intent.owner or not link.vnet_hdr then return false end
  for _, address in ipairs(netlink.addresses { link = intent.name, family = "inet" }) do
    if address.address == intent.address then return true end
  end
  return false
end

local function refuse_other(intent)
  local other = try(netlink.link, intent.name)
  if not other then return end
  refuse("conflict", ("there is an interface `%s` already, which is not this VM's: %s"):format(
    intent.name, other.alias and ("its alias is `%s`"):format(other.alias) or "it has no alias"),
    "find out whose it is; `ip link delete` removes it")
end

--- Makes the TAP. One that is there with this very mark is kept or made anew.
-- @tparam context ctx
-- @tparam table intent
-- @treturn table {index}
-- @raise {kind="hypervisor", code="conflict"|"refused"}; {kind="netlink"}
function M.apply(ctx, intent)
  local link = find(intent)
  if link and is_as_wanted(link, intent) then
    netlink.set_link(intent.name, { up = true, ipv4 = settings_of(intent) })
    return { index = link.index }
  end
  if link then remove(intent) end
  refuse_other(intent)
  check_watermark(ctx)
  make(intent)
  -- Another store may have chosen the same subnet at the same time; both see it now.
  local uses <close> = subnets.uses()
  local ok, why = pcall(uses.refuse_conflict, uses, ctx.intents.lease.subnet, intent.name)
  if not ok then
    remove(intent)
    error(why, 0)
  end
  return { index = netlink.link(intent.name).index }
end

--- Removes the TAP, if it is this revision's.
-- @tparam context _
-- @tparam table intent
function M.undo(_, intent)
  remove(intent)
end

return M
