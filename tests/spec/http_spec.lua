local errors = require "moonport.errors"
local http = require "moonport.http"
local json = require "moonport.json"
local net = require "moonport.net"
local secret = require "moonport.secret"
local task = require "moonport.task"

-- nginx as tests/fixtures/nginx.h describes it; it serves until its input ends.
local nginx, dir, socket, base, tls

setup(function()
  local fifo = os.tmpname()
  os.remove(fifo)
  assert(os.execute("mkfifo -m 600 " .. fifo))
  local bin = os.getenv("MOONPORT"):match("^(.*)/bin/[^/]+$") .. "/tests/bin/serve"
  nginx = assert(io.popen("exec '" .. bin .. "' >" .. fifo .. " 2>/dev/null", "w"))
  local line <close> = assert(io.open(fifo))
  local port, tls_port
  dir, socket, port, tls_port = line:read("l"):match("^(%S+) (%S+) (%d+) %d+ (%d+)$")
  os.remove(fifo)
  base, tls = "http://127.0.0.1:" .. port, "https://127.0.0.1:" .. tls_port
end)

teardown(function() nginx:close() end)

local function slurp(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function exists(path)
  local file = io.open(path)
  return file ~= nil and file:close()
end

--- The error of a call that has to fail.
local function failure(kind, code, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err, kind, code), tostring(err))
  return err
end

describe("http.request", function()
  it("answers with status, headers in any case, body and timings", function()
    local res = http.get(base .. "/small")
    assert.equal(200, res.status)
    assert.equal("OK", res.reason)
    assert.equal(base .. "/small", res.url)
    assert.equal("1.1", res.http_version)
    assert.equal(("x"):rep(1024), res.body)
    assert.equal("1024", res.headers["content-length"])
    assert.equal("text/plain", res.headers["CONTENT-TYPE"])
    assert.is_nil(res.headers["X-None"])
    assert.is_true(res.timings.total > 0)
    assert.truthy(tostring(res):find("200 OK", 1, true))
  end)

  it("sends every method", function()
    for _, method in ipairs { "get", "post", "put", "patch", "delete" } do
      assert.equal(method:upper(), http[method](base .. "/method").body)
    end
    assert.equal("PURGE", http.request({ url = base .. "/method", method = "PURGE" }).body)
    local res = http.head(base .. "/small")
    assert.equal("", res.body)
    assert.equal("1024", res.headers["Content-Length"])
  end)

  it("sends headers that are strings, numbers, secrets and lists", function()
    local function echo(value)
      return http.get(base .. "/headers", { headers = { ["X-Test"] = value, ["X-Pad"] = 1 } }).body
    end
    assert.truthy(echo("plain"):find("^plain|moonport|"))
    assert.truthy(echo(42):find("^42|"))
    assert.truthy(echo(secret.env("HOME")):find(os.getenv("HOME") .. "|", 1, true))
    assert.truthy(echo({ "one", "two" }):find("^one")) -- this nginx shows the first of a list
  end)

  it("gives several headers of one name joined, or each", function()
    local res = http.get(base .. "/headers")
    assert.equal("a, b", res.headers["X-Twice"])
    assert.same({ "a", "b" }, res:values("x-twice"))
    local names = {}
    for name, value in pairs(res.headers) do names[#names + 1] = name .. "=" .. value end
    assert.truthy(table.concat(names, " "):find("X-Twice=a X-Twice=b", 1, true))
  end)

  it("reads JSON, and lines of a body that is there", function()
    local path = dir .. "/www/answer.json"
    local file = assert(io.open(path, "w"))
    file:write('{"block": 12,\r\n"ok": true}')
    file:close()
    local res = http.get(base .. "/answer.json")
    assert.equal(12, res:json().block)
    local lines = {}
    for line in res:lines() do lines[#lines + 1] = line end
    assert.same({ '{"block": 12,', '"ok": true}' }, lines)
    failure("json", nil, function() http.get(base .. "/small"):json() end)
  end)

  it("takes a failing status for an answer unless asked to raise", function()
    local res = http.get(base .. "/busy")
    assert.equal(503, res.status)
    for _, ask in ipairs {
      function() res:check() end,
      function() http.get(base .. "/busy", { ok = true }) end,
      function() http.get(base .. "/busy", { ok = true, stream = true }) end,
    } do
      local err = failure("http", "status", ask)
      assert.equal(503, err.status)
      assert.equal("come back later", err.body)
      local words = "503 Service Temporarily Unavailable: come back later"
      assert.truthy(err.message:find(words, 1, true), err.message)
    end
    local fine = http.get(base .. "/small")
    assert.equal(fine, fine:check())
  end)

  it("says what is wrong with its options, with the nearest name", function()
    local err = failure("argument", "invalid", http.get, base, { tiemout = 1 })
    assert.equal("http: there is no option `tiemout`", err.message)
    assert.equal("did you mean `timeout`?", err.hint)
    assert.truthy(err.where:find("http_spec.lua", 1, true))
    for options, words in pairs {
      [{ timeout = "1" }] = "`timeout` is a number of seconds",
      [{ headers = "x" }] = "`headers` is a table",
      [{ headers = { "x" } }] = "`headers` has names",
      [{ headers = { x = true } }] = "`x` is a string",
      [{ headers = { x = "a\0b" } }] = "NUL",
      [{ body = {} }] = "{file = path}",
      [{ insecure = 1 }] = "true or false",
      [{ json = 1, body = "x" }] = "exclude each other",
      [{ path = "/x" }] = "no option `path`",
      [{ ca = "x", ca_pem = "y" }] = "twice",
    } do
      local ok, raised = pcall(http.get, base, options)
      assert.is_false(ok)
      assert.truthy(raised.message:find(words, 1, true), raised.message)
    end
    failure("argument", "invalid", http.request, nil)
    assert.truthy(failure("http", "invalid", http.request, {}).message:find("`url`", 1, true))
  end)

  it("explains a connection that cannot be made, without the password", function()
    local err = failure("http", "connect", http.get, "http://bob:hunter2@127.0.0.1:1/")
    assert.equal("ECONNREFUSED", err.cause.code)
    assert.truthy(err.message:find("`http://***@127.0.0.1:1/`", 1, true))
    assert.truthy(err.hint:find("running", 1, true))
  end)

  -- Answers the first request of each connection and ends the connection at the second.
  local function serve_once(listener, methods)
    while true do
      local conn <close> = listener:accept()
      for turn = 1, 2 do
        local line = conn:read_line()
        if not line then break end
        methods[#methods + 1] = line:match "^%u+"
        while conn:read_line() ~= "" do end -- luacheck: ignore
        if turn == 1 then conn:write "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" end
      end
    end
  end

  it("is sent once more when a kept connection ends silently, if it only reads", function()
    for method, sent in pairs { GET = 2, HEAD = 2, POST = 1, PUT = 1, PATCH = 1, DELETE = 1 } do
      local listener <close> = net.listen { host = "127.0.0.1", port = 0 }
      local methods = {}
      local server = task.contained(serve_once, listener, methods)
      local url = "http://127.0.0.1:" .. listener:port()
      http.get(url)
      local ok, err = pcall(http.request, { url = url, method = method })
      server:cancel()
      assert.equal(sent, #methods - 1, method)
      assert.equal(sent == 2, ok)
      assert.is_true(ok or errors.is(err, "http", "closed"), tostring(err))
    end
  end)

  it("waits no longer than told", function()
    failure("http", "timeout", http.get, base .. "/slow/big", { timeout = 0.05 })
    failure("task", "timeout", task.timeout, 0.05, http.get, base .. "/slow/big")
  end)

  it("limits the body that it holds", function()
    failure("http", "limit", http.get, base .. "/big", { max_body = 1000 })
  end)
end)

describe("a request body", function()
  it("is a string, JSON, a file or a function", function()
    local path = dir .. "/upload"
    local file = assert(io.open(path, "w"))
    file:write("from a file")
    file:close()
    local function put(options)
      options.unix = socket
      return http.put("http://host/method", options).body
    end
    assert.equal("PUT", put { body = "x" })
    assert.equal("PUT", put { json = { a = 1 } })
    assert.equal("PUT", put { body = { file = path } })
    local pieces = { "one", "", "two" }
    assert.equal("PUT", put { body = function()
      task.sleep(0.001)
      return table.remove(pieces, 1)
    end })
    assert.same({}, pieces)
    failure("http", "ENOENT", put, { body = { file = dir .. "/none" } })
    failure("argument", "invalid", put, { body = function() return 1 end })
  end)

  it("may raise while it is produced, which ends the request", function()
    local err = failure("test", nil, http.post, base .. "/method", {
      body = function() errors.raise { kind = "test", message = "no more" } end,
    })
    assert.equal("no more", err.message)
  end)
end)

describe("a stream", function()
  it("comes in chunks that make up the whole", function()
    local res <close> = http.get(base .. "/big", { stream = true })
    assert.is_nil(res.body)
    local pieces = {}
    for piece in res:chunks() do pieces[#pieces + 1] = piece end
    assert.is_true(#pieces > 1)
    assert.is_true(table.concat(pieces) == slurp(dir .. "/www/big"))
    assert.is_nil(res:read())
    assert.is_true(res.timings.total > 0)
    assert.is_true(http.get(base .. "/big", { stream = true }):text() == slurp(dir .. "/www/big"))
  end)

  it("comes by line, and by chunk after some lines", function()
    local lines = {}
    for i = 1, 20000 do lines[i] = "line " .. i end
    local file = assert(io.open(dir .. "/www/lines", "w"))
    file:write(table.concat(lines, "\n"))
    file:close()
    local count = 0
    for line in http.get(base .. "/lines", { stream = true }):lines() do
      count = count + 1
      assert.equal(lines[count], line)
    end
    assert.equal(20000, count)
    local res <close> = http.get(base .. "/lines", { stream = true })
    local next_line = res:lines()
    assert.equal("line 1", next_line())
    assert.equal(table.concat(lines, "\n", 2), res:text())
  end)

  it("can be closed, and is then no more to be read", function()
    local res = http.get(base .. "/slow/big", { stream = true })
    res:close()
    res:close()
    failure("http", "closed", res.read, res)
  end)

  it("ends when the task that reads it is cancelled", function()
    local res <close> = http.get(base .. "/slow/big", { stream = true })
    failure("task", "timeout", task.timeout, 0.1, function()
      for _ in res:chunks() do end
    end)
  end)

  it("ends for the one who waits when another closes it", function()
    local res = http.get(base .. "/slow/big", { stream = true })
    local reader = task.contained(function()
      for _ in res:chunks() do end
    end)
    task.sleep(0.02)
    res:close()
    local ok = pcall(reader.await, reader)
    assert.is_false(ok)
  end)

  it("that nobody reads or closes leaves nothing behind", function()
    for _ = 1, 50 do http.get(base .. "/slow/big", { stream = true }) end
    collectgarbage()
    collectgarbage()
  end)
end)

describe("many requests", function()
  it("run at the same time and can be cancelled at any time", function()
    local urls = {}
    for i = 1, 200 do urls[i] = base .. (i % 2 == 0 and "/small" or "/empty") end
    local results = task.map(urls, 32, function(url) return #http.get(url).body end)
    for i, size in ipairs(results) do assert.equal(i % 2 == 0 and 1024 or 0, size) end
    for _ = 1, 20 do
      failure("task", "timeout", task.timeout, 0.002, task.map, urls, 32, function(url)
        return http.get(url)
      end)
    end
  end)
end)

describe("TLS", function()
  it("is verified, with CA and identity from files or memory", function()
    failure("http", "tls", http.get, tls .. "/small")
    local ca = dir .. "/ca.pem"
    assert.equal("2", http.get(tls .. "/small", { ca = ca }).http_version)
    assert.equal("1.1", http.get(tls .. "/small", { ca = ca, http2 = false }).http_version)
    assert.equal(403, http.get(tls .. "/private", { ca = ca }).status)
    assert.equal("CN=alice", http.get(tls .. "/private", {
      ca = ca, cert = dir .. "/client.pem", key = dir .. "/client.key",
    }).body)
    assert.equal("CN=alice", http.get(tls .. "/private", {
      ca_pem = slurp(ca), cert_pem = slurp(dir .. "/client.pem"),
      key_pem = secret.file(dir .. "/client.key"),
    }).body)
    assert.equal(200, http.get(tls .. "/small", { insecure = true }).status)
    local res = http.get(tls .. "/protocol", { ca = ca, server_name = "moon.test" })
    assert.truthy(res.body:find("|moon.test|", 1, true))
  end)
end)

describe("redirects", function()
  it("are followed for reads, up to a number", function()
    local res = http.get(base .. "/hop")
    assert.equal(base .. "/small", res.url)
    assert.equal(302, http.get(base .. "/hop", { redirects = false }).status)
    assert.equal(303, http.post(base .. "/see-other").status)
    assert.equal("GET", http.post(base .. "/see-other", { redirects = true }).body)
    failure("http", "redirects", http.get, base .. "/loop")
  end)

  it("take no header that is a secret to another server", function()
    local other <close> = net.listen { host = "127.0.0.1", port = 0 }
    local seen = task.contained(function()
      local conn <close> = other:accept()
      local lines = {}
      for line in conn:lines() do
        if line:match "^\r?$" then break end
        lines[#lines + 1] = line
      end
      conn:write "HTTP/1.1 204 No Content\r\n\r\n"
      return table.concat(lines, "\n")
    end)
    local url = ("%s/to?url=http://127.0.0.1:%d/"):format(base, other:port())
    http.get(url, { headers = {
      ["X-Key"] = secret.env "HOME", ["X-Keys"] = { secret.env "PATH" }, ["X-Test"] = "shown",
    } })
    local request = seen:await()
    assert.truthy(request:find("X-Test: shown", 1, true), request)
    assert.is_nil(request:find("X-Key", 1, true), request)
  end)
end)

describe("http.download", function()
  local path

  before_each(function() path = dir .. "/downloaded" end)
  after_each(function()
    for _, suffix in ipairs { "", ".part", ".part.info" } do os.remove(path .. suffix) end
  end)

  it("brings a file whole, with progress and checksum", function()
    local last, calls = nil, 0
    local crypto = require "moonport.crypto"
    local result = http.download {
      url = base .. "/big", path = path, sha256 = crypto.hash("sha256", slurp(dir .. "/www/big")),
      progress = function(done, total)
        task.sleep(0)
        calls = calls + 1
        last = { done, total }
      end,
    }
    assert.equal(8 * 1024 * 1024, result.size)
    assert.same({ result.size, result.size }, last)
    assert.is_true(calls > 1)
    assert.is_true(slurp(path) == slurp(dir .. "/www/big"))
  end)

  it("leaves nothing of what failed", function()
    failure("http", "status", http.download, { url = base .. "/missing", path = path })
    failure("http", "checksum", http.download, {
      url = base .. "/small", path = path, sha256 = ("0"):rep(64),
    })
    failure("http", "limit", http.download, { url = base .. "/big", path = path, max_size = 1000 })
    assert.is_false(exists(path) or exists(path .. ".part"))
    local err = failure("argument", "invalid", http.download, {
      url = base, path = path, stream = true,
    })
    assert.truthy(err.message:find("no option `stream`", 1, true))
  end)

  it("goes on where a cancelled one stopped", function()
    local options = { url = base .. "/slow/big", path = path, resume = true }
    failure("task", "timeout", task.timeout, 0.3, http.download, options)
    assert.is_true(exists(path .. ".part"))
    assert.is_false(exists(path))
    options.url = base .. "/slow/big"
    local stopped = false
    options.progress = function() stopped = true; error("enough") end
    assert.is_false(pcall(http.download, options))
    assert.is_true(stopped)
    assert.is_true(exists(path .. ".part"))
  end)

  it("is cancelled without a trace", function()
    failure("task", "timeout", task.timeout, 0.1, http.download,
      { url = base .. "/slow/big", path = path })
    assert.is_false(exists(path) or exists(path .. ".part"))
  end)
end)

describe("a shut gate", function()
  local function refused(fn, ...)
    return failure("gate", "refused", task.read_only, fn, ...)
  end

  it("lets reads pass", function()
    task.read_only(function()
      assert.equal(200, http.get(base .. "/small").status)
      assert.equal(200, http.head(base .. "/small").status)
      assert.equal(200, http.request({ url = base .. "/method", method = "OPTIONS" }).status)
    end)
  end)

  it("refuses what changes something, naming it", function()
    for _, method in ipairs { "post", "put", "patch", "delete" } do
      local err = refused(http[method], base .. "/method")
      assert.truthy(err.message:find(method:upper() .. " to `" .. base, 1, true), err.message)
    end
    refused(http.request, { url = base, method = "PURGE" })
    refused(http.post, base, { body = function() end })
    local err = refused(http.download, { url = base .. "/small", path = dir .. "/downloaded" })
    assert.truthy(err.message:find("`http.download`", 1, true))
    assert.is_false(exists(dir .. "/downloaded") or exists(dir .. "/downloaded.part"))
  end)

  it("knows JSON-RPC calls that read", function()
    local function call(value)
      local text = type(value) == "string" and value or json.encode(value)
      return task.read_only(http.post, base .. "/method", { body = text }).status
    end
    assert.equal(200, call { jsonrpc = "2.0", id = 1, method = "eth_blockNumber", params = {} })
    assert.equal(200, call { { method = "eth_call", params = { { to = "0x" } } },
      { method = "net_version" } })
    for _, value in ipairs {
      { method = "eth_sendRawTransaction" },
      { method = "eth_sendRawTransaction", params = { { method = "eth_call" } } },
      { { method = "eth_call" }, { method = "eth_sendTransaction" } },
      { { method = "eth_call" }, { params = {} } },
      { { method = "eth_call" }, { { method = "eth_call" } } },
      '{"method":"eth_call","method":"eth_sendTransaction"}',
      '{"method":"eth_sendTransaction","method":"eth_call"}',
      '{"method":["eth_call"]}', '{"method":"eth_call"}{"method":"x"}', '{"method":"eth_call"',
      '{"method":"eth_call\\u0000"}', '"eth_call"', "[]", "", "method=eth_call",
    } do
      refused(call, value)
    end
    refused(http.put, base .. "/method", { json = { method = "eth_call" } })
  end)

  it("knows what Kubernetes only tries or answers", function()
    local function passes(method, path)
      local ok, err = pcall(task.read_only, http[method], base .. path)
      return ok or not errors.is(err, "gate", "refused")
    end
    local reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert.is_true(passes("post", reviews))
    assert.is_true(passes("patch", "/api/v1/namespaces/a/pods/b?fieldManager=m&dryRun=All"))
    assert.is_true(passes("delete", "/apis/apps/v1/x?dryRun=All"))
    assert.is_false(passes("put", reviews))
    assert.is_false(passes("post", reviews .. "/../../../../api/v1/pods"))
    assert.is_false(passes("post", "/apis/authorization.k8s.io/v1/%2e%2e/selfsubjectaccessreviews"))
    assert.is_false(passes("post", "/x?path=" .. reviews))
    assert.is_false(passes("post", "/x?dryRun=All"))
    for _, path in ipairs { "pods/b/exec?command=rm", "pods/b/attach", "pods/b/portforward",
      "services/b/proxy/shutdown" } do
      assert.is_false(passes("get", "/api/v1/namespaces/a/" .. path))
    end
    -- The same by other spellings, which servers understand.
    for _, path in ipairs { "a/pods/b/exec/?command=rm", "a/pods/b/ex%65c", "a%2Fpods%2Fb%2fexec",
      "a/pods/b/exec/.", "../x/../namespaces/a/pods/b/exec", "a/services/b/%70roxy/shutdown" } do
      assert.is_false(passes("get", "/api/v1/namespaces/" .. path), path)
    end
    assert.is_false(passes("get", "/x/../api/v1/nodes/a/proxy/run"))
    assert.is_false(passes("head", "/api/v1/nodes/a/proxy/run"))
    assert.is_true(passes("get", "/small?at=/api/v1/nodes/a/proxy"))
    -- What is behind the proxy knows nothing of dry runs.
    assert.is_false(passes("post", "/api/v1/namespaces/a/services/b/proxy/stop?dryRun=All"))
    assert.is_false(passes("post", "/api/v1/namespaces/a/pods/b/exec?command=rm&dryRun=All"))
    assert.is_false(passes("post", "/api/v1/pods?dryRun=Alls"))
    assert.is_false(passes("post", "/api/v1/pods?dryRun="))
    assert.is_false(passes("post", "/api/v1/pods?notdryRun=All"))
    assert.is_false(passes("post", "/api/v1/pods#dryRun=All"))
  end)

  it("knows that the body of a DELETE decides whether it is tried only", function()
    local function passes(body)
      local url = base .. "/api/v1/namespaces/a/pods/b?dryRun=All"
      local ok, err = pcall(task.read_only, http.delete, url, { body = body })
      return ok or not errors.is(err, "gate", "refused")
    end
    assert.is_true(passes(""))
    assert.is_true(passes '{"kind":"DeleteOptions","dryRun":["All"],"preconditions":{"uid":"u"}}')
    assert.is_true(passes '{"gracePeriodSeconds":0,"x":[["All"],{"dryRun":1}],"dryRun":["All"]}')
    for _, body in ipairs {
      "{}", '{"dryRun":[]}', '{"dryRun":["Some"]}', '{"dryRun":["All","Some"]}', '{"dryRun":"All"}',
      '{"dryRun":["All"],"dryRun":[]}', '{"dryRun":null}', '{"dryRun":[["All"]]}',
      '{"preconditions":{"dryRun":["All"]}}', '{"dryRun":["All"]', '[{"dryRun":["All"]}]',
      '{"dryRun":["All"]}{"dryRun":[]}', "dryRun: [All]", '{"dryRun":{"a":"All"}}', "null",
    } do
      assert.is_false(passes(body), body)
    end
  end)
end)

describe("the library beneath", function()
  it("tells its version", function()
    assert.truthy(http.version():find "^%d+%.%d+%.%d+")
  end)
end)
