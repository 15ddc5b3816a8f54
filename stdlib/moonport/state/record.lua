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

local function shared_of(db, id)
  return db:rows(
    [[SELECT DISTINCT s.* FROM shared s JOIN shared_users u USING (kind, identity)
      WHERE u.deployment = ?]],
    id
  )
end

--- Reads a deployment's rows.
-- @tparam state state
-- @tparam string id
-- @treturn table record
function M.collect(state, id)
  local db = state.db
  local record = {
    version = 1,
    store = state.uuid,
    deployments = db:rows("SELECT * FROM deployments WHERE id = ?", id),
    shared = shared_of(db, id),
  }
  for _, name in ipairs(M.TABLES) do
    record[name] = db:rows(("SELECT * FROM %s WHERE deployment = ?"):format(name), id)
  end
  return record
end

--- Writes the record of a deployment.
-- @tparam state state
-- @tparam table deployment row
-- @tparam ?boolean durable wait for the disk (default true). Between steps the page cache is
-- enough: it survives our own death, and the database survives a power cut.
function M.write(state, deployment, durable)
  local path = state:deployment_dir(deployment.name) .. "/record.json"
  fs.write(path, json.encode(M.collect(state, deployment.id)) .. "\n", {
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
