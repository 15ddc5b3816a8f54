--- The rules of iptables, in the form of nftables' rules.
--
-- nftables does not see legacy iptables at all, and of iptables-nft it sees what only xtables
-- understands. Both have a program that prints their rules; it is run as it is, without a shell.
--
-- @module moonport.hypervisor.firewall.iptables
local process = require "moonport.process"

local M = {}

local SECONDS = 10

-- Where the chains of iptables are hooked in, by their table.
local PRIORITIES = { raw = -300, mangle = -150, nat = -100, filter = 0, security = 50 }
local HOOKS = { PREROUTING = "prerouting", INPUT = "input", FORWARD = "forward", OUTPUT = "output",
  POSTROUTING = "postrouting" }
local VERDICTS = { ACCEPT = "accept", DROP = "drop", RETURN = "return" }

-- Words of a line, with what stands in quotes as one.
local function words_of(line)
  local words, at = {}, 1
  while at <= #line do
    local from, to, quoted = line:find('^%s*"(.-[^\\])"', at)
    if not from then
      from, to, quoted = line:find("^%s*(%S+)", at)
    end
    if not from then
      break
    end
    words[#words + 1], at = quoted, to + 1
  end
  return words
end

local function lower_list(value)
  local list = {}
  for word in value:gmatch "[^,]+" do
    list[#list + 1] = word:lower()
  end
  return list
end

local function interface(value)
  return (value:gsub("%+$", "*"))
end

local function ports(value)
  local list = {}
  for word in value:gmatch "[^,]+" do
    list[#list + 1] = math.tointeger(tonumber(word)) or (word:gsub(":", "-"))
  end
  return list
end

local function network(value)
  return (value:gsub("/32$", ""))
end

local function put(rule, group, member, value)
  rule[group] = rule[group] or {}
  rule[group][member] = value
end

-- What each option means; the value is negated by a `!` before it.
local OPTIONS = {
  ["-i"] = function(rule, value, wrap) rule.iifname = wrap(interface(value)) end,
  ["-o"] = function(rule, value, wrap) rule.oifname = wrap(interface(value)) end,
  ["-s"] = function(rule, value, wrap) put(rule, "ip", "saddr", wrap(network(value))) end,
  ["-d"] = function(rule, value, wrap) put(rule, "ip", "daddr", wrap(network(value))) end,
  ["-p"] = function(rule, value, wrap) rule.l4proto = wrap(value) end,
  ["--dport"] = function(rule, value, wrap) put(rule, "th", "dport", wrap(ports(value))) end,
  ["--dports"] = function(rule, value, wrap) put(rule, "th", "dport", wrap(ports(value))) end,
  ["--sport"] = function(rule, value, wrap) put(rule, "th", "sport", wrap(ports(value))) end,
  ["--ctstate"] = function(rule, value, wrap) put(rule, "ct", "state", wrap(lower_list(value))) end,
  ["--state"] = function(rule, value, wrap) put(rule, "ct", "state", wrap(lower_list(value))) end,
  ["--dst-type"] = function(rule, value, wrap) put(rule, "fib", "daddr", wrap(value:lower())) end,
  ["--comment"] = function(rule, value) rule.comment = value end,
}
-- Modules that say nothing by themselves: their options do.
local SILENT = { tcp = true, udp = true, conntrack = true, state = true, comment = true,
  multiport = true, addrtype = true }

local function set_target(rule, target, jump)
  if VERDICTS[target] then
    rule.verdict = VERDICTS[target]
  elseif target == "REJECT" then
    rule.reject = true
  elseif target == target:upper() and (target == "LOG" or target == "MARK"
    or target == "NFLOG") then
    rule.log = true
  else
    rule.verdict = jump .. " " .. target
  end
end

local function same(value)
  return value
end

local function negated(value)
  return { ne = value }
end

-- One `-A CHAIN ...`. What is not known makes the rule's match unknown.
local function read_rule(words)
  local rule, wrap = {}, same
  local function unknown(word)
    rule.other = rule.other or {}
    table.insert(rule.other, "match " .. word)
  end
  local at = 3
  while at <= #words do
    local word, value = words[at], words[at + 1]
    at = at + 2
    if word == "!" then
      wrap, at = negated, at - 1
    elseif word == "-j" or word == "-g" then
      set_target(rule, value, word == "-j" and "jump" or "goto")
      -- What follows are the target's own options.
      if value == "DNAT" or value == "SNAT" or value == "MASQUERADE" or value == "REDIRECT" then
        rule.verdict, rule.other = nil, { "target " .. value }
      end
      break
    elseif word == "-m" then
      if not SILENT[value] then
        unknown(value)
      end
    elseif OPTIONS[word] and value then
      OPTIONS[word](rule, value, wrap)
      wrap = same
    else
      unknown(word)
      wrap, at = same, at - 1
    end
  end
  return rule
end

--- Reads what `iptables-save` prints.
-- @tparam string printed
-- @tparam string program which it was
-- @treturn table list of tables in the form of `nft.list`
function M.parse(printed, program)
  local tables, current = {}, nil
  for line in printed:gmatch "[^\n]+" do
    local name = line:match "^%*(%S+)"
    local chain, policy = line:match "^:(%S+) (%S+)"
    if name then
      current = { family = "ip", name = name, program = program, sets = {}, maps = {}, chains = {},
        by_name = {} }
      tables[#tables + 1] = current
    elseif chain and current then
      local hook = policy ~= "-" and HOOKS[chain] or nil
      local entry = { name = chain, hook = hook, rules = {} }
      if hook then
        entry.type = current.name == "nat" and "nat" or "filter"
        entry.policy = policy:lower()
        entry.priority = PRIORITIES[current.name] or 0
        if hook == "postrouting" and current.name == "nat" then
          entry.priority = 100
        end
      end
      table.insert(current.chains, entry)
      current.by_name[chain] = entry
    elseif current and line:find "^%-A " then
      local words = words_of(line)
      local into = current.by_name[words[2]]
      if into then
        table.insert(into.rules, read_rule(words))
      end
    end
  end
  return tables
end

-- Where the system keeps them. From there, those that only print may be run in a plan, too.
local PLACES = { "/usr/sbin/", "/sbin/" }

--- Finds a program of iptables.
-- @tparam string name
-- @treturn ?string its path
function M.program(name)
  for _, dir in ipairs(PLACES) do
    if process.which(dir .. name) then
      return dir .. name
    end
  end
  return process.which(name)
end

-- What a program prints; nil and why where it does not.
local function run(name)
  local program = M.program(name)
  if not program then
    return nil, ("`%s` is not there to read them by"):format(name)
  end
  local result = process.run { program, check = false, timeout = SECONDS }
  if result.code ~= 0 then
    return nil, ("`%s` cannot read them without root's rights"):format(name)
  end
  return result.stdout
end

-- The names of legacy tables that the kernel has loaded; without any there is nothing to ask.
local function loaded()
  local file = io.open "/proc/net/ip_tables_names"
  local names = file and file:read "a" or ""
  if file then
    file:close()
  end
  return names:find "%S" ~= nil
end

--- The rules of legacy iptables.
-- @treturn table list of tables
-- @treturn ?string why they could not be read, though there are some
function M.legacy()
  if not loaded() then
    return {}
  end
  local printed, why = run "iptables-legacy-save"
  if printed then
    return M.parse(printed, "legacy iptables")
  end
  return {}, "legacy iptables has rules, and " .. why
end

--- Whether legacy iptables does anything here. The kernel tells nobody of its changes.
-- @treturn boolean true also where that could not be read
function M.legacy_is_used()
  local tables, problem = M.legacy()
  for _, table_ in ipairs(tables) do
    for _, chain in ipairs(table_.chains) do
      if #chain.rules > 0 or chain.policy == "drop" then
        return true
      end
    end
  end
  return problem ~= nil
end

--- The rules of iptables-nft, as it understands them itself.
-- @treturn ?table list of tables; nil where its program is missing
function M.nft()
  local printed = run "iptables-nft-save"
  return printed and M.parse(printed, "iptables") or nil
end

return M
