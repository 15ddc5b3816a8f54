--- The recipe files of a deployment, kept so that undo finds its steps after recipes have changed.
--
-- A copy is named by its digest (`recipes/<sha256>.lua` in the deployment's directory), so
-- revisions that ran the same files share them.
--
-- @module moonport.engine.copies
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local hooks = require "moonport.site.hooks"
local catalog = require "moonport.recipe.catalog"

local M = {}

local PRIVATE = "0700"
local PRIVATE_FILE = "0600"

local function path_of(dir, sha256)
  return ("%s/recipes/%s.lua"):format(dir, sha256)
end

--- Keeps the files of a loaded recipe and the site's hooks.
-- @tparam string dir the deployment's directory
-- @tparam recipe recipe
-- @tparam hooks site_hooks
-- @treturn table list of {role, name, file, sha256} for the revision's row
function M.keep(dir, recipe, site_hooks)
  fs.mkdirs(dir .. "/recipes", PRIVATE)
  local files = table.move(recipe.files, 1, #recipe.files, 1, {})
  if site_hooks.text then
    files[#files + 1] =
      { role = "hooks", name = "hooks", file = site_hooks.file, text = site_hooks.text }
  end
  local kept = {}
  for index, file in ipairs(files) do
    local sha256 = crypto.hash("sha256", file.text)
    local path = path_of(dir, sha256)
    if not fs.exists(path) then
      fs.write(path, file.text, { mode = PRIVATE_FILE })
    end
    kept[index] = { role = file.role, name = file.name, file = file.file, sha256 = sha256 }
  end
  return kept
end

-- Reads a copy; one that is not what was kept is as good as gone.
local function reader(dir)
  return function(file)
    local text = fs.read(path_of(dir, file.sha256))
    if crypto.hash("sha256", text) ~= file.sha256 then
      errors.raise {
        kind = "recipe",
        code = "broken",
        message = ("the kept copy of `%s` has been changed"):format(file.file),
      }
    end
    return text
  end
end

--- Loads a revision's recipe from the copies.
-- @tparam string dir
-- @tparam table revision row
-- @treturn recipe
-- @raise {kind = "recipe"}, {kind = "fs"} when it no longer loads
function M.recipe(dir, revision)
  return catalog.load(catalog.copies(revision.files, reader(dir)), revision.recipe)
end

--- Loads a revision's hooks from the copies.
-- @tparam string dir
-- @tparam table revision row
-- @treturn hooks
function M.hooks(dir, revision)
  for _, file in ipairs(revision.files) do
    if file.role == "hooks" then
      return hooks.load(reader(dir)(file), file.file)
    end
  end
  return hooks.load()
end

--- Removes copies that no revision uses any more.
-- @tparam string dir
-- @tparam table revisions rows
function M.prune(dir, revisions)
  local used = {}
  for _, revision in ipairs(revisions) do
    for _, file in ipairs(revision.files) do
      used[file.sha256 .. ".lua"] = true
    end
  end
  for _, entry in ipairs(fs.exists(dir .. "/recipes") and fs.list(dir .. "/recipes") or {}) do
    if not used[entry.name] then
      fs.remove(dir .. "/recipes/" .. entry.name)
    end
  end
end

return M
