-- Watches on control planes of their own: servers that are killed, history that is compacted away,
-- credentials that expire, rights that are missing.
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/e2e/kube/?.lua;" .. package.path
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local helper = require "helper"
local json = require "moonport.json"
local kube = require "moonport.kube"
local task = require "moonport.task"

local root, dir

local function quiet() end

local TOKENS = [[
first,watcher,u1,"system:masters"
second,watcher,u1,"system:masters"
]]

setup(function()
  root = fs.temp_dir { prefix = "mpw" }
  dir = root .. "/c"
  fs.write(root .. "/tokens", TOKENS)
  helper.cluster { "up", dir, "--control-plane", "--token-file", root .. "/tokens" }
end)

teardown(function()
  helper.cluster { "down", dir }
  fs.remove_tree(root)
end)

local function connect(options)
  local all = { kubeconfig = dir .. "/kubeconfig", cache = false, on_wait = quiet }
  for name, value in pairs(options or {}) do all[name] = value end
  return kube.connect(all)
end

local function map(name, label)
  return {
    apiVersion = "v1", kind = "ConfigMap", metadata = { name = name, labels = { of = label } },
  }
end

local function names(count)
  local list = {}
  for index = 1, count do list[index] = ("m%04d"):format(index) end
  return list
end

--- Deletes, however often the server goes away meanwhile.
local function remove(cluster, name)
  while not pcall(cluster.delete, cluster, "configmaps", name, { missing_ok = true }) do
    task.sleep(0.1)
  end
end

describe("a watch", function()
  it("tells of each of thousands of changes once, over a server that is killed twice", function()
    local cluster = connect()
    local watch <close> = cluster:watch("configmaps", { labels = "of=many" })
    local all, told, count = names(1500), {}, 0
    local function kill() helper.cluster({ "restart-apiserver", "--kill" }, dir) end
    local function write()
      task.all { function()
        task.map(all, 4, function(name) cluster:apply(map(name, "many")) end)
      end, function()
        task.sleep(1)
        kill()
      end }
      task.all { function()
        task.map({ table.unpack(all, 1, 700) }, 4, function(name) remove(cluster, name) end)
      end, function()
        task.sleep(1)
        kill()
      end }
    end
    local function read()
      while count < 2200 do
        local event = watch:next()
        if event.type ~= "MODIFIED" then
          local key = event.type .. " " .. event.object.metadata.name
          assert.is_nil(told[key], key)
          told[key] = true
          count = count + 1
        end
      end
    end
    task.timeout(120, task.all, { write, read })
    for index, name in ipairs(all) do
      assert.is_true(told["ADDED " .. name])
      assert.equal(index <= 700 or nil, told["DELETED " .. name])
    end
    assert.is_true(watch.reconnects > 0)
    cluster:delete_collection("configmaps", { labels = "of=many" })
  end)

  it("tells what has changed while etcd forgot how", function()
    local cluster = connect()
    cluster:create(map("gone", "compacted"))
    cluster:create(map("kept", "compacted"))
    local watch <close> = cluster:watch("configmaps", { labels = "of=compacted", sync = true })
    local told = { watch:next().object.metadata.name, watch:next().object.metadata.name }
    assert.same({ "gone", "kept" }, told)
    assert.equal("SYNC", watch:next().type)
    cluster:create(map("marker", "compacted"))
    assert.equal("marker", watch:next().object.metadata.name)
    helper.cluster({ "stop-apiserver" }, dir)
    helper.cluster({ "etcdctl", "del", "/registry/configmaps/default/gone" }, dir)
    local status = helper.cluster({ "etcdctl", "endpoint", "status", "-w", "json" }, dir)
    local revision = tostring(json.decode(status)[1].Status.header.revision)
    helper.cluster({ "etcdctl", "compact", revision }, dir)
    local reader = task.contained(watch.next, watch)
    helper.cluster({ "start-apiserver" }, dir)
    local event = reader:await()
    assert.equal("DELETED gone", event.type .. " " .. event.object.metadata.name)
    assert.is_true(event.missed)
    assert.equal("SYNC", watch:next().type)
    assert.equal(1, watch.relists)
    cluster:delete("configmaps", "kept")
    assert.equal("DELETED", watch:next().type)
  end)

  it("goes on with new credentials where those it had are no longer accepted", function()
    -- The plugin gives the token that the file holds, and says that it lasts for long.
    local plugin, token, runs = root .. "/plugin", root .. "/token", root .. "/runs"
    fs.write(token, "first")
    fs.write(plugin, ([[#!/bin/sh
echo run >>%s
cat <<END
{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1",
 "status": {"token": "$(cat %s)", "expirationTimestamp": "2099-01-01T00:00:00Z"}}
END
]]):format(runs, token), { mode = "0755" })
    local config = kube.connect { kubeconfig = dir .. "/kubeconfig" }.config
    local path = root .. "/plugin.kubeconfig"
    fs.write(path, json.encode {
      apiVersion = "v1", kind = "Config", ["current-context"] = "c",
      clusters = { { name = "c", cluster = { server = config.server,
        ["certificate-authority"] = dir .. "/pki/ca.crt" } } },
      contexts = { { name = "c", context = { cluster = "c", user = "u" } } },
      users = { { name = "u", user = { exec = {
        apiVersion = "client.authentication.k8s.io/v1beta1", command = plugin,
      } } } },
    })
    local cluster = connect { kubeconfig = path }
    local watch <close> = cluster:watch("configmaps", { labels = "of=token" })
    local admin = connect()
    admin:create(map("before", "token"))
    assert.equal("before", watch:next().object.metadata.name)
    fs.write(token, "second")
    fs.write(root .. "/tokens", (TOKENS:gsub("^first[^\n]*\n", "")))
    helper.cluster({ "restart-apiserver" }, dir)
    admin:create(map("after", "token"))
    assert.equal("after", watch:next().object.metadata.name)
    assert.equal("run\nrun\n", fs.read(runs))
  end)

  it("of what one may not see ends with an error that says so", function()
    local out = helper.cluster({ "cert", "nobody" }, dir)
    local crt, key = out:match "(%S+)%s+(%S+)"
    local config = connect().config
    local path = root .. "/nobody.kubeconfig"
    fs.write(path, json.encode {
      apiVersion = "v1", kind = "Config", ["current-context"] = "c",
      clusters = { { name = "c", cluster = { server = config.server,
        ["certificate-authority"] = dir .. "/pki/ca.crt" } } },
      contexts = { { name = "c", context = { cluster = "c", user = "u" } } },
      users = { { name = "u",
        user = { ["client-certificate"] = crt, ["client-key"] = key } } },
    })
    local cluster = connect { kubeconfig = path }
    local ok, err = pcall(cluster.watch, cluster, "configmaps")
    assert.is_false(ok)
    assert.is_true(errors.is(err, "kube", "forbidden"))
    assert.matches("`nobody` has no right", err.hint, 1, true)
  end)
end)
