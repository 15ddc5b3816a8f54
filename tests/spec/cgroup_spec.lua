local cgroup = require "moonport.cgroup"
local errors = require "moonport.errors"
local process = require "moonport.process"
local sys = require "moonport.sys"
local task = require "moonport.task"

local parent = "moonport-spec-" .. sys.pid()
local name = parent .. "/service"

-- Where there are no groups to be had, all that can be shown is that this is said.
local possible, why = try(cgroup.create, name)
if not possible then
  describe("cgroup", function()
    it("says what is missing", function()
      assert.is_true(errors.is(why, "cgroup", "unavailable"))
      assert.truthy(why.hint)
    end)
  end)
  return
end

describe("cgroup", function()
  local group

  before_each(function() group = cgroup.create(name, nil) end)
  after_each(function() cgroup.destroy(name) end)

  it("knows and counts its processes", function()
    local p <close> = process.spawn { "sleep", "1000", cgroup = group }
    assert.same({ p.pid }, group:processes())
    local usage = group:usage()
    assert.truthy(usage.pids == nil or usage.pids == 1)
    group:signal "SIGTERM"
    assert.equal("SIGTERM", p:wait().signal)
    group:wait(10)
    assert.same({}, group:processes())
  end)

  it("holds limits, or raises what is missing", function()
    local limited, err = try(cgroup.create, name, { memory = 64 << 20, pids = 20, cpus = 1.5 })
    if limited then
      local _, missing = cgroup.create(name, { pids = 20 }, { partial = true })
      assert.same({}, missing)
    else
      assert.is_true(errors.is(err, "cgroup", "unavailable"))
      assert.truthy(next(err.missing))
    end
  end)

  it("refuses limits and names that are none", function()
    for _, limits in ipairs { { memory = "1GiB" }, { pids = 0 }, { pids = 1.5 }, { cpus = "1" } } do
      local _, err = try(cgroup.create, name, limits)
      assert.is_true(errors.is(err, "argument", "invalid"))
    end
    for _, bad in ipairs { "", "/x", "../x", "a//b", "cgroup.procs" } do
      local _, err = try(cgroup.create, bad)
      assert.is_true(errors.is(err, "cgroup", "invalid"))
    end
  end)

  it("is found, listed, and gone when destroyed", function()
    assert.equal(name, cgroup.open(name):name())
    assert.same({ "service" }, cgroup.list(parent))
    local p <close> = process.spawn { "sleep", "1000", cgroup = group }
    local _, err = try(group.remove, group)
    assert.is_true(errors.is(err, "cgroup", "EBUSY"))
    assert.truthy(err.hint:find(tostring(p.pid), 1, true))
    cgroup.destroy(name)
    cgroup.destroy(name)
    assert.is_nil(cgroup.open(name))
    assert.same({}, cgroup.list(parent))
    assert.equal("SIGKILL", p:wait().signal)
  end)

  it("is an orphan of its store when no deployment has its name", function()
    local resources = require "moonport.resources"
    local store = { uuid = ("%08x"):format(sys.pid()) .. "-0000" }
    function store.deployments() return { { id = "d1", name = "known" } } end
    for _, last in ipairs { "d1", "known", "stray" } do
      cgroup.create(cgroup.parent(store.uuid) .. "/" .. last)
    end
    local kind = resources.kind "cgroup"
    local found = kind.orphans(store)
    assert.equal(1, #found)
    assert.equal(cgroup.parent(store.uuid) .. "/stray", found[1].identity.name)
    resources.remove("cgroup", found[1].identity)
    assert.same({}, kind.orphans(store))
    cgroup.destroy(cgroup.parent(store.uuid))
    assert.same({}, cgroup.list(cgroup.parent(store.uuid)))
  end)

  it("gives up on waiting, naming who is left", function()
    local p <close> = process.spawn { "sleep", "1000", cgroup = group }
    local _, err = try(group.wait, group, 0.01)
    assert.is_true(errors.is(err, "cgroup", "timeout"))
    assert.truthy(err.message:find(tostring(p.pid), 1, true))
  end)

  it("changes nothing behind a shut gate, and can be read", function()
    for call, fn in pairs {
      ["cgroup.create"] = function() cgroup.create(name .. "2") end,
      ["cgroup:set"] = function() group:set { pids = 3 } end,
      ["cgroup:signal"] = function() group:signal "TERM" end,
      ["cgroup:freeze"] = function() group:freeze(true) end,
      ["cgroup:remove"] = function() group:remove() end,
    } do
      local ok, err = pcall(task.read_only, fn)
      assert.is_false(ok)
      assert.is_true(errors.is(err, "gate", "refused"), call)
      assert.truthy(err.message:find("`" .. call .. "`", 1, true))
    end
    task.read_only(function()
      group:usage()
      group:processes()
      assert.same({ "service" }, cgroup.list(parent))
    end)
  end)
end)
