-- Programs in pods and ports of pods, on a real cluster: Kubernetes 1.20, whose exec protocol is
-- v4 (see kube_exec_spec.lua for v5).
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/e2e/kube/?.lua;" .. package.path
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local helper = require "helper"
local http = require "moonport.http"
local kube = require "moonport.kube"
local net = require "moonport.net"
local process = require "moonport.process"
local yaml = require "moonport.yaml"
local task = require "moonport.task"

local IMAGE = "moonport-test/base:1"
local MIB = 1 << 20

local cluster

local function server_of(words)
  return { "sh", "-c", ([[mkdir -p /tmp/www && echo %s >/tmp/www/index.html &&
    exec httpd -f -p 8080 -h /tmp/www]]):format(words) }
end

local function pod(name, command)
  return cluster:create {
    apiVersion = "v1", kind = "Pod", metadata = { name = name, labels = { app = "web" } },
    spec = {
      terminationGracePeriodSeconds = 0, automountServiceAccountToken = false,
      containers = {
        { name = "main", image = IMAGE, command = command,
          ports = { { name = "http", containerPort = 8080 } } },
        { name = "other", image = IMAGE, command = { "sleep", "3600" } },
      },
    },
  }
end

setup(function()
  cluster = helper.connect "exec"
  cluster:wait("serviceaccounts", "default", "create", 30)
  cluster:create {
    apiVersion = "rbac.authorization.k8s.io/v1", kind = "RoleBinding",
    metadata = { name = "default-edits" },
    roleRef = { apiGroup = "rbac.authorization.k8s.io", kind = "ClusterRole", name = "edit" },
    subjects = { { kind = "ServiceAccount", name = "default", namespace = cluster.namespace } },
  }
  pod("one", server_of "first")
  cluster:create {
    apiVersion = "v1", kind = "Service", metadata = { name = "web" },
    spec = { selector = { app = "web" }, ports = { { port = 80, targetPort = "http" } } },
  }
  cluster:wait("pods", "one", kube.ready, 60)
end)

teardown(function() helper.remove(cluster) end)

local function exec(command)
  command.container = command.container or "main"
  return cluster:exec("one", command)
end

local function failure(...)
  local _, err = try(...)
  assert.is_truthy(err, "nothing was raised")
  return err
end

describe("a program in a pod", function()
  it("tells its exit code, and its outputs apart", function()
    local result = exec { "sh", "-c", "echo out; echo err >&2; exit 3", check = false }
    assert.same({ 3, "out\n", "err\n" }, { result.code, result.stdout, result.stderr })
    assert.equal(0, exec({ "true" }).code)
    assert.equal(137, exec({ "sh", "-c", "kill -9 $$", check = false }).code)
    local err = failure(exec, { "sh", "-c", "echo why >&2; exit 4" })
    assert.is_true(errors.is(err, "process", "exit"))
    assert.equal(4, err.exit_code)
  end)

  it("that cannot be run says why", function()
    assert.is_true(errors.is(failure(exec, { "nosuch" }), "process", "ENOENT"))
    assert.is_true(errors.is(failure(exec, { "/etc" }), "process", "EACCES"))
    assert.is_true(errors.is(failure(cluster.exec, cluster, "none", { "true" }), "kube",
      "not_found"))
    local err = failure(exec, { "true", container = "third" })
    assert.is_true(errors.is(err, "kube", "bad_request"))
    assert.is_truthy(err.message:find "third")
  end)

  it("runs in the container that is named", function()
    assert.is_truthy(exec({ "ps", container = "other" }).stdout:find "sleep 3600")
    assert.equal("full moon\n", exec({ "sh", "-c", "echo $MOON",
      env = { MOON = "full moon" } }).stdout)
  end)

  it("whose input would have to end is refused before it runs", function()
    local err = failure(exec, { "sh", "-c", "touch /tmp/ran; cat", input = "text" })
    assert.is_true(errors.is(err, "kube", "stdin_cannot_end"))
    assert.is_truthy(err.hint:find "1.30")
    assert.equal(1, exec({ "test", "-e", "/tmp/ran", check = false }).code)
  end)

  it("that knows how much it reads gets its input", function()
    assert.equal("hello", exec({ "head", "-c", "5", input = "hello", stdin_ends = false }).stdout)
  end)

  it("has a terminal of a size, which ends its input as terminals do", function()
    local result = exec { -- which begins before the size is there
      "sh", "-c", "until [ \"$(stty size)\" = '33 101' ]; do sleep 0.1; done; cat",
      tty = { rows = 33, columns = 101 }, input = "typed\n",
    }
    assert.equal(2, select(2, result.stdout:gsub("typed", ""))) -- the echo, and what cat says
    assert.is_nil(result.stderr)
  end)

  it("gets the operator's terminal, with each key and each change of its size", function()
    local operator <close> = process.spawn {
      os.getenv "MOONPORT", "run", "-e", ([[
        os.exit(require("moonport.kube").exec("one", {
          "sh", container = "main", namespace = "%s", tty = true, stdin = "inherit",
          stdout = "inherit" }).code)]]):format(cluster.namespace),
      pty = { rows = 20, columns = 70 },
    }
    local seen = ""
    local function until_there_is(words)
      while not seen:find(words, 1, true) do
        seen = seen .. (operator:read() or error("it ended: " .. seen))
      end
    end
    local function await_size(size) -- which goes its own way
      operator:write(("until stty size | grep '^%s$'; do sleep 0.1; done\r"):format(size))
      until_there_is(size .. "\r\n")
    end
    until_there_is "# "
    await_size "20 70"
    operator:resize(30, 90)
    await_size "30 90"
    operator:write "exit 5\r"
    assert.equal(5, operator:wait().code)
  end)

  it("writes 100 MiB unharmed, in little memory", function()
    local count, clean, most = 0, true, 0
    collectgarbage()
    local before = collectgarbage "count"
    exec {
      "sh", "-c", "head -c 104857600 /dev/zero | tr '\\0' '\\377'",
      stdout = function(bytes)
        count = count + #bytes
        clean = clean and not bytes:find "[^\255]"
        most = math.max(most, collectgarbage "count")
      end,
    }
    assert.equal(100 * MIB, count)
    assert.is_true(clean)
    assert.is_true(most - before < 16 * 1024, ("%.0f KiB"):format(most - before))
  end)

  it("reads 100 MiB unharmed", function()
    local block, given = crypto.random(MIB), 0
    local result = exec {
      "sh", "-c", "head -c 104857600 | sha256sum", stdin_ends = false,
      stdin = function()
        given = given + 1
        if given <= 100 then return block end
      end,
    }
    local digest = crypto.hash("sha256", block:rep(100))
    assert.equal(digest, result.stdout:match "^%x+")
  end)

  it("of 100 MiB has few in memory at a time, however slow the other side is", function()
    local growth = helper.growth(cluster, [[
      cluster:exec("one", { "head", "-c", "104857600", "/dev/zero", container = "main",
        stdout = slowly })]])
    assert.is_true(growth < 48 * 1024, growth .. " KiB out")
    growth = helper.growth(cluster, [[
      local block, given = ("x"):rep(1 << 20), 0
      local result = cluster:exec("one", {
        "sh", "-c", "sleep 2; head -c 104857600 | wc -c", container = "main",
        stdin_ends = false, stdin = function()
          given = given + 1
          return given <= 100 and block or nil
        end,
      })
      assert(result.stdout == "104857600\n", result.stdout)]])
    assert.is_true(growth < 48 * 1024, growth .. " KiB in")
  end)

  -- containerd before 2.0 ends the input of a program that has closed one of its outputs.
  it("that ends while much input is under way is told of", function()
    local block = ("x"):rep(MIB)
    for _ = 1, 10 do
      local result = exec {
        "sh", "-c", "sleep 0.5; exec head -c 104857600 >/dev/null", stdin_ends = false,
        stdin = function() return block end,
      }
      assert.equal(0, result.code)
    end
  end)

  it("can be timed out, and the next one runs", function()
    local err = failure(exec, { "sleep", "60", timeout = 0.3 })
    assert.is_true(errors.is(err, "task", "timeout"))
    assert.equal("x\n", exec({ "echo", "x" }).stdout)
  end)

  it("whose pod goes away does not hang", function()
    pod("doomed", { "sleep", "3600" })
    cluster:wait("pods", "doomed", kube.ready, 60)
    local running = task.contained(cluster.exec, cluster, "doomed", {
      "sh", "-c", "echo begun; sleep 600", container = "main", check = false,
      stdout = function() cluster:delete("pods", "doomed", { grace = 0 }) end,
    })
    local result, err = try(task.timeout, 60, running.await, running)
    -- The runtime still tells of its end, or nobody can.
    assert.is_true(result and result.code == 137 or errors.is(err, "kube", "lost"), tostring(err))
  end)
end)

describe("a program in a pod", function()
  local dir

  before_each(function() dir = fs.temp_dir() end)
  after_each(function() fs.remove_tree(dir) end)

  local function service_account_token()
    for secret in cluster:each "secrets" do
      if secret.type == "kubernetes.io/service-account-token" then
        return crypto.unbase64(secret.data.token)
      end
    end
  end

  -- A kubeconfig whose plugin gives a token that is refused, and at its next run a good one.
  local function kubeconfig_with_plugin()
    local runs, plugin = fs.join(dir, "runs"), fs.join(dir, "plugin")
    fs.write(plugin, ([[#!/bin/sh
token=stale
[ -e %s ] && token=%s
echo run >>%s
echo '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential",' \
  '"status":{"token":"'$token'"}}'
]]):format(runs, service_account_token(), runs))
    fs.chmod(plugin, "0700")
    local config = yaml.decode(fs.read(os.getenv "KUBECONFIG"))
    config.users = { { name = "plugin", user = { exec = {
      apiVersion = "client.authentication.k8s.io/v1beta1", command = plugin } } } }
    for _, context in ipairs(config.contexts) do context.context.user = "plugin" end
    fs.write(fs.join(dir, "config"), yaml.encode(config))
    return fs.join(dir, "config"), runs
  end

  it("is run with new credentials where the first were refused", function()
    local kubeconfig, runs = kubeconfig_with_plugin()
    local other <close> = kube.connect {
      kubeconfig = kubeconfig, namespace = cluster.namespace, cache = false }
    local result = other:exec("one", { "echo", "hello", container = "main" })
    assert.equal("hello\n", result.stdout)
    assert.equal("run\nrun\n", fs.read(runs))
  end)
end)

describe("a forwarded port", function()
  local function get(forward)
    return http.get(("http://%s:%d/"):format(forward.address, forward.port), { timeout = 40 })
  end

  it("leads to a pod, for many connections at once", function()
    local forward <close> = cluster:forward("one", 8080)
    local answers = task.map({ 1, 2, 3, 4, 5 }, 5, function() return get(forward).body end)
    assert.same({ "first\n", "first\n", "first\n", "first\n", "first\n" }, answers)
    local by_name <close> = cluster:forward("one", "http")
    assert.equal("first\n", get(by_name).body)
    assert.equal(0, forward.failed)
  end)

  it("still brings the answer to a client that has ended its side", function()
    local forward <close> = cluster:forward("one", 8080)
    local client <close> = net.connect { host = forward.address, port = forward.port }
    client:write "GET / HTTP/1.0\r\n\r\n"
    client:shutdown()
    assert.is_truthy(client:read_all():find "first")
  end)

  it("tells that nothing listens there, and lives on", function()
    local told, seen = task.event(), nil
    local forward <close> = cluster:forward("one", 9, { on_error = function(err)
      seen = err
      told:set()
    end })
    assert.is_nil((try(get, forward)))
    told:wait()
    assert.is_true(errors.is(seen, "kube", "unreachable"))
    assert.is_truthy(seen.message:find "refused")
    assert.is_nil((try(get, forward)))
  end)

  it("is not made to what is not there", function()
    assert.equal("not_found", failure(cluster.forward, cluster, "none", 80).code)
    assert.equal("not_found", failure(cluster.forward, cluster, { service = "none" }, 80).code)
    assert.equal("no_port", failure(cluster.forward, cluster, { service = "web" }, 81).code)
    assert.equal("argument", failure(cluster.forward, cluster, {}, 80).kind)
    assert.equal("argument", failure(cluster.forward, cluster, "one", 0).kind)
  end)

  it("leads to the new pod once the old one was replaced", function()
    local by_service <close> = cluster:forward({ service = "web" }, 80)
    local by_labels <close> = cluster:forward({ labels = { app = "web" } }, 8080)
    assert.equal("first\n", get(by_service).body)
    cluster:delete("pods", "one", { grace = 0 })
    local waiting = task.spawn(get, by_labels) -- until there is one
    pod("two", server_of "second")
    assert.equal("second\n", waiting:await().body)
    assert.equal("second\n", get(by_service).body)
    assert.equal("two", by_service.pod)
  end)

  it("ends with all its connections", function()
    local forward = cluster:forward("two", 8080)
    local client <close> = net.connect { host = forward.address, port = forward.port }
    client:write "GET /"
    forward:close()
    forward:close()
    assert.is_falsy(try(client.read, client))
    local _, err = try(net.connect, { host = forward.address, port = forward.port })
    assert.equal("ECONNREFUSED", err.code)
  end)
end)
