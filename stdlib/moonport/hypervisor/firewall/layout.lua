--- The firewall's table: what is in it, as a pure function of the records of VMs.
--
-- All VMs share its chains; what is a VM's own are elements of sets and maps, keyed by its
-- interface or address. So putting one in or taking one out is a few hash operations,
-- however many there are.
-- A chain of its own has only a VM whose site adds rules.
--
-- The way of a packet from a guest:
--
--    antispoof    prerouting, before all: only from its own address, no IPv6, not to 127.0.0.0/8
--    dnat         prerouting: ports of the host's loopback that the guest may reach
--    host         input: what the manifest lists, answers, and nothing else
--    forward      answers, peers, the uplink, and nothing else; to guests: answers, published ports
--    masquerade   postrouting: guests' addresses are not seen beyond the uplink
--
-- and of one from this host to a published port: dnat_local (output), then masquerade, where it
-- comes from 127.0.0.1. Every chain leaves alone what concerns none of our interfaces.
--
-- @module moonport.hypervisor.firewall.layout
local M = {}

local LOOPBACK = "127.0.0.0/8"
local ANY = "0.0.0.0"

--- The table's name.
-- @tparam string store its UUID
-- @treturn string
function M.name(store)
  return "moonport-" .. store:sub(1, 8)
end

-- -- Sets ---------------------------------------------------------------------------------------

local PORT = { "inet_proto", "inet_service" }

-- name -> {type, data, counter, comment}
local SETS = {
  taps = { type = "ifname", comment = "the interfaces of our guests" },
  sources = { type = { "ifname", "ipv4_addr" }, counter = true,
    comment = "what guests sent from their own addresses" },
  spoofed = { type = "ifname", counter = true, comment = "what they sent from others, or by IPv6" },
  refused = { type = "ifname", counter = true, comment = "what they were not allowed to reach" },
  uplinks = { type = "ifname", comment = "where the default routes lead" },
  egress = { type = "ifname", counter = true, comment = "who may go out by an uplink" },
  egress_by = { type = { "ifname", "ifname" }, counter = true,
    comment = "who may go out by which" },
  masquerade = { type = "ipv4_addr", comment = "whose address is hidden beyond an uplink" },
  masquerade_by = { type = { "ipv4_addr", "ifname" },
    comment = "whose address is hidden beyond which" },
  peers = { type = { "ifname", "ifname" }, counter = true,
    comment = "which guest may reach which" },
  host_ports = { type = { "ifname", "inet_proto", "inet_service" }, counter = true,
    comment = "what guests may reach of this host" },
  inbound = { type = { "ipv4_addr", "inet_proto", "inet_service" }, counter = true,
    comment = "published ports, at the guest" },
}
local MAPS = {
  loopback = { type = { "ifname", "ipv4_addr", PORT[1], PORT[2] },
    data = { "ipv4_addr", "inet_service" },
    comment = "ports of the host's loopback for guests" },
  published = { type = { "ipv4_addr", PORT[1], PORT[2] }, data = { "ipv4_addr", "inet_service" },
    comment = "ports of this host that lead to guests" },
  published_any = { type = PORT, data = { "ipv4_addr", "inet_service" },
    comment = "the same at every address of this host" },
  own_rules = { type = "ifname", data = "verdict", comment = "guests with rules of their site" },
}

-- In the order in which they are listed and sent.
local SET_ORDER = { "taps", "sources", "spoofed", "refused", "uplinks", "egress", "egress_by",
  "masquerade", "masquerade_by", "peers", "host_ports", "inbound" }
local MAP_ORDER = { "loopback", "published", "published_any", "own_rules" }

--- How elements of a set are sent.
-- @tparam string name
-- @treturn table its definition
-- @treturn boolean whether it is a map
function M.set(name)
  return SETS[name] or MAPS[name], MAPS[name] ~= nil
end

--- The names of all sets and maps, in the order in which they are sent.
-- @treturn table
function M.set_names()
  local names = {}
  table.move(SET_ORDER, 1, #SET_ORDER, 1, names)
  return table.move(MAP_ORDER, 1, #MAP_ORDER, #names + 1, names)
end

-- -- Chains -------------------------------------------------------------------------------------

local ANSWERS = { ct = { "established", "related" }, verdict = "accept" }
local BROKEN = { ct = "invalid", verdict = "drop" }
local TO_PORT = { "l4proto", "th.dport" }

local function lookup(key, set)
  return { key = key, set = set }
end

local function chains()
  local port_of = function(first)
    return { first, TO_PORT[1], TO_PORT[2] }
  end
  return {
    {
      name = "from_guest",
      rules = {
        { iifname = "@spoofed", nfproto = "ipv6", verdict = "drop" },
        { iifname = "@spoofed", ip = { daddr = LOOPBACK }, verdict = "drop",
          comment = "route_localnet opens one port and no more" },
        { lookup = lookup({ "iifname", "ip.saddr" }, "@sources"), verdict = "return" },
        { iifname = "@spoofed", verdict = "drop" },
      },
    },
    {
      name = "to_host",
      rules = {
        ANSWERS, BROKEN,
        { ip = { daddr = LOOPBACK }, ct = { status = "dnat" }, verdict = "accept" },
        { lookup = lookup({ "iifname", "l4proto", "th.dport" }, "@host_ports"),
          verdict = "accept" },
        { vmap = { key = "iifname", map = "@own_rules" } },
        { iifname = "@refused", verdict = "drop" },
        { verdict = "drop" },
      },
    },
    {
      name = "through",
      rules = {
        ANSWERS, BROKEN,
        { lookup = lookup({ "iifname", "oifname" }, "@peers"), verdict = "accept" },
        { vmap = { key = "iifname", map = "@own_rules" } },
        { vmap = { key = "oifname", map = "@own_rules" } },
        { lookup = lookup(port_of "ip.daddr", "@inbound"), iifname = { ne = "@taps" },
          ct = { status = "dnat" }, verdict = "accept" },
        { oifname = "@taps", verdict = "drop" },
        { lookup = lookup({ "iifname", "oifname" }, "@egress_by"), verdict = "accept" },
        { iifname = "@egress", oifname = "@uplinks", verdict = "accept" },
        { iifname = "@refused", verdict = "drop" },
        { verdict = "drop" },
      },
    },
    {
      name = "antispoof", hook = "prerouting", priority = "raw",
      rules = { { iifname = "@taps", verdict = "jump from_guest" } },
    },
    {
      name = "dnat", type = "nat", hook = "prerouting", priority = "dstnat",
      rules = {
        { iifname = "@taps", dnat = { key = { "iifname", "ip.daddr", TO_PORT[1], TO_PORT[2] },
          map = "@loopback", port = true } },
        { iifname = "@taps", verdict = "return" },
        { ip = { daddr = LOOPBACK }, verdict = "return" },
        { dnat = { key = port_of "ip.daddr", map = "@published", port = true } },
        { fib = { daddr = "local" }, dnat = { key = TO_PORT, map = "@published_any",
          port = true } },
      },
    },
    {
      name = "dnat_local", type = "nat", hook = "output", priority = -100,
      rules = {
        { dnat = { key = port_of "ip.daddr", map = "@published", port = true } },
        { fib = { daddr = "local" }, dnat = { key = TO_PORT, map = "@published_any",
          port = true } },
      },
    },
    {
      name = "host", hook = "input", priority = "filter",
      rules = { { iifname = "@taps", verdict = "goto to_host" } },
    },
    {
      name = "forward", hook = "forward", priority = "filter",
      rules = {
        { iifname = "@taps", verdict = "goto through" },
        { oifname = "@taps", verdict = "goto through" },
      },
    },
    {
      name = "masquerade", type = "nat", hook = "postrouting", priority = "srcnat",
      rules = {
        { oifname = "@taps", ip = { saddr = LOOPBACK }, masquerade = true },
        { lookup = lookup({ "ip.saddr", "oifname" }, "@masquerade_by"), masquerade = true },
        { ip = { saddr = "@masquerade" }, oifname = "@uplinks", masquerade = true },
      },
    },
  }
end

-- -- A VM's part --------------------------------------------------------------------------------

--- The chain of a VM with rules of its site.
-- @tparam table record
-- @treturn string
function M.own_chain(record)
  return "vm-" .. record.id
end

--- True where a published port is for this host alone.
-- @tparam table entry {address, port, protocol}
-- @treturn boolean
function M.is_local(entry)
  return entry.address:find "^127%." ~= nil
end

local function ports(record, add)
  for _, entry in ipairs(record.host_ports or {}) do
    if entry.loopback then
      add("loopback", { record.tap, record.host, entry.protocol, entry.port },
        { "127.0.0.1", entry.port })
    else
      add("host_ports", { record.tap, entry.protocol, entry.port })
    end
  end
  for _, entry in ipairs(record.published or {}) do
    local guest_port = entry.guest_port or entry.port
    local to = { record.guest, guest_port }
    if entry.address == ANY then
      add("published_any", { entry.protocol, entry.port }, to)
    else
      add("published", { entry.address, entry.protocol, entry.port }, to)
    end
    if not M.is_local(entry) then
      add("inbound", { record.guest, entry.protocol, guest_port })
    end
  end
end

-- Of one deployment whose revisions change over, both may publish a port: the newer one has it.
local function key_text(key)
  return type(key) == "table" and table.concat(key, " ") or key
end

--- The elements that a record stands for, besides those of its peers.
-- @tparam table record
-- @treturn table list of {set, key, data}
function M.elements(record)
  local list, seen = {}, {}
  local function add(set, key, data)
    local text = set .. " " .. key_text(key)
    if not seen[text] then
      seen[text] = true
      list[#list + 1] = { set = set, key = key, data = data, comment = record.id }
    end
  end
  add("taps", record.tap)
  add("sources", { record.tap, record.guest })
  add("spoofed", record.tap)
  add("refused", record.tap)
  if record.egress and record.uplink then
    add("egress_by", { record.tap, record.uplink })
    add("masquerade_by", { record.guest, record.uplink })
  elseif record.egress then
    add("egress", record.tap)
    add("masquerade", record.guest)
  end
  ports(record, add)
  if record.rules and #record.rules > 0 then
    add("own_rules", record.tap, "jump " .. M.own_chain(record))
  end
  return list
end

--- The elements that let guests reach each other.
-- @tparam table record whose peers are deployments
-- @tparam table others records, of those among others
-- @treturn table list of {set, key}
function M.peer_elements(record, others)
  local list = {}
  local wanted = {}
  for _, id in ipairs(record.peers or {}) do
    wanted[id] = true
  end
  for _, other in ipairs(others) do
    if other.id ~= record.id and wanted[other.deployment] then
      list[#list + 1] = { set = "peers", key = { record.tap, other.tap }, comment = record.id }
    end
  end
  return list
end

--- The text of an element's key, to compare by.
-- @param key
-- @treturn string
M.key_text = key_text

--- The chain of a VM's own rules.
-- @tparam table record
-- @treturn ?table nil where its site adds none
function M.chain_of(record)
  if not record.rules or #record.rules == 0 then
    return nil
  end
  return { name = M.own_chain(record), comment = record.id, rules = record.rules }
end

-- -- The whole ------------------------------------------------------------------------------------

-- Newer revisions first, so that what they share with older ones is theirs.
local function by_age(a, b)
  if a.deployment == b.deployment then
    return (a.revision or 0) > (b.revision or 0)
  end
  return tostring(a.deployment) < tostring(b.deployment)
end

local function all_elements(records, uplinks)
  local by_set = {}
  for _, name in ipairs(M.set_names()) do
    by_set[name] = {}
  end
  local seen = {}
  local function add(element)
    local text = element.set .. " " .. key_text(element.key)
    if not seen[text] then
      seen[text] = true
      table.insert(by_set[element.set], { key = element.key, data = element.data,
        comment = element.comment })
    end
  end
  for _, record in ipairs(records) do
    for _, element in ipairs(M.elements(record)) do
      add(element)
    end
    for _, element in ipairs(record.peers and M.peer_elements(record, records) or {}) do
      add(element)
    end
  end
  for _, name in ipairs(uplinks) do
    add { set = "uplinks", key = name }
  end
  return by_set
end

local function copy(definition, name, elements)
  local set = { name = name, elements = elements }
  for key, value in pairs(definition) do
    set[key] = value
  end
  return set
end

--- The table.
-- @tparam string store its UUID
-- @tparam table records of all VMs
-- @tparam table uplinks names of the interfaces that have a default route
-- @treturn table as `nft.apply` takes it
function M.table(store, records, uplinks)
  local sorted = table.move(records, 1, #records, 1, {})
  table.sort(sorted, by_age)
  local by_set = all_elements(sorted, uplinks)
  local whole = {
    family = "inet", name = M.name(store), comment = "moonport/" .. store,
    sets = {}, maps = {}, chains = chains(),
  }
  for i, name in ipairs(SET_ORDER) do
    whole.sets[i] = copy(SETS[name], name, by_set[name])
  end
  for i, name in ipairs(MAP_ORDER) do
    whole.maps[i] = copy(MAPS[name], name, by_set[name])
  end
  for _, record in ipairs(sorted) do
    table.insert(whole.chains, M.chain_of(record))
  end
  return whole
end

return M
