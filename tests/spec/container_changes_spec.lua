local changes = require "moonport.container.changes"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/container_helper.lua")
local workload = require "moonport.container.workload"

local PARTS = { namespace = "blueprints", host = { address = "10.96.0.9" } }

local function objects(fields, parts)
  return workload.objects(helper.context(fields), parts or PARTS)
end

describe("what changes between two revisions of a pod", function()
  it("is nothing where only the revision differs", function()
    local other = workload.objects(helper.context({}, { revision = 4, tag = "4f3c2b1a-4" }), PARTS)
    assert.same({}, changes.rows(objects {}, other))
  end)

  it("is told field by field, the most important first", function()
    assert.same({
      { action = "change", what = "image", from = "squaring:1.2", to = "squaring:1.3" },
      { action = "change", what = "args", from = "run", to = "run --pretty" },
      { action = "change", what = "env A", from = "1", to = "2" },
      { action = "delete", what = "env B", from = "" },
      { action = "create", what = "env C", to = "x y" },
      { action = "change", what = "pod.securityContext.runAsUser", from = "1000", to = "7" },
      { action = "create", what = "ports[metrics].containerPort", to = "9464" },
      { action = "create", what = "ports[metrics].protocol", to = "TCP" },
      { action = "change", what = "resources.limits.memory", from = "1Gi", to = "2Gi" },
      { action = "change", what = "resources.requests.memory", from = "1Gi", to = "2Gi" },
    }, (function()
      local rows = changes.rows(
        objects { env = { A = "1", B = "" }, limits = { memory = "1GiB" } },
        objects { image = "squaring:1.3", args = { pretty = true }, env = { A = "2", C = "x y" },
          limits = { memory = "2GiB" },
          container = { security = { run_as_user = 7 }, ports = { metrics = 9464 } } })
      local kept = {}
      for _, row in ipairs(rows) do
        if not row.what:find "^labels" then kept[#kept + 1] = row end
      end
      return kept
    end)())
  end)

  it("is a StatefulSet in the pod's place", function()
    local rows = changes.rows(objects {}, objects { container = { replicas = 3 } })
    assert.same({ action = "change", what = "kind", from = "Pod", to = "StatefulSet" }, rows[1])
    assert.same({ action = "change", what = "replicas", from = "1", to = "3" }, rows[2])
    assert.same({ action = "change", what = "restartPolicy", from = "OnFailure", to = "Always" },
      rows[3])
    assert.is_nil(rows[4])
  end)

  it("never shows a secret, only that there is one, and that they have changed", function()
    local reference = { ["$secret"] = { env = "HOME" } }
    local function with(name)
      return { namespace = "blueprints", environment = { secret = name } }
    end
    assert.same({ { action = "change", what = "secret variables", from = "env-1", to = "env-2" } },
      changes.rows(objects({ env = { T = reference } }, with "env-1"),
        objects({ env = { T = reference } }, with "env-2")))
    assert.same({ action = "change", what = "env T", from = "x", to = "(secret)" },
      changes.rows(objects { env = { T = "x" } },
        objects({ env = { T = reference } }, with "env-1"))[1])
  end)

  it("may be unknown before an earlier step", function()
    local fields = { http_rpc_url = "http://127.0.0.1:1" }
    local rows = changes.rows(objects(fields), objects(fields, {
      namespace = "blueprints", host = require "moonport.engine.maybe".new "host",
    }))
    assert.same({ { action = "maybe", what = "env HTTP_RPC_URL", from = "http://10.96.0.9:1",
      to = "(known after host)" } }, rows)
  end)

  it("is not what only the server has added", function()
    local found = objects { container = { replicas = 2 } }
    found[2].spec.template.spec.dnsPolicy = "ClusterFirst"
    found[2].spec.template.spec.containers[1].imagePullPolicy = "Always"
    found[2].status = { replicas = 2 }
    local wanted = objects { container = { replicas = 2 } }
    assert.same({}, changes.rows(found, wanted, { subset = true }))
    found[2].spec.template.spec.containers[1].image = "other"
    assert.same({ { action = "change", what = "image", from = "other", to = "squaring:1.2" } },
      changes.rows(found, wanted, { subset = true }))
  end)
end)

describe("a StatefulSet", function()
  local function set(container)
    return objects({ container = container })[2]
  end

  it("can change its pods, and how many they are", function()
    local found = set { replicas = 2 }
    found.spec.revisionHistoryLimit = 10
    assert.same({}, changes.immutable(found,
      set { replicas = 5, labels = { a = "b" }, security = { run_as_user = 7 } }))
  end)

  it("has to be made anew for other claims", function()
    local found = set { replicas = 2, data = { kind = "claim", size = "1GiB" } }
    local rows = changes.immutable(found,
      set { replicas = 2, data = { kind = "claim", size = "2GiB" }, labels = { a = "b" } })
    assert.same({ { action = "change",
      what = "volumeClaimTemplates[1].spec.resources.requests.storage", from = "1Gi", to = "2Gi" },
    }, rows)
    assert.equal("delete", changes.immutable(found, set { replicas = 2 })[1].action)
    assert.equal("create", changes.immutable(set { replicas = 2 }, found)[1].action)
  end)
end)
