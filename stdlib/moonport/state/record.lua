--- A deployment's record: its rows as JSON, in its directory, from which the database is rebuilt.
--
-- It is written whenever the journal has grown, before the step acts. So whatever a crash or a
-- damaged database takes, the identities of what was made are in the record.
--
-- @module moonport.state.record
local fs = require "moonport.fs"
local json = require "moonport.json"

local M = {}

--- Tables whose rows belong to a deployment, in the order they can be inserted in.
M.TABLES = { "revisions", "journal", "resources", "shared_users", "leases" }

local PRIVATE_FILE = "0600"

--- Reads a deployment's rows, as part of a batch: the record is whole once that has run.
-- @tparam batch tx
-- @tparam state state
-- @tparam string id
-- @treturn table record
function M.collect(tx, state, id)
  local record = {
    version = 1,
    store = state.uuid,
    deployments = tx:rows("SELECT * FROM deployments WHERE id = ?", id),
    shared = tx:rows(
      [[SELECT DISTINCT s.* FROM shared s JOIN shared_users u USING (kind, identity)
        WHERE u.deployment = ?]],
      id
    ),
  }
  for _, name in ipairs(M.TABLES) do
    record[name] = tx:rows(("SELECT * FROM %s WHERE deployment = ?"):format(name), id)
  end
  return record
end

--- Changes a deployment's rows and writes its record, which has the change.
-- @tparam state state
-- @tparam table deployment row
-- @tparam ?boolean durable wait for the record to be on disk (default true). Between steps the page
-- cache is enough: it survives our own death, and the database survives a power cut.
-- @tparam ?function change function(tx): the change, a batch
function M.write(state, deployment, durable, change)
  local record = state.db:batch(function(tx)
    if change then
      change(tx)
    end
    return M.collect(tx, state, deployment.id)
  end)
  local path = state:deployment_dir(deployment.name) .. "/record.json"
  fs.write(path, json.encode(record) .. "\n", {
    mode = PRIVATE_FILE,
    sync = durable ~= false,
  })
end

--- Puts a record's rows back.
-- @tparam tx tx
-- @tparam table record
function M.restore(tx, record)
  local order = { "deployments", "shared", table.unpack(M.TABLES) }
  for _, name in ipairs(order) do
    for _, row in ipairs(record[name] or {}) do
      local columns, marks, values = {}, {}, {}
      for column, value in pairs(row) do
        columns[#columns + 1] = column
        marks[#marks + 1] = "?"
        values[#values + 1] = value
      end
      tx:run(
        ("INSERT OR IGNORE INTO %s (%s) VALUES (%s)"):format(
          name,
          table.concat(columns, ", "),
          table.concat(marks, ", ")
        ),
        table.unpack(values)
      )
    end
  end
end

return M
