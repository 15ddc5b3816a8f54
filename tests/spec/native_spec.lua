local deploy = require "moonport.deploy"
local fs = require "moonport.fs"
local gc = require "moonport.gc"
local manifest = require "moonport.manifest"
local service = require "moonport.service"
local site = require "moonport.site"
local state = require "moonport.state"
local sys = require "moonport.sys"

describe("the native target", function()
  local dir, env

  before_each(function()
    dir = fs.temp_dir()
    env = { state = state.open { dir = dir .. "/state" }, site = site.none() }
    deploy.register_targets(env)
  end)

  after_each(function()
    for _, deployed in ipairs(service.list(env)) do deployed:remove() end
    env.state:close()
    fs.remove_tree(dir)
  end)

  local function load(fields)
    fields.name = fields.name or "sleeper"
    fields.target = "native"
    fields.user = sys.euid() == 0 and "root" or nil
    fields.command = fields.command or { "sleep", "1000" }
    return manifest.build { { name = "manifest", raw = fields, base = dir } }
  end

  local function run(fields)
    return deploy.run(env, load(fields))
  end

  it("runs a service, stops it, starts it again and removes it", function()
    assert.equal("deployed", run({}).outcome)
    local deployed = service.open(env, "sleeper")
    assert.equal("running", deployed:status().state)
    deployed:stop()
    assert.equal("stopped", deployed:status().state)
    assert.equal("SIGTERM", "SIG" .. deployed:status().exit.signal)
    deployed:start()
    assert.equal("running", deployed:status().state)
    local pid = sys.identity(deployed:status().pid)
    deployed:remove()
    assert.is_false(sys.is_alive(pid))
    assert.same({}, service.list(env))
  end)

  it("is at hand by its name alone, in the store that the environment names", function()
    local default = require "moonport.env".default()
    local loaded = load { name = "by-name" }
    deploy.run(default, loaded)
    local deployed = service.open "by-name"
    assert.equal("running", deployed:status().state)
    assert.equal("by-name", service.list()[1].name)
    deployed:remove()
    assert.same({}, service.list())
  end)

  it("is left alone by a sweep", function()
    run {}
    local before = service.open(env, "sleeper"):status().pid
    assert.same({}, gc.run(env))
    assert.equal(before, service.open(env, "sleeper"):status().pid)
  end)

  it("starts what was killed with its supervisor, and tells that the end is unknown", function()
    run {}
    local deployed = service.open(env, "sleeper")
    local record = require("moonport.shim").state(env.state:deployment_dir("sleeper") .. "/service")
    local pid = sys.identity(deployed:status().pid)
    local shim = sys.identity(record.shim.pid)
    assert.equal(record.shim.start_time, shim.start)
    require("moonport.process").signal(shim, "KILL")
    sys.wait_gone(pid)
    local status = deployed:status()
    assert.equal("lost supervisor", status.state)
    assert.is_true(status.exit.unknown)
    assert.is_nil(status.exit.code)
    assert.is_true(deployed:restore())
    assert.equal("running", deployed:status().state)
  end)

  it("leaves no group of supervisors where a site has removed the limits", function()
    fs.mkdirs(dir .. "/site/recipes/targets", "0700")
    fs.write(dir .. "/site/recipes/targets/native.lua",
      'local base = recipe.shipped "targets.native"\nbase:remove "limits"\nreturn base\n')
    env.site = site.open { dir = dir .. "/site" }
    run {}
    local deployed = service.open(env, "sleeper")
    deployed:stop()
    deployed:start()
    deployed:remove()
    local cgroup = require "moonport.cgroup"
    assert.is_nil(cgroup.open(cgroup.parent(env.state.uuid) .. "-supervisors"))
  end)

  it("is not restored where it had ended by itself", function()
    run { command = { "true" } }
    local deployed = service.open(env, "sleeper")
    deployed:wait("exited", { timeout = 10 })
    assert.is_false(deployed:restore())
    assert.equal("exited", deployed:status().state)
  end)

  it("keeps the output of a registration and does not register twice", function()
    local output = dir .. "/registration.json"
    local fields = {
      command = { "sh", "-c", [[
        printf '{"done":%s}' "$REGISTRATION_MODE_ON" > "$REGISTRATION_OUTPUT_PATH"]] },
      registration = { output = output },
    }
    run(fields)
    assert.equal('{"done":true}', fs.read(output))
    assert.equal("completed", service.open(env, "sleeper"):status().state)
    assert.equal("unchanged", run(fields).outcome)
  end)

  it("explains a service that ends before it is ready", function()
    local ok, err = pcall(run, {
      command = { "sh", "-c", "echo no configuration >&2; exit 3" },
      ready = { file = "never" },
      restart = { policy = "no" },
    })
    assert.is_false(ok)
    assert.equal("failed", err.code)
    assert.equal("ready", err.failure.step)
    assert.equal(3, err.failure.diagnosis.exit.code)
    assert.equal("no configuration", err.failure.diagnosis.log[1].text)
    assert.truthy(err.failure.error.message:find("exited with 3", 1, true))
  end)

  it("wants a root operator to say whom the service runs as", function()
    if sys.euid() ~= 0 then return end
    local loaded = load {}
    loaded.data.user = nil
    local ok, err = pcall(deploy.run, env, loaded)
    assert.is_false(ok)
    assert.truthy(err.failure.error.hint:find('user = "root"', 1, true))
  end)
end)
