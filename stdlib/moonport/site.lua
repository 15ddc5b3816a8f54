--- The site directory: an operator's own defaults, hooks and recipes.
--
--    DIR/config.lua        defaults, see `moonport.site.config`
--    DIR/hooks.lua         on("deploy.before", function(event) ... end), see `moonport.site.hooks`
--    DIR/recipes/...lua    stand in for the shipped recipes of the same name
--
-- Code from there runs with the operator's power. So a directory that others could change, or
-- anything on the way to it, is refused; and when moonport itself has more privileges than its
-- caller, no site is heeded at all.
--
-- @module moonport.site
local config = require "moonport.site.config"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local hooks = require "moonport.site.hooks"
local sys = require "moonport.sys"

local M = {}

local Site = {}
Site.__index = Site

local function refuse(code, message, hint, cause)
  errors.raise { kind = "site", code = code, message = message, hint = hint, cause = cause }
end

local function is_directory(path)
  local stat = try(fs.stat, path)
  return stat ~= nil and stat.type == "directory"
end

-- Where a site may be: {dir, how it was named}; those named by hand must exist.
local function candidates(options)
  if options.dir then
    return { { options.dir, "--site" } }
  end
  local named = os.getenv "MOONPORT_SITE"
  if named and named ~= "" then
    return { { named, "$MOONPORT_SITE" } }
  end
  local home = os.getenv "XDG_CONFIG_HOME"
  if not home or home == "" then
    home = os.getenv "HOME" and os.getenv "HOME" .. "/.config"
  end
  return { { "/etc/moonport" }, home and { home .. "/moonport" } or nil }
end

local function find(options)
  for _, candidate in ipairs(candidates(options)) do
    local dir, named = candidate[1], candidate[2]
    if is_directory(dir) then
      return fs.absolute(dir)
    elseif named then
      refuse("not_found", ("the site directory `%s` (%s) does not exist"):format(dir, named))
    end
  end
end

local function check_trust(path)
  local _, why = try(fs.check_trusted, path)
  if why then
    refuse(
      "refused",
      ("the site `%s` is not safe to use"):format(path),
      "code from it runs with your rights, so only you and root may be able to change it",
      why
    )
  end
end

--- Reads a file of the site, if it is there and nobody else could have written it.
-- @tparam string relative such as `hooks.lua`
-- @treturn ?string text
-- @treturn ?string the file's path
-- @raise {kind = "site", code = "refused"}
function Site:source(relative)
  if not self.dir then
    return nil
  end
  local path = self.dir .. "/" .. relative
  if not fs.exists(path) then
    return nil
  end
  check_trust(path)
  return fs.read(path), path
end

local function collect_recipes(dir, prefix, names)
  for _, entry in ipairs(fs.list(dir)) do
    local stem = entry.name:match "^(.+)%.lua$"
    if stem then
      names[#names + 1] = prefix .. stem
    elseif is_directory(dir .. "/" .. entry.name) then
      collect_recipes(dir .. "/" .. entry.name, prefix .. entry.name .. ".", names)
    end
  end
  return names
end

--- Lists the recipes that the site has.
-- @treturn table list of names
function Site:recipe_names()
  local dir = self.dir and self.dir .. "/recipes"
  return dir and is_directory(dir) and collect_recipes(dir, "", {}) or {}
end

--- Adds a file to the site.
-- @tparam string relative
-- @tparam string text
-- @treturn string its path
-- @raise {kind = "site", code = "refused"} when there is one already, or no site
function Site:add_file(relative, text)
  if not self.dir then
    refuse("not_found", "there is no site directory to write to", "name one with --site DIR")
  end
  local path = self.dir .. "/" .. relative
  fs.mkdirs(fs.dirname(path))
  local _, why = try(fs.write, path, text, { exclusive = true, mode = "0644" })
  if errors.is(why, nil, "EEXIST") then
    refuse("refused", ("`%s` is there already"):format(path), "edit it, or remove it first")
  elseif why then
    error(why, 0)
  end
  return path
end

--- What the site sets for every manifest, as a layer of `moonport.manifest`.
-- @treturn ?table
function Site:manifest_defaults()
  return self.defaults
end

-- Fills in `config` and `defaults` from config.lua, `hooks` from hooks.lua.
local function load_files(site)
  site.config, site.defaults = config.load(site:source "config.lua")
  site.hooks = hooks.load(site:source "hooks.lua")
  return site
end

--- A site that sets nothing.
-- @treturn site
function M.none()
  return load_files(setmetatable({}, Site))
end

--- Opens the site that applies.
-- @tparam ?table options `dir`: what --site named
-- @treturn site {dir, config, hooks}; without a site directory `dir` is nil and nothing is set
-- @raise {kind = "site"} when the directory named does not exist, could be changed by others, or
-- holds files with mistakes
function M.open(options)
  if sys.secure then
    return M.none()
  end
  local dir = find(options or {})
  if not dir then
    return M.none()
  end
  check_trust(dir)
  return load_files(setmetatable({ dir = dir }, Site))
end

return M
