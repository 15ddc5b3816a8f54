--- Where recipe files come from, and how they are run.
--
-- A catalog answers one question: the text of a file by role ("site" or "shipped") and name. The
-- live catalog reads the site's directory and what is embedded in moonport; a deployment's catalog
-- reads the copies that were kept when it was deployed, so that undo finds its steps after the
-- recipes have changed.
--
-- @module moonport.recipe.catalog
local definition = require "moonport.recipe.definition"
local errors = require "moonport.errors"
local loader = require "moonport.loader"
local nearest = require "moonport.nearest"
local task = require "moonport.task"

local M = {}

local function refuse(code, message, hint, cause)
  errors.raise { kind = "recipe", code = code, message = message, hint = hint, cause = cause }
end

--- Refuses what cannot be a recipe's name; so no name leads out of the recipes' directory.
function M.check_name(name)
  local ok = type(name) == "string"
  for part in (ok and name .. "." or ""):gmatch "(.-)%." do
    ok = ok and part:find "^[a-z0-9_][a-z0-9_-]*$" ~= nil
  end
  if not ok or name == "" then
    local shown = ("%q"):format(tostring(name)):sub(1, 80)
    refuse("usage", shown .. " cannot name a recipe", "such as `targets.native`")
  end
  return name
end

local function relative_path(name)
  return "recipes/" .. name:gsub("%.", "/") .. ".lua"
end

local function shipped_names()
  local names = {}
  for _, file in ipairs(loader.files "recipes/") do
    local name = file:match "^recipes/(.+)%.lua$"
    names[#names + 1] = name and name:gsub("/", ".") or nil
  end
  return names
end

local Live = {}
Live.__index = Live

--- The text of a file.
-- @tparam string role "site" or "shipped"
-- @tparam string name
-- @treturn ?string text
-- @treturn ?string the file, as errors show it
function Live:source(role, name)
  if role == "shipped" then
    local file = relative_path(name)
    return loader.source(file), file
  elseif self.site then
    return self.site:source(relative_path(name))
  end
end

function Live:names(role)
  if role == "shipped" then
    return shipped_names()
  end
  return self.site and self.site:recipe_names() or {}
end

--- The catalog of what is installed now.
-- @tparam ?site site
function M.live(site)
  return setmetatable({ site = site }, Live)
end

local Copies = {}
Copies.__index = Copies

function Copies:source(role, name)
  for _, file in ipairs(self.files) do
    if file.role == role and file.name == name then
      return self.read(file), file.file
    end
  end
end

function Copies:names(role)
  local names = {}
  for _, file in ipairs(self.files) do
    names[#names + 1] = file.role == role and file.name or nil
  end
  return names
end

--- A catalog of kept copies.
-- @tparam table files list of {role, name, file, ...}
-- @tparam function read function(file) -> text
function M.copies(files, read)
  return setmetatable({ files = files, read = read }, Copies)
end

-- What a recipe finds without `require`.
local GIVEN = {
  mp = "moonport",
  task = "moonport.task",
  secret = "moonport.secret",
  log = "moonport.log",
}

local function no_globals(_, key)
  local message = ("a recipe sets the global `%s`"):format(tostring(key))
  refuse("invalid", message, "write `local` before it")
end

-- A module is no part of the recipe that requires it: its lines go by unwatched, which are many.
local function require_unwatched(name)
  local hook, mask, count = debug.gethook()
  if type(hook) ~= "function" then
    return (require(name))
  end
  debug.sethook()
  local module = require(name)
  debug.sethook(hook, mask, count)
  return module
end

-- The environment of one loading: its `recipe.shipped` notes which files take part.
local function environment(loading)
  local recipe = setmetatable({
    shipped = function(name)
      return M.load_shipped(loading.catalog, name, loading)
    end,
  }, { __index = require "moonport.recipe" })
  local own = { recipe = recipe }
  function own.require(name)
    return name == "moonport.recipe" and recipe or require_unwatched(name)
  end
  return setmetatable({}, {
    __index = function(_, key)
      local value = own[key]
      if value == nil and GIVEN[key] then
        value = require_unwatched(GIVEN[key])
      elseif value == nil then
        value = _G[key]
      end
      return value
    end,
    __newindex = no_globals,
  })
end

M.environment = environment

local function broken(name, file, cause)
  if errors.is(cause, "recipe") then
    error(cause, 0)
  end
  local message = ("recipe `%s` does not load: %s"):format(
    name,
    type(cause) == "string" and cause or ("`%s` failed"):format(file)
  )
  refuse("broken", message, nil, type(cause) ~= "string" and cause or nil)
end

--- Runs a file of declarations with the effect gate shut.
-- @tparam string text
-- @tparam string file
-- @tparam table env
-- @return what it returns
function M.run(text, file, env)
  local chunk, why = load(text, "@" .. file, "t", env)
  if not chunk then
    error(why, 0)
  end
  return task.read_only(function()
    local source, before = "@" .. file, definition.passing()
    debug.sethook(function(_, line)
      if debug.getinfo(2, "S").source == source then
        definition.passing { file = file, line = line }
      end
    end, "l")
    local result = chunk()
    debug.sethook()
    definition.passing(before)
    return result
  end)
end

local function run_file(loading, role, name, text, file)
  local files = loading.files
  files[#files + 1] = { role = role, name = name, file = file, text = text }
  local ok, recipe = pcall(M.run, text, file, environment(loading))
  if not ok then
    broken(name, file, recipe)
  elseif not definition.is_recipe(recipe) then
    local message = ("`%s` does not return a recipe"):format(file)
    refuse("invalid", message, "end it with `return recipe.define {...}`")
  elseif recipe.name ~= name then
    refuse("invalid", ("`%s` defines `%s`, not `%s`"):format(file, recipe.name, name))
  end
  return recipe
end

local function not_found(catalog, name)
  local names = catalog:names "shipped"
  local own = catalog:names "site"
  table.move(own, 1, #own, #names + 1, names)
  refuse("not_found", ("there is no recipe `%s`"):format(name), nearest.hint(name, names))
end

--- Loads the shipped recipe of a name.
-- @tparam table catalog
-- @tparam string name
-- @tparam ?table loading {catalog, files}: an ongoing loading that this is part of
-- @treturn recipe
function M.load_shipped(catalog, name, loading)
  M.check_name(name)
  loading = loading or { catalog = catalog, files = {} }
  local text, file = catalog:source("shipped", name)
  if not text then
    not_found(catalog, name)
  end
  local recipe = run_file(loading, "shipped", name, text, file)
  recipe.files = loading.files
  return recipe
end

--- Loads a recipe: the site's where there is one, else the shipped one.
-- @tparam table catalog
-- @tparam string name
-- @treturn recipe
function M.load(catalog, name)
  M.check_name(name)
  local text, file = catalog:source("site", name)
  if not text then
    return M.load_shipped(catalog, name)
  end
  local loading = { catalog = catalog, files = {} }
  local recipe = run_file(loading, "site", name, text, file)
  recipe.files = loading.files
  return recipe
end

local function summarize(catalog, name, from)
  local row = { name = name, from = from }
  local ok, recipe = pcall(M.load, catalog, name)
  if ok then
    row.summary, row.file, row.line = recipe.summary or "", recipe.where.file, recipe.where.line
  else
    row.error = tostring(recipe)
  end
  return row
end

--- See `moonport.recipe.list`.
function M.list(catalog)
  local from = {}
  for _, name in ipairs(catalog:names "shipped") do
    from[name] = "shipped"
  end
  for _, name in ipairs(catalog:names "site") do
    from[name] = from[name] and "site over shipped" or "site"
  end
  local rows = {}
  for name, origin in pairs(from) do
    rows[#rows + 1] = summarize(catalog, name, origin)
  end
  table.sort(rows, function(a, b)
    return a.name < b.name
  end)
  return rows
end

--- See `moonport.recipe.eject`.
function M.eject(name, site)
  M.check_name(name)
  local text = loader.source(relative_path(name))
  if not text then
    not_found(M.live(), name)
  end
  return site:add_file(relative_path(name), text)
end

return M
