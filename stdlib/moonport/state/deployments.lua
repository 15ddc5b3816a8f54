--- Deployments and their revisions: the rows, and the transitions between phases.
--
-- A deployment is in one phase, which a crash leaves as it is:
--
--   applying   revision `pending` is being applied; `revision` (if any) served before. Without a
--              `pending` nothing was begun yet
--   undoing    what `pending` did is being undone
--   active     `revision` serves, nothing is under way
--   retiring   `revision` serves; what earlier ones left is being undone
--   removing   everything is being undone
--   failed     nothing serves; what could not be undone is in the journal
--
-- A phase in which something is under way, with nobody holding the deployment's lock, means that a
-- command was interrupted.
--
-- @module moonport.state.deployments
local clock = require "moonport.clock"
local errors = require "moonport.errors"
local json = require "moonport.json"
local nearest = require "moonport.nearest"

local M = { methods = {} }

local methods = M.methods

--- Phases in which a command is at work.
M.UNDER_WAY = { applying = true, undoing = true, retiring = true, removing = true }

local JSON_COLUMNS = { "files", "manifest", "origins", "inputs", "intent", "result", "error" }

-- Decodes the JSON columns of a row, in place.
local function decode(row)
  for _, column in ipairs(row and JSON_COLUMNS or {}) do
    if type(row[column]) == "string" then
      row[column] = json.decode(row[column])
    end
  end
  return row
end

M.decode = decode

local function decode_all(rows)
  for _, row in ipairs(rows) do
    decode(row)
  end
  return rows
end

M.decode_all = decode_all

local now = clock.now

--- Finds a deployment.
-- @tparam string name
-- @treturn ?table row {id, name, target, phase, want, revision, pending, step, boot_id, created,
-- updated}
function methods:deployment(name)
  return self.db:row("SELECT * FROM deployments WHERE name = ?", name)
end

--- Finds a deployment that must be there.
-- @tparam string name
-- @treturn table row
-- @raise {kind = "state", code = "not_found"} with the nearest name
function methods:need_deployment(name)
  local row = self:deployment(name)
  if not row then
    local names = {}
    for index, other in ipairs(self:deployments()) do
      names[index] = other.name
    end
    errors.raise {
      kind = "state",
      code = "not_found",
      message = ("there is no deployment `%s`"):format(name),
      hint = nearest.hint(name, names) or "`moonport ps` lists what there is",
    }
  end
  return row
end

--- Lists all deployments, by name.
-- @treturn table rows
function methods:deployments()
  return self.db:rows "SELECT * FROM deployments ORDER BY name"
end

--- Adds a deployment.
-- @tparam table fields id, name, target
function methods:add_deployment(fields)
  self.db:run(
    [[INSERT INTO deployments (id, name, target, phase, want, boot_id, created, updated)
      VALUES (?, ?, ?, 'applying', 'running', ?, ?, ?)]],
    fields.id,
    fields.name,
    fields.target,
    self.boot_id,
    now(),
    now()
  )
end

local SETTABLE = { "target", "phase", "want", "revision", "pending", "step", "boot_id" }

--- Changes fields of a deployment. `false` sets a field to nothing.
-- @tparam string id
-- @tparam table changes
-- @tparam ?tx tx a transaction or batch that this is part of
function methods:update_deployment(id, changes, tx)
  local sets, values = { "updated = ?" }, { now() }
  for _, column in ipairs(SETTABLE) do
    local value = changes[column]
    if value == false then
      sets[#sets + 1] = column .. " = NULL"
    elseif value ~= nil then
      sets[#sets + 1] = column .. " = ?"
      values[#values + 1] = value
    end
  end
  values[#values + 1] = id
  local db = tx or self.db
  db:run(
    ("UPDATE deployments SET %s WHERE id = ?"):format(table.concat(sets, ", ")),
    table.unpack(values)
  )
end

--- Finds a revision.
-- @tparam string id of the deployment
-- @tparam integer number
-- @treturn ?table row with `manifest`, `origins`, `inputs` and `files` decoded
function methods:revision(id, number)
  local sql = "SELECT * FROM revisions WHERE deployment = ? AND number = ?"
  return number and decode(self.db:row(sql, id, number)) or nil
end

--- Lists a deployment's revisions, newest first.
-- @tparam string id
-- @treturn table rows
function methods:revisions(id)
  local sql = "SELECT * FROM revisions WHERE deployment = ? ORDER BY number DESC"
  return decode_all(self.db:rows(sql, id))
end

--- Adds a revision and makes it the pending one.
-- @tparam string id
-- @tparam table fields digest, recipe, files, manifest, origins, inputs, note
-- @treturn integer its number
function methods:add_revision(id, fields)
  -- The deployment's lock is held, so nobody adds another meanwhile.
  local last = self.db:row("SELECT MAX(number) AS number FROM revisions WHERE deployment = ?", id)
  local number = (last and last.number or 0) + 1
  self.db:batch(function(tx)
    tx:run(
      [[INSERT INTO revisions (deployment, number, state, digest, recipe, files, manifest, origins,
          inputs, note, created) VALUES (?, ?, 'applying', ?, ?, ?, ?, ?, ?, ?, ?)]],
      id,
      number,
      fields.digest,
      fields.recipe,
      json.encode(fields.files),
      json.encode(fields.manifest),
      json.encode(fields.origins),
      json.encode(fields.inputs),
      fields.note,
      now()
    )
    local changes = { phase = "applying", pending = number, step = false, boot_id = self.boot_id }
    self:update_deployment(id, changes, tx)
  end)
  return number
end

local EVENTS_KEPT = 500 -- of each name

local function insert_event(tx, deployment, type, data)
  tx:run(
    "INSERT INTO events (at, deployment, name, type, data) VALUES (?, ?, ?, ?, ?)",
    now(),
    deployment.id,
    deployment.name,
    type,
    json.encode(data or {})
  )
  tx:run(
    [[DELETE FROM events WHERE name = ?1 AND id <=
        (SELECT id FROM events WHERE name = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)]],
    deployment.name,
    EVENTS_KEPT
  )
end

local function end_revision(tx, id, number, state)
  tx:run(
    "UPDATE revisions SET state = ?, ended = ? WHERE deployment = ? AND number = ?",
    state,
    now(),
    id,
    number
  )
end

--- The switch: the pending revision serves from here on, the one before is retired.
-- @tparam table deployment row; updated in place
-- @tparam ?function also function(tx): what belongs to the same transaction, a batch
function methods:activate(deployment, also)
  local old, new = deployment.revision, deployment.pending
  self.db:batch(function(tx)
    if old then
      end_revision(tx, deployment.id, old, "retired")
    end
    end_revision(tx, deployment.id, new, "active")
    self:update_deployment(deployment.id, {
      phase = old and "retiring" or "active",
      want = "running",
      revision = new,
      pending = false,
      step = false,
    }, tx)
    insert_event(tx, deployment, "deployed", { revision = new })
    if also then
      also(tx)
    end
  end)
  deployment.revision, deployment.pending, deployment.step = new, nil, nil
  deployment.phase, deployment.want = old and "retiring" or "active", "running"
end

--- The pending revision has failed or was given up, and is undone.
-- @tparam table deployment row; updated in place
-- @tparam ?function also function(tx): what belongs to the same transaction, a batch
function methods:abandon(deployment, also)
  local phase = deployment.revision and "active" or "failed"
  self.db:batch(function(tx)
    end_revision(tx, deployment.id, deployment.pending, "failed")
    self:update_deployment(deployment.id, { phase = phase, pending = false, step = false }, tx)
    if also then
      also(tx)
    end
  end)
  deployment.phase, deployment.pending, deployment.step = phase, nil, nil
end

--- Drops all but the newest revisions. Those with journal entries that are not undone stay.
-- @tparam string id
-- @tparam integer keep how many
-- @tparam ?tx tx a transaction or batch that this is part of
function methods:prune_revisions(id, keep, tx)
  local db = tx or self.db
  db:run(
    [[DELETE FROM revisions WHERE deployment = ?1 AND state IN ('retired', 'failed')
        AND number <= (SELECT MAX(number) FROM revisions WHERE deployment = ?1) - ?2
        AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.deployment = ?1
          AND j.revision = revisions.number AND j.state != 'undone')]],
    id,
    keep
  )
end

--- Notes what happened.
-- @tparam table deployment row
-- @tparam string type such as `deployed`, `failed`, `stopped`
-- @tparam ?table data plain data
function methods:add_event(deployment, type, data)
  self.db:batch(function(tx)
    insert_event(tx, deployment, type, data)
  end)
end

--- Removes a deployment's rows; its events stay, with one that tells of the removal.
-- @tparam table deployment row
function methods:forget_deployment(deployment)
  self.db:batch(function(tx)
    tx:run("DELETE FROM deployments WHERE id = ?", deployment.id)
    insert_event(tx, deployment, "removed")
  end)
end

--- Lists what happened to deployments of a name, oldest first.
-- @tparam string name
-- @tparam ?table options `after` (id), `limit` (newest so many; default 100)
-- @treturn table list of {id, at, type, data}
function methods:events(name, options)
  options = options or {}
  local rows = self.db:rows(
    [[SELECT * FROM (SELECT id, at, type, data FROM events WHERE name = ? AND id > ?
        ORDER BY id DESC LIMIT ?) ORDER BY id]],
    name,
    options.after or 0,
    options.limit or 100
  )
  for _, row in ipairs(rows) do
    row.data = json.decode(row.data)
  end
  return rows
end

return M
