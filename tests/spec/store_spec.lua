local errors = require "moonport.errors"
local store = require "moonport.store"
local task = require "moonport.task"

describe("a store", function()
  local path, db

  before_each(function()
    path = os.tmpname()
    os.remove(path)
    db = store.open {
      path = path,
      migrations = { "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)" },
    }
  end)

  after_each(function()
    db:close()
    for _, suffix in ipairs { "", "-wal", "-shm" } do os.remove(path .. suffix) end
  end)

  it("keeps every kind of value", function()
    local done = db:run("INSERT INTO t (a, b) VALUES (?, ?)", math.mininteger, 0.1)
    assert.equal(1, done.changes)
    assert.equal(1, done.last_id)
    db:run("INSERT INTO t (a, b) VALUES (?, ?)", "text\0with NUL", nil)
    db:run("INSERT INTO t (a, b) VALUES (?, ?)", true, 1.0)
    assert.same({
      { id = 1, a = math.mininteger, b = 0.1 },
      { id = 2, a = "text\0with NUL" },
      { id = 3, a = 1, b = 1.0 },
    }, db:rows "SELECT * FROM t ORDER BY id")
    assert.equal("float", math.type(db:row("SELECT b FROM t WHERE id = 3").b))
    assert.is_nil(db:row "SELECT * FROM t WHERE id = 4")
  end)

  it("keeps all of a transaction or nothing", function()
    local result = db:transaction(function(tx)
      tx:run "INSERT INTO t (a) VALUES (1)"
      return tx:row("SELECT count(*) AS n FROM t").n
    end)
    assert.equal(1, result)
    local ok, err = pcall(db.transaction, db, function(tx)
      tx:run "INSERT INTO t (a) VALUES (2)"
      error("no", 0)
    end)
    assert.same({ false, "no" }, { ok, err })
    assert.equal(1, db:row("SELECT count(*) AS n FROM t").n)
  end)

  it("runs a batch in one transaction", function()
    local added, rows
    local answer = db:batch(function(batch)
      added = batch:run("INSERT INTO t (a, b) VALUES (?, ?)", nil, "text\0with NUL")
      batch:run("INSERT INTO t (a, b) VALUES (?, ?)", 2, nil)
      rows = batch:rows "SELECT a, b FROM t ORDER BY id"
      assert.same({}, rows)
      return "what the function returns"
    end)
    assert.equal("what the function returns", answer)
    assert.same({ changes = 1, last_id = 1 }, added)
    assert.same({ { b = "text\0with NUL" }, { a = 2 } }, rows)
  end)

  it("keeps all of a batch or nothing", function()
    local err = select(2, pcall(db.batch, db, function(batch)
      batch:run "INSERT INTO t (id) VALUES (1)"
      batch:run "INSERT INTO t (id) VALUES (1)"
    end))
    assert.is_true(errors.is(err, "store", "unique"))
    local ok = pcall(db.batch, db, function(batch)
      batch:run "INSERT INTO t (id) VALUES (1)"
      error("no", 0)
    end)
    assert.is_false(ok)
    assert.same({}, db:rows "SELECT * FROM t")
    db:batch(function() end)
  end)

  it("refuses a statement of a batch that is none", function()
    local wrongs = { { 1 }, { { 1 } }, { {} }, { { "SELECT ?", {} } }, { { "", n = 0 } } }
    for _, wrong in ipairs(wrongs) do
      local err = select(2, pcall(db.statements, db, wrong))
      assert.is_true(errors.is(err, "argument"), tostring(err))
    end
  end)

  it("rolls back when the task is cancelled", function()
    local inside = task.event()
    local handle = task.contained(function()
      db:transaction(function(tx)
        tx:run "INSERT INTO t (a) VALUES (1)"
        inside:set()
        while true do tx:row "SELECT 1" end
      end)
    end)
    inside:wait()
    handle:cancel()
    pcall(handle.await, handle)
    assert.equal(0, db:row("SELECT count(*) AS n FROM t").n)
  end)

  it("lets a transaction wait for nothing but the store", function()
    local ok, err = pcall(db.transaction, db, function() task.sleep(0) end)
    assert.is_false(ok)
    assert.equal("cannot_wait", err.code)
    task.sleep(0)
  end)

  it("makes others wait until a transaction has ended", function()
    local order = {}
    task.all {
      function()
        db:transaction(function(tx)
          for _ = 1, 5 do tx:run "INSERT INTO t (a) VALUES (1)" end
          order[#order + 1] = "transaction"
        end)
      end,
      function()
        assert.equal(5, db:row("SELECT count(*) AS n FROM t").n)
        order[#order + 1] = "reader"
      end,
    }
    assert.same({ "transaction", "reader" }, order)
  end)

  it("refuses what would wait for the caller's own transaction, for ever", function()
    db:transaction(function(tx)
      for _, call in ipairs { "run", "row", "rows", "begin", "close" } do
        local ok, err = pcall(db[call], db, "SELECT 1")
        assert.is_false(ok)
        assert.is_true(errors.is(err, "store", "busy"))
        assert.truthy(err.message:find("store:" .. call, 1, true))
      end
      assert.is_false((pcall(tx.run, {}, "SELECT 1")))
      assert.equal(1, tx:row("SELECT 1 AS one").one)
    end)
    assert.equal(1, db:row("SELECT 1 AS one").one)
  end)

  it("says what is wrong with a statement", function()
    local ok, err = pcall(db.run, db, "INSERT INTO nowhere VALUES (1)")
    assert.is_false(ok)
    assert.is_true(errors.is(err, "store", "sql"))
    ok, err = pcall(db.run, db, "INSERT INTO t (id) VALUES (?), (?)", 1, 1)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "store", "unique"))
    ok, err = pcall(db.run, db, "INSERT INTO t (a) VALUES (?)", {})
    assert.is_false(ok)
    assert.truthy(err.message:find("parameter 1 of a statement is a table", 1, true))
  end)

  it("is refused when it is damaged", function()
    local broken = os.tmpname()
    local file <close> = assert(io.open(broken, "w"))
    file:write(("not a database "):rep(100))
    file:flush()
    local ok, err = pcall(store.open, { path = broken })
    os.remove(broken)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "store", "corrupt"))
  end)

  it("is not opened behind a shut gate", function()
    local ok, err = pcall(task.read_only, store.open, { path = path .. "-other" })
    assert.is_false(ok)
    assert.is_true(errors.is(err, "gate", "refused"))
  end)
end)
