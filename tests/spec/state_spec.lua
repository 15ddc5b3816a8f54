local deploy = require "moonport.deploy"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local gc = require "moonport.gc"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/deploy_helper.lua")
local process = require "moonport.process"
local resources = require "moonport.resources"
local runtime = require "moonport.state.runtime"
local service = require "moonport.service"
local state = require "moonport.state"

local holds, refusal = helper.holds, helper.refusal

describe("a store", function()
  local box, env

  before_each(function()
    box = helper.sandbox()
    env = helper.open(box)
  end)

  after_each(function()
    env.state:close()
    fs.remove_tree(box.dir)
  end)

  local function damage()
    env.state:close()
    fs.write(box.state .. "/state.db", ("not a database "):rep(1000))
    for _, suffix in ipairs { "-wal", "-shm" } do
      fs.remove(box.state .. "/state.db" .. suffix, { if_exists = true })
    end
    env = helper.open(box)
  end

  it("keeps who it is", function()
    local uuid, key = env.state.uuid, env.state.key
    env.state:close()
    env = helper.open(box)
    assert.equal(uuid, env.state.uuid)
    assert.equal(key, env.state.key)
    assert.is_true(#key >= 64)
  end)

  it("is private", function()
    assert.equal(tonumber("700", 8), fs.stat(box.state).mode & tonumber("777", 8))
    for _, name in ipairs { "store.json", "state.db" } do
      local mode = fs.stat(box.state .. "/" .. name).mode
      assert.equal(tonumber("600", 8), mode & tonumber("777", 8), name)
    end
  end)

  it("that is damaged is moved aside and rebuilt from the records, and says so", function()
    deploy.run(env, helper.manifest(box))
    local uuid, id = env.state.uuid, env.state:deployment("svc").id
    damage()
    holds(env.notices[1], "the state database was damaged")
    holds(env.notices[2], "rebuilt from the records of 1 deployments")
    assert.equal(uuid, env.state.uuid)
    assert.equal(id, env.state:deployment("svc").id)
    assert.equal("running", service.open(env, "svc"):status().state)
    assert.equal("unchanged", deploy.run(env, helper.manifest(box)).outcome)
    local aside = 0
    for _, name in ipairs(helper.names(box.state)) do
      aside = aside + (name:find "^state%.db%.damaged" and 1 or 0)
    end
    assert.equal(1, aside)
    deploy.remove(env, "svc")
    assert.same({}, helper.names(box.base))
  end)

  it("that is damaged in the middle of a deployment can still undo it", function()
    refusal(deploy.run, env, helper.manifest(box, {
      native = { fail = { "ready", "undo-data" } },
    }))
    assert.same({ "data" }, helper.names(box.base))
    damage()
    refusal(deploy.remove, env, "svc")
    deploy.remove(env, "svc", { force = true })
    assert.is_nil(env.state:deployment "svc")
  end)

  it("that is gone is rebuilt too", function()
    deploy.run(env, helper.manifest(box))
    env.state:close()
    for _, suffix in ipairs { "", "-wal", "-shm" } do
      fs.remove(box.state .. "/state.db" .. suffix, { if_exists = true })
    end
    env = helper.open(box)
    assert.equal("running", service.open(env, "svc"):status().state)
  end)

  -- As a crash of the host leaves files on a file system that had not written them yet.
  local function lose(...)
    env.state:close()
    for _, name in ipairs { ... } do
      fs.write(box.state .. "/" .. name, "")
    end
    return state.open {
      dir = box.state,
      notice = function(text)
        env.notices[#env.notices + 1] = text
      end,
    }
  end

  local RECORD = "deployments/svc/record.json"

  it("whose database is empty beside deployments is not a new one, and says so", function()
    deploy.run(env, helper.manifest(box))
    local uuid = env.state.uuid
    env.state = lose "state.db"
    holds(env.notices[1], "rebuilt from the records of 1 deployments")
    assert.equal(uuid, env.state.uuid)
    assert.equal("running", service.open(env, "svc"):status().state)
    assert.equal("unchanged", deploy.run(env, helper.manifest(box)).outcome)
    assert.same({}, gc.run(env))
  end)

  it("that has lost who it is as well learns it from its deployments", function()
    deploy.run(env, helper.manifest(box))
    local uuid, key = env.state.uuid, env.state.key
    env.state = lose("state.db", "store.json")
    holds(env.notices[1], "who this store is was lost")
    assert.equal(uuid, env.state.uuid)
    assert.not_equal(key, env.state.key)
    assert.equal("running", service.open(env, "svc"):status().state)
    assert.same({}, gc.run(env))
  end)

  it("of which nothing tells who it is refuses, and stays as it is", function()
    deploy.run(env, helper.manifest(box))
    local failure = refusal(lose, "state.db", "store.json", RECORD)
    assert.equal("lost", failure.code)
    holds(failure, "svc")
    holds(failure.hint, "from a backup")
    assert.equal("", fs.read(box.state .. "/store.json"))
    assert.equal("lost", refusal(state.open, { dir = box.state, read_only = true }).code)
    assert.is_true(fs.exists(box.base .. "/running"))
    fs.remove_tree(box.state .. "/deployments") -- to begin anew, as the hint has it
    env = helper.open(box)
    assert.same({}, env.state:deployments())
  end)

  it("is not read as none while something of it is there", function()
    deploy.run(env, helper.manifest(box))
    fs.remove(box.state .. "/store.json")
    local asking <close> = state.open { dir = box.state, read_only = true }
    assert.equal("svc", asking:deployments()[1].name)
  end)

  describe("that has lost the record of a deployment", function()
    local swept

    before_each(function()
      swept = {}
      resources.register("thing", {
        remove = function(identity)
          swept[#swept + 1] = identity.name
        end,
        describe = function(identity)
          return identity.name
        end,
        orphans = function(store)
          return store:deployment "svc" and {} or { { identity = { name = "of svc" } } }
        end,
      })
      deploy.run(env, helper.manifest(box))
    end)

    after_each(function()
      resources.register("thing", nil)
    end)

    local function outcomes()
      local list = {}
      for index, row in ipairs(gc.run(env)) do
        list[index] = row.action
      end
      return list
    end

    it("says so, and gc removes nothing that may be that one's", function()
      env.state = lose("state.db", RECORD)
      holds(env.notices[1], "the record of `svc` is lost")
      local rows = gc.run(env)
      assert.equal(2, #rows)
      assert.same({ "failed", "not looked at" }, { rows[1].action, rows[2].action })
      holds(rows[1].error, "the record of `svc` is lost")
      holds(rows[1].error.hint, "move the directory away")
      assert.same({}, swept)
      assert.is_true(fs.exists(box.state .. "/deployments/svc"))
    end)

    it("takes it back when its record is put back", function()
      local kept = fs.read(box.state .. "/" .. RECORD)
      env.state = lose("state.db", RECORD)
      fs.write(box.state .. "/" .. RECORD, kept)
      assert.same({ "taken back" }, outcomes())
      assert.equal("running", service.open(env, "svc"):status().state)
    end)

    it("removes what it had once its directory was moved away", function()
      env.state = lose("state.db", RECORD)
      fs.rename(box.state .. "/deployments/svc", box.dir .. "/svc")
      assert.same({ "removed" }, outcomes())
      assert.same({ "of svc" }, swept)
    end)

    it("knows it by what else is in its directory", function()
      env.state = lose "state.db"
      env.state:forget_deployment(env.state:deployment "svc")
      fs.remove(box.state .. "/" .. RECORD)
      assert.same({ "removed", "removed" }, outcomes()) -- nothing in it but copies of recipes
      fs.mkdirs(box.state .. "/deployments/svc/data")
      assert.same({ "failed", "not looked at" }, outcomes())
      assert.is_true(fs.exists(box.state .. "/deployments/svc/data"))
    end)
  end)

  it("knows who it is from either of two places", function()
    local uuid = env.state.uuid
    for _, text in ipairs { "", "{}" } do
      env.state:close()
      fs.write(box.state .. "/store.json", text)
      env = helper.open(box)
      assert.equal(uuid, env.state.uuid)
    end
  end)

  it("that does not exist reads as an empty one, and is not made by asking", function()
    local dir = box.dir .. "/nowhere"
    local empty <close> = state.open { dir = dir, read_only = true }
    assert.same({}, empty:deployments())
    assert.is_nil(empty:deployment "svc")
    local asking = { state = empty, site = env.site }
    assert.same({}, service.list(asking))
    assert.equal("create", deploy.plan(asking, helper.manifest(box)).outcome)
    assert.is_false(fs.exists(dir))
  end)

  it("is not made by commands that only ask", function()
    local dir, moonport = box.dir .. "/nowhere", os.getenv "MOONPORT"
    local common = { "--state", dir, "--site", box.site }
    local function code_of(...)
      local argv = { moonport, ... }
      table.move(common, 1, #common, #argv + 1, argv)
      argv.check = false
      return process.run(argv).code
    end
    assert.equal(0, code_of "ps")
    assert.equal(3, code_of("status", "svc"))
    assert.equal(3, code_of("history", "svc"))
    assert.equal(10, code_of("plan", helper.write_manifest(box)))
    assert.equal(10, code_of("deploy", "--dry-run", helper.write_manifest(box)))
    assert.is_false(fs.exists(dir))
    assert.same({}, helper.trace(box))
  end)

  it("with a record that is no record goes on without it", function()
    for name, text in pairs { a = "", b = "[]", c = '{"version":1,"deployments":[{"x y":1}]}' } do
      fs.mkdirs(("%s/deployments/%s"):format(box.state, name))
      fs.write(("%s/deployments/%s/record.json"):format(box.state, name), text)
    end
    damage()
    assert.same({}, env.state:deployments())
  end)

  it("of a newer moonport is refused", function()
    env.state:close()
    local path = box.state .. "/store.json"
    fs.write(path, (fs.read(path):gsub('"version":1', '"version":2')))
    local failure = refusal(state.open, { dir = box.state })
    assert.equal("newer", failure.code)
    fs.remove(path)
    env = helper.open(box)
  end)

  it("excludes two holders of one deployment's lock, and not those of two", function()
    local lock <close> = env.state:lock "a"
    local other <close> = env.state:lock "b"
    local failure = refusal(env.state.lock, env.state, "a")
    assert.is_true(errors.is(failure, "state", "busy"))
    assert.is_true(env.state:is_locked "a")
    assert.is_not_nil(lock)
    other:release()
    assert.is_false(env.state:is_locked "b")
  end)

  it("never takes a name for a path", function()
    for _, name in ipairs { "..", "../x", "a/b", "", "A", "x\0y" } do
      assert.equal("usage", refusal(env.state.lock, env.state, name).code)
      assert.equal("usage", refusal(env.state.deployment_dir, env.state, name).code)
      assert.equal("usage", refusal(service.open, env, name).code)
    end
  end)

  it("digests with a key of its own", function()
    local digest = env.state:digest "text"
    assert.equal(digest, env.state:digest "text")
    local other <close> = state.open { dir = box.dir .. "/other" }
    assert.not_equal(digest, other:digest "text")
    assert.not_equal(env.state.uuid, other.uuid)
  end)

  describe("lease", function()
    local function candidates(list)
      local index = 0
      return function()
        index = index + 1
        return list[index]
      end
    end

    it("goes to one deployment, and comes back with it", function()
      for _, name in ipairs { "a", "b", "c" } do
        env.state:add_deployment { id = name, name = name, target = "native" }
      end
      local pool = { "10.0.0.0/30", "10.0.0.4/30" }
      local function lease(id)
        return env.state:lease("subnet", id, "vm", candidates(pool))
      end
      assert.equal("10.0.0.0/30", lease "a")
      assert.equal("10.0.0.4/30", lease "b")
      assert.equal("10.0.0.0/30", lease "a")
      local failure = refusal(lease, "c")
      assert.equal("exhausted", failure.code)
      env.state:forget_deployment(env.state:deployment "a")
      assert.equal("10.0.0.0/30", lease "c")
      env.state:release_lease("subnet", "c", "vm")
      assert.equal(1, #env.state:leases "subnet")
    end)
  end)

  it("keeps a bounded number of events", function()
    env.state:add_deployment { id = "a", name = "a", target = "native" }
    local row = env.state:deployment "a"
    for index = 1, 510 do
      env.state:add_event(row, "tick", { n = index })
    end
    local events = env.state:events("a", { limit = 1000 })
    assert.equal(500, #events)
    assert.equal(510, events[500].data.n)
    assert.equal(510, env.state:events("a", { limit = 1 })[1].data.n)
  end)

  it("gives sockets a path that the kernel takes, or refuses by name", function()
    local path = runtime.dir(env.state, "0011aabb") .. "/x.sock"
    assert.equal(path, runtime.check_socket(path))
    assert.is_true(#path <= runtime.SOCKET_PATH_MAX)
    local failure = refusal(runtime.check_socket, ("/x"):rep(60))
    assert.equal("refused", failure.code)
    holds(failure.message, "120 bytes, and 107 are allowed")
  end)
end)

describe("a resource", function()
  it("of an unknown kind is an error with the nearest", function()
    local failure = refusal(resources.remove, "directry", {})
    assert.equal("not_found", failure.code)
    assert.equal("did you mean `directory`?", failure.hint)
  end)

  it("that is gone already is fine to remove", function()
    for _, kind in ipairs { "file", "directory", "socket" } do
      resources.remove(kind, { path = "/nonexistent/thing" })
    end
  end)
end)
