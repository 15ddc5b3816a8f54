--- The step that gives a virtual machine its addresses: a /30 of the site's pool, for the host's
-- end and the guest's, which no other machine has.
--
-- A lease is taken in a transaction and belongs to one revision of one deployment; so nothing that
-- a crash or a reboot leaves can use a pool up. What this host's interfaces and routes use is
-- passed over.
-- @module moonport.hypervisor.lease

local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local subnets = require "moonport.hypervisor.subnets"

local M = {
  --- The network that subnets are taken from, unless the site names another one.
  POOL = "172.30.0.0/16",
}

local TRIES = 8 -- at a value that the host takes into use meanwhile
local LISTED = 12 -- holders that an error names

--- The pool that applies.
-- @tparam context ctx
-- @treturn string
function M.pool(ctx)
  return (ctx.config.network or {}).pool or M.POOL
end

local function purpose_of(ctx)
  return ("vm/%d"):format(ctx.revision)
end

-- Names of this revision's alone, that tell nothing and fit into an interface's 15 bytes.
local function names(ctx)
  local digest = crypto.hash("sha256", ctx.store .. "/" .. ctx.tag)
  local octets = {}
  for index = 1, 5 do octets[index] = digest:sub(index * 2 - 1, index * 2) end
  return "mp-" .. digest:sub(1, 10), "02:" .. table.concat(octets, ":")
end

--- The name of a revision's TAP.
-- @tparam context ctx
-- @treturn string
function M.tap_name(ctx)
  return (names(ctx))
end

-- Running out.

--- True when a revision has something, or may be about to: it serves, is at work, or has a step
-- that was not taken back.
-- @tparam state state
-- @tparam string deployment id
-- @tparam integer revision
-- @treturn boolean
function M.is_live(state, deployment, revision)
  return state.db:row([[
    SELECT 1 AS one FROM deployments d
    WHERE d.id = ?1 AND (d.revision = ?2 OR d.pending = ?2 OR EXISTS (
      SELECT 1 FROM journal j WHERE j.deployment = d.id AND j.revision = ?2
        AND j.scope = 'revision' AND j.state != 'undone'))]], deployment, revision) ~= nil
end

-- Gives back what revisions hold that are gone; a crash between two commits can leave such.
local function reclaim(state, pool)
  local count = 0
  for _, lease in ipairs(state:leases(pool)) do
    local revision = math.tointeger(tonumber(lease.purpose:match "^vm/(%d+)$"))
    if not (revision and M.is_live(state, lease.deployment, revision)) then
      state:release_lease(pool, lease.deployment, lease.purpose)
      count = count + 1
    end
  end
  return count
end

local function holders_of(state, pool, uses)
  local holders, names_of = {}, {}
  for _, deployment in ipairs(state:deployments()) do names_of[deployment.id] = deployment.name end
  for _, lease in ipairs(state:leases(pool)) do
    local name = names_of[lease.deployment] or lease.deployment
    holders[#holders + 1] = { value = lease.value, holder = ("deployment `%s`"):format(name) }
  end
  for _, use in ipairs(uses:within(pool)) do
    holders[#holders + 1] = { value = use.prefix, holder = use.what }
  end
  return holders
end

local function refuse_exhausted(state, pool, uses)
  local holders, lines = holders_of(state, pool, uses), {}
  for index, holder in ipairs(holders) do
    if index > LISTED then
      lines[#lines + 1] = ("%d more"):format(#holders - LISTED)
      break
    end
    lines[#lines + 1] = ("%s: %s"):format(holder.value, holder.holder)
  end
  errors.raise {
    kind = "hypervisor", code = "exhausted",
    message = ("no subnet is free in the pool %s (%d /30s), which is held by %s"):format(pool,
      subnets.count(pool), table.concat(lines, ", ")),
    hint = "remove deployments, or give the site another pool: `network.pool` in its config.lua",
    holders = holders,
  }
end

-- Taking.

local function free_ones(ctx, pool, uses)
  local each = subnets.each(pool, ctx.store)
  return function()
    local subnet = each()
    while subnet and uses:conflict(subnet) do subnet = each() end
    return subnet
  end
end

local function take(ctx, pool, uses)
  local value, why = try(ctx.state.lease, ctx.state, pool, ctx.id, purpose_of(ctx),
    free_ones(ctx, pool, uses))
  if value then return value end
  if not errors.is(why, "state", "exhausted") then error(why, 0) end
  if reclaim(ctx.state, pool) > 0 then return take(ctx, pool, uses) end
  return refuse_exhausted(ctx.state, pool, uses)
end

local function take_unused(ctx, pool, tap)
  local uses <close> = subnets.uses()
  for _ = 1, TRIES do
    local subnet = take(ctx, pool, uses)
    uses:refresh()
    if not uses:conflict(subnet, tap) then return subnet end
    ctx.state:release_lease(pool, ctx.id, purpose_of(ctx))
  end
  return refuse_exhausted(ctx.state, pool, uses)
end

--- Takes a subnet, and makes up the names that go with it.
-- @tparam context ctx
-- @treturn table intent {pool, subnet, host, guest, prefix, mac, tap}
-- @raise {kind="hypervisor", code="exhausted"} that says who holds what
function M.allocate(ctx)
  local pool = M.pool(ctx)
  local tap, mac = names(ctx)
  local subnet = take_unused(ctx, pool, tap)
  local host, guest = subnets.ends(subnet)
  return {
    pool = pool, subnet = subnet, host = host, guest = guest, prefix = 30, mac = mac, tap = tap,
  }
end

--- Tells where the addresses will come from. Which ones is known when they are taken.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  return { { action = "create", what = "addresses", to = "a /30 out of " .. M.pool(ctx) } }
end

--- Makes sure that the lease is still ours, whatever became of the database, and that this host has
-- not taken the subnet into use since.
-- @tparam context ctx
-- @tparam table intent
-- @raise {kind="hypervisor", code="conflict"}; {kind="state", code="exhausted"}
function M.apply(ctx, intent)
  local offered = false
  ctx.state:lease(intent.pool, ctx.id, purpose_of(ctx), function()
    if not offered then
      offered = true
      return intent.subnet
    end
  end)
  local uses <close> = subnets.uses()
  uses:refuse_conflict(intent.subnet, intent.tap)
end

--- Gives the subnet back.
-- @tparam context ctx
-- @tparam table intent
function M.undo(ctx, intent)
  ctx.state:release_lease(intent.pool, ctx.id, purpose_of(ctx))
end

return M
