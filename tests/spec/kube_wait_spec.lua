local kube = require "moonport.kube"
local task = require "moonport.task"

local double = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/kube_double.lua")

local function pod(name, ready, more)
  local object = {
    metadata = { name = name, labels = { app = "web" } },
    status = { phase = "Pending", conditions = {
      { type = "Ready", status = ready and "True" or "False", reason = "ContainersNotReady",
        message = "containers with unready status: [web]" },
    } },
  }
  for key, value in pairs(more or {}) do object[key] = value end
  return object
end

--- Waits, and does `fn` once the waiting has begun.
local function during(server, wait, fn)
  local waiting = task.contained(wait)
  server:until_watched()
  fn()
  return waiting:await()
end

local failure = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

describe("cluster:wait", function()
  it("returns at once what is so already", function()
    local server <close> = double.start()
    server:put("pods", pod("a", true))
    local answer, object = server:connect():wait("pods", "a", function(found)
      return found and "yes"
    end)
    assert.equal("yes", answer)
    assert.equal("a", object.metadata.name)
    assert.equal(0, server.watches)
  end)

  it("waits for what does not exist yet, and for what changes, by one watch", function()
    local server <close> = double.start()
    local cluster = server:connect()
    local calls = 0
    local _, object = during(server, function()
      return cluster:wait("pods", "a", function(found)
        calls = calls + 1
        return kube.ready(found)
      end)
    end, function()
      server:put("pods", pod("b", true))
      server:put("pods", pod("a", false))
      server:put("pods", pod("a", true))
    end)
    assert.equal("True", object.status.conditions[1].status)
    assert.equal(3, calls)
    assert.equal(1, server.watches)
    server:until_true(function() return server.connections == 0 end)
  end)

  it("tells what it saw last when the time is over", function()
    local server <close> = double.start()
    server:put("pods", pod("a", false))
    local cluster = server:connect()
    local err = failure("kube", "timeout", cluster.wait, cluster, "pods", "a", "ready", 0.1)
    assert.equal("pod `a` in namespace `default`: not `ready` within 0.1 s: Ready=False "
      .. "(ContainersNotReady: containers with unready status: [web])", err.message)
    assert.equal("a", err.object.metadata.name)
    err = failure("kube", "timeout", cluster.wait, cluster, "pods", "b", kube.ready, 0.1)
    assert.truthy(err.message:find("it does not exist", 1, true))
    err = failure("kube", "timeout", cluster.wait, cluster, "pods", "a", function() end,
      { timeout = 0.1, namespace = "default" })
    assert.truthy(err.message:find("phase Pending; Ready=False", 1, true), err.message)
  end)

  it("waits for each of those that a selector takes, and for at least one", function()
    local server <close> = double.start()
    local cluster = server:connect()
    local _, objects = during(server, function()
      return cluster:wait("pods", { labels = { app = "web" } }, "condition=Ready", 10)
    end, function()
      server:put("pods", pod("b", false))
      server:put("pods", pod("a", false))
      server:put("pods", pod("b", true))
      server:put("pods", pod("a", true))
    end)
    assert.equal("a", objects[1].metadata.name)
    assert.equal("b", objects[2].metadata.name)
    server:put("pods", pod("a", false))
    local err = failure("kube", "timeout", cluster.wait, cluster, "pods", { labels = "app=web" },
      "condition=Ready", 0.1)
    assert.truthy(err.message:find("`a`: Ready=False", 1, true))
    assert.is_nil(err.message:find("`b`", 1, true))
  end)

  it("waits until all of them are gone", function()
    local server <close> = double.start()
    local cluster = server:connect()
    server:put("pods", pod "a")
    server:put("pods", pod "b")
    local answer = during(server, function()
      return cluster:wait("pods", { labels = { app = "web" } }, "delete", 10)
    end, function()
      server:remove("pods", "a")
      server:remove("pods", "b")
    end)
    assert.is_true(answer)
  end)

  it("sees a deletion that happened while the connection was lost", function()
    local server <close> = double.start()
    local cluster = server:connect { on_wait = function() end }
    server:put("pods", pod "a")
    local answer, object = during(server, function()
      return cluster:wait("pods", "a", kube.deleted, 10)
    end, function()
      server:cut()
      server:remove("pods", "a")
      server:forget()
    end)
    assert.is_true(answer)
    assert.is_nil(object)
  end)

  it("passes on what the predicate raises, a timeout of its own too", function()
    local server <close> = double.start()
    local cluster = server:connect()
    server:put("pods", pod "a")
    local ok, err = pcall(cluster.wait, cluster, "pods", "a", function() error("no!", 0) end, 5)
    assert.is_false(ok)
    assert.equal("no!", err)
    failure("task", "timeout", cluster.wait, cluster, "pods", "a", function()
      task.timeout(0.01, task.sleep, 5)
    end, 5)
  end)

  it("ends when its task is cancelled, and frees the connection", function()
    local server <close> = double.start()
    local cluster = server:connect()
    local waiting = task.contained(cluster.wait, cluster, "pods", "a", kube.ready)
    server:until_watched()
    waiting:cancel()
    failure("task", "cancelled", waiting.await, waiting)
    server:until_true(function() return server.connections == 0 end)
  end)
end)

describe("a question", function()
  local function deployment(status, more)
    local object = { kind = "Deployment", metadata = { name = "web", generation = 2 },
      spec = { replicas = 3 }, status = status }
    for key, value in pairs(more or {}) do object[key] = value end
    return object
  end

  it("may be kubectl's: condition, delete, create, jsonpath", function()
    local conditions = require "moonport.kube.conditions"
    local object = {
      metadata = { name = "a", generation = 3, annotations = { ["x/y"] = "z" } },
      status = { observedGeneration = 3, phase = "Running",
        conditions = { { type = "Available", status = "True" },
          { type = "Stalled", status = "False" } },
        loadBalancer = { ingress = { { ip = "10.0.0.1" } } } },
    }
    for question, expected in pairs {
      ["condition=Available"] = true, ["condition=available=true"] = true,
      ["condition=Available=False"] = false, ["condition=Stalled=False"] = true,
      ["condition=Absent"] = false, ["delete"] = false, ["create"] = true, ["ready"] = true,
      ["jsonpath={.status.phase}=Running"] = true, ["jsonpath='{.status.phase}'=Failed"] = false,
      ["jsonpath={.status.loadBalancer.ingress[0].ip}"] = true,
      ["jsonpath={.status.loadBalancer.ingress[0].ip}=10.0.0.1"] = true,
      ["jsonpath={.metadata.annotations['x/y']}=z"] = true,
      ["jsonpath={.status.none.there}=1"] = false,
    } do
      assert.equal(expected, (conditions.read(question)(object)), question)
    end
    assert.is_true((conditions.read "delete"(nil)))
    assert.is_false((conditions.read "condition=Available"(nil)))
    object.metadata.generation = 4
    assert.is_false((conditions.read "condition=Available"(object)))
    for _, question in ipairs { "available", "jsonpath={.a[x]}=1", "" } do
      failure("argument", "invalid", conditions.read, question)
    end
  end)

  it("whether something is ready goes by its kind", function()
    local ready = kube.ready
    assert.is_false((ready(nil)))
    assert.is_false((ready(deployment { observedGeneration = 1 })))
    local ok, why = ready(deployment { observedGeneration = 2, replicas = 3, updatedReplicas = 2 })
    assert.is_false(ok)
    assert.equal("2 of 3 replicas updated", why)
    assert.is_true((ready(deployment { observedGeneration = 2, replicas = 3, updatedReplicas = 3,
      availableReplicas = 3 })))
    assert.is_false((ready(deployment { observedGeneration = 2, replicas = 4, updatedReplicas = 3,
      availableReplicas = 3 })))
    assert.is_true((ready(deployment({ observedGeneration = 2 }, { spec = { replicas = 0 } }))))
    assert.is_true((ready { kind = "Namespace", metadata = {}, status = { phase = "Active" } }))
    assert.is_false((ready { kind = "PersistentVolumeClaim", metadata = {},
      status = { phase = "Pending" } }))
    assert.is_true((ready { kind = "ConfigMap", metadata = {} }))
    assert.is_true((ready { kind = "Service", metadata = {}, spec = { type = "ClusterIP" } }))
    assert.is_false((ready { kind = "Service", metadata = {}, spec = { type = "LoadBalancer" },
      status = { loadBalancer = {} } }))
    assert.is_false((ready { kind = "ConfigMap", metadata = { deletionTimestamp = "2026" } }))
    failure("kube", "failed", ready, { kind = "Job", metadata = { name = "j" },
      status = { conditions = { { type = "Failed", status = "True", reason = "Backoff" } } } })
  end)
end)
