-- The verbs of the Kubernetes client on a real cluster.
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/e2e/kube/?.lua;" .. package.path
local helper = require "helper"
local json = require "moonport.json"
local kube = require "moonport.kube"
local secret = require "moonport.secret"
local task = require "moonport.task"
local raised = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

local cluster, group

local function failure(code, ...) return raised("kube", code, ...) end

local function kubectl(...) return helper.kubectl { "-n", cluster.namespace, ... } end

local function canonical(value) return json.encode(value, { indent = 1 }) end

local function map(name, data)
  return {
    apiVersion = "v1", kind = "ConfigMap", metadata = { name = name, labels = { of = "spec" } },
    data = data or { a = "1" },
  }
end

local function deployment(name, replicas)
  local container = { name = "web", image = "moonport-test/base:1" }
  return {
    apiVersion = "apps/v1", kind = "Deployment", metadata = { name = name },
    spec = {
      replicas = replicas, selector = { matchLabels = { app = name } },
      template = {
        metadata = { labels = { app = name } },
        spec = { schedulerName = "nobody", containers = { container } },
      },
    },
  }
end

setup(function()
  cluster = helper.connect "verbs"
  group = helper.name "verbs" .. ".example.com"
  cluster:create(helper.custom_resource(group))
  cluster:wait("crd", "gizmos." .. group, "condition=Established", 30)
end)

teardown(function()
  cluster:delete("crd", "gizmos." .. group, { missing_ok = true })
  helper.remove(cluster)
end)

describe("a built-in object", function()
  it("is made, read, replaced, patched, applied and deleted", function()
    local made = cluster:create(map "life")
    assert.truthy(made.metadata.uid)
    failure("already_exists", cluster.create, cluster, map "life")

    local read = cluster:get("cm", "life")
    assert.equal(canonical(made), canonical(read))
    read.data.b = "2"
    local replaced = cluster:replace(read)
    assert.same({ a = "1", b = "2" }, replaced.data)
    local err = failure("conflict", cluster.replace, cluster, read)
    assert.matches("changed meanwhile", err.hint, 1, true)

    local patched = cluster:patch("configmaps", "life", { data = { a = json.null } })
    assert.same({ b = "2" }, patched.data)
    patched = cluster:patch("configmaps", "life", {
      { op = "test", path = "/data/b", value = "2" },
      { op = "add", path = "/data/c", value = "3" },
    }, { type = "json" })
    assert.same({ b = "2", c = "3" }, patched.data)
    err = failure("invalid", cluster.patch, cluster, "configmaps", "life", {
      { op = "test", path = "/data/b", value = "9" },
    }, { type = "json" })
    assert.matches("a `test` does not hold", err.hint, 1, true)
    patched = cluster:patch("configmaps", "life", { metadata = { labels = { x = "y" } } },
      { type = "strategic" })
    assert.same({ of = "spec", x = "y" }, patched.metadata.labels)

    cluster:delete("configmaps", "life")
    failure("not_found", cluster.get, cluster, "configmaps", "life")
    failure("not_found", cluster.delete, cluster, "configmaps", "life")
    assert.is_nil(cluster:delete("configmaps", "life", { missing_ok = true }))
  end)

  it("is deleted only if it is the one that was meant", function()
    local made = cluster:create(map "meant")
    local err = failure("conflict", cluster.delete, cluster, "configmaps", "meant",
      { uid = "00000000-0000-0000-0000-000000000000" })
    assert.matches("not, or no longer, the object", err.hint, 1, true)
    failure("conflict", cluster.delete, cluster, "configmaps", "meant",
      { uid = made.metadata.uid, resource_version = "1" })
    cluster:delete(made, "meant", { uid = made.metadata.uid })
    failure("not_found", cluster.get, cluster, "configmaps", "meant")
  end)

  it("has a scale and a status", function()
    cluster:create(deployment("scaled", 1))
    assert.equal(1, cluster:get("deployments", "scaled", { subresource = "scale" }).spec.replicas)
    local scale = cluster:scale("deploy", "scaled", 2)
    assert.equal("Scale", scale.kind)
    assert.equal(2, cluster:get("deployments", "scaled").spec.replicas)
    cluster:scale("deploy", "scaled", 1, { current = 2 })
    failure("invalid", cluster.scale, cluster, "deploy", "scaled", 3, { current = 2 })
    failure("not_found", cluster.scale, cluster, "deploy", "none", 3)
    local condition = { type = "Spec", status = "True", reason = "Test", message = "set" }
    cluster:patch("deployments", "scaled", { status = { conditions = { condition } } },
      { type = "strategic", subresource = "status" })
    local found
    for _, each in ipairs(cluster:get("deployments", "scaled").status.conditions) do
      found = found or each.type == "Spec" and each.message
    end
    assert.equal("set", found)
    assert.equal("Deployment", cluster:delete("deployments", "scaled",
      { propagation = "Foreground" }).kind)
  end)

  it("is not changed by a dry run, which a plan may make", function()
    cluster:create(map "dry")
    task.read_only(function()
      assert.equal("2", cluster:apply(map("dry", { a = "2" }), {
        dry_run = true, force = true,
      }).data.a)
      cluster:patch("cm", "dry", { data = { a = "3" } }, { dry_run = true })
      cluster:replace(map("dry", { a = "4" }), { dry_run = true })
      cluster:create(map "other", { dry_run = true })
      cluster:delete("cm", "dry", { dry_run = true })
      local uid = cluster:get("cm", "dry").metadata.uid
      cluster:delete("cm", "dry", { dry_run = true, uid = uid, propagation = "Background" })
      cluster:delete_collection("cm", { dry_run = true, labels = "of=spec" })
    end)
    assert.equal("1", cluster:get("cm", "dry").data.a)
    failure("not_found", cluster.get, cluster, "cm", "other")
    cluster:delete("cm", "dry")
  end)

  it("shows all that is wrong with it, field by field", function()
    local wrong = deployment("wrong", -1)
    wrong.spec.template.metadata.labels = { app = "else" }
    wrong.spec.template.spec.containers[1].image = nil
    local err = failure("invalid", cluster.create, cluster, wrong)
    local fields = {}
    for _, cause in ipairs(err.causes) do fields[cause.field] = true end
    for _, field in ipairs { "spec.replicas", "spec.template.metadata.labels",
      "spec.template.spec.containers[0].image" } do
      assert.is_true(fields[field], tostring(err))
      assert.matches("\n  " .. field .. ": ", err.message, 1, true)
    end
    local empty = deployment("empty", 1)
    empty.spec.template.spec.containers = {}
    err = failure("bad_request", cluster.create, cluster, empty)
    assert.matches("json.array {}", err.hint, 1, true)
  end)

  it("has subresources that are made", function()
    local token = cluster:create({
      apiVersion = "authentication.k8s.io/v1", kind = "TokenRequest", metadata = {},
      spec = { audiences = json.array {}, expirationSeconds = 600 },
    }, { resource = "serviceaccounts", name = "default", subresource = "token" })
    assert.truthy(token.status.token)
  end)

  it("of a namespace that is not there says so", function()
    local err = failure("not_found", cluster.create, cluster, map "x", { namespace = "no-such" })
    assert.matches("kubectl create namespace no-such", err.hint, 1, true)
  end)

  it("holds secrets, also when it is applied again", function()
    local object = {
      apiVersion = "v1", kind = "Secret", metadata = { name = "keys" },
      stringData = { path = secret.env "PATH" },
    }
    local crypto = require "moonport.crypto"
    assert.equal(os.getenv "PATH", crypto.unbase64(cluster:create(object).data.path))
    object.metadata.name = "applied"
    cluster:apply(object)
    object.stringData.path = "other"
    assert.equal("other", crypto.unbase64(cluster:apply(object).data.path))
  end)
end)

describe("a custom object", function()
  local function gizmo(name, spec)
    return {
      apiVersion = group .. "/v1", kind = "Gizmo", metadata = { name = name }, spec = spec,
    }
  end

  it("is handled by the same verbs", function()
    local resource = "gizmos." .. group
    for _, name in ipairs { resource, "giz." .. group, "gizmo." .. group, "gizmos.v1." .. group } do
      assert.equal("Gizmo", cluster:find(name).kind)
    end
    local made = cluster:create(gizmo("one", { replicas = 1, list = json.array {}, none = {} }))
    assert.is_true(json.is_array(made.spec.list))
    assert.is_false(json.is_array(made.spec.none))
    made.spec.replicas = 2
    assert.equal(2, cluster:replace(made).spec.replicas)
    assert.equal(3, cluster:patch(resource, "one", { spec = { replicas = 3 } }).spec.replicas)
    local err = failure("unsupported_media_type", cluster.patch, cluster, resource, "one", {},
      { type = "strategic" })
    assert.matches("custom resources know no strategic patch", err.hint, 1, true)
    assert.equal(5, cluster:scale(resource, "one", 5).spec.replicas)
    cluster:patch(resource, "one", { status = { replicas = 4 } }, { subresource = "status" })
    cluster:patch(resource, "one", { status = { replicas = 9 } }) -- goes for nothing
    local read = cluster:get(resource, "one")
    assert.equal(4, read.status.replicas)
    assert.equal(5, read.spec.replicas)
    assert.equal(6, cluster:apply(gizmo("one", { replicas = 6 })).spec.replicas)
    cluster:apply(gizmo("two", { replicas = 1 }))
    assert.equal(2, #cluster:list(resource).items)
    err = failure("invalid", cluster.create, cluster, gizmo("bad", { replicas = -1 }))
    assert.matches("spec.replicas", err.message, 1, true)
    cluster:delete_collection(resource, { all = true })
    assert.equal(0, #cluster:list(resource).items)
  end)

  it("comes back exactly, large numbers included", function()
    local text = '{"big":9007199254740993,"deep":{"a":[],"b":{},"c":[{}]},"float":1.5,"neg":-3}'
    local object = gizmo("exact", json.decode(text))
    cluster:create(object)
    local read = cluster:get(object, "exact")
    assert.equal(text, json.encode(read.spec, { sort_keys = true }))
    assert.equal(9007199254740993, read.spec.big)
    cluster:delete(object, "exact")
  end)
end)

describe("an object read and kubectl's", function()
  it("are the same document, and still after it was written back", function()
    cluster:create(deployment("exact", 0))
    cluster:patch("deployments", "exact", {
      metadata = { annotations = { ["example.com/odd"] = "é\u{2028}\"\\\n\t" } },
    })
    -- Its controller has then seen it, and it rests.
    cluster:wait("deployments", "exact", "ready", 30)
    local ours = cluster:get("deployments", "exact")
    local theirs = json.decode(kubectl("get", "deployments", "exact", "-o", "json"))
    assert.equal(canonical(theirs), canonical(ours))
    local replaced = cluster:replace(ours)
    theirs = json.decode(kubectl("get", "deployments", "exact", "-o", "json"))
    assert.equal(canonical(theirs), canonical(replaced))
    -- What changes nothing writes nothing.
    assert.equal(ours.metadata.generation, replaced.metadata.generation)
    assert.equal(canonical(ours.spec), canonical(replaced.spec))
    cluster:delete("deployments", "exact")
  end)

  it("are the same list, whatever the pages", function()
    local list = {}
    for index = 1, 25 do list[index] = ("page-%02d"):format(index) end
    task.map(list, 10, function(name) cluster:apply(map(name, { index = name })) end)
    local theirs = json.decode(kubectl("get", "cm", "-l", "of=spec", "-o", "json"))
    assert.equal(25, #theirs.items)
    for _, limit in ipairs { 1, 7, 25, 500 } do
      local ours = cluster:list("cm", { labels = { of = "spec" }, limit = limit })
      assert.equal(canonical(theirs.items), canonical(ours.items))
      local each = json.array {}
      for item in cluster:each("cm", { labels = "of in (spec, other)", limit = limit }) do
        each[#each + 1] = item
      end
      assert.equal(canonical(theirs.items), canonical(each))
    end
    local one = cluster:list("cm", { fields = { ["metadata.name"] = "page-07" } })
    assert.equal("page-07", one.items[1].data.index)
    assert.equal(1, #one.items)
    assert.equal(0, #cluster:list("cm", { labels = "of!=spec,of" }).items)
    local lean = cluster:list("cm", { labels = "of=spec", managed_fields = false })
    assert.is_nil(lean.items[1].metadata.managedFields)
    local count = 0
    for item in cluster:each("cm", { all_namespaces = true, labels = "of=spec", limit = 10 }) do
      if item.metadata.namespace == cluster.namespace then count = count + 1 end
    end
    assert.equal(25, count)
    cluster:delete_collection("cm", { labels = { of = "spec" } })
    assert.equal(0, #cluster:list("cm", { labels = { of = "spec" } }).items)
  end)
end)

describe("apply", function()
  -- As somebody made it with kubectl, who so owns its fields.
  local function of_kubectl(name)
    helper.kubectl_apply(deployment(name, 0), cluster.namespace)
    return deployment(name, 0)
  end

  it("tells which fields kubectl owns, and changes nothing", function()
    local object = of_kubectl "kubectls"
    object.spec.replicas = 1
    object.spec.template.spec.containers[1].image = "moonport-test/base:2"
    local err = failure("conflict", cluster.apply, cluster, object)
    local owners = {}
    for _, conflict in ipairs(err.conflicts) do owners[conflict.field] = conflict.manager end
    assert.same({
      ["spec.replicas"] = "kubectl-client-side-apply",
      ['spec.template.spec.containers[name="web"].image'] = "kubectl-client-side-apply",
    }, owners)
    assert.matches("spec.replicas: owned by `kubectl-client-side-apply`", err.message, 1, true)
    assert.equal(0, cluster:get("deployments", "kubectls").spec.replicas)
    cluster:delete("deployments", "kubectls")
  end)

  it("by path takes over just these fields", function()
    local object = of_kubectl "taken"
    object.spec.replicas = 1
    object.spec.template.spec.containers[1].image = "moonport-test/base:2"
    local err = failure("conflict", cluster.apply, cluster, object, { force = { "spec.replicas" } })
    -- Of what is listed nothing is told: it would be taken.
    assert.equal(1, #err.conflicts)
    assert.matches("image$", err.conflicts[1].field)
    assert.equal(0, cluster:get("deployments", "taken").spec.replicas)
    object.spec.template.spec.containers[1].image = "moonport-test/base:1"
    cluster:apply(object, { force = { "spec.replicas" } })
    local read = cluster:get("deployments", "taken")
    assert.equal(1, read.spec.replicas)
    local ours
    for _, entry in ipairs(read.metadata.managedFields) do
      if entry.manager == "moonport" then ours = entry end
    end
    assert.equal("Apply", ours.operation)
    assert.truthy(ours.fieldsV1["f:spec"]["f:replicas"])
    assert.is_nil(ours.fieldsV1["f:metadata"] and ours.fieldsV1["f:metadata"]["f:resourceVersion"])
    -- Now they are ours: applied again without them, they go.
    object.spec.replicas = nil
    cluster:apply(object)
    assert.equal("moonport", ours.manager)
    cluster:delete("deployments", "taken")
  end)

  it("has no conflict with what the same manager made, patched and scaled", function()
    cluster:create(deployment("own", 1))
    cluster:patch("deployments", "own", { metadata = { labels = { by = "patch" } } })
    cluster:scale("deployments", "own", 2)
    local object = deployment("own", 3)
    object.metadata.labels = { by = "apply" }
    failure("conflict", cluster.apply, cluster, object, { field_manager = "other" })
    local now = cluster:apply(object)
    assert.equal(3, now.spec.replicas)
    assert.equal("apply", now.metadata.labels.by)
    cluster:delete("deployments", "own")
  end)

  it("removes what the same manager set before, and keeps what others did", function()
    cluster:apply(map("shared", { ours = "1", gone = "1" }))
    local other = cluster:with { field_manager = "other" }
    other:apply { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "shared" },
      data = { theirs = "1" } }
    local now = cluster:apply(map("shared", { ours = "2" }))
    assert.same({ ours = "2", theirs = "1" }, now.data)
    cluster:delete("cm", "shared")
  end)

  it("does not take what was read from the cluster", function()
    cluster:create(map "read")
    local ok, err = pcall(cluster.apply, cluster, cluster:get("cm", "read"))
    assert.is_false(ok)
    assert.matches("cluster:replace", err.hint, 1, true)
    cluster:delete("cm", "read")
  end)

  it("of an object that the server changes on its way is in order each time", function()
    local object = deployment("mutated", 0)
    object.spec.template.spec.containers[1].resources = { limits = { memory = "1024Mi" } }
    local first = cluster:apply(object)
    assert.equal("1Gi", first.spec.template.spec.containers[1].resources.limits.memory)
    assert.equal("RollingUpdate", first.spec.strategy.type)
    local again = cluster:apply(object)
    assert.equal(first.metadata.generation, again.metadata.generation)
    cluster:delete("deployments", "mutated")
  end)
end)

describe("a user without rights", function()
  local bob

  setup(function()
    bob = kube.connect { cache = false, namespace = cluster.namespace, as = "bob" }
  end)

  it("is told who lacks which right", function()
    local err = failure("forbidden", bob.list, bob, "secrets")
    assert.matches('User "bob" cannot list resource "secrets"', err.message, 1, true)
    assert.matches("`bob` has no right to it", err.hint, 1, true)
    assert.matches('cluster:can { verb = "list", resource = "secrets", namespace = "' ..
      cluster.namespace, err.hint, 1, true)
    err = failure("forbidden", bob.scale, bob, "deployments", "x", 1)
    assert.matches('subresource = "scale"', err.hint, 1, true)
  end)

  it("asks what it may, and is granted it", function()
    assert.is_false((bob:can { verb = "list", resource = "cm" }))
    cluster:apply {
      apiVersion = "rbac.authorization.k8s.io/v1", kind = "Role", metadata = { name = "reader" },
      rules = { { apiGroups = { "" }, resources = { "configmaps" }, verbs = { "list" } } },
    }
    cluster:apply {
      apiVersion = "rbac.authorization.k8s.io/v1", kind = "RoleBinding",
      metadata = { name = "reader" },
      roleRef = { apiGroup = "rbac.authorization.k8s.io", kind = "Role", name = "reader" },
      subjects = { { apiGroup = "rbac.authorization.k8s.io", kind = "User", name = "bob" } },
    }
    -- The authorizer learns of it by a watch of its own.
    task.timeout(10, function()
      while not bob:can { verb = "list", resource = "cm" } do task.sleep(0.05) end
    end)
    assert.truthy(bob:list("cm").items)
    assert.is_false((bob:can { verb = "list", resource = "cm", namespace = "default" }))
    assert.is_true((cluster:can { verb = "*", resource = "*", all_namespaces = true }))
    assert.is_true((cluster:can { verb = "get", path = "/metrics" }))
  end)
end)

describe("the cluster", function()
  it("tells its version and resources", function()
    assert.truthy(cluster:version().gitVersion:find "^v1%.")
    local list, failures = cluster:resources()
    local by_kind = {}
    for _, resource in ipairs(list) do by_kind[resource.kind] = resource end
    assert.equal("po", by_kind.Pod.short_names[1])
    assert.truthy(by_kind.Deployment.subresources.scale)
    assert.is_false(by_kind.Node.namespaced)
    assert.equal("table", type(failures))
  end)

  it("knows every name that kubectl does", function()
    local wide = helper.kubectl { "api-resources", "--no-headers" }
    for line in wide:gmatch "[^\n]+" do
      local plural = line:match "^(%S+)"
      local kind = line:match "(%S+)%s*$"
      local found = cluster:find(kind)
      assert.equal(kind, found.kind)
      -- One name of several groups is that of the first.
      assert.equal(plural, cluster:find(plural).name)
    end
  end)

  it("answers what has no verb", function()
    assert.equal("ok", cluster:raw({ path = "/healthz" }).body)
    local err = failure("not_found", cluster.raw, cluster, { path = "/nothing" })
    assert.matches("GET /nothing", err.message, 1, true)
  end)
end)
