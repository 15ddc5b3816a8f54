--- What the firewall is told of a virtual machine, and the step that tells it.
-- @module moonport.hypervisor.network

local endpoint = require "moonport.endpoint"
local errors = require "moonport.errors"

local M = {}

local function host_ports(manifest, own_addresses)
  local list, seen = {}, {}
  local function add(protocol, port, loopback)
    local key = ("%s/%d"):format(protocol, port)
    if seen[key] then return end
    seen[key] = true
    list[#list + 1] = { protocol = protocol, port = port, loopback = loopback }
  end
  for _, target in ipairs(endpoint.targets(manifest)) do
    if endpoint.is_loopback(target.host) then
      add(target.protocol, target.port, true)
    elseif own_addresses[target.host] then
      add(target.protocol, target.port, false)
    end
  end
  for _, port in ipairs(manifest.hypervisor.network.host_ports) do add("tcp", port, true) end
  return list
end

local function own_addresses()
  local netlink = require "moonport.netlink"
  local set = {}
  for _, address in ipairs(netlink.addresses {}) do
    set[address.address:match "^[^/]+"] = true
  end
  return set
end

--- The ports of this host that a guest may reach.
-- @tparam table manifest
-- @treturn {{protocol,port,loopback},...} `loopback`: it is led to the host's loopback
function M.host_ports(manifest)
  return host_ports(manifest, own_addresses())
end

--- Whether a guest is led to ports of this host's loopback.
-- @tparam table manifest
-- @treturn boolean
function M.leads_to_loopback(manifest)
  for _, entry in ipairs(host_ports(manifest, {})) do
    if entry.loopback then return true end
  end
  return false
end

local function published(manifest)
  local list = {}
  for index, entry in ipairs(manifest.hypervisor.network.publish) do
    list[index] = {
      protocol = entry.protocol, address = entry.address, port = entry.port,
      guest_port = entry.guest_port or entry.port,
    }
  end
  return list
end

--- The record of a VM in the firewall. Pure.
-- @tparam context ctx
-- @tparam table lease {host, guest, tap, mac}
-- @tparam table more `addresses` (set of this host's own), `peers` (ids), `uplink`, `foreign`
-- @treturn table plain data, see `moonport.hypervisor.firewall`
function M.record(ctx, lease, more)
  local network = ctx.manifest.hypervisor.network
  return {
    id = ctx.tag,
    deployment = ctx.id, revision = ctx.revision, name = ctx.name,
    tap = lease.tap, guest = lease.guest, host = lease.host, mac = lease.mac,
    host_ports = host_ports(ctx.manifest, more.addresses or {}),
    published = published(ctx.manifest),
    peers = more.peers or {},
    egress = network.egress,
    uplink = more.uplink,
    foreign = more.foreign,
    rules = network.rules,
  }
end

-- The ids of deployments that the manifest names as peers. Which of their revisions serves is
-- looked up by the firewall, so that a peer can be replaced.
local function peers_of(ctx)
  local ids = {}
  for _, name in ipairs(ctx.manifest.hypervisor.network.peers) do
    local deployment = ctx.state:deployment(name)
    if not deployment then
      errors.raise {
        kind = "hypervisor", code = "not_found",
        message = ("`hypervisor.network.peers` names `%s`, which is not deployed"):format(name),
        hint = "deploy it first",
      }
    end
    ids[#ids + 1] = deployment.id
  end
  return ids
end

-- What may be done about another program's firewall: "insert", or nil.
local function foreign_of(ctx)
  return ctx.manifest.hypervisor.network.foreign == "insert" and "insert"
    or (ctx.config.network or {}).foreign
end

--- Gathers the record: whom the guest reaches, and who reaches it.
-- @tparam context ctx
-- @treturn table intent {record}
-- @treturn table resources
function M.allocate(ctx)
  local record = M.record(ctx, ctx.intents.lease, {
    addresses = own_addresses(), peers = peers_of(ctx),
    uplink = (ctx.config.network or {}).uplink, foreign = foreign_of(ctx),
  })
  return { record = record }, { { "firewall-vm", { store = ctx.store, id = record.id } } }
end

local function listener_text(entry)
  local address = entry.address
  local who = address:find("^127%.") and "this host alone"
    or address == "0.0.0.0" and "whoever reaches this host" or "whoever reaches " .. address
  return ("port %s:%d/%s -> guest port %d, for %s"):format(address, entry.port, entry.protocol,
    entry.guest_port or entry.port, who)
end

--- Tells which ways are opened: every listener, and who reaches it.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local manifest = ctx.manifest
  local network, changes = manifest.hypervisor.network, {}
  local function add(what, to)
    changes[#changes + 1] = { action = "create", what = what, to = to }
  end
  for _, entry in ipairs(network.publish) do add("published port", listener_text(entry)) end
  for _, entry in ipairs(M.host_ports(manifest)) do
    add("opened to the guest", ("this host's port %d/%s"):format(entry.port, entry.protocol))
  end
  for _, peer in ipairs(network.peers) do add("opened to the guest", "the VM of " .. peer) end
  add("firewall rules", network.egress and "out by masquerade; nothing else in" or "no way out")
  return changes
end

-- Whoever listens there would be asked no more: the port leads to the guest, and nobody told him.
local function check_listeners(entries)
  local listener = require "moonport.listener"
  for _, entry in ipairs(entries) do
    local found = listener.at(entry.protocol, entry.address, entry.port)
    if found then
      errors.raise {
        kind = "hypervisor", code = "refused",
        message = ("port %s:%d/%s cannot be published: %s has it, at %s"):format(entry.address,
          entry.port, entry.protocol, listener.describe(found), found.address),
        hint = "give `hypervisor.network.publish` another `port`; `guest_port` stays as it is",
      }
    end
  end
end

--- Refuses where a program of this host has a port that is to be published, and where another
-- program's firewall would drop the VM's packets, naming the chain.
-- @tparam context ctx
-- @raise {kind="hypervisor", code="refused"}
function M.check(ctx)
  local network = ctx.manifest.hypervisor.network
  local firewall = require "moonport.hypervisor.firewall"
  check_listeners(published(ctx.manifest))
  firewall.check(ctx, {
    foreign = foreign_of(ctx),
    egress = network.egress, published = published(ctx.manifest),
    host_ports = M.host_ports(ctx.manifest),
  })
end

--- Makes the firewall again what the records say, where something has flushed or changed it, and
-- this host's forwarding what the manifest may have.
-- @tparam context ctx
-- @treturn boolean true when anything was changed
function M.mend(ctx)
  local forwards = require("moonport.hypervisor.forwarding").mend(ctx)
  return require("moonport.hypervisor.firewall").ensure(ctx.state) or forwards
end

--- Puts the VM into the firewall.
-- @tparam context ctx
-- @tparam table intent
function M.apply(ctx, intent)
  require("moonport.hypervisor.firewall").add(ctx.state, intent.record)
end

--- Takes it out.
-- @tparam context ctx
-- @tparam table intent
function M.undo(ctx, intent)
  require("moonport.hypervisor.firewall").remove(ctx.state, intent.record.id)
end

return M
