--- Sweeping: what killed commands and reboots left is finished, undone or removed.
--
-- Only what carries this store's mark is touched, and no deployment on which a command is at work.
-- Nobody knows whether somebody looks at what an interrupted command has left, or is about to go on
-- with it: a sweep that nobody asked for gives an `older_than` and leaves it alone until then.
--
-- @module moonport.gc
local clock = require "moonport.clock"
local copies = require "moonport.engine.copies"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local manifest = require "moonport.manifest"
local rebuild = require "moonport.state.rebuild"
local record = require "moonport.state.record"
local resources = require "moonport.resources"
local runtime = require "moonport.state.runtime"
local settle = require "moonport.engine.settle"
local shared = require "moonport.engine.shared"
local units = require "moonport.units"

local M = {
  --- For how many seconds what was interrupted is left to whoever did that, where nobody asked for
  -- a sweep.
  PATIENCE = 24 * 3600,
}

-- One finding: does what is to be done (unless `dry`), and notes what became of it.
local function act(sweep, what, fn)
  local row = { what = what, action = "would be removed" }
  if not sweep.dry then
    local ok, why = pcall(fn)
    row.action, row.error = ok and "removed" or "failed", not ok and why or nil
  end
  sweep.rows[#sweep.rows + 1] = row
end

-- Runs a function with a deployment's lock; leaves it alone when a command is at work on it.
local function unless_busy(state, name, fn)
  local lock, why = try(state.lock, state, name)
  if lock then
    local held <close> = lock -- luacheck: ignore held
    fn()
    state:remove_lock(name)
  elseif not errors.is(why, "state", "busy") then
    error(why, 0)
  end
end

local function has_leftovers(state, deployment)
  return state.db:row(
    "SELECT 1 AS one FROM journal WHERE deployment = ? AND state = 'left' LIMIT 1",
    deployment.id
  ) ~= nil
end

-- What could not be taken back is a failure of the sweep, though the sweep goes on.
local function refuse_left(report)
  if #report.left > 0 then
    error(settle.describe_left(report), 0)
  end
end

-- What is to be done about a deployment: in words, and by which function.
local function unfinished(env, row)
  if settle.is_unsettled(row) then
    return ("`%s`, interrupted while %s"):format(row.name, row.phase),
      function()
        local _, report = settle.run(env, row)
        refuse_left(report)
      end
  elseif has_leftovers(env.state, row) then
    return ("what steps of `%s` left"):format(row.name),
      function()
        refuse_left(settle.retire(env, row))
      end
  end
end

local function leave(sweep, what, row, age)
  sweep.rows[#sweep.rows + 1] = {
    what = what,
    action = "left for now",
    note = ("it was %s ago; deploy it again, or `moonport rm %s`"):format(
      units.format_duration(math.max(age, 0) // 1),
      row.name
    ),
  }
end

local function sweep_deployment(sweep, deployment)
  local env = sweep.env
  unless_busy(env.state, deployment.name, function()
    local row = env.state:deployment(deployment.name)
    if not row then
      return
    end
    local what, finish = unfinished(env, row)
    local age = clock.now() - row.updated
    if what and age < sweep.older_than then
      return leave(sweep, what, row, age)
    elseif what then
      act(sweep, what, finish)
    end
    if not sweep.dry and env.state:deployment(deployment.name) then
      copies.prune(env.state:deployment_dir(row.name), env.state:revisions(row.id))
    end
  end)
end

-- What could not be looked at keeps nothing else from being swept.
local function add_problem(sweep, what, problem)
  sweep.rows[#sweep.rows + 1] = { what = what, action = "failed", error = problem }
end

-- A deployment whose record cannot be read may have anything that has no other owner.
local function add_lost(sweep, name)
  local message, hint = rebuild.describe_lost(name)
  local problem = errors.new {
    kind = "state",
    code = "lost",
    message = message,
    hint = hint,
    where = "",
  }
  sweep.lost[#sweep.lost + 1] = name
  add_problem(sweep, ("directory `%s`"):format(sweep.env.state:deployment_dir(name)), problem)
end

-- A directory without a row: removed where it holds no record of anything made; else taken back
-- into the database, so that its resources are not lost.
local function sweep_directory(sweep, name)
  local state = sweep.env.state
  local dir = state:deployment_dir(name)
  unless_busy(state, name, function()
    if state:deployment(name) then
      return
    end
    local data, is_lost = rebuild.read(dir)
    if data then
      act(sweep, ("the record of `%s`, which the database does not have"):format(name), function()
        state.db:transaction(function(tx)
          record.restore(tx, data)
        end)
      end)
      sweep.rows[#sweep.rows].action = sweep.dry and "would be taken back" or "taken back"
    elseif is_lost then
      add_lost(sweep, name)
    else
      act(sweep, ("directory `%s`"):format(dir), function()
        fs.remove_tree(dir)
      end)
    end
  end)
end

-- Lock files of deployments that are gone. They hold nothing, so nobody is told.
local function sweep_locks(sweep)
  local state = sweep.env.state
  for _, entry in ipairs(sweep.dry and {} or fs.list(state.dir .. "/locks")) do
    local name = entry.name:match "^(.+)%.lock$"
    if name and manifest.is_name(name) and not state:deployment(name) then
      unless_busy(state, name, function() end)
    end
  end
end

local function sweep_runtime(sweep)
  local state, known = sweep.env.state, {}
  local base = runtime.base(state)
  -- Listed before the deployments are: a directory is made after its deployment's row.
  local entries = fs.exists(base) and fs.list(base) or {}
  for _, deployment in ipairs(state:deployments()) do
    known[deployment.id] = true
  end
  for _, entry in ipairs(entries) do
    if not known[entry.name] then
      act(sweep, ("directory `%s/%s`"):format(base, entry.name), function()
        fs.remove_tree(base .. "/" .. entry.name)
      end)
    end
  end
end

-- Removes what a kind has lost: together, where that takes far less time than one by one.
local function remove_lost(sweep, name, kind, lost)
  local together = kind.remove_all and not sweep.dry
  local ok, why = true, nil
  if together then
    local identities = {}
    for index, orphan in ipairs(lost) do
      identities[index] = orphan.identity
    end
    ok, why = pcall(kind.remove_all, identities)
  end
  for _, orphan in ipairs(lost) do
    act(sweep, orphan.what or resources.describe(name, orphan.identity), function()
      if not together then
        kind.remove(orphan.identity)
      elseif not ok then
        error(why, 0)
      end
    end)
  end
end

local function sweep_marked(sweep)
  for _, name in ipairs(resources.kinds()) do
    local ok, kind = pcall(resources.kind, name)
    local orphans, lost = ok and kind.orphans and kind.orphans(sweep.env.state, sweep.env) or {}, {}
    for _, orphan in ipairs(orphans) do
      if orphan.problem then
        add_problem(sweep, orphan.what, orphan.problem)
      elseif orphan.unseen then
        sweep.rows[#sweep.rows + 1] =
          { what = orphan.what, action = "not looked at", note = orphan.unseen }
      else
        lost[#lost + 1] = orphan
      end
    end
    if #lost > 0 then
      remove_lost(sweep, name, kind, lost)
    end
  end
end

-- The mark tells the store and the deployment's id, and only a record tells whose id that is.
local function leave_marked(sweep)
  sweep.rows[#sweep.rows + 1] = {
    what = "what bears this store's mark and belongs to no deployment",
    action = "not looked at",
    note = ("it may be of %s, whose record is lost"):format(table.concat(sweep.lost, ", ")),
  }
end

--- Sweeps.
-- @tparam table env {state, site, observer}
-- @tparam ?table options `dry`: only tell; `older_than`: leave what was interrupted, or could not
-- be undone, less than so many seconds ago (default: 0)
-- @treturn table list of {what, action, error, note}; action is "removed", "taken back", "failed",
-- "left for now" and "not looked at" (`note` says why), and in a dry run "would be ..."
function M.run(env, options)
  options = options or {}
  local sweep = {
    env = env,
    dry = options.dry or false,
    older_than = options.older_than or -math.huge, -- the clock may have been set back
    rows = {},
    lost = {},
  }
  for _, deployment in ipairs(env.state:deployments()) do
    sweep_deployment(sweep, deployment)
  end
  for _, entry in ipairs(fs.list(env.state.dir .. "/deployments")) do
    if manifest.is_name(entry.name) then
      sweep_directory(sweep, entry.name)
    end
  end
  sweep_locks(sweep)
  for _, row in ipairs(shared.sweep(env.state, sweep.dry)) do
    sweep.rows[#sweep.rows + 1] = {
      what = resources.describe(row.kind, row.identity),
      action = sweep.dry and "would be removed" or "removed",
    }
  end
  if #sweep.lost == 0 then
    sweep_runtime(sweep)
    sweep_marked(sweep)
  else
    leave_marked(sweep)
  end
  return sweep.rows
end

return M
