--- What there is in the kernel, as the data that it is made from.
--
-- @module moonport.nft.list
local decompile = require "moonport.nft.decompile"
local errors = require "moonport.errors"
local objects = require "moonport.nft.objects"
local sets = require "moonport.nft.sets"
local userdata = require "moonport.nft.userdata"

local M = {}

local TRIES = 20

local function key_of(message, name)
  return ("%d %s"):format(message.family, name or message.table)
end

local function questions(family, name, options)
  local list = {}
  for _, kind in ipairs { "table", "chain", "set", "object", "rule" } do
    if kind ~= "rule" or options.rules ~= false then
      list[#list + 1] = { kind = kind, action = "list", family = family,
        -- A kernel that looks for the table needs its family.
        table = family ~= 0 and kind ~= "table" and kind ~= "chain" and name or nil }
    end
  end
  return list
end

local function add_set(table_, message, found)
  local set, shape, read = objects.read_set(message)
  local entry = { set = set, shape = shape, anonymous = read.anonymous, message = message }
  found.sets[#found.sets + 1] = entry
  table_.all_sets[message.name] = entry
  if not read.anonymous then
    table.insert(read.is_map and table_.maps or table_.sets, set)
  end
end

local ADD = {}

function ADD.chain(table_, message)
  local chain = objects.read_chain(message)
  table.insert(table_.chains, chain)
  table_.by_chain[message.name] = chain
end

function ADD.set(table_, message, found)
  add_set(table_, message, found)
end

function ADD.object(table_, message)
  local counter = objects.read_counter(message)
  if counter then
    table.insert(table_.counters, counter)
  end
end

function ADD.rule(table_, message)
  local chain = table_.by_chain[message.chain]
  if chain then
    table.insert(chain.rules, message)
  end
end

local function collect(messages, name)
  local found = { tables = {}, sets = {} }
  local by_key = {}
  for _, message in ipairs(messages) do
    if message.kind == "table" and (not name or message.name == name) then
      local table_ = objects.read_table(message)
      table_.all_sets, table_.by_chain = {}, {}
      table.insert(found.tables, table_)
      by_key[key_of(message, message.name)] = table_
    elseif ADD[message.kind] then
      local table_ = by_key[key_of(message)]
      if table_ then
        ADD[message.kind](table_, message, found)
      end
    end
  end
  return found
end

-- The elements of every set, by table and name.
local function add_elements(messages, found)
  local by_set = {}
  for _, message in ipairs(messages) do
    if message.kind == "elements" then
      local key = key_of(message) .. " " .. message.name
      by_set[key] = by_set[key] or {}
      table.move(message.elements or {}, 1, #(message.elements or {}), #by_set[key] + 1,
        by_set[key])
    end
  end
  for _, entry in ipairs(found.sets) do
    local list = by_set[key_of(entry.message) .. " " .. entry.message.name] or {}
    local elements = entry.shape and sets.decode(entry.shape, list)
    if elements then
      entry.set.elements, entry.elements = elements, elements
    else
      entry.set.unreadable = true
    end
  end
end

local function read_rules(table_)
  for _, chain in ipairs(table_.chains) do
    for i, message in ipairs(chain.rules) do
      local rule = decompile.rule(message.exprs or {}, table_.family, table_.all_sets)
      rule.handle = message.handle
      rule.comment = userdata.comment_of(message.userdata)
      if message.unreadable then
        rule.other = { "unreadable" }
      end
      chain.rules[i] = rule
    end
  end
  table_.all_sets, table_.by_chain = nil, nil
end

local function element_questions(found)
  local list = {}
  for i, entry in ipairs(found.sets) do
    local message = entry.message
    list[i] = { kind = "elements", action = "list", family = message.family,
      table = message.table, name = message.name }
  end
  return list
end

local function list_all(socket, list)
  local messages, generation = socket:list(list)
  return { messages = messages, generation = generation }
end

-- Adds the elements; gives the generation of the rules that they are of.
local function fill_sets(socket, found, generation)
  if #found.sets == 0 then
    return generation
  end
  local listed, why = try(list_all, socket, element_questions(found))
  if listed then
    add_elements(listed.messages, found)
    return listed.generation
  elseif not errors.is(why, "nft", "ENOENT") then
    error(why, 0)
  end
  -- A set has gone since the first question.
  return nil
end

--- Lists.
-- @tparam userdata socket
-- @tparam table options {family, table, elements, rules}
-- @treturn table list of tables
-- @treturn integer the generation of the rules that was listed
function M.run(socket, options)
  local family = options.family and objects.family(options.family) or 0
  for _ = 1, TRIES do
    local first, why = try(list_all, socket, questions(family, options.table, options))
    if not first and options.table and errors.is(why, "nft", "ENOENT") then
      return {}, list_all(socket, {}).generation
    elseif not first then
      error(why, 0)
    end
    local generation = first.generation
    local found = collect(first.messages, options.table)
    local after = options.elements == false and generation or fill_sets(socket, found, generation)
    if after == generation then
      for _, table_ in ipairs(found.tables) do
        read_rules(table_)
      end
      return found.tables, generation
    end
  end
  errors.raise { kind = "nft", code = "interrupted",
    message = ("the rules changed %d times while they were listed"):format(TRIES) }
end

--- The shape of a set in the kernel.
-- @tparam userdata socket
-- @tparam table def {family, table, set | map}
-- @treturn table
-- @raise {kind = "nft", code = "ENOENT"}
function M.shape(socket, def)
  local family, family_name = objects.family(def.family)
  local name = def.set or def.map
  local messages = socket:list { { kind = "set", action = "list", family = family,
    table = def.table } }
  for _, message in ipairs(messages) do
    if message.kind == "set" and message.name == name and message.table == def.table then
      local shape = sets.read(message)
      if shape then
        return shape
      end
    end
  end
  errors.raise { kind = "nft", code = "ENOENT",
    message = ("there is no set or map `%s` in `%s %s`"):format(tostring(name), family_name,
      tostring(def.table)) }
end

return M
