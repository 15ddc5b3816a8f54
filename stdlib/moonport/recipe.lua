--- Recipes: what happens, as an ordered list of named steps that a site can change.
--
--    return recipe.define {
--      name = "targets.native",
--      summary = "Run a blueprint on the host",
--      steps = {
--        recipe.step("directories", { allocate = ..., plan = ..., apply = ..., undo = ... }),
--        recipe.step("ready", wait_until_ready),
--      },
--      status = status, logs = logs,
--    }
--
-- A recipe file returns its definition; loading it declares and does nothing else (it runs with the
-- effect gate shut). A file of the same name in the site's directory stands in for the shipped one
-- and can start from it:
--
--    local base = recipe.shipped "targets.native"
--    base:wrap("ready", function(original, ctx, intent) ... return original(ctx, intent) end)
--    return base
--
-- @module moonport.recipe
local definition = require "moonport.recipe.definition"
local catalog = require "moonport.recipe.catalog"

local M = {}

--- Defines a recipe.
-- @tparam table fields `name`, `summary` and `steps`; and what `recipe.FIELDS` documents
-- @treturn recipe
-- @raise {kind = "recipe", code = "invalid"} for an unknown or ill-typed field
M.define = definition.define

--- Defines a step.
--
-- All functions of a step get the context (`moonport.engine.context`) first.
--
--   allocate(ctx)               -> intent, resources: chooses every name, address and id that apply
--                               will use; plain data, written to the journal before apply runs.
--                               resources: list of {kind, identity} that apply will make
--   plan(ctx)                   -> list of changes {action, what, from, to}, with the gate shut
--   apply(ctx, intent)          -> result: plain data that later steps and verbs find in
--                               ctx.results[NAME]. May run again with the same intent
--   objects(ctx, intent)        -> list of plain tables: what plan tells and apply makes, where a
--                               step has such; for a site to wrap. There is no intent in a plan
--   undo(ctx, intent, result)   takes back what apply did or may have begun to do; result is nil
--                               where apply has not ended. May run again. Without it the resources
--                               that the step recorded are removed by their kinds
--   scope                       "revision" (default): undone when the revision is replaced;
--                               "deployment": undone only when the deployment is removed
--   takes_over                  true: a revision that serves is stopped right before this step;
--                               where no step says so, before the first one
--   summary                     one line for people
--
-- @tparam string name lower-case letters, digits and `-`
-- @tparam table|function fields a function is short for { apply = fn }
-- @treturn table step
-- @raise {kind = "recipe", code = "invalid"}
M.step = definition.step

--- The fields that `define` knows, with what each is for.
M.FIELDS = definition.FIELDS

--- The fields that `step` knows.
M.STEP_FIELDS = definition.STEP_FIELDS

--- Loads a recipe: the site's where there is one, else the shipped one.
-- @tparam string name such as `targets.native`
-- @tparam ?table options `site` (of `moonport.site`), or `catalog` (see `moonport.recipe.catalog`)
-- @treturn recipe; its `files` lists every file that took part: {role, name, file, text}
-- @raise {kind = "recipe", code = "not_found" | "broken" | "invalid"}
function M.load(name, options)
  options = options or {}
  return catalog.load(options.catalog or catalog.live(options.site), name)
end

--- Loads the shipped recipe, whatever the site has; each call gives one of its own to change.
-- @tparam string name
-- @treturn recipe
function M.shipped(name)
  return catalog.load_shipped(catalog.live(), name)
end

--- Lists the recipes there are.
-- @tparam ?site site
-- @treturn table list of {name, summary, from, file, error}; `from` is "shipped", "site" or "site
-- over shipped"
function M.list(site)
  return catalog.list(catalog.live(site))
end

--- Tells where each step of a recipe comes from.
-- @tparam recipe loaded
-- @treturn table list of {step, summary, file, line, functions, changes}; `changes` lists what
-- overrides did to it: {verb, file, line, was}. Removed steps come last, with `removed` set.
M.show = definition.show

--- Copies a shipped recipe to the site's directory, for editing.
-- @tparam string name
-- @tparam site site
-- @treturn string the new file
-- @raise {kind = "recipe", code = "refused"} when there is one already
function M.eject(name, site)
  return catalog.eject(name, site)
end

return M
