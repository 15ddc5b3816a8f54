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
--   nil), `:rows(sql, ...)`, `:transaction(fn)`, `:batch(fn)`, `:close()`
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

local Batch = {}
Batch.__index = Batch

local function note(batch, answer, ...)
  batch.statements[#batch.statements + 1] = table.pack(...)
  batch.answers[#batch.answers + 1] = answer
  return answer
end

function Batch:run(...) return note(self, { changes = 0, last_id = 0 }, ...) end

function Batch:rows(...) return note(self, {}, ...) end

-- As `store:batch`; documented there.
function core.methods.batch(self, fn)
  local batch = setmetatable({ statements = {}, answers = {} }, Batch)
  local returned = fn(batch)
  for index, got in ipairs(self:statements(batch.statements)) do
    local answer = batch.answers[index]
    if answer.changes then
      answer.changes, answer.last_id = got.changes, got.last_id
    else
      table.move(got, 1, #got, 1, answer)
    end
  end
  return returned
end

--- Runs statements in a transaction, all of them at once: where none depends on what another
-- answers, that is several times faster than one after another. All of what they do is kept, or
-- nothing. What only reads sees one state of the database.
-- @function store:batch
-- @tparam function fn called with a batch, whose `run` and `rows` note a statement. What they
-- return is filled in when the batch has run: `changes` and `last_id`, or the rows
-- @return what `fn` returns

return M
