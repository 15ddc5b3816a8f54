-- What only a control plane of one's own shows: a dead APIService, history that is compacted away
-- while it is listed, an API server that goes away and comes back.
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/e2e/kube/?.lua;" .. package.path
local fs = require "moonport.fs"
local helper = require "helper"
local json = require "moonport.json"
local kube = require "moonport.kube"
local log = require "moonport.log"
local task = require "moonport.task"
local raised = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

local dir, options

setup(function()
  dir = fs.temp_dir { prefix = "mpc" }
  helper.cluster { "up", dir, "--control-plane" }
  options = { kubeconfig = dir .. "/kubeconfig", cache = false }
end)

teardown(function()
  helper.cluster { "down", dir }
  fs.remove_tree(dir)
end)

local function map(name, labels)
  return { apiVersion = "v1", kind = "ConfigMap", metadata = { name = name, labels = labels } }
end

local function failure(code, ...) return raised("kube", code, ...) end

describe("an APIService that leads nowhere", function()
  setup(function()
    local cluster = kube.connect(options)
    cluster:create {
      apiVersion = "apiregistration.k8s.io/v1", kind = "APIService",
      metadata = { name = "v1.dead.example.com" },
      spec = {
        group = "dead.example.com", version = "v1", insecureSkipTLSVerify = true,
        -- Before all others, so that whoever asks one by one stumbles over it.
        groupPriorityMinimum = 20000, versionPriority = 100,
        service = { name = "nowhere", namespace = "default" },
      },
    }
    -- The aggregator lists the group from then on.
    task.timeout(20, function()
      while not cluster:raw({ path = "/apis" }).body:find("dead.example.com", 1, true) do
        task.sleep(0.05)
      end
    end)
  end)

  teardown(function()
    kube.connect(options):delete("apiservices", "v1.dead.example.com")
  end)

  it("spoils no other group", function()
    local cluster = kube.connect(options)
    assert.equal("apps/v1", cluster:find("deploy").group_version)
    assert.equal("networking.k8s.io/v1", cluster:find("ingresses").group_version)
    cluster:apply(map "alive")
    assert.truthy(cluster:list("deployments.apps").items)
    cluster:delete("cm", "alive")
  end)

  it("is named when its group is asked for", function()
    local cluster = kube.connect(options):with { retries = 0 }
    for _, resource in ipairs { "things.dead.example.com",
      { apiVersion = "dead.example.com/v1", kind = "Thing" } } do
      local err = failure("discovery", cluster.find, cluster, resource)
      assert.matches("`dead.example.com` does not answer", err.message, 1, true)
    end
    local err = failure("unknown_resource", cluster.find, cluster, "things")
    assert.matches("`dead.example.com`", err.hint, 1, true)
  end)

  it("is a warning among all resources", function()
    local before = log.level "off"
    local list, failures = kube.connect(options):resources()
    log.level(before)
    assert.is_true(#list > 40)
    assert.truthy(failures["dead.example.com"])
    assert.is_nil(next(failures, next(failures)))
  end)
end)

describe("a listing whose version is compacted away", function()
  local cluster
  local ticks = 0

  -- Forgets all that was before now.
  local function compact()
    ticks = ticks + 1
    cluster:apply(map("tick", { at = tostring(ticks) }))
    local revision = cluster:list("cm", { labels = "of=none" }).metadata.resourceVersion
    helper.cluster({ "etcdctl", "compact", revision }, dir)
  end

  -- A view of the cluster that calls `hook` before it asks for a page other than the first.
  local function between_pages(hook)
    local view = cluster:with {}
    view.client = {
      request = function(_, request)
        if request.path:find("continue=", 1, true) then hook() end
        return cluster.client:request(request)
      end,
    }
    return view
  end

  local function names_of(list)
    local names = {}
    for index, item in ipairs(list) do names[index] = item.metadata.name end
    return table.concat(names, " ")
  end

  local wanted

  setup(function()
    cluster = kube.connect(options)
    local names = {}
    for index = 1, 12 do names[index] = ("map-%02d"):format(index) end
    task.map(names, 6, function(name) cluster:apply(map(name, { of = "list" })) end)
    wanted = table.concat(names, " ")
  end)

  it("is begun again where all at one moment are wanted", function()
    local pages = 0
    local view = between_pages(function()
      pages = pages + 1
      if pages == 2 then compact() end
    end)
    local list = view:list("cm", { labels = "of=list", limit = 3 })
    assert.equal(wanted, names_of(list.items))
    assert.is_nil(list.metadata.continue)
  end)

  it("goes on behind the last object where one by one are wanted", function()
    local pages = 0
    local view = between_pages(function()
      pages = pages + 1
      if pages == 2 then compact() end
    end)
    local seen = {}
    for item in view:each("cm", { labels = "of=list", limit = 3 }) do seen[#seen + 1] = item end
    assert.equal(wanted, names_of(seen))
    assert.is_true(pages > 3)
  end)
end)

describe("an API server that goes away and comes back", function()
  it("is waited for by what cannot be done twice", function()
    local waits = {}
    local cluster = kube.connect {
      kubeconfig = dir .. "/kubeconfig", cache = false, retries = 40,
      on_wait = function(wait)
        waits[#waits + 1] = wait
        wait.seconds = math.min(wait.seconds, 0.5)
      end,
    }
    cluster:apply(map("lasting", { turn = "1" }))
    helper.cluster({ "stop-apiserver" }, dir)
    local results = task.all {
      function() return cluster:get("cm", "lasting") end,
      function() return cluster:apply(map("lasting", { turn = "2" })) end,
      function() return cluster:create(map "new") end,
      function()
        while #waits < 3 do task.sleep(0.02) end
        return helper.cluster({ "start-apiserver" }, dir)
      end,
    }
    assert.equal("lasting", results[1].metadata.name)
    assert.equal("2", results[2].metadata.labels.turn)
    assert.equal("new", results[3].metadata.name)
    assert.is_true(#waits >= 3)
    local text = json.encode { waits[1].why, waits[1].request }
    assert.matches("could not connect", text, 1, true)
  end)
end)
