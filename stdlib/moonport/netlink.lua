--- The network as the kernel has it: links, addresses, routes, neighbours and namespaces.
--
--     netlink.add_link {
--       name = "tap0", kind = "tap", up = true, owner = 1000, addresses = { "172.30.0.1/30" },
--     }
--     print(netlink.default_route().link)
--     netlink.delete_link "tap0"
--
-- The same calls are the methods of a connection, which may be one to another network namespace.
-- No Lua runs there, only what the calls do; programs take `netns=` (`process.run`):
--
--     netlink.create_namespace "guest"
--     local there <close> = netlink.open { netns = "guest" }
--     there:set_link("lo", { up = true })
--
-- A link is given by name or by index. What is made is made whole or not at all. Reading is allowed
-- in a plan. Every error has the kernel's own explanation in it, where it gave one.
-- @module moonport.netlink

local core = require "moonport.core.netlink"
local errors = require "moonport.errors"

local M = {}

local Connection = {}
Connection.__index = Connection
Connection.__name = "moonport.netlink.connection"

local _state = {}

local function matches(item, wanted)
  for field, value in pairs(wanted) do
    if item[field] ~= value then return false end
  end
  return true
end

-- An option that is passed over would be a mistake that nobody sees: `netsn` acts here, not there.
local function check_options(options, known)
  if options ~= nil and type(options) ~= "table" then
    errors.raise { kind = "argument", code = "invalid",
      message = ("options are a table, not a %s"):format(type(options)) }
  end
  for field in pairs(options or {}) do
    if not known[field] then
      errors.raise {
        kind = "argument", code = "invalid",
        message = ("there is no option `%s` here"):format(tostring(field)),
        hint = require("moonport.nearest").hint(tostring(field), known),
      }
    end
  end
end

-- The items that have all the wanted fields; `known` are those that can be asked for.
local function select(items, wanted, known)
  check_options(wanted, known)
  if not wanted or next(wanted) == nil then return items end
  local found = {}
  for _, item in ipairs(items) do
    if matches(item, wanted) then found[#found + 1] = item end
  end
  return found
end

-- The name of a link that is given by name or by index.
local function name_of(self, link)
  return math.type(link) == "integer" and self.core:link(link).name or link
end

-- Options with the links that they name by index named by name.
local function by_name(self, options, field)
  if type(options) ~= "table" or math.type(options[field]) ~= "integer" then return options end
  local copy = {}
  for key, value in pairs(options) do copy[key] = value end
  copy[field] = name_of(self, options[field])
  return copy
end

--- Opens a connection.
-- @tparam[opt] table options `netns`: the namespace to act in (CAP_SYS_ADMIN): a name as `ip netns`
-- gives it, a path or the pid of a process in it
-- @treturn Connection to be closed, best by `<close>`
-- @raise {kind="netlink"}: "ENOENT", "EPERM"
function M.open(options)
  check_options(options, { netns = true })
  local netns = options and options.netns
  return setmetatable({ core = core.open(netns and tostring(netns)) }, Connection)
end

--- Closes it.
function Connection:close()
  self.core:close()
end

Connection.__close = Connection.close

-- Links.

--- Lists the links (network interfaces).
-- @function links
-- @tparam[opt] table options `kind`: only "tap", "bridge", "veth", ...; `master`: only those that
-- belong to this one
-- @treturn {link,...} in the order of their indices; a link is {index, name, kind, up, carrier,
-- mtu, address, alias, master, parent}, a TAP has {owner, group, persistent, multi_queue, vnet_hdr}
-- besides, a vlan its `id`; `ipv4` is {forwarding, rp_filter, route_localnet, proxy_arp}
function Connection:links(options)
  return select(self.core:links(), by_name(self, options, "master"),
    { kind = true, master = true })
end

--- Looks up one link.
-- @function link
-- @tparam string|integer name or its index
-- @treturn link
-- @raise {kind="netlink", code="ENODEV"}
function Connection:link(name)
  return self.core:link(name)
end

--- Makes a link, with all that is asked for or not at all.
-- @function add_link
-- @tparam table options `name` (at most 15 bytes), `kind` ("tap", "bridge", "veth", "vlan",
-- "dummy"); `up`, `mtu`, `master`, `address` (the hardware's), `alias`, `addresses` (a list);
-- `ipv4 = {rp_filter, route_localnet, forwarding, proxy_arp}`; `ipv6=false`: gives itself no
-- link-local address. For a TAP `owner` and `group` (ids that may open it), `multi_queue`,
-- `vnet_hdr`. For a veth `peer = {name, netns}`. For a vlan `link` (what it stands on) and `id`
-- @treturn link
-- @raise {kind="netlink"}: "EEXIST", "EPERM", ...
function Connection:add_link(options)
  options = by_name(self, by_name(self, options, "master"), "link")
  self.core:add_link(options)
  return self.core:link(options.name)
end

--- Changes a link.
-- @function set_link
-- @tparam string|integer name or its index
-- @tparam table options `up`, `mtu`, `master` (false: none), `address`, `alias` (false: none),
-- `name` (a new one), `netns` (moves there), `ipv4`, `ipv6` as for `add_link`
-- @raise {kind="netlink"}: "ENODEV", "EPERM", ...
function Connection:set_link(name, options)
  self.core:set_link(name_of(self, name), by_name(self, options, "master"))
end

--- Deletes a link.
-- @function delete_link
-- @tparam string|integer name or its index
-- @raise {kind="netlink"}: "ENODEV", "EPERM", "EOPNOTSUPP"
function Connection:delete_link(name)
  name = name_of(self, name)
  if self.core:delete_links { name } == 0 then
    errors.raise {
      kind = "netlink", code = "ENODEV",
      message = ("could not delete the link `%s`: there is none"):format(name),
    }
  end
end

--- Deletes links together, which for many takes hardly longer than for one. Those that are not
-- there are fine.
-- @function delete_links
-- @tparam {string,...} names
-- @treturn integer how many there were
function Connection:delete_links(names)
  return self.core:delete_links(names)
end

-- Addresses.

--- Lists the addresses.
-- @function addresses
-- @tparam[opt] table options `link`: a name; `family`: "inet" or "inet6"
-- @treturn {table,...} of {address = "172.30.0.1/30", link, index, family, peer, scope, permanent};
-- those that are not permanent have {valid, preferred}, seconds that are left
function Connection:addresses(options)
  return select(self.core:addresses(), by_name(self, options, "link"),
    { link = true, family = true })
end

--- Adds an address to a link.
-- @function add_address
-- @tparam string|integer link its name or index
-- @tparam string address such as "172.30.0.1/30"
-- @tparam[opt] table options `peer`: the address of the other end, where there is no subnet;
-- `valid` and `preferred`: seconds after which it goes, and new connections do not use it (without
-- them, never); `replace`: one that is there is changed to that
-- @raise {kind="netlink"}: "EEXIST", "ENODEV", "EPERM"
function Connection:add_address(link, address, options)
  self.core:add_address(name_of(self, link), address, options)
end

--- Takes an address away from a link.
-- @function delete_address
-- @tparam string|integer link
-- @tparam string address
-- @raise {kind="netlink"}: "EADDRNOTAVAIL", "ENODEV", "EPERM"
function Connection:delete_address(link, address)
  self.core:delete_address(name_of(self, link), address)
end

-- Routes.

--- Lists the routes.
-- @function routes
-- @tparam[opt] table options `table`: "main" (unless given), "local", "default", a number, or
-- "all"; `link`, `family`, `type`: only those
-- @treturn {route,...} of {dst = "10.0.0.0/8" or "default", via, link, src, metric, table, type,
-- protocol, scope, family}, and `hops` where it leads several ways
function Connection:routes(options)
  check_options(options, { table = true, link = true, family = true, type = true })
  local wanted = {}
  for field, value in pairs(options or {}) do wanted[field] = value end
  local routes = self.core:routes(wanted.table)
  wanted.table = nil
  return select(routes, by_name(self, wanted, "link"), { link = true, family = true, type = true })
end

--- Adds a route.
-- @function add_route
-- @tparam table options `dst` (a prefix or "default"), `via`, `link`, `src`, `metric`, `table`,
-- `type` ("unicast", "blackhole", "unreachable", ...)
-- @raise {kind="netlink"}: "EEXIST", "ENETUNREACH", "EPERM", ...
function Connection:add_route(options)
  self.core:add_route(by_name(self, options, "link"))
end

--- Adds a route, or puts it in the place of the one with this destination and metric.
-- @function replace_route
-- @tparam table options as for `add_route`
function Connection:replace_route(options)
  self.core:replace_route(by_name(self, options, "link"))
end

--- Deletes a route.
-- @function delete_route
-- @tparam table options as for `add_route`: those given must match
-- @raise {kind="netlink"}: "ESRCH" where there is none
function Connection:delete_route(options)
  self.core:delete_route(by_name(self, options, "link"))
end

--- The way out: the default route that is preferred.
-- @function default_route
-- @tparam[opt] table options `family`: "inet" (unless given) or "inet6"
-- @treturn route|nil nil where there is none
function Connection:default_route(options)
  check_options(options, { family = true })
  local best
  local family = options and options.family or "inet"
  for _, route in ipairs(self:routes { family = family, type = "unicast" }) do
    if route.dst == "default" and (not best or route.metric < best.metric) then best = route end
  end
  return best
end

-- Neighbours.

--- Lists the neighbours: which hardware address answers to an address.
-- @function neighbours
-- @tparam[opt] table options `link`, `family`: only those
-- @treturn {table,...} of {address, hardware, link, index, state, family, proxy}
function Connection:neighbours(options)
  return select(self.core:neighbours(), by_name(self, options, "link"),
    { link = true, family = true })
end

--- Adds a neighbour, for good.
-- @function add_neighbour
-- @tparam string|integer link
-- @tparam string address
-- @tparam string hardware its hardware address
-- @tparam[opt] table options `replace`: in the place of one that is there
-- @raise {kind="netlink"}: "EEXIST", "ENODEV", "EPERM"
function Connection:add_neighbour(link, address, hardware, options)
  check_options(options, { replace = true })
  self.core:add_neighbour(name_of(self, link), address, hardware, options and options.replace)
end

--- Deletes a neighbour.
-- @function delete_neighbour
-- @tparam string|integer link
-- @tparam string address
-- @raise {kind="netlink"}: "ENOENT", "ENODEV", "EPERM"
function Connection:delete_neighbour(link, address)
  self.core:delete_neighbour(name_of(self, link), address)
end

-- Each as a function of the module, on a connection of its own to our network.

local function ours()
  if not _state.ours then
    local opened = M.open()
    if _state.ours then opened:close() else _state.ours = opened end
  end
  return _state.ours
end

for name, method in pairs(Connection) do
  if name ~= "close" and name:sub(1, 2) ~= "__" then
    M[name] = function(...) return method(ours(), ...) end
  end
end

--- Checks that the device of TAPs is there and may be used. Allowed in a plan.
-- @function check_tap
-- @raise {kind="netlink"}: "ENOENT", "EACCES", ..., with what to do about it
M.check_tap = core.check_tap

-- Namespaces.

--- Lists the network namespaces that have a name.
-- @function namespaces
-- @treturn {string,...} sorted
M.namespaces = core.namespaces

--- Makes a network namespace with a name, which `ip netns` knows too. Nothing in it is up.
-- @function create_namespace
-- @tparam string name
-- @raise {kind="netlink"}: "EEXIST", "EPERM"
M.create_namespace = core.create_namespace

--- Takes the name of a network namespace away; it goes with the last process in it.
-- @function delete_namespace
-- @tparam string name
-- @raise {kind="netlink"}: "ENOENT", "EPERM"
M.delete_namespace = core.delete_namespace

--- Watches for changes, from now on.
--
--     local events <close> = netlink.monitor { "link", "address" }
--     for event in events do
--       if event.action == "lost" then look_again() end
--     end
-- @tparam table options what to watch, as list elements: "link", "address", "route", "neighbour";
-- `netns` as for `open`; `buffer`: bytes of events that may wait (1 MiB)
-- @treturn iterator of {what = "link", action = "new"|"del", link = {...}}, the field named after
-- what it is, with indices in place of other links' names; {action = "lost"} where events came
-- faster than they were read: some are missing, and what was known has to be read anew. `:next()`
-- waits for one, `:poll()` gives one that has come already, or nil; to be closed, best by `<close>`
-- @raise {kind="netlink"}
function M.monitor(options)
  local what, others = {}, {}
  for key, value in pairs(options) do
    local into = math.type(key) == "integer" and what or others
    into[key] = value
  end
  check_options(others, { netns = true, buffer = true })
  return core.monitor(what, options.netns and tostring(options.netns), options.buffer)
end

return M
