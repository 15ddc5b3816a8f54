--- Every way to say who one is, and every way in which that fails, against a real API server.
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/e2e/kube/?.lua;" .. package.path
local crypto = require "moonport.crypto"
local fs = require "moonport.fs"
local helper = require "helper"
local json = require "moonport.json"
local kube = require "moonport.kube"
local net = require "moonport.net"
local process = require "moonport.process"
local sys = require "moonport.sys"
local task = require "moonport.task"

local V1 = "client.authentication.k8s.io/v1"

local dir, server, scratch

local function certificate(...)
  local crt, key = helper.cluster({ "cert", ... }, dir):match "(%S+)%s+(%S+)"
  return { ["client-certificate"] = crt, ["client-key"] = key }
end

setup(function()
  dir = fs.temp_dir { prefix = "mpc" }
  fs.write(dir .. ".tokens", "toms-token,tom,1\nanns-token,ann,2,\"readers\"\n")
  helper.cluster { "up", dir, "--control-plane", "--token-file", dir .. ".tokens" }
  server = kube.connect({ kubeconfig = dir .. "/kubeconfig", cache = false }).config.server
end)

teardown(function()
  helper.cluster { "down", dir }
  fs.remove_tree(dir)
  fs.remove(dir .. ".tokens")
end)

before_each(function() scratch = fs.temp_dir() end)
after_each(function() fs.remove_tree(scratch) end)

local function path_of(name) return fs.join(scratch, name) end

--- A connection as this user (an entry of a kubeconfig), with this of the cluster otherwise.
local function connect(user, cluster, options)
  local at = { server = server, ["certificate-authority"] = dir .. "/pki/ca.crt" }
  for name, value in pairs(cluster or {}) do at[name] = value or nil end
  fs.write(path_of "config", json.encode {
    kind = "Config", apiVersion = "v1", ["current-context"] = "here",
    clusters = { { name = "moon", cluster = at } }, users = { { name = "me", user = user } },
    contexts = { { name = "here", context = { cluster = "moon", user = "me" } } },
  })
  local all = { kubeconfig = path_of "config", cache = false }
  for name, value in pairs(options or {}) do all[name] = value end
  return kube.connect(all)
end

local failure = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

local function list(cluster)
  return cluster:raw { path = "/api/v1/secrets?limit=1" }
end

--- The server tells who somebody without rights is by refusing.
local function who(cluster)
  local err = failure("kube", "forbidden", list, cluster)
  assert.equal(403, err.status)
  return err.server_message:match 'User "([^"]*)" cannot list'
end

local function admin() return connect(certificate("boss", "system:masters")) end

describe("a user is known by", function()
  it("a client certificate in files", function()
    assert.equal("jane", who(connect(certificate("jane", "readers"))))
    assert.truthy(list(admin()))
  end)

  it("a client certificate inline", function()
    local files = certificate "jane"
    assert.equal("jane", who(connect {
      ["client-certificate-data"] = crypto.base64(fs.read(files["client-certificate"])),
      ["client-key-data"] = crypto.base64(fs.read(files["client-key"])),
    }))
  end)

  it("a certificate that is renewed while it is in use", function()
    for extension, path in pairs { crt = certificate("jane")["client-certificate"],
      key = certificate("jane")["client-key"] } do
      fs.copy(path, path_of("me." .. extension))
    end
    local cluster = connect { ["client-certificate"] = "me.crt", ["client-key"] = "me.key" }
    assert.equal("jane", who(cluster))
    local other = certificate "joan"
    fs.copy(other["client-certificate"], path_of "me.crt")
    fs.copy(other["client-key"], path_of "me.key")
    task.sleep(1.1) -- files are looked at once a second
    assert.equal("joan", who(cluster))
  end)

  it("a token", function()
    assert.equal("tom", who(connect { token = "toms-token" }))
    assert.equal("ann", who(connect({ token = "toms-token" }, nil, { token = "anns-token" })))
  end)

  it("a token in a file that rotates", function()
    fs.write(path_of "token", "toms-token\n")
    local cluster = connect { tokenFile = "token" }
    assert.equal("tom", who(cluster))
    fs.write(path_of "token", "anns-token\n")
    task.sleep(1.1)
    assert.equal("ann", who(cluster))
    fs.write(path_of "token", "nobodys-token\n")
    task.sleep(1.1)
    local err = failure("kube", "unauthorized", list, cluster)
    assert.equal(401, err.status)
    assert.truthy(err.hint:find("the token of `user.tokenFile` (" .. path_of "config:1", 1, true))
    fs.write(path_of "token", "toms-token\n")
    assert.equal("tom", who(cluster)) -- at once: the 401 made it look
  end)

  it("whom it impersonates", function()
    local boss = certificate("boss", "system:masters")
    boss.as = "jane"
    assert.equal("jane", who(connect(boss)))
    boss["as-groups"] = { "system:masters" }
    assert.truthy(list(connect(boss)))
    assert.equal("joe", who(connect(certificate("boss", "system:masters"), nil, { as = "joe" })))
    local err = failure("kube", "forbidden", list, connect({ token = "toms-token", as = "jane" }))
    assert.truthy(err.server_message:find "cannot impersonate resource")
  end)

  it("nothing, and then is told so where that does not do", function()
    local err = failure("kube", "forbidden", list, connect {})
    assert.truthy(err.server_message:find "system:anonymous")
    assert.truthy(err.hint:find("the user `me` has no credentials", 1, true))
    err = failure("kube", "forbidden", list, connect { username = "bob", password = "secret" })
    assert.truthy(err.hint:find("no user names and passwords since Kubernetes 1.19", 1, true))
    assert.truthy(err.hint:find("`user.username` (" .. path_of "config:1)", 1, true))
    err = failure("kube", "unauthorized", list, connect { token = "wrong" })
    assert.truthy(err.hint:find("the token of `user.token` (" .. path_of "config:1)", 1, true))
  end)

  it("its rights, and a verb without one is named", function()
    local err = failure("kube", "forbidden", function()
      connect({ token = "anns-token" }):delete("configmaps", "x", { namespace = "default" })
    end)
    assert.truthy(err.server_message:find('User "ann" cannot delete resource', 1, true))
    assert.truthy(err.hint:find("`ann` has no right to it", 1, true))
  end)

  it("an expired certificate no longer", function()
    local late = certificate("late", "system:masters", "--days", "0")
    local err = failure("kube", "unauthorized", list, connect(late))
    assert.truthy(err.hint:find("the client certificate in `user.client-certificate` ("
      .. path_of "config:1) has expired: it was valid until 20", 1, true))
  end)
end)

describe("an exec plugin", function()
  --- It answers with the first line of `answers`, which goes, and notes that it ran.
  local function plugin(version, ...)
    local lines = {}
    for index, status in ipairs { ... } do
      lines[index] = json.encode { apiVersion = version, kind = "ExecCredential", status = status }
    end
    fs.write(path_of "answers", table.concat(lines, "\n") .. "\n")
    fs.write(path_of "plugin", [[#!/bin/sh
      cd "$(dirname "$0")"
      echo run >>runs
      sed -n "$(wc -l <runs)p" answers
    ]], { mode = "0700" })
    return { exec = { apiVersion = version, command = "./plugin", interactiveMode = "Never" } }
  end

  local function runs() return select(2, fs.read(path_of "runs"):gsub("\n", "")) end

  for _, version in ipairs { "v1beta1", "v1" } do
    it("of " .. version .. " gives a token", function()
      local user = plugin("client.authentication.k8s.io/" .. version, { token = "anns-token" })
      local cluster = connect(user)
      assert.equal("ann", who(cluster))
      assert.equal("ann", who(cluster))
      assert.equal(1, runs())
    end)
  end

  it("gives a certificate", function()
    local files = certificate "jane"
    assert.equal("jane", who(connect(plugin(V1, {
      clientCertificateData = fs.read(files["client-certificate"]),
      clientKeyData = fs.read(files["client-key"]),
    }))))
  end)

  local function in_seconds(seconds) return os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + seconds) end

  it("runs again when its token expires during a watch, which goes on", function()
    local name = helper.name "watched"
    local boss = admin()
    boss:create { apiVersion = "rbac.authorization.k8s.io/v1", kind = "ClusterRoleBinding",
      metadata = { name = name },
      roleRef = { apiGroup = "rbac.authorization.k8s.io", kind = "ClusterRole", name = "view" },
      subjects = { { kind = "User", name = "tom", apiGroup = "rbac.authorization.k8s.io" },
        { kind = "User", name = "ann", apiGroup = "rbac.authorization.k8s.io" } } }
    local cluster = connect(plugin(V1,
      { token = "toms-token", expirationTimestamp = in_seconds(2) }, { token = "anns-token" }))
    local watch <close> = cluster:watch("configmaps", { namespace = "default", name = name,
      initial = false, resource_version = boss:list("configmaps", {
        namespace = "default" }).metadata.resourceVersion })
    local function map(value)
      return { apiVersion = "v1", kind = "ConfigMap", data = { value = value },
        metadata = { name = name, namespace = "default" } }
    end
    boss:create(map "one")
    assert.equal("one", watch().object.data.value)
    task.sleep(2.1)
    assert.equal("ann", who(cluster))
    assert.equal(2, runs())
    boss:replace(map "two")
    assert.equal("two", watch().object.data.value)
    boss:delete("configmaps", name, { namespace = "default" })
    boss:delete("clusterrolebindings", name)
  end)

  --- A service account's token, which dies with the Secret that it is in.
  local function account(boss, name)
    boss:create { apiVersion = "v1", kind = "ServiceAccount",
      metadata = { name = name, namespace = "default" } }
    local _, found = boss:wait("serviceaccounts", name, function(object)
      return object and object.secrets and object.secrets[1]
    end, 30, { namespace = "default" })
    local secret = found.secrets[1].name
    local data = boss:get("secrets", secret, { namespace = "default" }).data
    return crypto.unbase64(data.token), secret
  end

  it("runs again when the server takes its token no longer", function()
    local boss = admin()
    local first, secret = account(boss, helper.name "first")
    local second = account(boss, helper.name "second")
    local cluster = connect(plugin(V1, { token = first }, { token = second }, { token = second }))
    assert.truthy(who(cluster):find "^system:serviceaccount:default:first")
    boss:delete("secrets", secret, { namespace = "default" })
    boss:wait("secrets", secret, function(object) return object == nil end, 30,
      { namespace = "default" })
    -- The server remembers that it took the token for some seconds.
    local name
    repeat name = who(cluster) until name:find "second" or runs() > 2
    assert.truthy(name:find "^system:serviceaccount:default:second")
    assert.equal(2, runs())
  end)

  it("that fails is told, and nothing is sent", function()
    local user = plugin(V1)
    fs.write(path_of "plugin", "#!/bin/sh\necho 'log in first' >&2\nexit 1\n", { mode = "0700" })
    local err = failure("kube", "credentials", list, connect(user))
    assert.truthy(err.message:find("failed with exit code 1: log in first", 1, true))
    assert.truthy(err.hint:find(path_of "config:1", 1, true))
  end)
end)

describe("the server's certificate", function()
  local me = { token = "toms-token" }

  it("is checked against the CA of the kubeconfig", function()
    local err = failure("http", "tls", list,
      connect(me, { ["certificate-authority"] = dir .. "/pki/etcd-ca.crt" }))
    assert.truthy(err.hint:find("not signed by the CA in `cluster.certificate-authority` ("
      .. path_of "config:1)", 1, true), err.hint)
    err = failure("http", "tls", list, connect(me, { ["certificate-authority"] = false }))
    assert.truthy(err.hint:find("`cluster.certificate-authority-data` names the cluster's own", 1,
      true), err.hint)
    local data = crypto.base64(fs.read(dir .. "/pki/ca.crt"))
    assert.equal("tom", who(connect(me, { ["certificate-authority"] = false,
      ["certificate-authority-data"] = data })))
    assert.equal("tom", who(connect(me, { ["certificate-authority"] = false,
      ["insecure-skip-tls-verify"] = true })))
  end)

  it("has to be for the name that is asked for", function()
    assert.equal("tom", who(connect(me, { ["tls-server-name"] = "kubernetes.default.svc" })))
    local err = failure("http", "tls", list, connect(me, { ["tls-server-name"] = "other.test" }))
    assert.truthy(err.hint:find("the server's certificate is not for `other.test`, which "
      .. "`cluster.tls-server-name` (" .. path_of "config:1) asks for", 1, true), err.hint)
  end)

  it("that has expired is told as such", function()
    helper.cluster({ "server-cert", "--days", "0" }, dir)
    helper.cluster({ "restart-apiserver" }, dir)
    local err = failure("http", "tls", list, connect(me))
    assert.truthy(err.hint:find("it is the server's certificate, by this machine's clock", 1, true))
    assert.truthy(err.hint:find("`cluster.server` (" .. path_of "config:1)", 1, true))
    helper.cluster({ "server-cert" }, dir)
    helper.cluster({ "restart-apiserver" }, dir)
    assert.equal("tom", who(connect(me)))
  end)
end)

describe("the way to the server", function()
  local me = { token = "toms-token" }

  --- A proxy that answers a CONNECT with this, and leads on where that is a success.
  local function proxy(answer, fn)
    local listener <close> = net.listen { host = "127.0.0.1", port = 0 }
    local asked = {}
    local host, port = server:match "//([%d.]+):(%d+)"
    local running = task.spawn(function()
      while true do
        local peer = listener:accept()
        task.spawn(function()
          local peer <close> = peer -- luacheck: ignore
          table.insert(asked, peer:read_line())
          while peer:read_line() ~= "" do end
          peer:write(answer .. "\r\n\r\n")
          if not answer:find " 200 " then return end
          local there <close> = net.connect { host = host, port = tonumber(port) }
          local function pass(from, to)
            return function()
              for piece in function() return from:read(65536) end do to:write(piece) end
            end
          end
          task.race { pass(peer, there), pass(there, peer) }
        end)
      end
    end)
    local result = table.pack(pcall(fn, "http://127.0.0.1:" .. listener:port()))
    running:cancel()
    assert(result[1], result[2])
    return asked, table.unpack(result, 2)
  end

  it("may lead through a proxy", function()
    local asked = proxy("HTTP/1.1 200 Fine", function(url)
      local cluster = connect(me, { ["proxy-url"] = url })
      assert.equal("tom", who(cluster))
      assert.equal("tom", who(cluster))
    end)
    assert.same({ "CONNECT " .. server:match "//(.*)" .. " HTTP/1.1" }, asked) -- once for both
  end)

  it("that refuses is told", function()
    proxy("HTTP/1.1 403 No", function(url)
      local err = failure("http", "proxy", list, connect(me, { ["proxy-url"] = url }))
      assert.truthy(err.message:find "the proxy answered 403")
      assert.truthy(err.hint:find("`cluster.proxy-url` (" .. path_of "config:1)", 1, true))
    end)
    local err = failure("http", "connect", list,
      connect(me, { ["proxy-url"] = "http://127.0.0.1:1" }))
    assert.truthy(err.hint:find("`cluster.proxy-url` (" .. path_of "config:1)", 1, true))
  end)

  it("is found again after the server was away", function()
    local cluster = connect(me)
    assert.equal("tom", who(cluster))
    helper.cluster({ "stop-apiserver" }, dir)
    local err = failure("http", "connect", function()
      cluster.client:request { path = "/api/v1/secrets" }
    end)
    assert.truthy(err.hint:find("the address is that of `cluster.server` (" .. path_of "config:1)",
      1, true), err.hint)
    helper.cluster({ "start-apiserver" }, dir)
    assert.equal("tom", who(cluster))
  end)
end)

describe("in a pod", function()
  it("the service account is used, and its token read again", function()
    local boss = admin()
    local name = helper.name "podded"
    boss:create { apiVersion = "v1", kind = "ServiceAccount",
      metadata = { name = name, namespace = "default" } }
    local account = path_of "account"
    fs.mkdirs(account)
    local token = boss:raw({ method = "POST",
      path = ("/api/v1/namespaces/default/serviceaccounts/%s/token"):format(name),
      headers = { ["Content-Type"] = "application/json" },
      body = [[{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}]] })
      :json().status.token
    fs.write(account .. "/token", token)
    fs.write(account .. "/namespace", "moon")
    fs.copy(dir .. "/pki/ca.crt", account .. "/ca.crt")
    -- As a kubelet mounts it, seen by this process alone.
    local place = "/var/run/secrets/kubernetes.io"
    local host, port = server:match "//([%d.]+):(%d+)"
    local result = process.run {
      "unshare", "--mount", sys.euid() ~= 0 and "--map-root-user" or "--propagation=private", "sh",
      "-ec", ([[
        mount -t tmpfs tmpfs /run
        mkdir -p %s
        ln -s "$ACCOUNT" %s/serviceaccount
        exec "$MOONPORT" run -e '
          local kube = require "moonport.kube"
          local cluster = kube.connect { cache = false }
          print(cluster.config.auth, cluster.config.namespace, cluster.config.server)
          print(select(2, pcall(cluster.raw, cluster, { path = "/api/v1/secrets" })).server_message)
        ']]):format(place, place),
      env = { KUBERNETES_SERVICE_HOST = host, KUBERNETES_SERVICE_PORT = port, ACCOUNT = account,
        MOONPORT = os.getenv "MOONPORT", PATH = os.getenv "PATH", HOME = "/nonexistent" },
    }
    assert.truthy(result.stdout:find("in-cluster\tmoon\t" .. server, 1, true), result.stdout)
    assert.truthy(result.stdout:find('User "system:serviceaccount:default:' .. name, 1, true),
      result.stdout)
  end)
end)
