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

local SAME = "WHERE kind = ? AND identity = ?"
local USER = "deployment = ? AND revision = ? AND step = ?"

local function remove_if_ours(state, thing)
  local row = state.db:row("SELECT made FROM shared " .. SAME, thing.kind, thing.identity)
  if row and row.made == 1 then
    resources.remove(thing.kind, json.decode(thing.identity))
  end
end

-- A use ends once the thing is gone: where that fails, the next try finds who used it last.
local function end_use(state, user)
  local whose = { user.kind, user.identity, user.deployment, user.revision, user.step }
  local others = state.db:row(
    ("SELECT 1 AS one FROM shared_users %s AND NOT (%s)"):format(SAME, USER),
    table.unpack(whose)
  )
  if not others then
    remove_if_ours(state, user)
  end
  state.db:batch(function(tx)
    tx:run(
      ("DELETE FROM shared_users %s AND %s"):format(SAME, USER),
      table.unpack(whose)
    )
    if not others then
      tx:run("DELETE FROM shared " .. SAME, user.kind, user.identity)
    end
  end)
end

--- True where a step uses something that it shares.
-- @tparam state state
-- @tparam string id of the deployment
-- @tparam integer revision
-- @tparam string step
-- @treturn boolean
function M.is_used(state, id, revision, step)
  local sql = "SELECT 1 AS one FROM shared_users WHERE " .. USER
  return state.db:row(sql, id, revision, step) ~= nil
end

--- Ends a step's use of what it shares, and removes what nobody uses any more.
-- @tparam state state
-- @tparam string id of the deployment
-- @tparam integer revision
-- @tparam string step
-- @treturn boolean true where it used something
function M.release(state, id, revision, step)
  if not M.is_used(state, id, revision, step) then
    return false
  end
  local held <close> = lock(state) -- luacheck: ignore held
  local sql = "SELECT * FROM shared_users WHERE " .. USER
  for _, user in ipairs(state.db:rows(sql, id, revision, step)) do
    end_use(state, user)
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
    remove_if_ours(state, row)
    state.db:run("DELETE FROM shared " .. SAME, row.kind, row.identity)
  end
  for _, row in ipairs(rows) do
    row.identity = json.decode(row.identity)
  end
  return rows
end

return M
