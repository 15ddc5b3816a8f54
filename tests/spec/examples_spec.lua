-- Manifests that people copy from, and the example blueprint as the contract starts it.
local contract = require "moonport.contract"
local json = require "moonport.json"
local manifest = require "moonport.manifest"
local process = require "moonport.process"

local SOURCE = os.getenv "MP_SOURCE_DIR"
local EXAMPLE = SOURCE .. "/docs/examples/incredible-squaring"
local SQUARING = os.getenv("MOONPORT"):gsub("[^/]+/[^/]+$", "examples/incredible-squaring")
local SANDBOX = os.getenv "SANDBOX"

local function load(file)
  local raw = assert(loadfile(file, "t", { tostring = tostring }))()
  return manifest.build { { name = "manifest", raw = raw, base = file:match "^(.*)/" } }
end

local function prepare(name)
  local directory = ("%s/tmp/%s"):format(SANDBOX, name)
  local port = process.run({ SOURCE .. "/tests/e2e/manifests/prepare", name, directory }).stdout
  return load(("%s/%s.lua"):format(directory, name)), port:gsub("\n", ""), directory
end

describe("the example blueprint", function()
  it("has a valid manifest, with paths that begin at the manifest", function()
    local example = load(EXAMPLE .. "/blueprint.lua")
    assert.equal("incredible-squaring", example.name)
    assert.equal(EXAMPLE .. "/incredible-squaring", example.data.binary)
    assert.equal(EXAMPLE .. "/keystore", example.data.keystore)
  end)

  it("understands the arguments and the environment of the contract", function()
    local data = load(EXAMPLE .. "/blueprint.lua").data
    data.args = { test_mode = true, pretty = true, verbose = 2, dry_run = true,
      listen = "127.0.0.1:0", poll_interval_ms = 50 }
    data.chain, data.service_id = "local_testnet", 42
    data.registration = {}
    local output = SANDBOX .. "/tmp/registration.json"
    local argv = contract.arguments(data)
    table.insert(argv, 1, SQUARING)
    argv.env = contract.environment(data, {
      data_dir = SANDBOX .. "/tmp/data",
      keystore = SANDBOX .. "/state",
      registration_output = output,
    })
    argv.clean_env = true
    process.run(argv)
    local file <close> = assert(io.open(output))
    local payload = json.decode(file:read "a")
    assert.equal(42, payload.service_id)
    assert.equal("eigenlayer", payload.protocol)
    assert.equal("local_testnet", payload.chain)
  end)
end)

describe("a manifest of a program that nobody here wrote", function()
  for name, executable in pairs {
    prometheus = "/usr/bin/prometheus",
    nginx = "/usr/sbin/nginx",
    ganache = SOURCE .. "/tests/fixtures/ganache/start",
  } do
    it(("is valid once prepared for a test: %s"):format(name), function()
      local prepared, port, directory = prepare(name)
      assert.equal(name, prepared.name)
      assert.equal("native", prepared.target)
      assert.equal(executable, prepared.data.command[1])
      assert.equal(directory .. "/data", prepared.data.data_dir)
      local probe = prepared.data.ready.http or prepared.data.ready.tcp
      assert.truthy(probe:find(":" .. port, 1, true))
      assert.truthy(prepared.data.limits.memory and prepared.data.limits.pids)
    end)
  end
end)
