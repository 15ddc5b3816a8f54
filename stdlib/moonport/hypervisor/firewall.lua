--- The firewall of virtual machines: one nftables table for each store, kept as the records of its
-- VMs say.
--
-- A record is plain data in the intent of the step that puts a VM in:
--
--    { id = ctx.tag, deployment, revision, name, tap, guest, host, mac,
--      host_ports = { {protocol, port, loopback} },      what it may reach of this host
--      published = { {protocol, address, port, guest_port} },
--      peers = { ids of deployments }, egress = true, uplink = NAME or nil (the default route's),
--      foreign = "insert" where its packets may be accepted in Docker's chain for that,
--      rules = { rules of its site, as `mp.nft` takes them } }
--
-- `add` and `remove` are one batch each, whose cost does not grow with the number of VMs; where
-- something else than expected is found there, the whole table is compared and put right instead.
--
-- @module moonport.hypervisor.firewall
local changes = require "moonport.hypervisor.firewall.changes"
local errors = require "moonport.errors"
local layout = require "moonport.hypervisor.firewall.layout"
local nft = require "moonport.nft"
local records = require "moonport.hypervisor.firewall.records"

local M = {}

-- How often the rules may change under our hands before we give up.
local TRIES = 20

--- The interfaces by which the default routes lead out.
-- @treturn table their names, sorted
function M.uplinks()
  local names, seen = {}, {}
  for _, route in ipairs(require("moonport.netlink").routes { family = "inet",
    type = "unicast" }) do
    if route.dst == "default" and route.link and not seen[route.link] then
      seen[route.link] = true
      names[#names + 1] = route.link
    end
  end
  table.sort(names)
  return names
end

local uplinks = M.uplinks

-- Says what a missing right means.
local function denied(why)
  if errors.is(why, "nft", "EPERM") then
    why.hint = "changing nftables takes CAP_NET_ADMIN: run it as root, or see `moonport doctor`"
  end
  error(why, 0)
end

-- -- The whole table ------------------------------------------------------------------------------

local function port_key(entry)
  return ("%s %s/%d"):format(entry.address, entry.protocol, entry.port)
end

--- Refuses a record that publishes what another deployment has.
-- @tparam table record
-- @tparam table others records
-- @raise {kind = "firewall", code = "refused"}
function M.check_ports(record, others)
  local wanted = {}
  for _, entry in ipairs(record.published or {}) do
    wanted[port_key(entry)] = entry
  end
  for _, other in ipairs(others) do
    for _, entry in ipairs(other.deployment ~= record.deployment and other.published or {}) do
      if wanted[port_key(entry)] then
        errors.raise {
          kind = "firewall",
          code = "refused",
          message = ("port %s:%d/%s is published by `%s` already"):format(entry.address, entry.port,
            entry.protocol, other.name or other.deployment),
          hint = "choose another port, or remove that deployment",
        }
      end
    end
  end
end

-- What the table should be. The kernel was listed before: whatever has been put in since by others
-- changes the rules' generation, and all of this is done again.
local function wanted_table(state)
  return layout.table(state.uuid, records.all(state), uplinks())
end

local function reconcile(state)
  local name = layout.name(state.uuid)
  for _ = 1, TRIES do
    local listed, generation = nft.list { family = "inet", table = name }
    local all = records.all(state)
    if #all == 0 and not listed[1] then
      return false
    end
    local wanted = layout.table(state.uuid, all, uplinks())
    local ops
    if #all == 0 then
      ops = { { op = "delete", table = { name = name } } }
      require("moonport.hypervisor.firewall.foreign").withdraw(state.uuid)
    else
      ops = changes.mend(wanted, changes.differences(wanted, listed[1]))
    end
    if #ops == 0 then
      return false
    end
    local _, why = try(nft.apply, ops, { generation = generation })
    if not why then
      return true
    elseif not errors.is(why, "nft", "ERESTART") then
      denied(why)
    end
  end
  errors.raise {
    kind = "firewall",
    code = "interrupted",
    message = ("the rules of this host changed %d times while ours were put right"):format(TRIES),
    hint = "something changes nftables all the time; find it with `moonport watch`",
  }
end

--- Puts the table right, in one transaction; removes it where there are no VMs. What was allowed to
-- be put into another program's chain is put there again.
-- @tparam state state
-- @treturn boolean true when anything was changed
function M.ensure(state)
  local changed = reconcile(state)
  local foreign = require "moonport.hypervisor.firewall.foreign"
  local blockers = foreign.shut_out(records.all(state), uplinks())
  return #blockers > 0 and foreign.insert(state.uuid, blockers) or changed
end

--- How the table differs from what it should be.
-- @tparam state state
-- @treturn table list of texts for people, empty where all is well
function M.verify(state)
  local listed = nft.table(layout.name(state.uuid))
  local wanted = wanted_table(state)
  local all = records.all(state)
  if #all == 0 then
    return listed and { "a table of ours is left, though there are no VMs" } or {}
  end
  local found = changes.differences(wanted, listed)
  local texts = found.structure
  local function tell(list, how)
    for _, element in ipairs(list) do
      texts[#texts + 1] = ("`%s` of the set `%s` is %s"):format(layout.key_text(element.key),
        element.set, how)
    end
  end
  tell(found.missing, "missing")
  tell(found.surplus, "too much")
  local foreign = require "moonport.hypervisor.firewall.foreign"
  for _, blocker in ipairs(foreign.shut_out(all, uplinks())) do
    texts[#texts + 1] = ("%s: the chain `%s` drops guests' packets again, which were accepted in "
      .. "DOCKER-USER"):format(blocker.program, blocker.chain)
  end
  return texts
end

-- -- One VM ---------------------------------------------------------------------------------------

local EXPECTED = { EEXIST = true, ENOENT = true, EBUSY = true, ENOTEMPTY = true }

-- Elements for the VM's own peers, and for those of others that name its deployment.
local function peers_in(state, record)
  local list, mine = {}, record.peers or {}
  local function add(from, others)
    local elements = layout.peer_elements(from, others)
    table.move(elements, 1, #elements, #list + 1, list)
  end
  for _, id in ipairs(mine) do
    add(record, records.of(state, id))
  end
  for _, other in ipairs(records.naming(state, record.deployment)) do
    add(other, { record })
  end
  return list
end

local function others_of(state, record)
  local list = {}
  for _, each in ipairs(records.of(state, record.deployment)) do
    list[#list + 1] = each.id ~= record.id and each or nil
  end
  return list
end

-- One batch where nothing stands in the way, the whole table where something does. True for the
-- batch.
local function try_batch(ops)
  local _, why = try(nft.apply, ops)
  if why and not EXPECTED[why.code] then
    denied(why)
  end
  return not why
end

--- Puts a VM in. Its record must be in the state already.
-- @tparam state state
-- @tparam table record
-- @raise {kind = "firewall", code = "refused"} where it publishes another deployment's port
function M.add(state, record)
  -- While revisions of one deployment change over, ports pass from one to the other.
  local alone = #others_of(state, record) == 0
  if alone and try_batch(changes.add(state.uuid, record, peers_in(state, record))) then
    return
  end
  M.check_ports(record, records.all(state))
  reconcile(state)
end

--- Takes a VM out.
-- @tparam state state
-- @tparam string id of its record
function M.remove(state, id)
  local deployment, record = records.deployment_of(id), nil
  for _, each in ipairs(records.of(state, deployment)) do
    record = each.id == id and each or record
  end
  local peers = record and peers_in(state, record)
  local shares = record and #others_of(state, record) > 0
  records.forget(state, id)
  if not record then
    M.remove_by_id(state.uuid, id)
  elseif shares
    or not state.db:row "SELECT 1 AS one FROM resources WHERE kind = 'firewall-vm' LIMIT 1" then
    -- The last one takes the table with it.
    reconcile(state)
  else
    local done = try_batch(changes.remove(state.uuid, record, peers))
    if not done then
      reconcile(state)
    end
  end
end

--- Takes out whatever bears a VM's id, without a record.
-- @tparam string store
-- @tparam string id
function M.remove_by_id(store, id)
  local there = nft.table(layout.name(store))
  local ops = there and changes.remove_by_id(there, id) or {}
  if #ops > 0 then
    local _, why = try(nft.apply, ops)
    if why then
      denied(why)
    end
  end
end

--- What has been counted for a VM.
-- @tparam state state
-- @tparam string id
-- @treturn table list of {set, key, packets, bytes}, of what it sent, what was refused, ...
function M.counters(state, id)
  local list, there = {}, nft.table(layout.name(state.uuid))
  for _, set in ipairs(there and there.sets or {}) do
    for _, element in ipairs(set.elements) do
      if element.comment == id and element.counter then
        list[#list + 1] = {
          set = set.name, about = set.comment, key = layout.key_text(element.key),
          packets = element.counter.packets, bytes = element.counter.bytes,
        }
      end
    end
  end
  return list
end

-- -- Others' firewalls, packets' ways, and watching -----------------------------------------------

--- Chains of other programs that would drop a VM's packets; see
-- `moonport.hypervisor.firewall.foreign`.
-- @tparam ?table wanted {egress, published, host_ports, tap, guest, host, uplink}
-- @treturn table list of {program, chain, policy, what, certain, hint}
function M.blockers(wanted)
  return require("moonport.hypervisor.firewall.foreign").blockers(wanted or { egress = true },
    uplinks())
end

--- Refuses where another program's firewall would drop a VM's packets.
-- @tparam context ctx
-- @tparam table wanted {foreign = "refuse" or "insert", egress, published, host_ports}
-- @raise {kind = "firewall", code = "refused"}
function M.check(ctx, wanted)
  local record = { id = ctx.tag, deployment = ctx.id, published = wanted.published }
  M.check_ports(record, records.all(ctx.state))
  return require("moonport.hypervisor.firewall.foreign").check(ctx, wanted, uplinks())
end

--- Follows a packet through all rules of this host; see `moonport.hypervisor.firewall.path`.
-- @tparam state state
-- @tparam string id of a VM's record
-- @tparam table packet {direction = "out" | "in" | "host" | "local" | "guest", protocol, port,
-- address}
-- @treturn table {verdict, chain, steps}
function M.path(state, id, packet)
  local record
  for _, each in ipairs(records.of(state, records.deployment_of(id))) do
    record = (each.id == id or each.deployment == id) and each or record
  end
  if not record then
    errors.raise { kind = "firewall", code = "not_found",
      message = ("no VM `%s` is in the firewall"):format(id) }
  end
  return require("moonport.hypervisor.firewall.path").follow(record, packet, uplinks())
end

--- Follows all that a VM is meant to be able to do.
-- @tparam state state
-- @tparam string deployment its id
-- @treturn table list of {what, verdict, chain, certain}
function M.probe(state, deployment)
  local list = {}
  for _, record in ipairs(records.of(state, deployment)) do
    for _, each in ipairs(require("moonport.hypervisor.firewall.path").probe(record, uplinks())) do
      list[#list + 1] = each
    end
  end
  return list
end

--- Watches; see `moonport.hypervisor.firewall.watch`.
-- @tparam state state
-- @tparam function observer
function M.watch(state, observer)
  return require("moonport.hypervisor.firewall.watch").run(state, observer)
end

-- -- By kind --------------------------------------------------------------------------------------

-- Elements that bear the id of no VM in the state, and what a killed trace left.
local function orphans(state)
  local there = nft.table(layout.name(state.uuid))
  local known, found, list = {}, {}, {}
  for _, name in ipairs(require("moonport.hypervisor.firewall.trace").abandoned(state.uuid)) do
    list[#list + 1] = { identity = { store = state.uuid, trace = name },
      what = ("the table `inet %s` of a trace that was killed"):format(name) }
  end
  if not there then
    return list
  end
  for _, record in ipairs(records.all(state)) do
    known[record.id] = true
  end
  for _, kind in ipairs { "sets", "maps" } do
    for _, set in ipairs(there[kind]) do
      for _, element in ipairs(set.elements) do
        local id = element.comment
        if id and not known[id] and not found[id] then
          found[id] = true
          list[#list + 1] = { identity = { store = state.uuid, id = id },
            what = ("firewall rules of the VM `%s`, which no deployment has"):format(id) }
        end
      end
    end
  end
  if next(known) == nil and next(found) == nil then
    list[#list + 1] = { identity = { store = state.uuid },
      what = ("the empty firewall table `inet %s`"):format(there.name) }
  end
  return list
end

local function remove(identity)
  if identity.trace then
    require("moonport.hypervisor.firewall.trace").remove(identity.trace)
  elseif identity.id then
    M.remove_by_id(identity.store, identity.id)
  else
    nft.apply { { op = "destroy", table = { name = layout.name(identity.store) } } }
  end
end

--- See `moonport.resources`.
M.resource = {
  remove = remove,
  describe = function(identity)
    return identity.trace or identity.id or layout.name(identity.store)
  end,
  orphans = function(state)
    local list, why = try(orphans, state)
    if not list and (errors.is(why, "nft", "EPERM") or errors.is(why, "nft", "library")) then
      -- Who may not list the rules has put nothing in.
      return {}
    elseif not list then
      error(why, 0)
    end
    return list
  end,
}

return M
