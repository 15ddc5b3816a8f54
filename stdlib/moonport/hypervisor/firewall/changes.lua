--- Changes of the firewall's table, each one batch.
--
-- @module moonport.hypervisor.firewall.changes
local layout = require "moonport.hypervisor.firewall.layout"
local nft = require "moonport.nft"

local M = {}

-- Elements as operations, those of a set together.
local function element_ops(list, table_name, verb)
  local by_set, ops = {}, {}
  for _, element in ipairs(list) do
    local group = by_set[element.set]
    if not group then
      local definition, is_map = layout.set(element.set)
      group = { table = table_name, type = definition.type, data = definition.data, elements = {} }
      group[is_map and "map" or "set"] = element.set
      by_set[element.set] = group
      ops[#ops + 1] = { op = verb, elements = group }
    end
    table.insert(group.elements, {
      key = element.key, data = element.data,
      comment = verb ~= "delete" and element.comment or nil,
    })
  end
  return ops
end

M.element_ops = element_ops

local function chain_ops(record, table_name, verb)
  local chain = layout.chain_of(record)
  if not chain then
    return {}
  end
  chain.table = table_name
  if verb == "delete" then
    return { { op = "delete", chain = { table = table_name, name = chain.name } } }
  end
  return { { op = verb, chain = chain } }
end

local function join(...)
  local all = {}
  for _, list in ipairs { ... } do
    table.move(list, 1, #list, #all + 1, all)
  end
  return all
end

--- The operations that put a VM in. They fail as a whole where any part of it is there already.
-- @tparam string store
-- @tparam table record
-- @tparam ?table peers its elements of `layout.peer_elements`
-- @treturn table
function M.add(store, record, peers)
  local name = layout.name(store)
  local elements = join(layout.elements(record), peers or {})
  -- The chain comes first: an element leads to it.
  return join(chain_ops(record, name, "create"), element_ops(elements, name, "create"))
end

--- The operations that take a VM out. They fail as a whole where any part of it is missing.
-- @tparam string store
-- @tparam table record
-- @tparam ?table peers
-- @treturn table
function M.remove(store, record, peers)
  local name = layout.name(store)
  local elements = join(layout.elements(record), peers or {})
  return join(element_ops(elements, name, "delete"), chain_ops(record, name, "delete"))
end

-- -- Differences --------------------------------------------------------------------------------

local function plain(value)
  if type(value) ~= "table" then
    return tostring(value)
  end
  local keys, parts = {}, {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, key in ipairs(keys) do
    parts[#parts + 1] = ("%s=%s"):format(tostring(key), plain(value[key]))
  end
  return "{" .. table.concat(parts, " ") .. "}"
end

-- What a rule means, without what the kernel counts.
local function meaning(rule)
  local copy = {}
  for key, value in pairs(rule) do
    if key ~= "handle" and key ~= "table" and key ~= "chain" and key ~= "family" then
      copy[key] = value
    end
  end
  if type(copy.counter) == "table" then
    copy.counter = true
  end
  return copy
end

local function rule_text(rule)
  local copy = meaning(rule)
  if copy.other then
    return plain(copy)
  end
  local normal = nft.normal(copy)
  if type(normal.counter) == "table" then
    normal.counter = true
  end
  return plain(normal)
end

local function chain_text(chain)
  local parts = { plain { chain.type or (chain.hook and "filter"), chain.hook,
    chain.hook and nft.priority("inet", chain.priority or "filter"), chain.hook and chain.policy
      or "accept" } }
  for _, rule in ipairs(chain.rules or {}) do
    parts[#parts + 1] = rule_text(rule)
  end
  return table.concat(parts, "\n")
end

local function set_text(set)
  return plain { type = set.type, data = set.data, counter = set.counter, comment = set.comment }
end

local function by_name(list)
  local found = {}
  for _, each in ipairs(list) do
    found[each.name] = each
  end
  return found
end

-- Compares two lists by name; `note(what, name)` is told of each difference.
local function compare_parts(wanted, there, text, note)
  local present = by_name(there)
  for _, each in ipairs(wanted) do
    local found = present[each.name]
    present[each.name] = nil
    if not found then
      note("missing", each.name)
    elseif text(found) ~= text(each) then
      note("changed", each.name)
    end
  end
  for name in pairs(present) do
    note("foreign", name)
  end
end

local function elements_by_key(elements)
  local found = {}
  for _, element in ipairs(elements) do
    found[layout.key_text(element.key)] = element
  end
  return found
end

local function compare_elements(set, wanted, there, missing, surplus)
  local present = elements_by_key(there)
  for _, element in ipairs(wanted) do
    local text = layout.key_text(element.key)
    local found = present[text]
    local same = found and layout.key_text(found.data or "") == layout.key_text(element.data or "")
      and found.comment == element.comment
    if not same then
      missing[#missing + 1] = { set = set, key = element.key, data = element.data,
        comment = element.comment }
    end
    if found and same then
      present[text] = nil
    end
  end
  for _, element in pairs(present) do
    surplus[#surplus + 1] = { set = set, key = element.key, data = element.data,
      comment = element.comment }
  end
end

--- How the table in the kernel differs from what it should be.
-- @tparam table wanted
-- @tparam ?table there as listed
-- @treturn table {structure = list of texts, missing = elements, surplus = elements}
function M.differences(wanted, there)
  local found = { structure = {}, missing = {}, surplus = {} }
  if not there then
    found.structure[1] = ("the table `inet %s` is missing"):format(wanted.name)
    return found
  end
  local function noting(what)
    return function(how, name)
      table.insert(found.structure, ("the %s `%s` is %s"):format(what, name, how))
    end
  end
  if there.comment ~= wanted.comment then
    table.insert(found.structure, "the table bears another mark")
  end
  compare_parts(wanted.chains, there.chains, chain_text, noting "chain")
  compare_parts(wanted.sets, there.sets, set_text, noting "set")
  compare_parts(wanted.maps, there.maps, set_text, noting "map")
  if there.dormant then
    table.insert(found.structure, "the table is dormant")
  end
  if #found.structure == 0 then
    for _, kind in ipairs { "sets", "maps" } do
      local present = by_name(there[kind])
      for _, set in ipairs(wanted[kind]) do
        compare_elements(set.name, set.elements, present[set.name].elements, found.missing,
          found.surplus)
      end
    end
  end
  return found
end

--- The operations that put the table right.
-- @tparam table wanted
-- @tparam table differences
-- @treturn table empty where nothing is wrong
function M.mend(wanted, differences)
  if #differences.structure > 0 then
    -- The old one goes and the whole comes, in one transaction.
    return {
      { op = "destroy", table = { name = wanted.name } },
      { op = "add", table = wanted },
    }
  end
  return join(element_ops(differences.surplus, wanted.name, "delete"),
    element_ops(differences.missing, wanted.name, "add"))
end

--- The operations that take out all that bears a VM's id, whatever it is.
-- @tparam table there the table as listed
-- @tparam string id
-- @treturn table
function M.remove_by_id(there, id)
  local elements, ops = {}, {}
  for _, kind in ipairs { "sets", "maps" } do
    for _, set in ipairs(there[kind]) do
      for _, element in ipairs(set.elements) do
        if element.comment == id and layout.set(set.name) then
          elements[#elements + 1] = { set = set.name, key = element.key, data = element.data }
        end
      end
    end
  end
  for _, chain in ipairs(there.chains) do
    if chain.comment == id then
      ops[#ops + 1] = { op = "delete", chain = { table = there.name, name = chain.name } }
    end
  end
  return join(element_ops(elements, there.name, "delete"), ops)
end

return M
