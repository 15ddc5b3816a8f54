--- What a recipe is: checked fields, ordered steps, and the verbs by which a site changes them.
--
-- @module moonport.recipe.definition
local errors = require "moonport.errors"
local nearest = require "moonport.nearest"

local M = {}

--- Fields of a recipe: name -> {type, doc}.
M.FIELDS = {
  name = { "string", "what it is called: `targets.native` is recipes/targets/native.lua" },
  summary = { "string", "one line for people" },
  steps = { "table", "the steps, in order" },
  manifest = { "table", "targets: the schema of the target's own table in a manifest" },
  params = { "table", "other recipes: the schema of their parameters" },
  inputs = {
    "function",
    "(manifest) -> list of {field, path}: files whose content counts as part of the manifest; "
      .. "`sensitive`: of keys, say",
  },
  diagnose = {
    "function",
    "(ctx, failure) -> plain data: what an operator would look up after a failure",
  },
  status = { "function", "(ctx) -> {state, ...}" },
  logs = { "function", "(ctx, options) -> iterator of lines {time, stream, text}" },
  exec = { "function", "(ctx, options) -> {code, ...}" },
  start = {
    "function",
    "(ctx, options) starts what `stop` has stopped; `options.resume`: after a revision that was to "
      .. "take its place has failed",
  },
  drift = {
    "function",
    "(ctx) -> list of changes: by which `start` would make what runs as it was deployed again, "
      .. "after others have changed it",
  },
  stop = { "function", "(ctx, options) ends the service and keeps what was made for it" },
  restart = { "function", "(ctx, options); without it, stop and start" },
  wait = { "function", "(ctx, state, options) returns once the state is reached" },
  forward = { "function", "(ctx, port, options) -> {address, port, close}" },
  events = { "function", "(ctx, options) -> iterator of events" },
  console = { "function", "(ctx) gives the terminal to the service's console" },
  restore = { "function", "(ctx) after a reboot: starts again what was running" },
}

--- Fields of a step: name -> {type, doc}.
M.STEP_FIELDS = {
  summary = { "string", "one line for people" },
  scope = { "string", "`revision` (default) or `deployment`: how long what it makes lives" },
  allocate = { "function", "(ctx) -> intent, resources; false: nothing to do" },
  plan = { "function", "(ctx) -> list of changes" },
  apply = { "function", "(ctx, intent) -> result" },
  undo = { "function", "(ctx, intent, result)" },
  objects = {
    "function",
    "(ctx, intent) -> list of plain tables: what apply is to make, for a site to change",
  },
  takes_over = { "boolean", "the revision that serves is stopped right before this step" },
}

local SCOPES = { revision = true, deployment = true }

local function refuse(where, message, hint)
  errors.raise {
    kind = "recipe",
    code = "invalid",
    message = message,
    hint = hint,
    where = where and ("%s:%d"):format(where.file, where.line) or nil,
  }
end

local _state = {}

--- Notes the line that a recipe file is at while it is loaded. `return recipe.define {...}` is a
-- tail call, which leaves no trace on the stack.
-- @tparam ?table place {file, line}
-- @treturn ?table the place before
function M.passing(place)
  local before = _state.passing
  _state.passing = place
  return before
end

-- The first place on the stack that is no file of the stdlib: who called.
local function caller()
  for level = 2, 50 do
    local info = debug.getinfo(level, "Sl")
    if not info then
      break
    elseif info.currentline > 0 and not info.source:find "^@moonport/" then
      return { file = (info.source:gsub("^[@=]", "")), line = info.currentline }
    end
  end
  return _state.passing or { file = "?", line = 0 }
end

local function check_fields(what, fields, known, where)
  for key, value in pairs(fields) do
    local expected = known[key]
    if not expected then
      local message = ("%s has no field `%s`"):format(what, tostring(key))
      refuse(where, message, nearest.hint(tostring(key), known))
    elseif type(value) ~= expected[1] then
      local message = ("`%s` of %s must be a %s, not a %s"):format(
        key,
        what,
        expected[1],
        type(value)
      )
      refuse(where, message)
    end
  end
end

local Step = {}
Step.__index = Step
Step.__name = "moonport.step"

local function is_step(value)
  return getmetatable(value) == Step
end

--- Makes a step; see `moonport.recipe.step`. `where` ({file, line}) stands for the caller's place.
function M.step(name, fields, where)
  where = where or caller()
  if type(name) ~= "string" or not name:find "^[a-z0-9][a-z0-9-]*$" then
    refuse(
      where,
      ("%s cannot name a step"):format(("%q"):format(tostring(name))),
      "lower-case letters, digits and `-`"
    )
  elseif type(fields) == "function" then
    fields = { apply = fields }
  elseif type(fields) ~= "table" or is_step(fields) then
    refuse(where, ("step `%s` needs a table of functions, or one function"):format(name))
  end
  check_fields(("step `%s`"):format(name), fields, M.STEP_FIELDS, where)
  if fields.scope and not SCOPES[fields.scope] then
    refuse(
      where,
      ("step `%s` has the scope `%s`"):format(name, fields.scope),
      nearest.hint(fields.scope, SCOPES)
    )
  elseif not (fields.apply or fields.undo) then
    refuse(where, ("step `%s` does nothing"):format(name), "give it `apply`")
  end
  local step = { name = name, where = where, changes = {} }
  for key, value in pairs(fields) do
    step[key] = value
  end
  step.scope = step.scope or "revision"
  return setmetatable(step, Step)
end

local Recipe = {}
Recipe.__index = Recipe
Recipe.__name = "moonport.recipe"

--- True for what `define` returned.
function M.is_recipe(value)
  return getmetatable(value) == Recipe
end

local function check_steps(recipe, where)
  local seen = {}
  for index, step in ipairs(recipe.steps) do
    if not is_step(step) then
      local message = ("step %d of recipe `%s` was not made by recipe.step"):format(
        index,
        recipe.name
      )
      refuse(where, message)
    elseif seen[step.name] then
      refuse(step.where, ("recipe `%s` has two steps `%s`"):format(recipe.name, step.name))
    end
    seen[step.name] = true
  end
end

--- Makes a recipe; see `moonport.recipe.define`.
function M.define(fields)
  local where = caller()
  if type(fields) ~= "table" then
    refuse(where, "recipe.define needs a table")
  end
  local what = type(fields.name) == "string" and ("recipe `%s`"):format(fields.name) or "a recipe"
  check_fields(what, fields, M.FIELDS, where)
  if not fields.name then
    refuse(where, "a recipe needs a `name`")
  end
  local recipe = { where = where, removed = {}, files = {}, verbs = {} }
  for key, value in pairs(fields) do
    recipe[key] = value
  end
  recipe.steps = table.move(fields.steps or {}, 1, #(fields.steps or {}), 1, {})
  check_steps(recipe, where)
  return setmetatable(recipe, Recipe)
end

local function position(recipe, name, where)
  local names = {}
  for index, step in ipairs(recipe.steps) do
    if step.name == name then
      return index
    end
    names[index] = step.name
  end
  local message = ("recipe `%s` has no step `%s`"):format(recipe.name, tostring(name))
  refuse(where, message, nearest.hint(tostring(name), names))
end

-- `:before("x", step)`, `:before("x", "name", fields)`.
local function given_step(step, fields, where)
  if is_step(step) then
    return step
  end
  return M.step(step, fields, where)
end

local function insert(recipe, index, step, verb, where)
  for _, other in ipairs(recipe.steps) do
    if other.name == step.name then
      refuse(where, ("recipe `%s` has a step `%s` already"):format(recipe.name, step.name))
    end
  end
  table.insert(recipe.steps, index, step)
  step.changes[#step.changes + 1] = { verb = verb, file = where.file, line = where.line }
  return recipe
end

--- Finds a step.
-- @tparam string name
-- @treturn table step
-- @raise {kind = "recipe", code = "invalid"} with the nearest name
function Recipe:step(name)
  return self.steps[position(self, name, caller())]
end

--- Puts a step in place of another.
-- @tparam string name of the one that goes
-- @tparam table|function fields of the new one, as for `recipe.step`
-- @treturn recipe itself
function Recipe:replace(name, fields)
  local where = caller()
  local index = position(self, name, where)
  local old = self.steps[index]
  local step = is_step(fields) and fields or M.step(name, fields, where)
  step.name = name
  step.changes = table.move(old.changes, 1, #old.changes, 1, {})
  step.changes[#step.changes + 1] =
    { verb = "replace", file = where.file, line = where.line, was = old.where }
  self.steps[index] = step
  return self
end

local WRAPPED = { plan = true, apply = true, undo = true, allocate = true, objects = true }

local function nothing() end

--- Puts functions around those of a step. Each is called with the original first, then with what
-- the original would get.
-- @tparam string name
-- @tparam table|function wrappers { apply = function(original, ctx, intent) ... end, ... }; a
-- function is short for { apply = fn }
-- @treturn recipe itself
function Recipe:wrap(name, wrappers)
  local where = caller()
  local old = self.steps[position(self, name, where)]
  if type(wrappers) == "function" then
    wrappers = { apply = wrappers }
  end
  for key, wrapper in pairs(wrappers) do
    if not WRAPPED[key] then
      refuse(
        where,
        ("`%s` of a step cannot be wrapped"):format(tostring(key)),
        nearest.hint(tostring(key), WRAPPED)
      )
    end
    local original = old[key] or nothing
    old[key] = function(...)
      return wrapper(original, ...)
    end
  end
  old.changes[#old.changes + 1] =
    { verb = "wrap", file = where.file, line = where.line, was = old.where }
  return self
end

--- True for a step with other functions around its own.
-- @tparam table step
-- @treturn boolean
function M.is_wrapped(step)
  for _, change in ipairs(step.changes) do
    if change.verb == "wrap" then
      return true
    end
  end
  return false
end

--- Inserts a step before another.
-- @tparam string name of the other
-- @tparam table|string step of `recipe.step`, or a name followed by its fields
-- @tparam ?table|function fields
-- @treturn recipe itself
function Recipe:before(name, step, fields)
  local where = caller()
  local index = position(self, name, where)
  return insert(self, index, given_step(step, fields, where), "before " .. name, where)
end

--- Inserts a step after another; parameters as for `before`.
function Recipe:after(name, step, fields)
  local where = caller()
  local index = position(self, name, where) + 1
  return insert(self, index, given_step(step, fields, where), "after " .. name, where)
end

--- Adds a step at the end.
-- @tparam table|string step
-- @tparam ?table|function fields
-- @treturn recipe itself
function Recipe:append(step, fields)
  local where = caller()
  return insert(self, #self.steps + 1, given_step(step, fields, where), "append", where)
end

--- Takes a step out.
-- @tparam string name
-- @treturn recipe itself
function Recipe:remove(name)
  local where = caller()
  local old = table.remove(self.steps, position(self, name, where))
  self.removed[#self.removed + 1] = { step = old, file = where.file, line = where.line }
  return self
end

--- Puts another function in place of one of the recipe's own (`status`, `logs`, `stop`, ...).
-- @tparam string verb
-- @tparam function fn called with the original first, then with what the original would get
-- @treturn recipe itself
function Recipe:wrap_verb(verb, fn)
  local where = caller()
  check_fields(("recipe `%s`"):format(self.name), { [verb] = fn }, M.FIELDS, where)
  local original = self[verb] or nothing
  self[verb] = function(...)
    return fn(original, ...)
  end
  self.verbs[verb] = { file = where.file, line = where.line }
  return self
end

local function functions_of(step)
  local names = {}
  for _, name in ipairs { "allocate", "plan", "objects", "apply", "undo" } do
    if step[name] then
      names[#names + 1] = name
    end
  end
  return names
end

local function row_of(step)
  return {
    step = step.name,
    summary = step.summary,
    scope = step.scope,
    file = step.where.file,
    line = step.where.line,
    functions = functions_of(step),
    changes = step.changes,
  }
end

--- Tells where each step comes from; see `moonport.recipe.show`.
function M.show(recipe)
  local rows = {}
  for index, step in ipairs(recipe.steps) do
    rows[index] = row_of(step)
  end
  for _, removal in ipairs(recipe.removed) do
    local row = row_of(removal.step)
    row.removed = { file = removal.file, line = removal.line }
    rows[#rows + 1] = row
  end
  return rows
end

return M
