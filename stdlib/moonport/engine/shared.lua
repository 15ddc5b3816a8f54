--- Things that several deployments share: made by the first that needs them, removed with the last.
--
-- A shared thing belongs to no deployment. The store counts its users and knows whether we made it:
-- what was there before us is never removed.
--
-- @module moonport.engine.shared
local canonical = require "moonport.canonical"
local clock = require "moonport.clock"
local fs = require "moonport.fs"
local json = require "moonport.json"
local resources = require "moonport.resources"

local M = {}

local WAIT = 120 -- seconds for another command to make or remove it

-- Making and removing exclude each other; a transaction cannot be held open meanwhile.
local function lock(state)
  return fs.lock(state.dir .. "/locks/.shared", { wait = WAIT })
end

--- See `ctx:share`.
function M.use(ctx, step, kind, identity, functions)
  local state, key = ctx.state, canonical.encode(identity)
  local held <close> = lock(state) -- luacheck: ignore held
  local known = state.db:row("SELECT * FROM shared WHERE kind = ? AND identity = ?", kind, key)
  local there = functions.exists()
  state.db:batch(function(tx)
    if not known then
      -- Written before making: after a crash in between, it counts as ours and goes with us.
      tx:run(
        "INSERT INTO shared (kind, identity, made, created) VALUES (?, ?, ?, ?)",
        kind,
        key,
        there and 0 or 1,
        clock.now()
      )
    end
    tx:run(
      [[INSERT OR IGNORE INTO shared_users (kind, identity, deployment, revision, step)
        VALUES (?, ?, ?, ?, ?)]],
      kind,
      key,
      ctx.id,
      ctx.revision,
      step
    )
  end)
  if not there then
    functions.make()
  end
end

local function remove_if_last(state, user)
  local where = "WHERE kind = ? AND identity = ?"
  if state.db:row("SELECT 1 AS one FROM shared_users " .. where, user.kind, user.identity) then
    return
  end
  local row = state.db:row("SELECT made FROM shared " .. where, user.kind, user.identity)
  if row and row.made == 1 then
    resources.remove(user.kind, json.decode(user.identity))
  end
  state.db:run("DELETE FROM shared " .. where, user.kind, user.identity)
end

--- Ends a step's use of what it shares, and removes what nobody uses any more.
-- @tparam state state
-- @tparam string id of the deployment
-- @tparam integer revision
-- @tparam string step
-- @treturn boolean true where it used something
function M.release(state, id, revision, step)
  local sql = "FROM shared_users WHERE deployment = ? AND revision = ? AND step = ?"
  local users = state.db:rows("SELECT * " .. sql, id, revision, step)
  if #users == 0 then
    return false
  end
  local held <close> = lock(state) -- luacheck: ignore held
  state.db:run("DELETE " .. sql, id, revision, step)
  for _, user in ipairs(users) do
    remove_if_last(state, user)
  end
  return true
end

--- Removes what has lost its users without being removed: a crash came in between.
-- @tparam state state
-- @tparam ?boolean dry only list
-- @treturn table list of {kind, identity}
function M.sweep(state, dry)
  local held <close> = lock(state) -- luacheck: ignore held
  local rows = state.db:rows [[SELECT kind, identity FROM shared s WHERE NOT EXISTS
    (SELECT 1 FROM shared_users u WHERE u.kind = s.kind AND u.identity = s.identity)]]
  for _, row in ipairs(dry and {} or rows) do
    remove_if_last(state, row)
  end
  for _, row in ipairs(rows) do
    row.identity = json.decode(row.identity)
  end
  return rows
end

return M
