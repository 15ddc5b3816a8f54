--- The journal: what each step was about to do, and what became of it.
--
-- One entry per step of a revision. Its intent is committed before the step acts and holds every
-- identity that the step will use; so undo works from the entry alone, whether the step ran, ran
-- halfway, or never began.
--
--   intent   apply may have begun; whether it has ended is not known
--   done     apply has ended; the result is kept
--   undone   taken back, or was never begun
--   left     undo failed; `error` says why, and undo is tried again by the next command
--
-- A result is committed together with the intent of the next step, or with the switch to the
-- revision: a crash in between only means that the step is applied once more, with the same intent.
--
-- @module moonport.engine.journal
local canonical = require "moonport.canonical"
local clock = require "moonport.clock"
local deployments = require "moonport.state.deployments"
local failpoint = require "moonport.failpoint"
local json = require "moonport.json"
local record = require "moonport.state.record"

local M = {}

local Journal = {}
Journal.__index = Journal

--- Opens the journal of one revision.
-- @tparam state state
-- @tparam table deployment row
-- @tparam integer revision
-- @treturn journal
function M.open(state, deployment, revision)
  return setmetatable({
    state = state,
    deployment = deployment,
    revision = revision,
    noted = {}, -- functions(tx) that write what is not committed yet
  }, Journal)
end

local function write_end(journal, db, step, fields)
  db:run(
    [[UPDATE journal SET state = ?, result = COALESCE(?, result), error = ?, ended = ?
      WHERE deployment = ? AND revision = ? AND step = ?]],
    fields.state,
    fields.result ~= nil and json.encode(fields.result) or nil,
    fields.error ~= nil and json.encode(fields.error) or nil,
    fields.ended or clock.now(),
    journal.deployment.id,
    journal.revision,
    step
  )
end

local function note(self, write)
  self.noted[#self.noted + 1] = write
end

--- Writes what was noted, as part of a transaction or batch.
-- @tparam tx tx
function Journal:settle(tx)
  for _, write in ipairs(self.noted) do
    write(tx)
  end
  self.noted = {}
end

--- Commits what was noted.
function Journal:flush()
  if #self.noted > 0 then
    self.state.db:batch(function(tx)
      self:settle(tx)
    end)
  end
end

--- Lists the entries, in the order of the steps.
-- @treturn table list of {step, seq, scope, state, intent, result, error, started, ended}
function Journal:entries()
  self:flush()
  return deployments.decode_all(self.state.db:rows(
    "SELECT * FROM journal WHERE deployment = ? AND revision = ? ORDER BY seq",
    self.deployment.id,
    self.revision
  ))
end

local function add_resource(journal, tx, step, kind, identity)
  tx:run(
    [[INSERT OR IGNORE INTO resources (deployment, revision, step, kind, identity)
      VALUES (?, ?, ?, ?, ?)]],
    journal.deployment.id,
    journal.revision,
    step,
    kind,
    canonical.encode(identity)
  )
end

local function write_intent(journal, tx, step, seq, intent, state, time)
  tx:run(
    [[INSERT INTO journal (deployment, revision, seq, step, scope, state, intent, started)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
      ON CONFLICT (deployment, revision, step) DO UPDATE SET seq = ?3, scope = ?5,
        state = ?6, intent = ?7, result = NULL, error = NULL, started = ?8, ended = NULL]],
    journal.deployment.id,
    journal.revision,
    seq,
    step.name,
    step.scope,
    state,
    json.encode(intent, { sort_keys = true }),
    time
  )
end

--- Writes a step's intent. After this returns, it is on disk.
-- @tparam table step of the recipe
-- @tparam integer seq its place in the recipe
-- @tparam table intent plain data
-- @tparam ?table resources list of {kind, identity}
function Journal:begin(step, seq, intent, resources)
  local deployment = self.deployment
  record.write(self.state, deployment, false, function(tx)
    self:settle(tx)
    write_intent(self, tx, step, seq, intent, "intent", clock.now())
    for _, resource in ipairs(resources or {}) do
      add_resource(self, tx, step.name, resource[1], resource[2])
    end
    self.state:update_deployment(deployment.id, { step = step.name }, tx)
  end)
  deployment.step = step.name
  failpoint.hit("journal.after_intent", step.name)
end

--- Notes a step's result, to be committed with what comes next.
-- @tparam string step
-- @param result plain data or nil
function Journal:done(step, result)
  local ending = { state = "done", result = result, ended = clock.now() }
  note(self, function(tx)
    write_end(self, tx, step, ending)
  end)
  failpoint.hit("journal.after_result", step)
end

--- Notes that there was nothing for a step to do, to be committed with what comes next. Its intent
-- is `false`.
-- @tparam table step of the recipe
-- @tparam integer seq its place in the recipe
function Journal:skip(step, seq)
  local time = clock.now()
  note(self, function(tx)
    write_intent(self, tx, step, seq, false, "done", time)
    write_end(self, tx, step.name, { state = "done", ended = time })
  end)
end

--- Notes that a step was taken back; what it recorded is forgotten.
-- @tparam string step
-- @tparam ?boolean later true where there was nothing to take back: to be committed with what comes
-- next
function Journal:undone(step, later)
  failpoint.hit("journal.before_undone", step)
  local id, revision, time = self.deployment.id, self.revision, clock.now()
  note(self, function(tx)
    tx:run(
      [[UPDATE journal SET state = 'undone', error = NULL, ended = ?
        WHERE deployment = ? AND revision = ? AND step = ?]],
      time,
      id,
      revision,
      step
    )
    tx:run(
      "DELETE FROM resources WHERE deployment = ? AND revision = ? AND step = ?",
      id,
      revision,
      step
    )
  end)
  if not later then
    self:flush()
  end
  failpoint.hit("journal.after_undone", step)
end

--- Notes that a step could not be taken back.
-- @tparam string step
-- @tparam table error plain data
function Journal:left(step, error)
  write_end(self, self.state.db, step, { state = "left", error = error })
end

--- Records something that a step is about to make outside moonport.
-- @tparam string step
-- @tparam string kind such as `directory`; see `moonport.resources`
-- @tparam table identity plain data
function Journal:record(step, kind, identity)
  add_resource(self, self.state.db, step, kind, identity)
end

--- What belongs to the deployment passes from earlier revisions to the one that serves, where both
-- have the same intent for it; so earlier ones have nothing left to undo.
-- @tparam tx tx
-- @tparam table deployment row
function M.hand_over(tx, deployment)
  local same = [[deployment = ?1 AND revision != ?2 AND EXISTS (
    SELECT 1 FROM journal s WHERE s.deployment = ?1 AND s.revision = ?2 AND s.state = 'done'
      AND s.step = %s.step AND s.scope = 'deployment' AND s.intent = (SELECT j.intent
        FROM journal j WHERE j.deployment = ?1 AND j.revision = %s.revision AND j.step = s.step))]]
  for _, statement in ipairs {
    "DELETE FROM resources WHERE " .. same:format("resources", "resources"),
    -- What an earlier revision uses together with others, the later one uses in its place.
    "UPDATE OR IGNORE shared_users SET revision = ?2 WHERE "
      .. same:format("shared_users", "shared_users"),
    "DELETE FROM shared_users WHERE " .. same:format("shared_users", "shared_users"),
    "UPDATE journal SET state = 'undone' WHERE " .. same:format("journal", "journal"),
  } do
    tx:run(statement, deployment.id, deployment.revision)
  end
end

--- Lists what a step has recorded and not undone, newest first.
-- @tparam string step
-- @treturn table list of {kind, identity}
function Journal:resources(step)
  local rows = self.state.db:rows(
    [[SELECT kind, identity FROM resources WHERE deployment = ? AND revision = ? AND step = ?
      ORDER BY id DESC]],
    self.deployment.id,
    self.revision,
    step
  )
  for _, row in ipairs(rows) do
    row.identity = json.decode(row.identity)
  end
  return rows
end

return M
