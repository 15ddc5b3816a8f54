--- nftables: tables, chains, rules, sets, maps and counters, changed in one transaction and listed
-- as the data that they are made from.
--
--    local nft = require "moonport.nft"
--    nft.apply {
--      { op = "add", table = { name = "moon" } },
--      { op = "add", chain = { table = "moon", name = "input", hook = "input", policy = "drop" } },
--      { op = "add", rule = { table = "moon", chain = "input", iifname = "tap0",
--          ct = { "established", "related" }, verdict = "accept" } },
--    }
--
-- A definition's `family` is "inet" unless told; ip, ip6, bridge, netdev and arp are the others.
--
-- **Operations** are `{op = "add" | "create" | "insert" | "replace" | "delete" | "destroy" |
-- "flush", KIND = definition}` with KIND one of table, chain, rule, set, map, counter, elements,
-- element. All of a batch is done or none. A table, chain or set may hold what is in it, as `list`
-- gives it: `{op = "add", table = nft.list{table = "moon"}[1]}` puts it back.
--
--    table    {name, comment, dormant, owner; chains, sets, maps, counters}; `owner`: only the
--             socket that makes it may change it, and it goes with that (Linux 5.12)
--    chain    {table, name, hook, type, priority, policy, device(s), comment; rules}
--    set      {table, name, type = "ipv4_addr" or a list, flags, timeout, size, counter, comment;
--              elements}
--    map      the same with data = types, "verdict" or "counter"
--    counter  {table, name, packets, bytes, comment}
--    elements {table, set or map, elements = {keys or {key, data, timeout, comment, counter}}}, the
--             key "*" being all others;
--             with `type` (and `data`, `flags`) as in the set's definition, nothing needs to be
--             asked first
--    rule     {table, chain, comment, handle, position; conditions; statements}
--
-- **Conditions**: `iifname`, `oifname`, `iif`, `mark`, `l4proto`, `nfproto`, `protocol`, `skuid`,
-- `pkttype`, ..., `ip = {saddr, daddr, protocol, ...}`, `ip6`, `ether`, `arp`, `tcp = {sport,
-- dport, flags}`, `udp`, `th`, `icmp = {type, code}`, `icmpv6`, `ct = {state, status, mark,
-- direction}` (a list is the state), `fib = {saddr, daddr}` (the kind of the address), and
-- `lookup = {key = {fields}, set = "@name" or list, ne}`. `moonport.nft.match` tells what they
-- compare with.
--
-- **Statements**: `limit = "10/second"`, `quota`, `counter = true` or a counter's name, `log` =
-- true, a prefix or {prefix, level, flags, or group, snaplen, threshold},
-- `set = {mark = 1, ["ct.mark"] = "mark"}`, `notrack`, `vmap = {key, map}`, `snat`, `dnat`,
-- `masquerade`, `redirect`, `reject`, `verdict = "accept"`, "drop", "return", "continue", "jump
-- CHAIN", "goto CHAIN".
--
-- They stand in the kernel in the order in which they are told here, whatever order the table has.
-- Where another is meant, the rule begins with parts in a list: `{ {counter = true}, iifname = "x",
-- verdict = "drop" }`.
--
-- @module moonport.nft
local batch = require "moonport.nft.batch"
local compile = require "moonport.nft.compile"
local core = require "moonport.core.nftables"
local decompile = require "moonport.nft.decompile"
local errors = require "moonport.errors"
local list = require "moonport.nft.list"
local monitor = require "moonport.nft.monitor"
local objects = require "moonport.nft.objects"
local problem = require "moonport.nft.problem"
local sets = require "moonport.nft.sets"
local text = require "moonport.nft.text"
local trace = require "moonport.nft.trace"

local M = {}

local handle = {}
handle.__index = handle

-- The number of the operation that each message of the kernel answers, with the handle it tells.
local function handles_of(messages, compiled)
  local made = {}
  for _, message in ipairs(messages) do
    local about = compiled.about[message.sequence + 1]
    if about and message.handle and message.kind == about.kind then
      made[#made + 1] = { op = about.op, kind = about.kind, number = about.number,
        handle = message.handle }
    end
  end
  return made
end

local function shape_in(self)
  return function(def)
    local key = ("%s %s %s"):format(def.family or "inet", tostring(def.table),
      tostring(def.set or def.map))
    self.shapes[key] = self.shapes[key] or list.shape(self.socket, def)
    return self.shapes[key]
  end
end

--- Applies operations, all or none.
-- @tparam table ops
-- @tparam ?table options `echo`: tell the handles of what was made; `generation`: refuse (code
-- "ERESTART") where the rules have changed since this generation was listed
-- @treturn ?table with `echo`: list of {op, kind, number, handle}
-- @raise {kind = "nft"}: code "invalid" for what is wrong in the data, else the errno's name; `op`
-- is the index of the operation, `rule` (or `chain`, ...) its definition
function handle:apply(ops, options)
  problem.options(options, { echo = true, generation = true }, "`nft.apply`")
  local compiled = batch.compile(ops, shape_in(self))
  if #compiled.messages == 0 then
    return options and options.echo and {} or nil
  end
  local ok, said = pcall(self.socket.apply, self.socket, compiled.messages, options)
  if not ok then
    -- What was known of sets may be outdated.
    self.shapes = {}
    if errors.is(said, "nft") then
      batch.refused(said, compiled)
    end
    error(said, 0)
  end
  return said and handles_of(said, compiled)
end

--- Lists tables with all that is in them.
-- @tparam ?table options `family`, `table` (a name); `elements = false` and `rules = false` leave
-- these out
-- @treturn table list of tables. What has no form in our data is named in a rule's `other`; a set
-- of such types is `unreadable`
-- @treturn integer the rules' generation
function handle:list(options)
  problem.options(options, { family = true, table = true, elements = true, rules = true },
    "`nft.list`")
  return list.run(self.socket, options or {})
end

--- One table.
-- @tparam string name
-- @tparam ?string family "inet" unless told
-- @treturn ?table nil where there is none
function handle:table(name, family)
  return (self:list { family = family or "inet", table = name })[1]
end

--- What `nft.monitor` names as the `port` of the transactions that it makes.
-- @treturn integer
function handle:port()
  return self.socket:port()
end

--- Closes the socket.
function handle:close()
  self.socket:close()
end

handle.__close = handle.close

--- Opens a socket of its own, to be kept for many transactions.
-- @tparam ?table options `netns`: a network namespace by name, path or the pid of a process in it
-- @treturn handle with `apply`, `list`, `table`, `port`, `close`
function M.open(options)
  problem.options(options, { netns = true }, "`nft.open`")
  local netns = options and options.netns
  return setmetatable({ socket = core.open(netns and tostring(netns)), shapes = {} }, handle)
end

local _state = {}

local function default()
  _state.handle = _state.handle or M.open()
  return _state.handle
end

--- Applies operations in our network namespace; see `handle:apply`.
-- @tparam table ops
-- @tparam ?table options
-- @treturn ?table
function M.apply(ops, options)
  return default():apply(ops, options)
end

--- Lists tables of our network namespace; see `handle:list`.
-- @tparam ?table options
-- @treturn table
-- @treturn integer
function M.list(options)
  return default():list(options)
end

--- One table of our network namespace.
-- @tparam string name
-- @tparam ?string family
-- @treturn ?table
function M.table(name, family)
  return default():table(name, family)
end

--- What `nft.monitor` names as the `port` of the transactions that we make by `nft.apply`.
-- @treturn integer
function M.port()
  return default():port()
end

--- Checks operations without sending them.
-- @tparam table ops
-- @raise {kind = "nft", code = "invalid"}
function M.check(ops)
  batch.compile(ops, function(def)
    errors.raise { kind = "nft", code = "invalid",
      message = ("no operation defines the set `%s`"):format(tostring(def.set or def.map)),
      hint = "give its `type`, to check elements by" }
  end)
end

local function anonymous_sets(compiled)
  local found = {}
  for _, set in ipairs(compiled.sets) do
    local shape = sets.read { key_type = set.attributes.key_type, key_len = set.attributes.key_len,
      data_type = set.attributes.data_type, data_len = set.attributes.data_len,
      flags = set.attributes.flags }
    local name = ("__set%d"):format(set.id)
    found[name] = { anonymous = true, shape = shape, elements = sets.decode(shape, set.elements) }
  end
  return found
end

--- A rule in the form in which `list` gives it back, without handle and counts.
-- @tparam table rule
-- @tparam ?string family "inet" unless told
-- @treturn table
function M.normal(rule, family)
  local compiled = compile.rule(rule, family or "inet")
  local named = {}
  for i, expr in ipairs(compiled.exprs) do
    local copy = {}
    for key, value in pairs(expr) do
      copy[key] = value
    end
    copy.set = expr.id and ("__set%d"):format(expr.id) or expr.set
    named[i] = copy
  end
  local normal = decompile.rule(named, family or "inet", anonymous_sets(compiled))
  normal.comment = rule.comment
  return normal
end

--- Events: each transaction that changes rules, from now on.
--
--    for event in nft.monitor() do print(event.process, #event.changes) end
-- @tparam ?table options `netns`
-- @treturn monitor an iterator of {generation, pid, process, port, changes = list of {what, gone,
-- family, table, name or chain, handle}}; {lost = true} where the kernel had to drop some. To be
-- closed
function M.monitor(options)
  return monitor.open(options)
end

--- What becomes of packets, from now on: of those that a rule traces (`set = { nftrace = 1 }`),
-- every rule that matched them, and how they left each chain.
--
--    for step in nft.trace() do print(step.id, step.table, step.chain, step.verdict) end
-- @tparam ?table options `netns`
-- @treturn trace an iterator of {id, what = "rule", "return" or "policy", family, table, chain,
-- handle, verdict, policy, iif, oif (numbers of interfaces), mark, nfproto, ip or ip6 = {saddr,
-- daddr, protocol}, tcp or udp = {sport, dport}, icmp = {type, code}}; the packet is told with the
-- first step in a base chain. `id` is a packet's own, as long as the kernel passes on the same
-- buffer. {lost = true} where the kernel had to drop some. To be closed
function M.trace(options)
  return trace.open(options)
end

--- A rule as the `nft` program writes it.
-- @tparam table rule as `list` gives it
-- @tparam ?string family of its table, "inet" unless told
-- @treturn string what is not known here stands in it as `<NAME>`, and what is iptables' as `xt
-- match "NAME"`
function M.text(rule, family)
  return text.rule(rule, family)
end

--- A priority's number.
-- @tparam string family
-- @param priority
-- @treturn integer
function M.priority(family, priority)
  return objects.priority(family, priority)
end

return M
