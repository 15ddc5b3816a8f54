-- The scripts of docs/kubernetes.md, run as they stand.
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/e2e/kube/?.lua;" .. package.path
local document = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/document.lua")
local fs = require "moonport.fs"
local helper = require "helper"
local json = require "moonport.json"
local process = require "moonport.process"
local secret = require "moonport.secret"

local cluster, dir, other

setup(function()
  cluster = helper.connect "cookbook"
  other = helper.connect "cookbook-other"
  dir = fs.temp_dir()
  local _, blocks = document.read "docs/kubernetes.md"
  for _, block in ipairs(blocks) do
    if block.file then fs.write(dir .. "/" .. fs.basename(block.file), block.text) end
  end
end)

teardown(function()
  helper.remove(cluster)
  helper.remove(other)
  fs.remove_tree(dir)
end)

local function run(name, ...)
  local call = { os.getenv "MOONPORT", "run", dir .. "/" .. name, ... }
  call.check, call.env = true, { MOONPORT_CACHE = dir }
  return process.run(call).stdout
end

local function deployment(name, replicas, argv)
  local container = {
    name = "main", image = "moonport-test/base:1", command = argv,
    securityContext = { runAsUser = 1000 },
  }
  return {
    apiVersion = "apps/v1", kind = "Deployment", metadata = { name = name },
    spec = {
      replicas = replicas, selector = { matchLabels = { app = name } },
      template = {
        metadata = { labels = { app = name } },
        spec = { containers = { container }, terminationGracePeriodSeconds = 0 },
      },
    },
  }
end

local function uids_of(name)
  local uids = {}
  for _, pod in ipairs(cluster:list("pods", { labels = { app = name } }).items) do
    if not pod.metadata.deletionTimestamp then uids[pod.metadata.uid] = true end
  end
  return uids
end

describe("the cookbook", function()
  it("restarts pods one by one, within their budget", function()
    cluster:create(deployment("web", 2, { "sleep", "1000" }))
    cluster:create {
      apiVersion = cluster:find("poddisruptionbudgets").group_version,
      kind = "PodDisruptionBudget", metadata = { name = "web" },
      spec = { minAvailable = 1, selector = { matchLabels = { app = "web" } } },
    }
    cluster:wait("deployments", "web", "ready", 60)
    local before = uids_of "web"
    local printed = run("restart.lua", cluster.namespace, "web")
    assert.matches("2 of 2: web%-%S+ has a successor that is ready\n", printed)
    local after = uids_of "web"
    for uid in pairs(after) do assert.is_nil(before[uid]) end
    assert.truthy(next(after, (next(after))))
    cluster:delete("deployments", "web")
  end)

  it("finds what crashes, with its last words", function()
    local said = { "sh", "-c", "echo no configuration; exit 3" }
    cluster:create(deployment("crash", 1, said))
    cluster:wait("pods", { labels = { app = "crash" } }, function(pod)
      local status = pod and pod.status.containerStatuses and pod.status.containerStatuses[1]
      local waiting = status and status.state.waiting
      return waiting and waiting.reason == "CrashLoopBackOff"
    end, 60)
    local printed = run("crashing.lua", cluster.namespace)
    assert.matches("/crash%-%S+ main: %d+ restarts, exit 3 Error\n  | no configuration\n", printed)
    cluster:delete("deployments", "crash")
  end)

  it("copies a Secret, again when it has changed", function()
    local object = {
      apiVersion = "v1", kind = "Secret", metadata = { name = "login" }, type = "example.com/login",
      stringData = { path = secret.env "PATH" },
    }
    for _, text in ipairs { secret.env "PATH", "other" } do
      object.stringData.path = text
      local original = cluster:apply(object)
      local printed = run("copy_secret.lua", "login", cluster.namespace, other.namespace)
      assert.matches("login is in", printed, 1, true)
      local copy = other:get("secrets", "login")
      assert.equal(json.encode(original.data), json.encode(copy.data))
      assert.equal("example.com/login", copy.type)
    end
  end)
end)
