--- A site's `hooks.lua`: functions called at known points of a deployment.
--
--    on("deploy.before", function(event)
--      if event.manifest.limits.memory == nil then error("every service here has a memory limit")
--      end
--    end)
--
-- Hooks of one name run in the order they are written in. Those that run before something, and
-- `step.after` and `deploy.after`, can veto by raising: what was done so far is then undone. What
-- the others raise is told and changes nothing.
--
-- @module moonport.site.hooks
local errors = require "moonport.errors"
local catalog = require "moonport.recipe.catalog"
local nearest = require "moonport.nearest"

local M = {}

--- The hooks there are: name -> {veto, doc}. Every hook gets an event table with `name`,
-- `deployment`, `target` and `manifest`; those of a step also `step`, those of a failure `error`.
M.NAMES = {
  ["deploy.before"] = { veto = true, doc = "before anything is done; also while planning" },
  ["deploy.after"] = { veto = true, doc = "the service is ready; not yet told so" },
  ["deploy.failed"] = { doc = "the deployment failed and was undone" },
  ["step.before"] = { veto = true, doc = "before a step applies" },
  ["step.after"] = { veto = true, doc = "a step has applied" },
  ["step.failed"] = { doc = "a step has failed; it will be undone" },
  ["undo.before"] = { doc = "before steps are undone" },
  ["undo.after"] = { doc = "after steps were undone; `left` lists what could not be" },
  ["stop.before"] = { veto = true, doc = "before the service is stopped" },
  ["stop.after"] = { doc = "the service was stopped" },
  ["start.before"] = { veto = true, doc = "before a stopped service is started" },
  ["start.after"] = { doc = "the service was started" },
  ["rm.before"] = { veto = true, doc = "before a deployment is removed" },
  ["rm.after"] = { doc = "the deployment was removed" },
}

local function place_of(fn)
  local info = debug.getinfo(fn, "S")
  return ("%s:%d"):format(info.source:gsub("^[@=]", ""), info.linedefined)
end

local function register(hooks)
  return function(name, fn)
    if not M.NAMES[name] then
      errors.raise {
        kind = "site",
        code = "invalid",
        message = ("there is no hook `%s`"):format(tostring(name)),
        hint = nearest.hint(tostring(name), M.NAMES),
      }
    elseif type(fn) ~= "function" then
      errors.raise {
        kind = "site",
        code = "invalid",
        message = ("the hook `%s` needs a function, not a %s"):format(name, type(fn)),
      }
    end
    local list = hooks.by_name[name] or {}
    hooks.by_name[name] = list
    list[#list + 1] = { fn = fn, place = place_of(fn) }
  end
end

local Hooks = {}
Hooks.__index = Hooks

--- Loads hooks.
-- @tparam ?string text of hooks.lua; nil gives none
-- @tparam ?string file
-- @treturn hooks `file` and `text` are what was loaded
-- @raise {kind = "site", code = "invalid"}
function M.load(text, file)
  local hooks = setmetatable({ by_name = {}, text = text, file = file }, Hooks)
  if not text then
    return hooks
  end
  local env = catalog.environment { catalog = catalog.live(), files = {} }
  local own = setmetatable({ on = register(hooks) }, {
    __index = env,
    __newindex = function(_, key)
      errors.raise {
        kind = "site",
        code = "invalid",
        message = ("`%s` sets the global `%s`"):format(file, tostring(key)),
        hint = "write `local` before it",
      }
    end,
  })
  local ok, why = pcall(catalog.run, text, file, own)
  if not ok then
    if errors.is(why, "site") then
      error(why, 0)
    end
    errors.raise {
      kind = "site",
      code = "invalid",
      message = ("`%s` does not load: %s"):format(file, tostring(why)),
    }
  end
  return hooks
end

--- True when something would run.
function Hooks:has(name)
  return self.by_name[name] ~= nil
end

--- Lists what is registered.
-- @treturn table list of {name, place}
function Hooks:list()
  local rows = {}
  for name, list in pairs(self.by_name) do
    for _, hook in ipairs(list) do
      rows[#rows + 1] = { name = name, place = hook.place }
    end
  end
  table.sort(rows, function(a, b)
    return a.name < b.name or a.name == b.name and a.place < b.place
  end)
  return rows
end

local function veto(name, hook, cause)
  return errors.new {
    kind = "hook",
    code = "refused",
    message = ("the hook `%s` (%s) refused"):format(name, hook.place),
    cause = cause,
  }
end

--- Runs the hooks of a name.
-- @tparam string name
-- @tparam table event what they get; `name` is set
-- @tparam function warn function(error): told what a hook that cannot veto has raised
-- @raise {kind = "hook", code = "refused"} when one vetoes
function Hooks:run(name, event, warn)
  local known = assert(M.NAMES[name], name)
  event.name = name
  for _, hook in ipairs(self.by_name[name] or {}) do
    local ok, cause = pcall(hook.fn, event)
    if not ok then
      local failure = veto(name, hook, cause)
      if known.veto then
        error(failure, 0)
      end
      warn(failure)
    end
  end
end

return M
