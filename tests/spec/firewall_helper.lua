--- What the specs of the firewall share: a host with an uplink, guests behind interfaces of it, and
-- programs that talk across them. All of it is in the network namespace that the spec runs in.
local fs = require "moonport.fs"
local json = require "moonport.json"
local netlink = require "moonport.netlink"
local process = require "moonport.process"
local state = require "moonport.state"

local M = {}

local PEER = os.getenv "MP_SOURCE_DIR" .. "/tests/fixtures/firewall/peer.lua"
local PREFIX = "mpfw-"

local function path_of(name)
  return name and "/run/netns/" .. PREFIX .. name
end

--- Runs a program in a namespace (nil: the host's).
function M.run(where, ...)
  return process.run { netns = path_of(where), ... }
end

local function ask(where, address, port, patience)
  local result = M.run(where, os.getenv "MOONPORT", "run", PEER, "ask", address, tostring(port),
    tostring(patience))
  return (result.stdout:gsub("\n", ""))
end

--- What a program in `where` is told when it connects; an answer may take its time.
function M.ask(where, address, port)
  return ask(where, address, port, 20)
end

--- The same where no answer is expected: "timeout", or why there is none. An answer would be there
-- long before this gives up.
function M.drops(where, address, port)
  return ask(where, address, port, 0.3)
end

local servers = {}

--- Starts a server in a namespace, on "ADDRESS:PORT" or a port.
function M.serve(where, ...)
  local argv = { netns = path_of(where), stdout = "pipe", os.getenv "MOONPORT", "run", PEER,
    "serve" }
  for _, port in ipairs { ... } do argv[#argv + 1] = tostring(port) end
  local child = process.spawn(argv)
  for _ = 1, select("#", ...) do assert(child:read_line() == "ready") end
  servers[#servers + 1] = child
  return child
end

local function namespace(name)
  netlink.create_namespace(PREFIX .. name)
  local there <close> = netlink.open { netns = PREFIX .. name }
  there:set_link("lo", { up = true })
end

--- A host with an uplink `up0` (203.0.113.1) to `net` (203.0.113.2), which knows the way back.
function M.host()
  local forwarding = assert(io.open("/proc/sys/net/ipv4/ip_forward", "w"))
  forwarding:write "1"
  forwarding:close()
  namespace "net"
  netlink.add_link { kind = "veth", name = "up0", up = true, addresses = { "203.0.113.1/24" },
    peer = { name = "eth0", netns = PREFIX .. "net" } }
  local there <close> = netlink.open { netns = PREFIX .. "net" }
  there:set_link("eth0", { up = true })
  there:add_address("eth0", "203.0.113.2/24")
  there:add_route { dst = "172.30.0.0/16", via = "203.0.113.1" }
  netlink.add_route { dst = "default", via = "203.0.113.2" }
end

--- A guest `gN` behind the host's interface `tapN`: 172.30.0.(4N + 2).
function M.guest(n)
  local name, tap = "g" .. n, "tap" .. n
  local host, guest = ("172.30.0.%d"):format(4 * n + 1), ("172.30.0.%d"):format(4 * n + 2)
  namespace(name)
  netlink.add_link { kind = "veth", name = tap, up = true, addresses = { host .. "/30" },
    ipv4 = { route_localnet = true, rp_filter = 0 },
      peer = { name = "eth0", netns = PREFIX .. name } }
  local there <close> = netlink.open { netns = PREFIX .. name }
  there:set_link("eth0", { up = true })
  there:add_address("eth0", guest .. "/30")
  there:add_route { dst = "default", via = host }
  return { name = name, tap = tap, host = host, guest = guest }
end

--- A record of a guest, as the step that puts it in would keep it.
function M.record(n, fields)
  local record = {
    id = ("d%d-1"):format(n), deployment = "d" .. n, revision = 1, name = "vm" .. n,
    tap = "tap" .. n, host = ("172.30.0.%d"):format(4 * n + 1),
      guest = ("172.30.0.%d"):format(4 * n + 2),
    host_ports = {}, published = {}, peers = {}, egress = true, rules = {},
  }
  for key, value in pairs(fields or {}) do record[key] = value end
  return record
end

--- A state store with no deployments.
function M.state()
  return state.open { dir = fs.temp_dir() .. "/state" }
end

--- Writes a record into a store as the engine does: the intent of a step, and its resource.
function M.keep(store, record)
  local id, revision = record.deployment, record.revision
  if not store.db:row("SELECT 1 AS one FROM deployments WHERE id = ?", id) then
    store.db:run([[INSERT INTO deployments (id, name, target, phase, want, created, updated)
      VALUES (?, ?, 'hypervisor', 'active', 'running', 0, 0)]], id, record.name)
  end
  store.db:run([[INSERT INTO journal (deployment, revision, seq, step, scope, state, intent,
    started) VALUES (?, ?, 1, 'firewall', 'revision', 'done', ?, 0)]], id, revision,
      json.encode { record = record })
  store.db:run([[INSERT INTO resources (deployment, revision, step, kind, identity)
    VALUES (?, ?, 'firewall', 'firewall-vm', ?)]], id, revision,
    json.encode { store = store.uuid, id = record.id })
  return record
end

--- Ends the servers and takes away all namespaces and links.
function M.clean()
  for _, child in ipairs(servers) do child:close() end
  servers = {}
  for _, link in ipairs(netlink.links {}) do
    if link.name:find "^tap" or link.name == "up0" then try(netlink.delete_link, link.name) end
  end
  for _, name in ipairs(netlink.namespaces()) do
    if name:find(PREFIX, 1, true) == 1 then netlink.delete_namespace(name) end
  end
end

return M
