-- What resources are called and how a cluster is asked for them: against the double of
-- kube_scripted.
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/spec/?.lua;" .. package.path
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local scripted = require "kube_scripted"
local task = require "moonport.task"
local raised = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

local function failure(code, ...) return raised("kube", code, ...) end

-- Groups as a server of 1.20 lists them, with resources of one name in several.
local function several()
  return {
    ["GET /apis"] = scripted.groups {
      { "apps", "v1" }, { "networking.k8s.io", "v1", "v1beta1" }, { "extensions", "v1beta1" },
      { "batch", "v1", "v1beta1" }, { "example.com", "v2", "v1" }, { "v1.example.com", "v1" },
    },
    ["GET /apis/networking.k8s.io/v1"] = scripted.resources("networking.k8s.io/v1", {
      { "ingresses", "Ingress", true, { "ing" } },
    }),
    ["GET /apis/networking.k8s.io/v1beta1"] = scripted.resources("networking.k8s.io/v1beta1", {
      { "ingresses", "Ingress", true, { "ing" } },
    }),
    ["GET /apis/extensions/v1beta1"] = scripted.resources("extensions/v1beta1", {
      { "ingresses", "Ingress", true, { "ing" } },
    }),
    ["GET /apis/batch/v1"] = scripted.resources("batch/v1", { { "jobs", "Job" } }),
    ["GET /apis/batch/v1beta1"] = scripted.resources("batch/v1beta1", {
      { "cronjobs", "CronJob", true, { "cj" } },
    }),
    ["GET /apis/example.com/v2"] = scripted.resources("example.com/v2", {
      { "widgets", "Widget", false }, { "pods", "PeaPod" }, { "po", "River" },
    }),
    ["GET /apis/example.com/v1"] = scripted.resources("example.com/v1", {
      { "widgets", "Widget" },
    }),
    ["GET /apis/v1.example.com/v1"] = scripted.resources("v1.example.com/v1", {
      { "odds", "Odd" },
    }),
  }
end

describe("a resource", function()
  local server, cluster

  before_each(function()
    server = scripted.start(several())
    cluster = server:connect()
  end)

  after_each(function() server:close() end)

  it("is found by any of its names", function()
    for name, wanted in pairs {
      pods = "v1 pods", pod = "v1 pods", Pod = "v1 pods", PODS = "v1 pods", deploy =
        "apps/v1 deployments", Deployment = "apps/v1 deployments",
      ["deployments.apps"] = "apps/v1 deployments", ["deploy.apps"] = "apps/v1 deployments",
      ["deployments.v1.apps"] = "apps/v1 deployments", ["pods.v1"] = "v1 pods",
      ["pods.v1."] = "v1 pods", cj = "batch/v1beta1 cronjobs",
      ["widget.v1.example.com"] = "example.com/v1 widgets",
      ["widgets.example.com"] = "example.com/v2 widgets",
      ["odds.v1.example.com"] = "v1.example.com/v1 odds",
    } do
      local found = cluster:find(name)
      assert.equal(wanted, found.group_version .. " " .. found.name, name)
    end
    local found = cluster:find { apiVersion = "example.com/v1", kind = "Widget" }
    assert.equal("example.com/v1", found.group_version)
    assert.equal("pods", cluster:find({ apiVersion = "v1", kind = "Pod" }).name)
  end)

  it("of a name that several have is the one that kubectl takes", function()
    assert.equal("v1", cluster:find("pods").group_version)
    assert.equal("networking.k8s.io/v1", cluster:find("ingresses").group_version)
    assert.equal("networking.k8s.io/v1", cluster:find("ing").group_version)
    assert.equal("extensions/v1beta1", cluster:find("ing.extensions").group_version)
    assert.equal("example.com/v2", cluster:find("widgets").group_version)
    -- A full name comes before a short one, also of the core group.
    assert.equal("River", cluster:find("po").kind)
  end)

  it("is the same whatever was asked for before", function()
    cluster:find { apiVersion = "extensions/v1beta1", kind = "Ingress" }
    cluster:find "widgets.v1.example.com"
    assert.equal("networking.k8s.io/v1", cluster:find("ingresses").group_version)
    assert.equal("example.com/v2", cluster:find("widgets.example.com").group_version)
  end)

  it("has what the server tells about it", function()
    local found = cluster:find "deployments"
    assert.equal("deployment", found.singular)
    assert.is_true(found.namespaced)
    assert.same({ "deploy" }, found.short_names)
    assert.equal("Scale", found.subresources.scale.kind)
    assert.is_false(cluster:find("widgets").namespaced)
  end)

  it("has a path", function()
    assert.equal("/api/v1/namespaces/default/pods", cluster:path "pods")
    assert.equal("/apis/apps/v1/namespaces/shop/deployments/web/scale",
      cluster:path("deploy", "shop", "web", "scale"))
    assert.equal("/apis/example.com/v2/widgets/a:b", cluster:path("widgets", "shop", "a:b"))
    assert.equal("/api/v1/pods", cluster:path("pods", false))
  end)

  it("that is unknown is an error with the nearest name", function()
    local err = failure("unknown_resource", cluster.find, cluster, "depolyments")
    assert.equal("the cluster has no resource `depolyments`", err.message)
    assert.equal("did you mean `deployments`?", err.hint)
    err = failure("unknown_resource", cluster.find, cluster,
      { apiVersion = "apps/v1beta1", kind = "Deployment" })
    assert.equal("it is there as `deployments` of `apps/v1`", err.hint)
    err = failure("unknown_resource", cluster.find, cluster, "pods/status")
    assert.matches("`subresource`", err.hint, 1, true)
  end)

  it("is named by what can be a name", function()
    for _, name in ipairs { "", 1, {}, { kind = "Pod" }, { apiVersion = "v1" } } do
      local ok, err = pcall(cluster.find, cluster, name)
      assert.is_false(ok)
      assert.is_true(errors.is(err, "argument", "invalid"), tostring(err))
    end
    assert.is_false(pcall(cluster.find, cluster, nil))
  end)

  it("of the core group or of a given version costs one question, later none", function()
    cluster:find "pods"
    assert.same(1, #server.requests)
    cluster:find "pod"
    assert.same(1, #server.requests)
    cluster:find { apiVersion = "apps/v1", kind = "Deployment" }
    assert.same(2, #server.requests)
    cluster:with({ namespace = "shop" }):find "deployments.v1.apps"
    assert.same(2, #server.requests)
  end)

  it("that many ask for at once is asked for once", function()
    local list = {}
    for index = 1, 50 do list[index] = index % 2 == 0 and "pods" or "cronjobs" end
    task.map(list, 50, function(name) cluster:find(name) end)
    assert.equal(1, server:count "GET /apis")
    assert.is_true(server:count "GET /api/v1" <= 2)
  end)

  it("that appears later is found", function()
    failure("unknown_resource", cluster.find, cluster, "gadgets")
    server.script["GET /apis/example.com/v2"] = scripted.resources("example.com/v2", {
      { "gadgets", "Gadget" },
    })
    cluster.shared.discovery.refreshed = nil -- as if some seconds had passed
    assert.equal("gadgets", cluster:find("gadgets").name)
  end)

  it("of a group that is not listed yet is found when it is named", function()
    server.script["GET /apis/new.example.com"] = scripted.ok {
      kind = "APIGroup", name = "new.example.com", versions = { { version = "v1" } },
      preferredVersion = { version = "v1" },
    }
    server.script["GET /apis/new.example.com/v1"] = scripted.resources("new.example.com/v1", {
      { "gadgets", "Gadget", true, { "gg" } },
    })
    assert.equal("Gadget", cluster:find("gg.new.example.com").kind)
    assert.equal("Gadget", cluster:find("gadgets").kind)
  end)

  it("that has moved to another version is found there", function()
    local function widget(version)
      return "GET /apis/example.com/" .. version .. "/namespaces/default/widgets/a"
    end
    server.script["GET /apis/example.com/v2"] = scripted.resources("example.com/v2", {})
    server.script[widget "v1"] = scripted.ok { kind = "Widget", version = 1 }
    assert.equal(1, cluster:get("widgets", "a").version)
    server.script[widget "v1"] = nil
    server.script[widget "v2"] = scripted.ok { kind = "Widget", version = 2 }
    server.script["GET /apis/example.com/v2"] = server.script["GET /apis/example.com/v1"]
    cluster.shared.discovery.refreshed = nil
    assert.equal(2, cluster:get("widgets", "a").version)
    server.script[widget "v2"] = nil
    failure("not_found", cluster.get, cluster, "widgets", "a")
  end)
end)

describe("a dead API group", function()
  local server, cluster

  before_each(function()
    local script = several()
    script["GET /apis"] = scripted.groups { { "metrics.k8s.io", "v1beta1" }, { "apps", "v1" } }
    script["GET /apis/metrics.k8s.io/v1beta1"] = { status = 503, body = "service unavailable\n" }
    server = scripted.start(script)
    cluster = server:connect { retries = 1, on_wait = function(wait) wait.seconds = 0 end }
  end)

  after_each(function() server:close() end)

  it("spoils no other", function()
    assert.equal("deployments", cluster:find("deploy").name)
    assert.equal(1, server:count "GET /apis/metrics.k8s.io/v1beta1")
  end)

  it("is told when it is asked for", function()
    for _, resource in ipairs {
      "pods.metrics.k8s.io", "pods.v1beta1.metrics.k8s.io",
      { apiVersion = "metrics.k8s.io/v1beta1", kind = "PodMetrics" },
    } do
      local err = failure("discovery", cluster.find, cluster, resource)
      assert.matches("`metrics.k8s.io` does not answer", err.message, 1, true)
      assert.equal(503, err.cause.status)
      assert.matches("apiservices", err.hint, 1, true)
    end
  end)

  it("is named where a resource is unknown", function()
    local err = failure("unknown_resource", cluster.find, cluster, "podmetrics")
    assert.matches("`metrics.k8s.io`", err.hint, 1, true)
  end)

  it("is a warning where all resources are asked for", function()
    local log = require "moonport.log"
    local level <close> = setmetatable({ log.level "off" }, {
      __close = function(self) log.level(self[1]) end,
    })
    assert.truthy(level)
    local list, failures = cluster:resources()
    local names = {}
    for _, resource in ipairs(list) do names[resource.name] = true end
    assert.is_true(names.pods and names.deployments)
    assert.equal(503, failures["metrics.k8s.io"].status)
    assert.is_nil(failures.apps)
  end)
end)

describe("a server that tells all at once", function()
  local AGGREGATED = "APIGroupDiscoveryList"

  local function resource(name, kind, scope)
    return {
      resource = name, singularResource = kind:lower(), scope = scope or "Namespaced",
      responseKind = { kind = kind, group = "", version = "" }, verbs = { "get" },
      shortNames = { name:sub(1, 2) },
      subresources = { { subresource = "status", responseKind = { kind = kind }, verbs = {} } },
    }
  end

  local function list(items)
    return function(request)
      assert.matches("as=APIGroupDiscoveryList", request.headers.accept, 1, true)
      return scripted.ok { kind = AGGREGATED, items = items }
    end
  end

  local function script()
    return {
      ["GET /api"] = list {
        { metadata = {}, versions = {
          { version = "v1", resources = { resource("pods", "Pod") } },
        } },
      },
      ["GET /apis"] = list {
        { metadata = { name = "apps" }, versions = {
          { version = "v1", resources = { resource("deployments", "Deployment") } },
        } },
        { metadata = { name = "example.com" }, versions = {
          { version = "v2", resources = { resource("widgets", "Widget", "Cluster") } },
          { version = "v1", resources = {
            resource("widgets", "Widget"), resource("old", "Old"),
            { resource = "only", subresources = {}, scope = "Cluster" },
          } },
        } },
        { metadata = { name = "metrics.k8s.io" }, versions = {
          { version = "v1beta1", freshness = "Stale", resources = {} },
        } },
      },
    }
  end

  it("is asked twice and not again", function()
    local server <close> = scripted.start(script())
    local cluster = server:connect()
    server.script["GET /api/v1"] = false
    assert.equal("apps/v1", cluster:find("de").group_version)
    local before = #server.requests
    assert.equal("example.com/v2", cluster:find("widgets").group_version)
    assert.is_false(cluster:find("widgets").namespaced)
    assert.is_true(cluster:find("widgets.v1.example.com").namespaced)
    assert.equal("example.com/v1", cluster:find("old").group_version)
    assert.equal("Pod", cluster:find("pods").subresources.status.kind)
    assert.equal(before, #server.requests)
    assert.equal(1, server:count "GET /apis")
    failure("unknown_resource", cluster.find, cluster, "only")
  end)

  it("says which group is stale", function()
    local server <close> = scripted.start(script())
    local cluster = server:connect { retries = 0 }
    local err = failure("discovery", cluster.find, cluster, "pods.metrics.k8s.io")
    assert.matches("metrics.k8s.io/v1beta1", err.cause.message, 1, true)
  end)
end)

describe("what a server told", function()
  local dir

  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
  end)

  after_each(function() fs.remove_tree(dir) end)

  -- Runs a script in a moonport of its own whose cache is in `dir`.
  local function moonport(server, code)
    local process = require "moonport.process"
    local source = ("local scripted = { url = %q }\n"):format(server.url) .. [[
      local http = require "moonport.http"
      local client = {
        config = { server = scripted.url, namespace = "default" },
        request = function(_, request)
          request.url, request.path = scripted.url .. request.path, nil
          return http.request(request)
        end,
      }
      local cluster = require("moonport.kube.cluster").new(client, {})
    ]] .. code
    return process.run {
      os.getenv "MOONPORT", "run", "-e", source,
      env = { MOONPORT_CACHE = dir }, check = true,
    }.stdout
  end

  it("is kept on disk, for the owner alone, and believed for a while", function()
    local server <close> = scripted.start(several())
    local find = 'print(cluster:find("cj").name)'
    assert.equal("cronjobs\n", moonport(server, find))
    local asked = #server.requests
    assert.equal("cronjobs\n", moonport(server, find))
    assert.equal(asked, #server.requests)
    local files = {}
    for entry in fs.walk(dir) do
      files[#files + 1] = entry.type == "file" and entry.path or nil
    end
    assert.equal(1, #files)
    assert.equal("0600", ("%04o"):format(fs.stat(files[1]).mode & 0x1ff))
    local kept = json.decode(fs.read(files[1]))
    kept.at = kept.at - 601
    fs.write(files[1], json.encode(kept))
    assert.equal("cronjobs\n", moonport(server, find))
    assert.is_true(#server.requests > asked)
    -- What is added later makes the rest no newer.
    fs.remove(files[1])
    moonport(server, 'cluster:find "pods"')
    kept = json.decode(fs.read(files[1]))
    kept.at = kept.at - 300
    fs.write(files[1], json.encode(kept))
    moonport(server, 'cluster:find "deployments.v1.apps"')
    local now = json.decode(fs.read(files[1]))
    assert.equal(kept.at, now.at)
    assert.truthy(now.catalog.lists["apps/v1"])
  end)

  it("is read, and asked for, once for all who want it at the same time", function()
    local server <close> = scripted.start(several())
    local find = [[
      local list = {}
      for index = 1, 50 do list[index] = "pods" end
      require("moonport.task").map(list, 50, function(name) cluster:find(name) end)
    ]]
    moonport(server, find)
    assert.equal(1, #server.requests)
    moonport(server, find)
    assert.equal(1, #server.requests)
  end)

  it("and is damaged on disk is asked for again", function()
    local server <close> = scripted.start(several())
    moonport(server, 'cluster:find "cj"')
    for entry in fs.walk(dir) do
      if entry.type == "file" then
        for _, text in ipairs { "", "{", "[]", "null", '{"version":1,"catalog":{}}' } do
          fs.write(entry.path, text)
          assert.equal("jobs\n", moonport(server, 'print(cluster:find("jobs").name)'))
        end
      end
    end
  end)

  it("does not hinder where it cannot be kept", function()
    local server <close> = scripted.start(several())
    fs.write(dir, "a file where a directory should be")
    assert.equal("jobs\n", moonport(server, 'print(cluster:find("jobs").name)'))
    assert.equal("jobs\n", moonport(server, [[
      print(require("moonport.task").read_only(function() return cluster:find("jobs").name end))
    ]]))
  end)
end)
