--- SQLite, on a thread of its own: nothing here blocks other tasks.
--
--     local db <close> = store.open { path = "x.db", migrations = { "CREATE TABLE t (a)" } }
--     db:run("INSERT INTO t VALUES (?)", 1)
--     for _, row in ipairs(db:rows "SELECT a FROM t") do print(row.a) end
--
-- Parameters and columns are integers, floats, strings and nil (NULL); booleans are stored as 0, 1.
-- @module moonport.store

local core = require "moonport.core.store"

local M = { open = core.open }

--- Opens a database (WAL, synchronous=FULL), checks it and brings its schema up to date.
-- @function open
-- @tparam table options `path`; `migrations` ({sql,...}: entry N brings a database of version N-1
--   to N); `busy` (seconds to wait for another process's lock, default 10)
-- @treturn store with `:run(sql, ...)` ({changes, last_id}), `:row(sql, ...)` (the first row or
--   nil), `:rows(sql, ...)`, `:transaction(fn)`, `:close()`
-- @raise {kind="store"} with the code "corrupt", "newer", "busy", "sql", "unique", ...

-- As `store:transaction`; documented there.
function core.methods.transaction(self, fn)
  local tx <close> = self:begin()
  local results = table.pack(fn(tx))
  tx:commit()
  return table.unpack(results, 1, results.n)
end

--- Runs a function in a transaction (`BEGIN IMMEDIATE`): all of what it does is kept, or nothing
-- where it raises or its task is cancelled. Until it returns, every other user of the store waits,
-- so it may wait for nothing but this store.
-- @function store:transaction
-- @tparam function fn called with a transaction, which has `run`, `row` and `rows`
-- @return what `fn` returns

return M
