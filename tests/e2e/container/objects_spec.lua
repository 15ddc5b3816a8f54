-- What the container target generates, asked of a real API server without anything being made:
-- server-side apply takes it (which refuses any field that it does not know), and gives it back as
-- it was sent, so that a plan shows no difference where there is none.
local changes = require "moonport.container.changes"
local data = require "moonport.container.data"
local environment = require "moonport.container.environment"
local fs = require "moonport.fs"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/container_helper.lua")
local keystore = require "moonport.container.keystore"
local kube = require "moonport.kube"
local secret = require "moonport.secret"
local workload = require "moonport.container.workload"

local NAMESPACE = "default"

local FULL = {
  keystore = "keys",
  image = "registry.example:5000/squaring:1.2",
  http_rpc_url = "http://127.0.0.1:8545",
  bootnodes = { "/ip4/127.0.0.1/tcp/30333" },
  args = { verbose = 2, extra = "$(NOT)" },
  env = { A = "", B = "$(A)", TOKEN = { ["$secret"] = { env = "HOME" } } },
  limits = { memory = "512MiB", cpus = 0.25, storage = "1500MB" },
  stop = { grace = "1m" },
  ready = { http = "http://127.0.0.1:9464/readyz?x=1", timeout = "90s", interval = "3s" },
  container = {
    image_pull_policy = "IfNotPresent",
    image_pull_secrets = { "registry" },
    working_dir = "/srv",
    ports = { metrics = 9464, p2p = { port = 30333, protocol = "UDP" } },
    requests = { memory = "100MiB" },
    gpu = { count = 2 },
    security = {
      run_as_user = 7, run_as_group = 8, fs_group = 9, read_only_root = true,
      capabilities = { "NET_BIND_SERVICE" }, seccomp = "localhost/profiles/x.json",
    },
    node_selector = { zone = "a" },
    tolerations = {
      { key = "gpu" }, { key = "a", value = "b", effect = "NoExecute", seconds = 30 }, {},
    },
    service_links = true,
    host_aliases = { ["rpc.lan"] = "10.0.0.7", ["p2p.lan"] = "10.0.0.7" },
    labels = { ["app.kubernetes.io/part-of"] = "tangle", tier = "1" },
    annotations = { note = "a longer text, with spaces" },
  },
}

local function with(base, more, container)
  local copy = {}
  for key, value in pairs(base) do copy[key] = value end
  for key, value in pairs(more) do copy[key] = value end
  copy.container = {}
  for key, value in pairs(base.container or {}) do copy.container[key] = value end
  for key, value in pairs(container or {}) do copy.container[key] = value end
  return copy
end

local PARTS = {
  namespace = NAMESPACE,
  host = { address = "10.96.0.9" },
  keystore = { secret = "ks", items = { { key = "a__b", path = "a/b" } } },
  environment = { secret = "env" },
}

describe("what the container target generates is taken by the server as it is", function()
  local cluster

  setup(function()
    cluster = kube.connect()
  end)

  teardown(function()
    cluster:close()
  end)

  -- What the server would make of an object.
  local function applied(object)
    return cluster:apply(object, { dry_run = true, field_manager = "moonport" })
  end

  local function check(fields)
    local objects, found = workload.objects(helper.context(fields), PARTS), {}
    for index, object in ipairs(objects) do found[index] = applied(object) end
    assert.same({}, changes.rows(found, objects, { subset = true }))
    return objects, found
  end

  it("for the least that a manifest can say", function()
    check {}
  end)

  it("for a pod with everything that a manifest can say", function()
    check(FULL)
  end)

  it("for a StatefulSet, its Service and its claims", function()
    local objects, found = check(with(FULL, {}, {
      replicas = 3, data = { kind = "claim", size = "1GiB", keep = true },
    }))
    assert.same({}, changes.immutable(found[2], objects[2]))
  end)

  it("for every kind of data, probe, policy and seccomp profile", function()
    for _, fields in ipairs {
      { container = { data = { kind = "host", path = "/srv/data" } } },
      { container = { data = { size = "1GiB" } } },
      { container = { gpu = { policy = "preferred", weight = 3 } } },
      { container = { security = { seccomp = "Unconfined" } } },
      { container = { security = { run_as_user = 0, run_as_non_root = false,
        allow_privilege_escalation = true, capabilities = { "SYS_ADMIN" } } } },
      { ready = { tcp = "0.0.0.0:1" } },
      { ready = { tcp = "10.0.0.1:1" } },
      { ready = { exec = { "true" } } },
      { ready = { file = "ready" } },
      { ready = { http = "https://[::1]/x", timeout = "10ms" } },
      { restart = { policy = "no" } },
      { restart = { policy = "always" } },
      { registration = { output = "out" } },
      { command = { "/bin/x", "a b" } },
      { limits = { memory = 1000001 << 10, cpus = 0.0155 } },
      { name = ("x"):rep(62) .. "y" },
      { name = "7-" },
      { name = "7-", container = { replicas = 2 } },
      { name = ("x"):rep(63), container = { rolling = true } },
    } do
      check(fields)
    end
  end)

  it("for claims", function()
    local ctx = helper.context { container = { data = {
      kind = "claim", size = "1500MB", storage_class = "fast", access_mode = "ReadWriteMany" } } }
    local claim = data.claims(ctx, NAMESPACE)[1]
    local found = applied(claim)
    assert.equal("1500M", found.spec.resources.requests.storage)
    assert.equal(claim.metadata.name, found.metadata.name)
  end)

  it("for the Secrets of variables and keystores, byte by byte", function()
    local dir = fs.temp_dir()
    local ctx = helper.context(FULL)
    local values = { TOKEN = secret.env "HOME" }
    local name = environment.secret_name(ctx, values, "key")
    local found = applied(environment.secret(ctx, values, name, NAMESPACE))
    assert.is_true(found.immutable)
    fs.mkdirs(dir .. "/keys/deep", "0700")
    for _, file in ipairs { "deep/key", ".hidden", "a b", ("x"):rep(255) } do
      fs.write(dir .. "/keys/" .. file, "\0\xff\n" .. file, { mode = "0600" })
    end
    fs.write(dir .. "/keys/large", ("\xfe"):rep((1 << 20) - 2000), { mode = "0600" })
    local files = keystore.read(dir .. "/keys")
    local wanted = keystore.secret(ctx, files, "ks", NAMESPACE)
    found = applied(wanted)
    for key, value in pairs(wanted.data) do
      assert.equal(secret.digest(value, "key"),
        require "moonport.crypto".hmac("sha256", "key", found.data[key]))
    end
    local pod = workload.pod(ctx, {
      namespace = NAMESPACE, keystore = { secret = "ks", items = keystore.items(files) },
      environment = { secret = name },
    })
    applied(pod)
    fs.remove_tree(dir)
  end)
end)
