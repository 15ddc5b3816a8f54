--- `moonport __complete WORDS...`: what a shell offers for the last of the words.
--
-- The completion scripts ask it at each key, so what they offer is always what this moonport knows,
-- services and revisions among it. It prints a candidate a line, with a tab and what it is, or
-- `:files` or `:dirs` where the shell knows better. It never fails: then there is nothing to offer.
-- @module moonport.cli.complete

local cli = require "moonport.cli"

local M = {
  --- Its words are not parsed: they are another command's.
  raw = true,
  summary = "Offer completions to a shell",
}

local function add(list, word, what)
  list[#list + 1] = what and what ~= "" and ("%s\t%s"):format(word, what) or word
end

-- The first sentence.
local function brief(text)
  return text and (text:match("^(.-)[.;:]%s") or text:gsub("%.$", "")) or nil
end

-- What can stand where. Each gets the list to add to, and the query.
local offers = {}

function offers.files(list) list[#list + 1] = ":files" end

function offers.dirs(list) list[#list + 1] = ":dirs" end

local function open_state(query)
  return require("moonport.state").open { dir = query.state, read_only = true }
end

function offers.services(list, query)
  local state <close> = open_state(query)
  local given = {}
  for _, word in ipairs(query.positional) do given[word] = true end
  for _, deployment in ipairs(state:deployments()) do
    if not given[deployment.name] then add(list, deployment.name, deployment.target) end
  end
end

function offers.services_or_files(list, query)
  offers.services(list, query)
  offers.files(list)
end

function offers.revisions(list, query)
  local state <close> = open_state(query)
  local deployment = state:deployment(query.positional[1])
  local times = require "moonport.cli.times"
  for _, revision in ipairs(deployment and state:revisions(deployment.id) or {}) do
    add(list, tostring(revision.number),
      ("%s, %s"):format(revision.state, times.clock(revision.created)))
  end
end

function offers.recipes(list, query)
  local site = require("moonport.site").open { dir = query.site }
  for _, recipe in ipairs(require("moonport.recipe").list(site)) do
    add(list, recipe.name, recipe.summary)
  end
end

function offers.images(list, query)
  local state <close> = open_state(query)
  for _, record in ipairs(require("moonport.image").store({ state = state }):list()) do
    local source = record.sources[1]
    add(list, source and source.label or record.digest, record.arch)
  end
end

function offers.image_sources(list)
  for _, known in ipairs(require("moonport.image").known()) do
    add(list, known.name, known.codename)
  end
  offers.files(list)
end

local function each_field(fn)
  require("moonport.deploy").register_targets { site = require("moonport.site").none() }
  local schema, manifest = require "moonport.schema", require "moonport.manifest"
  for _, field in ipairs(schema.describe(manifest.schema())) do fn(field) end
end

function offers.fields(list)
  each_field(function(field) add(list, field.path, field.doc) end)
end

function offers.assignments(list)
  each_field(function(field)
    if field.type ~= "table" then add(list, field.path .. "=", field.doc) end
  end)
end

-- By the name of an argument or option; a command's own `complete` goes first.
local KNOWN = {
  name = "services", manifest = "files", file = "files", command = "files", args = "files",
  state = "dirs", site = "dirs", set = "assignments",
}

local function offer(list, element, query)
  for _, choice in ipairs(element._choices or {}) do add(list, choice) end
  local name = (element._aliases and element._aliases[#element._aliases] or element._name)
    :gsub("^%-*", "")
  local own = query.command.complete
  local kind = own and own[name] or KNOWN[name]
  if kind and not element._choices then offers[kind](list, query) end
end

local function find_option(parser, word)
  for _, option in ipairs(parser._options) do
    for _, alias in ipairs(option._aliases) do
      if alias == word then return option end
    end
  end
end

local function find_command(parser, word)
  for _, command in ipairs(parser._commands) do
    if command._name == word then return command end
  end
end

local function add_options(list, parser)
  for _, option in ipairs(parser._options) do
    if not option._hidden then
      add(list, option._aliases[#option._aliases], brief(option._description))
    end
  end
end

-- Goes through the words before the last one. Returns the parser that the last one is for, and the
-- option that it is the argument of.
local function walk(parser, words, query)
  local index, pending = 1, nil
  while index < #words do
    local word = words[index]
    local option = not query.literal and not pending and find_option(parser, word)
    local long = option and option._aliases[#option._aliases]
    if pending then
      local name = pending._aliases[#pending._aliases]
      if name == "--state" or name == "--site" then query[name:sub(3)] = word end
      pending = nil
    elseif word == "--" then
      query.literal = true
    elseif option then
      pending = option._maxargs > 0 and option or nil
    elseif not long and (query.literal or word:sub(1, 1) ~= "-") then
      local sub = #query.positional == 0 and find_command(parser, word)
      if sub then parser = sub else query.positional[#query.positional + 1] = word end
    end
    index = index + 1
  end
  return parser, pending
end

local function offer_argument(list, parser, query)
  local count = #query.positional
  for index, argument in ipairs(parser._arguments) do
    if count < argument._maxargs or index == #parser._arguments and argument._maxargs > count then
      return offer(list, argument, query)
    end
    count = count - argument._maxargs
  end
end

local function offer_commands(list, last)
  for _, name in ipairs(cli.COMMANDS) do add(list, name, cli.command(name).summary) end
  if last:sub(1, 1) ~= "-" then return end
  for _, name in ipairs { "state", "site", "trace", "help" } do add(list, "--" .. name) end
end

-- Passes over the options in front of the command.
local function take_leading(words, query)
  while words[2] and words[1]:sub(1, 2) == "--" do
    local word = table.remove(words, 1)
    local name = word:match("^%-%-(s%l+)$")
    if (name == "state" or name == "site") and words[2] then
      query[name] = table.remove(words, 1)
    elseif name == "state" or name == "site" then
      return true
    end
  end
end

--- Lists what can stand for the last word.
-- @tparam {string,...} words after `moonport`
-- @treturn {string,...} lines for the completion scripts
function M.offer(words)
  local list, query = {}, { positional = {} }
  words = table.move(words, 1, #words, 1, {})
  if take_leading(words, query) then
    offers.dirs(list)
    return list
  end
  local name = #words > 1 and table.remove(words, 1)
  if not name then
    offer_commands(list, words[1] or "")
    return list
  end
  query.command = cli.command(name)
  if not query.command then return list end
  local parser, pending = walk(cli.parser(name, query.command), words, query)
  local last = words[#words] or ""
  if pending then
    offer(list, pending, query)
  elseif last:sub(1, 1) == "-" and not query.literal then
    add_options(list, parser)
  elseif #parser._commands > 0 then
    for _, sub in ipairs(parser._commands) do add(list, sub._name, brief(sub._description)) end
  else
    offer_argument(list, parser, query)
  end
  return list
end

local function begins_with(word)
  return function(line)
    return line:sub(1, 1) == ":" or line:match("^[^\t]*"):sub(1, #word) == word
  end
end

--- Prints what `offer` gives and the last word begins.
-- @tparam {string,...} words
function M.run(words)
  local ok, list = pcall(M.offer, words)
  local fits = begins_with(words[#words] or "")
  for _, line in ipairs(ok and list or {}) do
    if fits(line) then require("moonport.ui").print(line) end
  end
end

return M
