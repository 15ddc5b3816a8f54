-- How requests are tried again, and what becomes of refusals: against the double of kube_scripted.
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/spec/?.lua;" .. package.path
local errors = require "moonport.errors"
local retry = require "moonport.kube.retry"
local scripted = require "kube_scripted"
local status = require "moonport.kube.status"
local task = require "moonport.task"
local raised = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

local POD = "/api/v1/namespaces/default/pods/web"

local function failure(code, ...) return raised("kube", code, ...) end

-- A cluster whose waits are noted and take no time.
local function connect(server, options)
  local waits = {}
  local cluster = server:connect(options)
  cluster.on_wait = function(wait)
    waits[#waits + 1] = wait
    wait.seconds_asked, wait.seconds = wait.seconds, 0
  end
  return cluster, waits
end

local function pod() return { apiVersion = "v1", kind = "Pod", metadata = { name = "web" } } end

describe("the time that a server asks for", function()
  it("is read as seconds or as a date", function()
    assert.equal(7, retry.retry_after("7"))
    assert.equal(0, retry.retry_after(" 0 "))
    assert.equal(30, retry.retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111747))
    assert.equal(86400, retry.retry_after("Thu, 29 Feb 2024 00:00:00 GMT", 1709078400))
    assert.equal(0, retry.retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111800))
    for _, text in ipairs { "", "soon", "-1", "1.5", "Sun, 06 Foo 1994 08:49:37 GMT" } do
      assert.is_nil(retry.retry_after(text))
    end
    assert.is_nil(retry.retry_after(nil))
  end)

  it("is never cut short, and scatters those who were told the same", function()
    local function least() return 0 end
    local function most() return 1 end
    assert.is_true(retry.delay(1, 5, least) > 5)
    assert.is_true(retry.delay(1, 5, most) > retry.delay(1, 5, least))
  end)

  it("otherwise doubles, up to a limit", function()
    local function most() return 1 end
    assert.equal(0.25, retry.backoff(1, most))
    assert.equal(0.5, retry.backoff(2, most))
    assert.equal(4, retry.backoff(5, most))
    assert.equal(30, retry.backoff(20, most))
    assert.equal(15, retry.backoff(20, function() return 0 end))
  end)
end)

describe("a request", function()
  it("waits as long as an overloaded server says, and tells it", function()
    local server <close> = scripted.start {
      ["GET /version"] = {
        { status = 429, headers = { ["Retry-After"] = "3" } },
        { status = 200, body = { major = "1" } },
      },
    }
    local cluster, waits = connect(server)
    assert.equal("1", cluster:version().major)
    assert.equal(1, #waits)
    assert.is_true(waits[1].seconds_asked >= 3 and waits[1].seconds_asked <= 3.5)
    assert.equal("GET /version", waits[1].request)
    assert.equal(1, waits[1].attempt)
    assert.matches("429", waits[1].why, 1, true)
  end)

  it("heeds the seconds in the details of a Status", function()
    local details = { retryAfterSeconds = 9 }
    local refusal = scripted.refusal(429, "TooManyRequests", { details = details })
    local server <close> = scripted.start { ["GET /version"] = { refusal, scripted.ok {} } }
    local cluster, waits = connect(server)
    cluster:version()
    assert.is_true(waits[1].seconds_asked >= 9)
  end)

  it("that reads is made again after each failure that may pass", function()
    for _, answer in ipairs { "cut", { status = 500 }, { status = 502 }, { status = 503 },
      { status = 504 } } do
      local server <close> = scripted.start {
        ["GET /version"] = { answer, answer, scripted.ok { major = "1" } },
      }
      local cluster, waits = connect(server)
      assert.equal("1", cluster:version().major)
      assert.equal(2, #waits)
      assert.is_true(waits[2].seconds_asked <= 0.5)
    end
  end)

  it("that writes is made again only if it cannot have been carried out", function()
    for answer, times in pairs {
      cut = 1, [502] = 1, [500] = 1, [503] = 1, [504] = 1, [409] = 1, [429] = 2,
    } do
      local first = answer == "cut" and answer or { status = answer }
      for key, call in pairs {
        ["POST /api/v1/namespaces/default/pods"] = function(c) c:create(pod()) end,
        ["PUT " .. POD] = function(c) c:replace(pod()) end,
        ["PATCH " .. POD] = function(c) c:patch("pods", "web", { spec = {} }) end,
        ["DELETE " .. POD] = function(c) c:delete("pods", "web") end,
      } do
        local server <close> = scripted.start { [key] = { first, scripted.ok {} } }
        local ok = pcall(call, (connect(server)))
        assert.equal(times == 2, ok)
        assert.equal(times, server:count(key), key)
      end
    end
  end)

  it("that writes is made again when the server says that it did not begin", function()
    local key = "POST /api/v1/namespaces/default/pods"
    local refusal = scripted.refusal(504, "ServerTimeout", { details = { retryAfterSeconds = 1 } })
    local server <close> = scripted.start { [key] = { refusal, scripted.ok {} } }
    local cluster, waits = connect(server)
    cluster:create(pod())
    assert.equal(2, server:count(key))
    assert.is_true(waits[1].seconds_asked >= 1)
  end)

  it("is safe to repeat when it is tried only, applied, or asks for rights", function()
    local reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for key, call in pairs {
      ["POST /api/v1/namespaces/default/pods"] = function(c)
        c:create(pod(), { dry_run = true })
      end,
      ["DELETE " .. POD] = function(c) c:delete("pods", "web", { dry_run = true }) end,
      ["PATCH " .. POD] = function(c) c:apply(pod()) end,
      ["POST " .. reviews] = function(c) c:can { verb = "get", resource = "pods" } end,
    } do
      local server <close> = scripted.start { [key] = { "cut", { status = 503 }, scripted.ok {} } }
      call((connect(server)))
      assert.equal(3, server:count(key), key)
    end
  end)

  it("is given up after so many tries, and says how many", function()
    local server <close> = scripted.start { ["GET /version"] = { status = 503, body = "full" } }
    local cluster = connect(server)
    local err = failure("service_unavailable", cluster.version, cluster, { retries = 2 })
    assert.equal(3, server:count("GET /version"))
    assert.equal(3, err.attempts)
    assert.matches("tried 3 times", err.message, 1, true)
    failure("service_unavailable", cluster.version, cluster, { retries = 0 })
    assert.equal(4, server:count("GET /version"))
  end)

  it("is given up at once where the server asks for more time than there is", function()
    local server <close> = scripted.start {
      ["GET /version"] = { status = 429, headers = { ["Retry-After"] = "3600" } },
    }
    local cluster, waits = connect(server)
    local err = failure("too_many_requests", cluster.version, cluster, { timeout = 60 })
    assert.equal(3600, err.retry_after)
    assert.matches("the server asks to wait 3600 s", err.message, 1, true)
    assert.equal(0, #waits)
  end)

  it("without a time of its own waits five minutes, however long the server asks for", function()
    local server <close> = scripted.start {
      ["GET /version"] = {
        { status = 429, headers = { ["Retry-After"] = "86400" } },
        { status = 200, body = { major = "1" } },
      },
    }
    local cluster, waits = connect(server)
    assert.equal("1", cluster:version().major)
    assert.equal(1, #waits)
    assert.is_true(waits[1].seconds_asked >= 300 and waits[1].seconds_asked <= 300.5)
    assert.equal(86400, waits[1].error.retry_after)
  end)

  it("ends at once when it is cancelled while it waits", function()
    local server <close> = scripted.start {
      ["GET /version"] = { status = 429, headers = { ["Retry-After"] = "3600" } },
    }
    local waiting = task.event()
    local cluster = server:connect { on_wait = function() waiting:set() end }
    local handle = task.contained(cluster.version, cluster)
    waiting:wait()
    handle:cancel()
    local ok, err = pcall(handle.await, handle)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "task", "cancelled"))
    assert.equal(1, server:count("GET /version"))
  end)

  it("to a server that never answered is given up soon, to one that did is not", function()
    local server = scripted.start { ["GET /version"] = scripted.ok {} }
    local first, waits = connect(server)
    local second, more_waits = connect(server)
    second:version()
    server:close()
    for cluster, list in pairs { [first] = waits, [second] = more_waits } do
      local ok, err = pcall(cluster.version, cluster)
      assert.is_false(ok)
      assert.is_true(errors.is(err, "http", "connect"), tostring(err))
      assert.equal(server.url, err.server)
      assert.truthy(err.hint)
      assert.equal(cluster == first and retry.FIRST_CONTACT_RETRIES or retry.RETRIES, #list)
    end
  end)

  it("that writes is made again when its connection was refused", function()
    local server = scripted.start()
    local cluster, waits = connect(server)
    cluster:find "pods"
    server:close()
    assert.is_false(pcall(cluster.create, cluster, pod(), { retries = 3 }))
    assert.equal(3, #waits)
  end)

  it("passes on the server's warnings, each once", function()
    local server <close> = scripted.start {
      ["GET /version"] = {
        status = 200, body = {},
        headers = { Warning = { '299 - "it is \\"old\\""', '299 - "and slow"' } },
      },
    }
    local told = {}
    local cluster = server:connect { on_warning = function(words) told[#told + 1] = words end }
    cluster:version()
    cluster:version()
    table.sort(told)
    assert.same({ "and slow", 'it is "old"' }, told)
  end)

  it("of one's own has the same tries and errors, or none", function()
    local server <close> = scripted.start {
      ["GET /metrics"] = { { status = 503 }, { status = 200, body = "x 1" } },
      ["POST /x"] = function(request) return { status = 418, body = request.body } end,
    }
    local cluster = connect(server)
    assert.equal("x 1", cluster:raw { path = "/metrics", query = { a = "b c" } }.body)
    assert.equal("b c", server:last().query.a)
    local err = failure("failed", cluster.raw, cluster, {
      method = "POST", path = "/x", json = { a = 1 },
    })
    assert.equal(418, err.status)
    assert.equal("application/json", server:last().headers["content-type"])
    local response = cluster:raw { method = "POST", path = "/x", body = "tea", check = false }
    assert.equal(418, response.status)
    assert.equal("tea", response.body)
  end)

  it("to an API below a path is judged by what it asks there, in a plan", function()
    local server <close> = scripted.start {
      ["POST /k8s/clusters/a/api/v1/namespaces/default/pods"] = scripted.ok { kind = "Pod" },
      ["GET /k8s/clusters/a/api/v1"] = scripted.resources("v1", { { "pods", "Pod" } }),
    }
    local path, guard <close> = require("moonport.fs").temp_file() -- luacheck: ignore guard
    local cluster <close> = require("moonport.kube").connect {
      server = server.url .. "/k8s/clusters/a", kubeconfig = path, cache = false,
    }
    task.read_only(function()
      assert.equal("Pod", cluster:create(pod(), { dry_run = true }).kind)
      local ok, err = pcall(cluster.create, cluster, pod())
      assert.is_false(ok)
      assert.is_true(errors.is(err, "gate", "refused"), tostring(err))
    end)
  end)

  it("streams what it is asked to, and raises a refusal of it", function()
    local server <close> = scripted.start {
      ["GET /log"] = { { status = 200, body = "a\nb\n" }, scripted.refusal(403, "Forbidden") },
    }
    local cluster = connect(server)
    local lines = {}
    local stream <close> = cluster:raw { path = "/log", stream = true }
    for line in stream:lines() do lines[#lines + 1] = line end
    assert.same({ "a", "b" }, lines)
    failure("forbidden", cluster.raw, cluster, { path = "/log", stream = true })
  end)
end)

describe("a refusal", function()
  -- The error of getting pod `web` when the server answers so.
  local function refused(answer, call)
    local server <close> = scripted.start {
      ["GET " .. POD] = answer, ["POST /api/v1/namespaces/default/pods"] = answer,
    }
    local cluster = server:connect { retries = 0 }
    local ok, err = pcall(call or cluster.get, cluster, "pods", "web")
    assert.is_false(ok)
    assert.equal("kube", err.kind, tostring(err))
    assert.equal(server.url, err.server)
    return err
  end

  local function creating(cluster) cluster:create(pod()) end

  it("is named by its reason, else by its status", function()
    for reason, code in pairs {
      NotFound = "not_found", AlreadyExists = "already_exists", InternalError = "internal_error",
      ServerTimeout = "server_timeout", RequestEntityTooLarge = "request_entity_too_large",
      Timeout = "timeout",
    } do
      assert.equal(code, refused(scripted.refusal(418, reason)).code)
    end
    for number, code in pairs {
      [400] = "bad_request", [401] = "unauthorized", [403] = "forbidden", [404] = "not_found",
      [405] = "method_not_allowed", [409] = "conflict", [410] = "expired", [422] = "invalid",
      [429] = "too_many_requests", [500] = "internal_error", [502] = "bad_gateway",
      [503] = "service_unavailable", [504] = "timeout", [418] = "failed",
    } do
      local err = refused { status = number, body = "" }
      assert.equal(code, err.code)
      assert.equal(number, err.status)
    end
    assert.equal("expired", refused(scripted.refusal(410, "Gone")).code)
  end)

  it("that leads elsewhere is not followed", function()
    local err = refused { status = 302, headers = { Location = "https://login.test/in?code=x" } }
    assert.equal("redirect", err.code)
    assert.matches("answered 302 and leads to `https://login.test/in`", err.message, 1, true)
    assert.matches("login page", err.hint, 1, true)
  end)

  it("for want of an object says so shortly", function()
    local err = refused(scripted.refusal(404, "NotFound", {
      message = 'pods "web" not found', details = { name = "web", kind = "pods" },
    }))
    assert.equal("there is no pod `web` in namespace `default`", err.message)
    assert.equal("NotFound", err.reason)
    assert.equal("pods", err.details.kind)
  end)

  it("of an invalid object shows each field on a line of its own", function()
    local err = refused(scripted.refusal(422, "Invalid", {
      message = 'Pod "web" is invalid: [spec.a: Required value, spec.b: Invalid value: -1]',
      details = { causes = {
        { field = "spec.a", reason = "FieldValueRequired", message = "Required value" },
        { field = "spec.b", reason = "FieldValueInvalid", message = "Invalid value: -1" },
      } },
    }), creating)
    assert.equal("cannot create pod `web` in namespace `default`: it is invalid\n" ..
      "  spec.a: Required value\n  spec.b: Invalid value: -1", err.message)
    assert.equal("FieldValueRequired", err.causes[1].reason)
    assert.equal("spec.b", err.causes[2].field)
  end)

  it("for want of rights names verb, resource, user and how to ask", function()
    local err = refused(scripted.refusal(403, "Forbidden", {
      message = 'pods "web" is forbidden: User "alice" cannot get resource "pods" in API group ' ..
        '"" in the namespace "default"',
      details = { name = "web", kind = "pods" },
    }))
    assert.matches("User \"alice\" cannot get resource", err.message, 1, true)
    assert.matches("`alice` has no right to it", err.hint, 1, true)
    assert.matches('cluster:can { verb = "get", resource = "pods", namespace = "default", ' ..
      'name = "web" }', err.hint, 1, true)
  end)

  it("by an admission rule does not blame the user", function()
    local err = refused(scripted.refusal(403, "Forbidden", { message = "exceeded quota: few" }))
    assert.matches("quota, admission", err.hint, 1, true)
    err = refused(scripted.refusal(403, "Forbidden", { message = 'pods "web" is forbidden: error '
      .. 'looking up service account a/mine: serviceaccount "mine" not found' }))
    assert.matches("no ServiceAccount `mine`", err.hint, 1, true)
  end)

  it("of credentials names which they were", function()
    local err = refused(scripted.refusal(401, "Unauthorized"))
    assert.equal("its credentials (token) of user `alice` in context `double` were not " ..
      "accepted; kube.explain() tells where they come from", err.hint)
    local path, guard <close> = require("moonport.fs").temp_file() -- luacheck: ignore guard
    local server <close> = scripted.start { ["GET /version"] = scripted.refusal(401, "x") }
    local real <close> = require("moonport.kube").connect {
      server = server.url, kubeconfig = path, cache = false,
    }
    err = failure("x", real.version, real)
    assert.matches("over plain http", err.hint, 1, true)
  end)

  it("for want of the namespace says how to make it", function()
    local err = refused(scripted.refusal(404, "NotFound", {
      message = 'namespaces "default" not found',
      details = { name = "default", kind = "namespaces" },
    }), creating)
    assert.matches('namespaces "default" not found', err.message, 1, true)
    assert.matches("kubectl create namespace default", err.hint, 1, true)
  end)

  it("of a table that is no list says how one is written", function()
    for _, message in ipairs {
      "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Co",
      "v1.PodSpec.Containers: []v1.Container: decode slice: expect [ or n, but found {, error",
    } do
      local err = refused(scripted.refusal(400, "BadRequest", { message = message }), creating)
      assert.matches("json.array {}", err.hint, 1, true)
    end
  end)

  it("by something else than an API server is told apart", function()
    local err = refused {
      status = 502,
      body = "<html><head><title>502 Bad Gateway</title></head><body><h1>x</h1></body></html>",
    }
    assert.matches("the server answered 502 Scripted: 502 Bad Gateway", err.message, 1, true)
    assert.matches("a proxy or load balancer", err.hint, 1, true)
    err = refused { status = 503, body = "upstream\27[31m down\n\n  again" }
    assert.is_nil(err.message:find("\27", 1, true))
    err = refused { status = 500, body = '{"kind": "Status", "message": "cut of' }
    assert.equal("internal_error", err.code)
    err = refused { status = 500, body = ("\0\1\2"):rep(100000) }
    assert.is_true(#err.message < 200)
  end)

  it("may be a page where an object should be", function()
    local page = { status = 200, body = "<html><title>Log in</title>please</html>" }
    local server <close> = scripted.start { ["GET /version"] = page, ["GET " .. POD] = page,
      ["GET /api/v1/namespaces/default/pods"] = page }
    local cluster = server:connect()
    for _, call in ipairs {
      function() cluster:version() end, function() cluster:get("pods", "web") end,
      function() cluster:list "pods" end,
    } do
      local err = failure("protocol", call)
      assert.matches("answered what is no JSON: Log in", err.message, 1, true)
      assert.matches(server.url, err.message, 1, true)
    end
  end)

  it("with odd contents is still one", function()
    for _, body in ipairs {
      '{"kind":"Status"}', '{"kind":"Status","details":[],"message":null,"code":"x"}',
      '{"kind":"Status","details":{"causes":[{}]},"reason":"Invalid"}', "[]", "null", "",
      '{"kind":"Status","details":{"causes":{}},"metadata":3}', "{}",
      '{"kind":"Status","details":{"causes":[1,"x",null,[]]},"reason":5}',
    } do
      assert.equal(409, refused({ status = 409, body = body }).status)
    end
  end)

  it("of server-side apply becomes a table of fields and owners", function()
    local function cause(field, message)
      return { reason = "FieldManagerConflict", field = field, message = message }
    end
    local list = status.conflicts {
      cause(".spec.replicas", 'conflict with "kubectl" using apps/v1'),
      cause('.spec.containers[name="a b"].image',
        'conflict with "my \\"ctl\\"" with subresource "scale" using v1 at 2026-01-01T00:00:00Z'),
      cause(".data.a", 'conflict with "before-first-apply"'),
    }
    assert.same({
      { field = "spec.replicas", manager = "kubectl", api_version = "apps/v1" },
      { field = 'spec.containers[name="a b"].image', manager = 'my "ctl"', api_version = "v1",
        subresource = "scale" },
      { field = "data.a", manager = "before-first-apply" },
    }, list)
    assert.is_nil(status.conflicts { { reason = "FieldValueInvalid" } })
  end)
end)
