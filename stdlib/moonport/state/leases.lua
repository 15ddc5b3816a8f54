--- Leases: names and addresses of a pool that one deployment holds.
--
-- A lease is taken in a transaction, so two commands never get the same value, and it belongs to a
-- deployment: it goes with it, and nothing that a crash or a reboot leaves behind can exhaust a
-- pool.
--
-- @module moonport.state.leases
local clock = require "moonport.clock"
local errors = require "moonport.errors"

local M = { methods = {} }

local methods = M.methods

--- Takes the first free value of a pool; the same deployment and purpose get the same value again.
-- @tparam string pool such as `subnet`
-- @tparam string deployment its id
-- @tparam string purpose what it is for, such as `vm`
-- @tparam function candidates iterator over values, in the order to try them
-- @treturn string value
-- @raise {kind = "state", code = "exhausted"}
function methods:lease(pool, deployment, purpose, candidates)
  return self.db:transaction(function(tx)
    local held = tx:row(
      "SELECT value FROM leases WHERE pool = ? AND deployment = ? AND purpose = ?",
      pool,
      deployment,
      purpose
    )
    if held then
      return held.value
    end
    local taken = {}
    for _, row in ipairs(tx:rows("SELECT value FROM leases WHERE pool = ?", pool)) do
      taken[row.value] = true
    end
    for value in candidates do
      if not taken[value] then
        tx:run(
          [[INSERT INTO leases (pool, value, deployment, purpose, boot_id, created)
            VALUES (?, ?, ?, ?, ?, ?)]],
          pool,
          value,
          deployment,
          purpose,
          self.boot_id,
          clock.now()
        )
        return value
      end
    end
    errors.raise {
      kind = "state",
      code = "exhausted",
      message = ("nothing is free in the pool `%s`"):format(pool),
      hint = "remove deployments (`moonport ps` lists them), or give the site a larger pool",
    }
  end)
end

--- Gives a lease back. Without it, nothing happens.
-- @tparam string pool
-- @tparam string deployment
-- @tparam string purpose
function methods:release_lease(pool, deployment, purpose)
  self.db:run(
    "DELETE FROM leases WHERE pool = ? AND deployment = ? AND purpose = ?",
    pool,
    deployment,
    purpose
  )
end

--- Lists leases.
-- @tparam ?string pool
-- @treturn table list of {pool, value, deployment, purpose, boot_id, created}
function methods:leases(pool)
  return self.db:rows(
    "SELECT * FROM leases WHERE ?1 IS NULL OR pool = ?1 ORDER BY pool, value",
    pool
  )
end

return M
