--- Kubeconfigs, credentials and exec plugins as scripts see them, against an nginx that asks for
-- tokens and client certificates.
local core = require "moonport.core.kube"
local fs = require "moonport.fs"
local json = require "moonport.json"
local process = require "moonport.process"
local secret = require "moonport.secret"
local task = require "moonport.task"

local nginx, server_dir, tls, dir

setup(function()
  local fifo = os.tmpname()
  os.remove(fifo)
  assert(os.execute("mkfifo -m 600 " .. fifo))
  local bin = os.getenv("MOONPORT"):match("^(.*)/bin/[^/]+$") .. "/tests/bin/serve"
  nginx = assert(io.popen("exec '" .. bin .. "' >" .. fifo .. " 2>/dev/null", "w"))
  local line <close> = assert(io.open(fifo))
  local port
  server_dir, port = line:read("l"):match("^(%S+) %S+ %d+ %d+ (%d+)$")
  os.remove(fifo)
  tls = "https://127.0.0.1:" .. port
end)

teardown(function() nginx:close() end)

before_each(function() dir = fs.temp_dir() end)
after_each(function() fs.remove_tree(dir) end)

local function path_of(name) return fs.join(dir, name) end

local failure = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

--- A kubeconfig for the server here, with this user (a table) and more of the cluster.
local function kubeconfig(user, cluster)
  local at = { server = tls, ["certificate-authority"] = server_dir .. "/ca.pem" }
  for name, value in pairs(cluster or {}) do at[name] = value or nil end
  fs.write(path_of "config", json.encode {
    kind = "Config", apiVersion = "v1", ["current-context"] = "here",
    clusters = { { name = "moon", cluster = at } },
    users = { { name = "alice", user = user } },
    contexts = { { name = "here", context = { cluster = "moon", user = "alice" } } },
  })
  return path_of "config"
end

local function client(user, cluster)
  return core.open(core.config { kubeconfig = kubeconfig(user, cluster) })
end

local function script(name, text)
  fs.write(path_of(name), "#!/bin/sh\n" .. text, { mode = "0700" })
  return path_of(name)
end

local V1 = "client.authentication.k8s.io/v1"

--- The user entry of a plugin; it answers with the next line of the file `answers` each time, and
-- notes each run in the file `runs`.
local function plugin(extra)
  script("plugin", [[
    cd "$(dirname "$0")"
    echo run >>runs
    printf '%s' "$KUBERNETES_EXEC_INFO" >info
    sed -n "$(wc -l <runs)p" answers >answer
    [ -s answer ] || tail -n 1 answers >answer
    cat answer
  ]])
  local exec = { apiVersion = V1, command = "./plugin", interactiveMode = "Never" }
  for name, value in pairs(extra or {}) do exec[name] = value end
  return { exec = exec }
end

local function answers(...)
  local lines = {}
  for index, status in ipairs { ... } do
    lines[index] = json.encode { apiVersion = V1, kind = "ExecCredential", status = status } .. "\n"
  end
  fs.write(path_of "answers", table.concat(lines))
end

local function runs()
  if not fs.exists(path_of "runs") then return 0 end
  local _, count = fs.read(path_of "runs"):gsub("\n", "")
  return count
end

local function in_seconds(seconds) return os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + seconds) end

describe("kube.config", function()
  it("tells what was chosen, and file and line of each", function()
    local config = core.config { kubeconfig = kubeconfig { token = "sesame" }, namespace = "moon" }
    assert.equal(tls, config.server)
    assert.equal("moon", config.namespace)
    assert.equal("here", config.context)
    assert.equal("alice", config.user)
    assert.equal("token", config.auth)
    local rows = {}
    for _, row in ipairs(config:explain()) do rows[row.field] = row end
    assert.same({ field = "cluster.server", value = tls, from = "kubeconfig",
      file = path_of "config", line = 1 }, rows["cluster.server"])
    assert.equal("***", rows["user.token"].value)
    assert.same({ field = "namespace", value = "moon", from = "option" }, rows.namespace)
  end)

  it("tells file, line and field of what is wrong", function()
    fs.write(path_of "config", "users:\n- name: x\n  user:\n    token: 12\n")
    local err = failure("kube", "config", core.config, { kubeconfig = path_of "config" })
    assert.equal(path_of "config", err.file)
    assert.equal(4, err.line)
    assert.equal("users[0].user.token", err.field)
    assert.truthy(err.message:find("config:4: `users[0].user.token` must be a string", 1, true))
    assert.equal("put it in quotes", err.hint)
  end)

  it("merges the files of KUBECONFIG", function()
    fs.write(path_of "one", "clusters: [{name: a, cluster: {server: 'https://one'}}]\n")
    fs.write(path_of "two", "current-context: x\ncontexts: [{name: x, context: {cluster: a}}]\n"
      .. "clusters: [{name: a, cluster: {server: 'https://two'}}]\n")
    local result = process.run {
      os.getenv "MOONPORT", "run", "-e", "print(require('moonport.core.kube').config().server)",
      env = { KUBECONFIG = path_of "none" .. ":" .. path_of "one" .. "::" .. path_of "two" },
    }
    assert.equal("https://one\n", result.stdout, result.stderr)
  end)

  it("knows its options by name", function()
    local err = failure("argument", "invalid", core.config, { contxt = "x" })
    assert.truthy(err.hint:find "context")
    failure("argument", "invalid", core.config, { insecure = "yes" })
    failure("argument", "invalid", core.config, { as_groups = { 1 } })
    failure("argument", "invalid", core.config, "x")
  end)

  it("holds on to its options, whatever another task makes of them meanwhile", function()
    for round = 1, 20 do
      local options = { kubeconfig = kubeconfig { token = "x" }, as = "x",
        namespace = ("n"):rep(50000 + round), as_groups = { ("g"):rep(50000 + round) } }
      local loading = task.spawn(function() return core.config(options) end)
      local changing = task.spawn(function()
        options.namespace, options.as_groups[1] = nil, nil
        collectgarbage()
      end)
      local config = loading:await()
      changing:await()
      assert.equal(("n"):rep(50000 + round), config.namespace)
      for _, row in ipairs(config:explain()) do
        if row.field:find("as-groups", 1, true) then
          assert.equal(("g"):rep(50000 + round), row.value)
        end
      end
    end
  end)

  it("shows no password that is part of the server's address", function()
    local config = core.config { kubeconfig = kubeconfig({}, {
      server = "https://me:hidden@127.0.0.1:1" }) }
    assert.is_nil(config.server:find("hidden", 1, true))
    assert.truthy(config.server:find("127.0.0.1:1", 1, true))
    assert.is_nil(tostring(config):find("hidden", 1, true))
  end)

  it("works where Lua cannot wait", function()
    local path = kubeconfig { token = "x" }
    local config
    table.sort({ 1, 2 }, function(a, b)
      config = config or core.config { kubeconfig = path }
      return a < b
    end)
    assert.equal(tls, config.server)
  end)
end)

describe("a kube client", function()
  it("sends who we are, and as whom", function()
    local seen = client {
      token = "sesame", as = "jane", ["as-uid"] = "7", ["as-groups"] = { "a" },
      ["as-user-extra"] = { scopes = { "x" } },
    }:request { path = "/seen" }
    assert.truthy(seen.body:find("^Bearer sesame|jane|7|a|x|moonport/[%d.]+|application/json|"))
    assert.equal("2", seen.http_version)
    seen = client({ username = "bob", password = "pass" }):request {
      path = "/seen", headers = { accept = "text/plain" } }
    assert.truthy(seen.body:find("Basic Ym9iOnBhc3M=|", 1, true))
    assert.truthy(seen.body:find("|text/plain|", 1, true))
    seen = core.open(core.config { kubeconfig = kubeconfig { token = "sesame" },
      token = secret.env "HOME", as = "joe", as_groups = { "g" } }):request { path = "/seen" }
    assert.truthy(seen.body:find("^Bearer " .. os.getenv("HOME") .. "|joe||g|"))
  end)

  it("proves it by a client certificate, in files or inline", function()
    local function read(name) return require("moonport.crypto").base64(
      fs.read(server_dir .. "/" .. name)) end
    local files = { ["client-certificate"] = server_dir .. "/client.pem",
      ["client-key"] = server_dir .. "/client.key" }
    local inline = { ["client-certificate-data"] = read "client.pem",
      ["client-key-data"] = read "client.key" }
    assert.equal("CN=alice", client(files):request({ path = "/private" }).body)
    assert.equal("CN=alice", client(inline):request({ path = "/private" }).body)
    assert.equal(403, client({}):request({ path = "/private" }).status)
  end)

  it("trusts the CA of the kubeconfig, and says what is wrong with it", function()
    local data = require("moonport.crypto").base64(fs.read(server_dir .. "/ca.pem"))
    local inline = { ["certificate-authority"] = false, ["certificate-authority-data"] = data }
    assert.equal(200, client({}, inline):request({ path = "/seen" }).status)

    local wrong = { ["certificate-authority"] = server_dir .. "/client.pem" }
    local ask = function(cluster, user)
      return client(user or {}, cluster):request { path = "/seen" }
    end
    local err = failure("http", "tls", ask, wrong)
    assert.truthy(err.hint:find("`cluster.certificate-authority` (" .. path_of "config:1", 1, true))
    err = failure("http", "tls", ask, { ["certificate-authority"] = false })
    assert.truthy(err.hint:find("against the system's CAs", 1, true))
    err = failure("http", "tls", ask, { ["tls-server-name"] = "other.test" })
    assert.truthy(err.hint:find("not for `other.test`, which `cluster.tls%-server%-name`"))
    assert.equal(200, ask({ ["tls-server-name"] = "moon.test" }).status)
    assert.equal(200, ask({ ["certificate-authority"] = false,
      ["insecure-skip-tls-verify"] = true }).status)
    err = failure("kube", "credentials", ask, { ["certificate-authority"] = path_of "none" })
    assert.truthy(err.message:find("could not read `" .. path_of "none", 1, true))
    assert.truthy(err.hint:find("certificate-authority` in " .. path_of "config:1", 1, true))
    err = failure("http", "connect", ask, { server = "https://127.0.0.1:1" })
    assert.truthy(err.hint:find("`cluster.server` (" .. path_of "config:1)", 1, true))
  end)

  it("reads a token file again when it has changed, at the latest on a 401", function()
    fs.write(path_of "token", "first\n")
    local kube = client { tokenFile = "token" }
    assert.equal(200, kube:request({ path = "/authorized?token=first" }).status)
    fs.write(path_of "token", "second\n")
    assert.equal(200, kube:request({ path = "/authorized?token=second" }).status)
    local refused = kube:request { path = "/authorized?token=third" }
    assert.equal(401, refused.status)
    assert.truthy(refused.hint:find("`user.tokenFile`", 1, true))
    fs.remove(path_of "token") -- what was read last stays
    assert.equal(200, kube:request({ path = "/authorized?token=second" }).status)
  end)

  it("speaks to a server through a proxy", function()
    local net = require "moonport.net"
    local listener <close> = net.listen { host = "127.0.0.1", port = 0 }
    local asked
    local proxy = task.spawn(function()
      local peer <close> = listener:accept()
      asked = peer:read_line()
      while peer:read_line() ~= "" do end
      local there <close> = net.connect { host = "127.0.0.1", port = tonumber(tls:match "%d+$") }
      peer:write "HTTP/1.1 200 OK\r\n\r\n"
      local function pass(from, to)
        for piece in function() return from:read(65536) end do to:write(piece) end
      end
      task.race {
        function() pass(peer, there) end,
        function() pass(there, peer) end,
      }
    end)
    local kube = client({ token = "x" }, { ["proxy-url"] = "http://127.0.0.1:" .. listener:port() })
    assert.equal(200, kube:request({ path = "/authorized?token=x" }).status)
    assert.equal("CONNECT " .. tls:match "//(.*)" .. " HTTP/1.1", asked)
    proxy:cancel()
  end)

  it("tells nobody else who we are where the server leads elsewhere", function()
    local elsewhere = tls:gsub("127.0.0.1", "localhost") .. "/seen"
    local answer = client({ ["client-certificate"] = server_dir .. "/client.pem",
      ["client-key"] = server_dir .. "/client.key", as = "jane" }):request {
      path = "/to?url=" .. elsewhere }
    assert.equal(302, answer.status)
    assert.equal(elsewhere, answer.headers.Location)
    assert.is_nil(answer.body:find("jane", 1, true))
  end)

  it("refuses paths that are none, options that it has not, and work when closed", function()
    local kube = client {}
    failure("kube", "invalid", kube.request, kube, { path = "seen" })
    failure("argument", "invalid", kube.request, kube, { url = tls .. "/seen" })
    kube:close()
    failure("kube", "closed", kube.request, kube, { path = "/seen" })
  end)

  it("that is closed lets what is under way end", function()
    local listener <close> = require("moonport.net").listen { host = "127.0.0.1", port = 0 }
    local kube = core.open(core.config {
      kubeconfig = kubeconfig({}, { ["certificate-authority"] = false,
        server = "http://127.0.0.1:" .. listener:port() }) })
    local asking = task.spawn(function() return kube:request { path = "/seen" } end)
    local peer <close> = listener:accept()
    while peer:read_line() ~= "" do end
    kube:close()
    peer:write "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    local refused = asking:await()
    assert.equal(401, refused.status)
    assert.truthy(refused.hint)
  end)

  it("lets reads through a shut gate, and nothing else", function()
    local kube = client(plugin())
    answers { token = "x" }
    task.read_only(function()
      assert.equal(200, kube:request({ path = "/authorized?token=x" }).status)
      local review = kube:request { method = "POST", body = "{}",
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" }
      assert.equal(404, review.status)
      failure("gate", "refused", kube.request, kube, { path = "/api/v1/pods", method = "POST" })
      failure("gate", "refused", kube.request, kube, { path = "/api/v1/pods", method = "POST",
        body = '{"method":"eth_call","kind":"Pod","apiVersion":"v1"}' })
    end)
  end)

  it("carries many requests on few connections", function()
    local kube = client { token = "x" }
    local jobs = {}
    for index = 1, 200 do
      jobs[index] = function() return kube:request({ path = "/authorized?token=x" }).status end
    end
    local statuses = task.all(jobs)
    for index = 1, 200 do assert.equal(200, statuses[index]) end
  end)
end)

describe("an exec plugin", function()
  it("gives a token, which is used until shortly before it expires", function()
    answers({ token = "first", expirationTimestamp = in_seconds(3600) })
    local kube = client(plugin())
    for _ = 1, 3 do
      assert.equal(200, kube:request({ path = "/authorized?token=first" }).status)
    end
    assert.equal(1, runs())
  end)

  it("runs again once its token has expired", function()
    answers({ token = "first", expirationTimestamp = in_seconds(-5) }, { token = "second" })
    local kube = client(plugin())
    assert.equal(200, kube:request({ path = "/authorized?token=first" }).status)
    task.sleep(1.1)
    assert.equal(200, kube:request({ path = "/authorized?token=second" }).status)
    assert.equal(200, kube:request({ path = "/authorized?token=second" }).status)
    assert.equal(2, runs())
  end)

  it("runs again once on a 401, and the request is sent once more", function()
    answers({ token = "first" }, { token = "second" })
    local kube = client(plugin())
    assert.equal(200, kube:request({ path = "/authorized?token=second" }).status)
    assert.equal(2, runs())
    local refused = kube:request { path = "/authorized?token=third" }
    assert.equal(401, refused.status)
    assert.truthy(refused.hint:find("the credential plugin", 1, true))
    assert.equal(3, runs())
    kube:request { path = "/authorized?token=third" } -- it would bring the same again
    assert.equal(3, runs())
  end)

  it("runs once for all the requests that wait for it", function()
    answers({ token = "first" }, { token = "second" })
    local kube = client(plugin())
    local jobs = {}
    for index = 1, 50 do
      jobs[index] = function() return kube:request({ path = "/authorized?token=second" }).status end
    end
    for _, status in ipairs(task.all(jobs)) do assert.equal(200, status) end
    assert.equal(2, runs())
  end)

  it("gives a client certificate", function()
    answers { clientCertificateData = fs.read(server_dir .. "/client.pem"),
      clientKeyData = fs.read(server_dir .. "/client.key") }
    assert.equal("CN=alice", client(plugin()):request({ path = "/private" }).body)
  end)

  it("is told what it asks for, with our environment and its own", function()
    answers { token = "x" }
    local user = plugin { provideClusterInfo = true, command = "./outer", args = { "a b", "" },
      env = { { name = "MORE", value = "moon" }, { name = "HOME", value = "/none" } } }
    script("outer", [[
      cd "$(dirname "$0")"
      printf '%s|' "$@" "$MORE" "$HOME" "$PATH" >outer.out
      ./plugin
    ]])
    assert.equal(200, client(user):request({ path = "/authorized?token=x" }).status)
    assert.equal("a b||moon|/none|" .. os.getenv("PATH") .. "|", fs.read(path_of "outer.out"))
    local info = json.decode(fs.read(path_of "info"))
    assert.equal(V1, info.apiVersion)
    assert.is_false(info.spec.interactive)
    assert.equal(tls, info.spec.cluster.server)
    assert.equal(fs.read(server_dir .. "/ca.pem"),
      require("moonport.crypto").unbase64(info.spec.cluster["certificate-authority-data"]))
  end)

  it("that fails is told with what it said, and where it is named", function()
    local user = { exec = { apiVersion = V1, interactiveMode = "Never", command = "./plugin" } }
    local ask = function() return client(user):request { path = "/seen" } end
    script("plugin", "echo 'you are not logged in' >&2; exit 3")
    local err = failure("kube", "credentials", ask)
    assert.truthy(err.message:find(
      "plugin` failed with exit code 3: you are not logged in", 1, true), err.message)
    assert.truthy(err.hint:find("`user.exec.command` in " .. path_of "config:1", 1, true))
    script("plugin", "echo secret-text")
    err = failure("kube", "credentials", ask)
    assert.truthy(tostring(err):find("its answer is not JSON", 1, true))
    assert.is_nil(tostring(err):find("secret-text", 1, true))
  end)

  it("that is missing is told with its installHint", function()
    local err = failure("kube", "credentials", function()
      client({ exec = { apiVersion = V1, interactiveMode = "Never", command = "no-such-plugin",
        installHint = "get it at\27[31m https://example.test" } }):request { path = "/seen" }
    end)
    assert.truthy(err.message:find("`no-such-plugin` was not found", 1, true))
    assert.equal("get it at[31m https://example.test", err.hint)
  end)

  it("that must ask a person is refused without a terminal", function()
    local result = process.run {
      os.getenv "MOONPORT", "run", "-e", [[
        local core = require "moonport.core.kube"
        print(select(2, pcall(function()
          core.open(core.config { kubeconfig = arg[1] }):request { path = "/seen" }
        end)))]], kubeconfig(plugin { interactiveMode = "Always" }), stdin = "null",
    }
    assert.truthy(result.stdout:find("standard input is not a terminal", 1, true), result.stderr)
  end)

  it("may ask the person at the terminal", function()
    local config = kubeconfig(plugin { interactiveMode = "IfAvailable" })
    script("plugin", [[printf 'password: ' >&2; read -r word; echo "{\"apiVersion\":\"]] .. V1
      .. [[\",\"status\":{\"token\":\"$word\"}}"]])
    local child <close> = process.spawn {
      os.getenv "MOONPORT", "run", "-e", [[
        local core = require "moonport.core.kube"
        print(core.open(core.config { kubeconfig = arg[1] }):request {
          path = "/authorized?token=sesame" }.status)]],
      config, pty = true,
    }
    local text = ""
    repeat text = text .. assert(child:read()) until text:find "password: "
    child:write "sesame\n"
    repeat
      local piece = child:read()
      text = text .. (piece or "")
    until not piece
    assert.truthy(text:find "200", text)
  end)

  it("is ended when nobody waits for it any more", function()
    local kube = client(plugin { command = "./slow" })
    script("slow", [[cd "$(dirname "$0")"; echo $$ >pid; exec sleep 60]])
    local watch <close> = fs.watch(dir)
    local waiting = task.spawn(function() kube:request { path = "/seen" } end)
    repeat watch:next() until fs.exists(path_of "pid") and fs.read(path_of "pid") ~= ""
    local pid = tonumber(fs.read(path_of "pid"))
    local sys = require "moonport.sys"
    local who = sys.identity(pid)
    waiting:cancel()
    pcall(waiting.await, waiting)
    sys.wait_gone(who)
  end)

  it("leaves its token out of everything that is printed", function()
    answers { token = "sesame-open" }
    client(plugin()):request { path = "/seen" }
    assert.equal("***", secret.scrub "sesame-open")
  end)
end)
