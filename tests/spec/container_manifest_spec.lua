local checks = require "moonport.container.checks"
local container = require "moonport.container.manifest"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/container_helper.lua")
local manifest = require "moonport.manifest"
local schema = require "moonport.schema"

local only, fine = helper.only, helper.fine

describe("the manifest of a pod", function()
  it("needs nothing but an image", function()
    local data = helper.manifest {}
    assert.equal(1, data.container.replicas)
    assert.same({}, checks.warnings(data))
  end)

  it("needs an image", function()
    manifest.register_target("container", container)
    local ok, err = pcall(manifest.build, {
      { name = "manifest", raw = { name = "x", target = "container" } },
    })
    assert.is_false(ok)
    assert.truthy(err.message:find("a pod needs `image`", 1, true))
  end)

  it("is told from the manifest itself: a field in the wrong one is led to the other", function()
    only("container.isolation", "`isolation` stands in the manifest itself, outside of `container",
      { container = { isolation = "required" } })
    only("replicas", "it belongs into the target's table: `container = { replicas = ... }`",
      { replicas = 3 })
    only("container.replcas", "did you mean `replicas`?", { container = { replcas = 3 } })
  end)

  it("has every field documented", function()
    for _, row in ipairs(schema.describe(container)) do
      assert.truthy(#row.doc > 0, row.path .. " is not documented")
      assert.truthy(#row.doc < 110, row.path .. " is documented at length")
    end
  end)

  it("may stand in a manifest for another target, and is then checked as far as it goes", function()
    manifest.register_target("container", container)
    local loaded = manifest.build {
      { name = "manifest", raw = { name = "x", target = "native", container = { replicas = 2 },
        binary = "./x", restart = { policy = "no", max = 3 } } },
    }
    assert.equal(2, loaded.data.container.replicas)
  end)

  describe("and restarts", function()
    it("cannot limit their number, where that was asked for", function()
      only("restart.max", "leave out `restart.max`", { restart = { max = 3 } })
      fine { restart = { max = 0 } }
      fine { restart = { policy = "no", max = 3 } }
      fine {}
    end)

    it("are always made with replicas", function()
      only("restart.policy", "must be `always` with `container.replicas` above 1, not `no`",
        { restart = { policy = "no" }, container = { replicas = 3 } })
      only("restart.policy", "with `container.rolling`",
        { restart = { policy = "on-failure" }, container = { rolling = true } })
      fine { restart = { policy = "always" }, container = { replicas = 3 } }
      fine { container = { replicas = 3 } }
      fine { restart = { policy = "no" } }
    end)

    it("are refused with the line where they stand", function()
      manifest.register_target("container", container)
      local ok, err = pcall(manifest.build, { {
        name = "manifest", raw = { name = "x", target = "container", image = "x",
          restart = { max = 3 } },
        locate = function(path) return "x.lua", path == "restart.max" and 7 or 1 end,
      } })
      assert.is_false(ok)
      assert.truthy(tostring(err):find("x.lua:7: Kubernetes cannot limit", 1, true))
    end)
  end)

  it("registers by one pod alone", function()
    local registration = { output = "out.json" }
    only("registration", "runs once, and not with `container.replicas` above 1",
      { registration = registration, container = { replicas = 2 } })
    fine { registration = registration }
  end)

  it("has one readiness probe, beside `ready.log`", function()
    only("ready.tcp", "`ready.tcp` cannot stand beside `ready.http`",
      { ready = { http = "http://127.0.0.1/", tcp = "127.0.0.1:1" } })
    fine { ready = { http = "http://127.0.0.1/", log = "ready" } }
  end)

  it("is not listened to when it tells of itself", function()
    only("ready.notify", "use a probe of the pod", { ready = { notify = true } })
    only("ready.notify", "does not listen",
      { ready = { notify = true, http = "http://127.0.0.1/" } })
  end)

  it("shows no password in its probe", function()
    only("ready.http", "holds a password", { ready = { http = "http://a:b@127.0.0.1/" } })
    fine { ready = { http = "http://127.0.0.1/x@y" } }
  end)

  describe("and its data", function()
    it("says where a host's `data_dir` is to be in a pod", function()
      only("data_dir", "set `container.data.kind`", { data_dir = "/srv/x" })
      for _, kind in ipairs { "empty", "host" } do
        fine { data_dir = "/srv/x", container = { data = { kind = kind } } }
      end
    end)

    it("has a path on a host, and only there", function()
      only("container.data.path", "needs `container.data.path`",
        { container = { data = { kind = "host" } } })
      only("container.data.path", "means nothing for the kind `claim`",
        { container = { data = { kind = "claim", size = "1GiB", path = "/x" } } })
      only("container.data.path", "means nothing for the kind `empty`",
        { container = { data = { path = "/x" } } })
    end)

    it("has a size as a claim, its own or the limit's", function()
      only("container.data.size", "needs `container.data.size`",
        { container = { data = { kind = "claim" } } })
      fine { container = { data = { kind = "claim" } }, limits = { storage = "1GiB" } }
      only("container.data.size", "means nothing for the kind `host`",
        { container = { data = { kind = "host", path = "/x", size = "1GiB" } } })
    end)

    it("stays only as a claim", function()
      only("container.data.keep", "means nothing for the kind `empty`",
        { container = { data = { keep = true } } })
    end)

    it("is not one directory for several replicas", function()
      only("container.data.kind", "cannot share one directory",
        { container = { replicas = 2, data = { kind = "host", path = "/x" } } })
    end)
  end)

  describe("and its rights", function()
    it("is not root unless it says so twice", function()
      only("container.security.run_as_user", "`container.security.run_as_user` is root",
        { container = { security = { run_as_user = 0 } } })
      only("user", "`user` is root", { user = "0" })
      fine { container = { security = { run_as_user = 0, run_as_non_root = false } } }
    end)

    it("names capabilities as Kubernetes does", function()
      only("container.security.capabilities[1]", "NET_ADMIN",
        { container = { security = { capabilities = { "CAP_NET_ADMIN" } } } })
      only("container.security.allow_privilege_escalation", "SYS_ADMIN",
        { container = { security = { capabilities = { "SYS_ADMIN" } } } })
    end)

    it("names a seccomp profile that can be", function()
      only("container.security.seccomp", "`RuntimeDefault`, `Unconfined` or",
        { container = { security = { seccomp = "default" } } })
      only("container.security.seccomp", "not \"localhost/../x\"",
        { container = { security = { seccomp = "localhost/../x" } } })
      fine { container = { security = { seccomp = "localhost/profiles/x.json" } } }
    end)
  end)

  it("does not reserve more than it may use", function()
    only("container.requests.memory", "is 2GiB, above `limits.memory` (1GiB)",
      { limits = { memory = "1GiB" }, container = { requests = { memory = "2GiB" } } })
  end)

  it("has ports that can be told apart", function()
    only("container.ports.b", "the ports `a` and `b` are both 80/TCP",
      { container = { ports = { a = 80, b = 80 } } })
    fine { container = { ports = { a = 80, b = { port = 80, protocol = "UDP" } } } }
    only("container.ports.metrics_port", "up to 15 lower-case letters",
      { container = { ports = { metrics_port = 80 } } })
  end)

  it("bears taints that can be", function()
    local function tolerate(toleration)
      return { container = { tolerations = { toleration } } }
    end
    only("container.tolerations[1].value", "`Exists` does not look at",
      tolerate { key = "a", operator = "Exists", value = "b" })
    only("container.tolerations[1].key", "no key", tolerate { value = "b" })
    only("container.tolerations[1].seconds", "`NoExecute`", tolerate { key = "a", seconds = 3 })
  end)

  it("leaves moonport's own marks alone", function()
    only('container.labels["moonport/store"]', "belongs to moonport",
      { container = { labels = { ["moonport/store"] = "x" } } })
    only('container.annotations["app.kubernetes.io/instance"]', "belongs to moonport",
      { container = { annotations = { ["app.kubernetes.io/instance"] = "x" } } })
    fine { container = { labels = { ["app.kubernetes.io/part-of"] = "x", tier = "1" } } }
  end)

  it("holds what Kubernetes takes for names, labels and addresses", function()
    only("container.namespace", "must be a namespace", { container = { namespace = "a.b" } })
    only("container.runtime_class", "must be a name", { container = { runtime_class = "A" } })
    only("container.node_selector.a", "cannot be the value of a label",
      { container = { node_selector = { a = "b c" } } })
    only('container.node_selector["a b"]', "is no key", {
      container = { node_selector = { ["a b"] = "c" } },
    })
    only("container.host_address", "must be an IP address or a host name",
      { container = { host_address = "http://x" } })
    only("container.host_aliases.x", "must be an IP address",
      { container = { host_aliases = { x = "y" } } })
  end)

  it("warns of what a pod runs without, by name", function()
    local warnings = checks.warnings(helper.manifest {
      user = "squaring",
      limits = { pids = 100, nofile = 4096, storage = "1GiB" },
      stop = { signal = "INT" },
      restart = { backoff = 3 },
      log = { max_files = 2 },
      container = { data = { kind = "host", path = "/x" } },
    })
    local text = table.concat(warnings, "\n")
    for _, part in ipairs { "`user`", "`limits.pids`", "`limits.nofile`", "`limits.storage`",
      "`stop.signal`", "`restart.backoff`", "`log.max_files`",
      "`/x` is root's where its node makes it: uid 1000" } do
      assert.truthy(text:find(part, 1, true), part .. " is not in: " .. text)
    end
    assert.equal(8, #warnings)
  end)

  it("says nothing of a directory of the node to who runs as root", function()
    assert.same({}, checks.warnings(helper.manifest { container = {
      data = { kind = "host", path = "/x" },
      security = { run_as_user = 0, run_as_non_root = false },
    } }))
  end)
end)
