-- What the verbs ask of a server and make of its answers: against the double of kube_scripted.
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/spec/?.lua;" .. package.path
local crypto = require "moonport.crypto"
local json = require "moonport.json"
local scripted = require "kube_scripted"
local secret = require "moonport.secret"
local selector = require "moonport.kube.selector"
local task = require "moonport.task"

local PODS = "/api/v1/namespaces/default/pods"
local MAPS = "/api/v1/namespaces/default/configmaps"

local failure = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

local function no(...) return failure("argument", "invalid", ...) end

-- A cluster with no memory of waits.
local function connect(server, options)
  options = options or {}
  options.on_wait = function(wait) wait.seconds = 0 end
  return server:connect(options)
end

local function map(fields)
  local object = { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "limits" } }
  for name, value in pairs(fields or {}) do object[name] = value end
  return object
end

local function echo(request) return scripted.ok(json.decode(request.body)) end

describe("a label selector", function()
  local function labels(value) return selector.labels("list", value) end

  it("is written as kubectl has it", function()
    for text, wanted in pairs {
      ["a=b"] = "a=b", ["a==b"] = "a=b", [" a = b , c!=d "] = "a=b,c!=d", ["a in (b, c),!d"] =
        "a in (b,c),!d", ["example.com/x notin (1)"] = "example.com/x notin (1)", ["a"] = "a",
      ["a>3,b<4"] = "a>3,b<4", ["a="] = "a=", ["x/y"] = "x/y",
    } do
      assert.equal(wanted, labels(text))
    end
  end)

  it("or is a table, always of the same text", function()
    assert.equal("!d,a=1,b in (x,y),c,e!=f", labels {
      a = 1, b = { "x", "y" }, c = true, d = false, "e!=f",
    })
  end)

  it("that is wrong says what of it", function()
    for text, words in pairs {
      ["a=b,"] = "an empty part", [""] = "an empty part", ["a in (b"] = "parentheses",
      ["a in b)"] = "parentheses", ["a in (b,(c))"] = "parentheses", ["a b"] = "`a b`",
      ["a=b c"] = "`b c` is no label's value", ["-a=b"] = "`-a` is no label's name",
      ["UP/a=b"] = "`UP/a`", ["a>x"] = "whole number", ["a<=3"] = "not understood",
      ["a=b=c"] = "`b=c`", [("a"):rep(64)] = "no label's name",
    } do
      assert.matches(words, no(labels, text).message, 1, true)
    end
    assert.matches("select everything", no(labels, {}).message, 1, true)
    assert.matches("is empty", no(labels, { a = {} }).message, 1, true)
    no(labels, { a = print })
    no(labels, { [true] = "x" })
    no(labels, 3)
  end)

  it("has a sister for fields", function()
    local function fields(value) return selector.fields("list", value) end
    assert.equal("status.phase!=Running,spec.nodeName=n", fields
      "status.phase!=Running,spec.nodeName=n")
    assert.equal("a.b=x\\,y\\=z\\\\,metadata.name=web", fields {
      ["metadata.name"] = "web", ["a.b"] = "x,y=z\\",
    })
    assert.equal("metadata.name=a\\,b", fields "metadata.name=a\\,b")
    for _, value in ipairs { "", "a", "a=b,", "=b", "a!b", {}, { a = {} }, 1 } do
      no(fields, value)
    end
  end)
end)

describe("a call", function()
  local server, cluster

  before_each(function()
    server = scripted.start {
      ["GET " .. PODS .. "/web"] = scripted.ok { kind = "Pod", metadata = {} },
    }
    cluster = connect(server)
  end)

  after_each(function() server:close() end)

  it("refuses what it does not know, with the nearest name", function()
    local err = no(cluster.get, cluster, "pods", "web", { namesapce = "x" })
    assert.equal("cluster:get: there is no option `namesapce`", err.message)
    assert.equal("did you mean `namespace`?", err.hint)
    for name, value in pairs {
      namespace = 1, timeout = 0, retries = -1, on_wait = true, managed_fields = "no",
      resource_version = 4, subresource = "",
    } do
      assert.matches("`" .. name .. "`", no(cluster.get, cluster, "pods", "web",
        { [name] = value }).message, 1, true)
    end
    no(cluster.get, cluster, "pods", "web", 3)
  end)

  it("on an object goes to the namespace of that object", function()
    local pod = { apiVersion = "v1", kind = "Pod", metadata = { name = "web", namespace = "shop" } }
    local path = "/api/v1/namespaces/shop/pods"
    server.script["GET " .. path .. "/web"] = scripted.ok { kind = "Pod", metadata = {} }
    server.script["DELETE " .. path .. "/web"] = scripted.ok { kind = "Status" }
    server.script["GET " .. path] = scripted.ok { kind = "PodList", items = {} }
    cluster:get(pod, "web")
    cluster:list(pod)
    cluster:delete(pod, "web", { namespace = "shop" })
    cluster:delete(pod, "web")
    assert.equal(2, server:count("DELETE " .. path .. "/web"))
    assert.matches("of namespace `shop`, the option says `other`", no(cluster.delete, cluster, pod,
      "web", { namespace = "other" }).message, 1, true)
  end)

  it("takes no name that would make it mean something else", function()
    for _, name in ipairs { "", ".", "..", "a/b", "a%2fb" } do
      no(cluster.get, cluster, "pods", name)
      no(cluster.delete, cluster, "pods", name)
      no(cluster.patch, cluster, "pods", name, {})
      no(cluster.get, cluster, "pods", "web", { namespace = name })
      no(cluster.delete, cluster, "pods", "web", { subresource = name })
      no(cluster.path, cluster, "pods", "default", "web", name)
      no(cluster.apply, cluster, map { metadata = { name = name } })
    end
    no(cluster.get, cluster, "pods")
    no(cluster.delete, cluster, "pods", nil, { missing_ok = true })
    assert.equal(0, server:count("DELETE " .. PODS .. "/"))
  end)

  it("wants whole objects", function()
    for _, object in ipairs {
      1, {}, { apiVersion = "v1" }, { apiVersion = "v1", kind = "ConfigMap" },
      { apiVersion = "v1", kind = "ConfigMap", metadata = {} },
      { apiVersion = "v1", kind = "ConfigMap", metadata = { name = 3 } },
    } do
      no(cluster.create, cluster, object)
      no(cluster.replace, cluster, object)
      no(cluster.apply, cluster, object)
    end
    no(cluster.apply, cluster, map { metadata = { generateName = "a-" } })
    no(cluster.apply, cluster, map { metadata = { name = "a", managedFields = {} } })
  end)

  it("goes where the object belongs", function()
    server.script["POST /api/v1/namespaces/shop/configmaps"] = echo
    server.script["POST " .. MAPS] = echo
    server.script["POST /api/v1/namespaces"] = echo
    local shop = map { metadata = { name = "a", namespace = "shop" } }
    cluster:create(shop)
    assert.equal("shop", server:last().path:match "namespaces/([^/]+)")
    cluster:create(map(), { namespace = "shop" })
    cluster:with({ namespace = "shop" }):create(map())
    assert.equal(3, server:count "POST /api/v1/namespaces/shop/configmaps")
    cluster:create(map())
    assert.equal(1, server:count("POST " .. MAPS))
    assert.matches("the option says", no(cluster.create, cluster, shop,
      { namespace = "other" }).message, 1, true)
    cluster:create { apiVersion = "v1", kind = "Namespace", metadata = { name = "new" } }
    assert.equal("POST /api/v1/namespaces", server:last().method .. " " .. server:last().path)
  end)

  it("that is tried only says so, in the body of a DELETE too", function()
    server.script["DELETE " .. PODS .. "/web"] = echo
    server.script["POST " .. MAPS] = echo
    task.read_only(function()
      cluster:create(map(), { dry_run = true })
      assert.equal("All", server:last().query.dryRun)
      cluster:delete("pods", "web", { dry_run = true, uid = "u" })
    end)
    assert.equal("All", server:last().query.dryRun)
    assert.same({ "All" }, json.decode(server:last().body).dryRun)
    failure("gate", "refused", task.read_only, function() cluster:create(map()) end)
    failure("gate", "refused", task.read_only, function() cluster:delete("pods", "web") end)
    cluster:delete("pods", "web")
    assert.is_nil(server:last().query.dryRun)
    assert.is_nil(json.decode(server:last().body).dryRun)
  end)

  it("sends secrets where a Secret holds them, and nowhere else", function()
    local path = "POST /api/v1/namespaces/default/secrets"
    server.script[path] = scripted.ok {}
    local value = secret.env "PATH"
    local object = {
      apiVersion = "v1", kind = "Secret", metadata = { name = "s" },
      stringData = { a = value, b = "plain" }, data = { c = crypto.base64(value) },
    }
    cluster:create(object)
    local sent = json.decode(server:last().body)
    assert.equal(os.getenv "PATH", sent.stringData.a)
    assert.equal("plain", sent.stringData.b)
    assert.equal(crypto.base64(os.getenv "PATH"), sent.data.c)
    object.metadata.annotations = { a = value }
    failure("json", "secret", cluster.create, cluster, object)
    failure("json", "secret", cluster.create, cluster, map { data = { a = value } })
    assert.equal(1, server:count(path))
  end)

  it("of each verb asks for what it says", function()
    for _, path in ipairs { PODS .. "/web", PODS .. "/web/status", MAPS .. "/limits" } do
      for _, method in ipairs { "GET", "PUT", "PATCH", "DELETE" } do
        server.script[method .. " " .. path] = scripted.ok {}
      end
    end
    cluster:get("pods", "web", { resource_version = "0", subresource = "status" })
    local last = server:last()
    assert.equal(PODS .. "/web/status", last.path)
    assert.same({ resourceVersion = "0" }, last.query)

    cluster:replace(map { data = { a = "b" } }, { field_validation = "Strict" })
    last = server:last()
    assert.equal("PUT", last.method)
    assert.same({ fieldManager = "moonport", fieldValidation = "Strict" }, last.query)
    assert.equal("application/json", last.headers["content-type"])

    for kind, content_type in pairs {
      merge = "merge-patch+json", strategic = "strategic-merge-patch+json",
      json = "json-patch+json", apply = "apply-patch+yaml",
    } do
      local patch = kind == "json" and { { op = "remove", path = "/a" } } or { a = json.null }
      cluster:patch("pods", "web", patch, { type = kind, field_manager = "me" })
      last = server:last()
      assert.equal("application/" .. content_type, last.headers["content-type"])
      assert.equal(json.encode(patch), last.body)
      assert.equal("me", last.query.fieldManager)
    end
    cluster:patch("pods", "web", '{"a":1}')
    assert.equal('{"a":1}', server:last().body)
    no(cluster.patch, cluster, "pods", "web", {}, { type = "json" })
    no(cluster.patch, cluster, "pods", "web", {}, { type = "other" })
    no(cluster.patch, cluster, "pods", "web", 3)

    cluster:delete("pods", "web", {
      grace = 0, propagation = "Orphan", uid = "u", resource_version = "7",
    })
    assert.same({
      apiVersion = "v1", kind = "DeleteOptions", gracePeriodSeconds = 0,
      propagationPolicy = "Orphan", preconditions = { uid = "u", resourceVersion = "7" },
    }, json.decode(server:last().body))
    no(cluster.delete, cluster, "pods", "web", { propagation = "background" })
  end)

  it("on all objects of a kind has to be meant", function()
    server.script["DELETE " .. PODS] = scripted.ok {}
    no(cluster.delete_collection, cluster, "pods")
    no(cluster.delete_collection, cluster, "pods", { labels = {} })
    assert.equal(0, server:count("DELETE " .. PODS))
    cluster:delete_collection("pods", { labels = { app = "web" } })
    assert.equal("app=web", server:last().query.labelSelector)
    cluster:delete_collection("pods", { all = true })
    assert.equal(2, server:count("DELETE " .. PODS))
  end)

  it("to delete what is gone is done, if that is fine", function()
    local key = "DELETE " .. PODS .. "/web"
    server.script[key] = scripted.refusal(404, "NotFound", {
      details = { name = "web", kind = "pods" },
    })
    failure("kube", "not_found", cluster.delete, cluster, "pods", "web")
    assert.is_nil(cluster:delete("pods", "web", { missing_ok = true }))
    server.script[key] = scripted.refusal(409, "Conflict")
    failure("kube", "conflict", cluster.delete, cluster, "pods", "web",
      { missing_ok = true, uid = "u" })
    local kind = { apiVersion = "gone.example.com/v1", kind = "Gone" }
    assert.is_nil(cluster:delete(kind, "x", { missing_ok = true }))
    failure("kube", "unknown_resource", cluster.delete, cluster, "gone", "x",
      { missing_ok = true })
  end)

  it("scales, and only from what was seen", function()
    local key = "PATCH /apis/apps/v1/namespaces/default/deployments/web/scale"
    server.script[key] = scripted.ok { kind = "Scale" }
    cluster:scale("deployments", "web", 3)
    assert.equal('{"spec":{"replicas":3}}', server:last().body)
    cluster:scale("deployments", "web", 3, { current = 2 })
    local operations = json.decode(server:last().body)
    assert.equal("test", operations[1].op)
    assert.equal(2, operations[1].value)
    no(cluster.scale, cluster, "deployments", "web", -1)
    no(cluster.scale, cluster, "deployments", "web", "3")
  end)

  it("asks for rights with the group of the resource", function()
    local reviews = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    server.script[reviews] = scripted.ok { status = { allowed = false, reason = "no" } }
    local allowed, why = cluster:can { verb = "create", resource = "deploy", subresource = "scale" }
    assert.is_false(allowed)
    assert.equal("no", why)
    assert.same({
      verb = "create", group = "apps", resource = "deployments", subresource = "scale",
      namespace = "default",
    }, json.decode(server:last().body).spec.resourceAttributes)
    cluster:can { verb = "*", resource = "*", all_namespaces = true }
    assert.same({ verb = "*", group = "*", resource = "*" },
      json.decode(server:last().body).spec.resourceAttributes)
    cluster:can { verb = "get", path = "/metrics" }
    assert.same({ verb = "get", path = "/metrics" },
      json.decode(server:last().body).spec.nonResourceAttributes)
    task.read_only(cluster.can, cluster, { verb = "get", resource = "nodes" })
    assert.is_nil(json.decode(server:last().body).spec.resourceAttributes.namespace)
  end)

  it("makes what belongs to an object", function()
    server.script["POST " .. PODS .. "/web/eviction"] = scripted.ok { status = "Success" }
    local eviction = {
      apiVersion = "policy/v1beta1", kind = "Eviction", metadata = { name = "web" },
    }
    cluster:create(eviction, { resource = "pods", name = "web", subresource = "eviction" })
    assert.equal(PODS .. "/web/eviction", server:last().path)
    no(cluster.create, cluster, map(), { subresource = "eviction" })
  end)

  it("ends when its time is over, waits included", function()
    server.script["GET " .. PODS .. "/web"] = { status = 503 }
    local err = failure("kube", "service_unavailable", cluster.get, cluster, "pods", "web",
      { timeout = 0.05, on_wait = function() end })
    assert.equal(503, err.status)
  end)
end)

describe("a list", function()
  -- Pods a to e, two a page; `expired` answers the second page.
  local function pages(expired)
    return function(request)
      local names = { "a", "b", "c", "d", "e" }
      local from = tonumber((request.query.continue or ""):match "%d+$") or 1
      if request.query.continue == "v1-3" and expired then
        local answer = expired(request)
        if answer then return answer end
      end
      local last = math.min(#names, from + (tonumber(request.query.limit) or 100) - 1)
      local items = json.array {}
      for at = from, last do
        items[#items + 1] = {
          metadata = { name = names[at], managedFields = json.array { { manager = "x" } } },
        }
      end
      local metadata = { resourceVersion = "7" }
      if last < #names then
        metadata.continue = ("v1-%d"):format(last + 1)
        metadata.remainingItemCount = #names - last
      end
      -- As the real one writes it: what tells of the list comes first.
      return {
        headers = { ["Content-Type"] = "application/json" },
        body = ('{"kind":"PodList","apiVersion":"v1","metadata":%s,"items":%s}\n'):format(
          json.encode(metadata), json.encode(items)),
      }
    end
  end

  local function names_of(items)
    local names = {}
    for index, item in ipairs(items) do names[index] = item.metadata.name end
    return table.concat(names, " ")
  end

  local function names_of_each(cluster, options)
    local items = {}
    for pod in cluster:each("pods", options) do items[#items + 1] = pod end
    return names_of(items)
  end

  it("has the objects of all pages, and says of each what it is", function()
    local server <close> = scripted.start { ["GET " .. PODS] = pages() }
    local cluster = connect(server)
    local list = cluster:list("pods", { limit = 2 })
    assert.equal("a b c d e", names_of(list.items))
    assert.equal(3, server:count("GET " .. PODS))
    assert.same({ resourceVersion = "7" }, list.metadata)
    assert.equal("PodList", list.kind)
    for _, item in ipairs(list.items) do
      assert.equal("Pod v1", item.kind .. " " .. item.apiVersion)
      assert.equal("x", item.metadata.managedFields[1].manager)
    end
    list = cluster:list("pods", { managed_fields = false })
    assert.is_nil(list.items[1].metadata.managedFields)
    assert.equal("500", server:last().query.limit)
    assert.equal("a b c d e", names_of_each(cluster, { limit = 2 }))
  end)

  it("asks for what is selected, of one namespace or all", function()
    local server <close> = scripted.start { ["GET " .. PODS] = pages(),
      ["GET /api/v1/pods"] = pages(), ["GET /api/v1/nodes"] = scripted.ok { kind = "NodeList" } }
    local cluster = connect(server)
    cluster:list("pods", {
      labels = { app = "web" }, fields = "status.phase!=Running", resource_version = "0",
      resource_version_match = "NotOlderThan",
    })
    assert.same({
      limit = "500", labelSelector = "app=web", fieldSelector = "status.phase!=Running",
      resourceVersion = "0", resourceVersionMatch = "NotOlderThan",
    }, server:last().query)
    cluster:list("pods", { all_namespaces = true })
    assert.equal("/api/v1/pods", server:last().path)
    assert.same({}, cluster:list("nodes").items)
    assert.is_true(json.is_array(cluster:list("nodes").items))
    no(cluster.list, cluster, "pods", { all_namespaces = true, namespace = "x" })
    no(cluster.list, cluster, "pods", { limit = 0 })
  end)

  it("that goes out of date between pages is begun again, in one page", function()
    local function gone() return scripted.refusal(410, "Expired") end
    local server <close> = scripted.start { ["GET " .. PODS] = pages(gone) }
    local list = connect(server):list("pods", { limit = 2 })
    assert.equal("a b c d e", names_of(list.items))
    assert.is_nil(server:last().query.limit)
    assert.is_nil(server:last().query.continue)
  end)

  it("that goes out of date between pages goes on behind what was given", function()
    local times = 0
    local function gone()
      times = times + 1
      if times == 1 then
        return scripted.refusal(410, "Expired", { metadata = { continue = "v2-3" } })
      end
    end
    local server <close> = scripted.start { ["GET " .. PODS] = pages(gone) }
    assert.equal("a b c d e", names_of_each(connect(server), { limit = 2 }))
    local without <close> = scripted.start {
      ["GET " .. PODS] = pages(function() return scripted.refusal(410, "Expired") end),
    }
    failure("kube", "expired", names_of_each, connect(without), { limit = 2 })
  end)

  it("of a version that is gone is an error", function()
    local server <close> = scripted.start { ["GET " .. PODS] = scripted.refusal(410, "Expired") }
    local cluster = connect(server)
    failure("kube", "expired", cluster.list, cluster, "pods", { resource_version = "1" })
    assert.equal(1, server:count("GET " .. PODS))
  end)

  it("asks for the next page while it reads one, and stops where the loop is left", function()
    local server <close> = scripted.start { ["GET " .. PODS] = pages() }
    local cluster = connect(server)
    for pod in cluster:each("pods", { limit = 1 }) do
      if pod.metadata.name == "b" then break end
    end
    assert.is_true(server:count("GET " .. PODS) <= 3)
  end)

  it("with a failing page fails, after the same tries as any request", function()
    local left = 2
    local function broken()
      left = left - 1
      return left >= 0 and { status = 503 } or nil
    end
    local server <close> = scripted.start { ["GET " .. PODS] = pages(broken) }
    local cluster = connect(server)
    assert.equal("a b c d e", names_of(cluster:list("pods", { limit = 2 }).items))
    left = 100
    failure("kube", "service_unavailable", cluster.list, cluster, "pods", { limit = 2 })
  end)
end)

describe("apply", function()
  local PATH = MAPS .. "/limits"

  local function conflict(...)
    local causes = {}
    for index, field in ipairs { ... } do
      causes[index] = {
        reason = "FieldManagerConflict", field = "." .. field,
        message = 'conflict with "kubectl" using v1',
      }
    end
    return scripted.refusal(409, "Conflict", { details = { causes = causes } })
  end

  it("sends what it is given, under the connection's name", function()
    local server <close> = scripted.start { ["PATCH " .. PATH] = echo }
    local cluster = connect(server, { field_manager = "site" })
    assert.equal("1", cluster:apply(map { data = { a = "1" } }).data.a)
    local last = server:last()
    assert.equal("application/apply-patch+yaml", last.headers["content-type"])
    assert.same({ fieldManager = "site" }, last.query)
    cluster:apply(map(), { force = true, field_manager = "me", dry_run = true })
    assert.same({ fieldManager = "me", force = "true", dryRun = "All" }, server:last().query)
  end)

  it("names in a conflict who owns which field, and forces nothing", function()
    local server <close> = scripted.start {
      ["PATCH " .. PATH] = conflict("data.a", "metadata.labels.app"),
    }
    local cluster = connect(server)
    local err = failure("kube", "conflict", cluster.apply, cluster, map())
    assert.same({ field = "data.a", manager = "kubectl", api_version = "v1" }, err.conflicts[1])
    assert.matches("\n  metadata.labels.app: owned by `kubectl` (v1)", err.message, 1, true)
    assert.matches('force = { "data.a", "metadata.labels.app" }', err.hint, 1, true)
    failure("kube", "conflict", cluster.apply, cluster, map(), { force = false })
    for _, request in ipairs(server.requests) do assert.is_nil(request.query.force) end
  end)

  -- A server on which `kubectl` (or `self.owner`) owns these fields; it counts its versions, and
  -- `meanwhile` may change things before a forced request.
  local function owned(fields, meanwhile)
    local version = 1
    local self = { forced = 0 }
    self.script = {
      ["GET " .. PATH] = function()
        return scripted.ok(map { metadata = { name = "limits", resourceVersion = "" .. version } })
      end,
      ["PATCH " .. PATH] = function(request)
        local object = json.decode(request.body)
        if not request.query.force then
          if #fields == 0 then return scripted.ok(object) end
          local refusal = conflict(table.unpack(fields))
          for _, cause in ipairs(refusal.body.details.causes) do
            cause.message = cause.message:gsub("kubectl", self.owner or "kubectl")
          end
          return refusal
        end
        if meanwhile and meanwhile(fields) then version = version + 1 end
        if object.metadata.resourceVersion ~= "" .. version then
          return scripted.refusal(409, "Conflict", { message = "the object has been modified" })
        end
        self.forced = self.forced + 1
        return scripted.ok(object)
      end,
    }
    return self
  end

  it("by path takes over only what is listed", function()
    for _, force in ipairs {
      { "data.a", "spec" }, { ".data.a", "spec.x" }, { "data", "spec.x[0]", "spec.x" },
    } do
      local double = owned { "data.a", "spec.x[0].y" }
      local server <close> = scripted.start(double.script)
      local cluster = connect(server)
      cluster:apply(map(), { force = force })
      assert.equal(1, double.forced)
    end
    local rest = { ["data.a"] = "spec.x[0].y", ["spec.x[0].y"] = "data.a" }
    for _, force in ipairs {
      { "data.a" }, { "spec" }, { "data.a", "spec.x[0].yy" }, { "dat", "spec" },
      { "data.a.b", "spec" },
    } do
      local double = owned { "data.a", "spec.x[0].y" }
      local server <close> = scripted.start(double.script)
      local cluster = connect(server)
      local err = failure("kube", "conflict", cluster.apply, cluster, map(), { force = force })
      assert.equal(1, #err.conflicts)
      local left = err.conflicts[1].field
      assert.matches(("force = { %q }"):format(left), err.hint, 1, true)
      assert.matches(("\n  %s: owned by"):format(left), err.message, 1, true)
      assert.is_nil(err.message:find(rest[left], 1, true), err.message)
      assert.equal(0, double.forced)
    end
  end)

  it("takes over what the same manager has set by another verb", function()
    local double = owned { "data.a" }
    double.owner = "me"
    local server <close> = scripted.start(double.script)
    local cluster = connect(server)
    failure("kube", "conflict", cluster.apply, cluster, map())
    assert.equal(0, double.forced)
    cluster:apply(map(), { field_manager = "me" })
    assert.equal(1, double.forced)
  end)

  it("by path takes nothing that another takes meanwhile", function()
    local once = true
    local double = owned({ "data.a" }, function(fields)
      if not once then return false end
      once = false
      fields[2] = "data.b"
      return true
    end)
    local server <close> = scripted.start(double.script)
    local cluster = connect(server)
    local err = failure("kube", "conflict", cluster.apply, cluster, map(), { force = { "data.a" } })
    assert.same({ "data.b" }, { err.conflicts[1].field, err.conflicts[2] })
    assert.equal(0, double.forced)
  end)

  it("by path goes on when the object has changed elsewhere", function()
    local left = 3
    local double = owned({ "data.a" }, function()
      left = left - 1
      return left >= 0
    end)
    local server <close> = scripted.start(double.script)
    local cluster = connect(server)
    cluster:apply(map(), { force = { "data.a" } })
    assert.equal(1, double.forced)
  end)

  it("by path gives up on an object that never rests", function()
    local double = owned({ "data.a" }, function() return true end)
    local server <close> = scripted.start(double.script)
    local cluster = connect(server)
    failure("kube", "conflict", cluster.apply, cluster, map(), { force = { "data.a" } })
    assert.equal(0, double.forced)
    for _, force in ipairs { {}, "data.a", { 1 }, { "" }, { "." } } do
      no(cluster.apply, cluster, map(), { force = force })
    end
  end)
end)

describe("an object", function()
  it("comes back as the same document", function()
    local text = '{"a":[],"b":{},"c":null,"d":9007199254740993,' ..
      '"e":123456789012345678901234567890,"f":1.0,"g":1e3,"h":"1Gi",' ..
      '"i":[[],{},[null]],"j":-0.5,"k":"\\u0000\\u2028é","l":{"":1}}'
    local server <close> = scripted.start {
      ["GET " .. MAPS .. "/limits"] = {
        headers = { ["Content-Type"] = "application/json" },
        body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"limits"},"x":' ..
          text .. "}",
      },
      ["PUT " .. MAPS .. "/limits"] = echo,
    }
    local cluster = connect(server)
    local object = cluster:get("configmaps", "limits")
    assert.equal(9007199254740993, object.x.d)
    assert.equal(json.null, object.x.c)
    cluster:replace(object)
    local function canonical(value) return json.encode(value, { sort_keys = true }) end
    assert.equal(canonical(json.decode(text)), canonical(json.decode(server:last().body).x))
    assert.matches('"e":123456789012345678901234567890', server:last().body, 1, true)
    assert.matches('"a":[]', server:last().body, 1, true)
    assert.matches('"b":{}', server:last().body, 1, true)
    assert.matches('"f":1.0', server:last().body, 1, true)
  end)
end)

describe("a connection", function()
  it("has views with other defaults, which share what it knows", function()
    local server <close> = scripted.start()
    local cluster = connect(server)
    local view = cluster:with { namespace = "shop", field_manager = "me" }
    view:find "pods"
    cluster:find "pods"
    assert.equal(1, #server.requests)
    assert.equal("default", cluster.namespace)
    assert.equal("shop", view.namespace)
    assert.equal("kube cluster " .. server.url .. " (namespace shop)", tostring(view))
    no(cluster.with, cluster, { server = "x" })
    no(cluster.with, cluster, { namespace = 1 })
  end)

  it("has every method as a function of the module", function()
    local kube = require "moonport.kube"
    for name in pairs(require "moonport.kube.methods") do
      assert.equal("function", type(kube[name]), name)
    end
    assert.is_nil(kube.gett)
  end)
end)
