local address = require "moonport.container.address"
local data = require "moonport.container.data"
local environment = require "moonport.container.environment"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/container_helper.lua")
local json = require "moonport.json"
local maybe = require "moonport.engine.maybe"
local names = require "moonport.container.names"
local quantity = require "moonport.container.quantity"
local registration = require "moonport.container.registration"
local secret = require "moonport.secret"
local workload = require "moonport.container.workload"

local HOST = { address = "10.96.0.9" }

local LABELS = {
  ["app.kubernetes.io/name"] = "squaring",
  ["app.kubernetes.io/instance"] = "squaring-0c5a3ad2",
  ["app.kubernetes.io/managed-by"] = "moonport",
  ["moonport/store"] = helper.STORE,
  ["moonport/deployment"] = "4f3c2b1a",
  ["moonport/name"] = "squaring",
}

local function with(base, more)
  local copy = {}
  for key, value in pairs(base) do copy[key] = value end
  for key, value in pairs(more) do copy[key] = value end
  return copy
end

local function parts(more)
  return with({ namespace = "blueprints", host = HOST }, more or {})
end

local function pod_of(fields, more)
  return workload.pod(helper.context(fields), parts(more))
end

local function container_of(fields, more)
  return pod_of(fields, more).spec.containers[1]
end

local function env_of(fields, more)
  local env = {}
  for _, variable in ipairs(container_of(fields, more).env) do
    env[variable.name] = variable.value or variable.valueFrom
  end
  return env
end

describe("the pod of a blueprint", function()
  it("is plain, closed and named after its revision, when the manifest says no more", function()
    assert.same({ {
      apiVersion = "v1",
      kind = "Pod",
      metadata = {
        name = "squaring-0c5a3ad2-r3",
        namespace = "blueprints",
        labels = with(LABELS, {
          ["app.kubernetes.io/version"] = "1.2", ["moonport/tag"] = "4f3c2b1a-3",
        }),
        annotations = { ["moonport/revision"] = "3" },
      },
      spec = {
        containers = { {
          name = "blueprint",
          image = "squaring:1.2",
          args = { "run" },
          env = { { name = "DATA_DIR", value = "/mnt/data" } },
          securityContext = {
            allowPrivilegeEscalation = false,
            readOnlyRootFilesystem = false,
            capabilities = { drop = { "ALL" } },
          },
          volumeMounts = { { name = "data", mountPath = "/mnt/data" } },
        } },
        volumes = { { name = "data", emptyDir = {} } },
        restartPolicy = "OnFailure",
        terminationGracePeriodSeconds = 10,
        automountServiceAccountToken = false,
        enableServiceLinks = false,
        securityContext = {
          runAsNonRoot = true, runAsUser = 1000, runAsGroup = 1000, fsGroup = 1000,
          seccompProfile = { type = "RuntimeDefault" },
        },
      },
    } }, workload.objects(helper.context(), parts()))
  end)

  it("has what the contract promises, and secrets only by reference", function()
    local fields = {
      keystore = "keys", blueprint_id = 0, service_id = 7, protocol = "eigenlayer",
      chain = "local", http_rpc_url = "http://127.0.0.1:8545", ws_rpc_url = "wss://rpc.example/x",
      bootnodes = { "/ip4/127.0.0.1/tcp/30333/p2p/Q", "/dns4/b.example/tcp/1" },
      env = { RUST_LOG = "info", TOKEN = { ["$secret"] = { env = "HOME" } } },
      args = { test_mode = true, verbose = 2, poll = 5 },
    }
    local more = {
      keystore = { secret = "ks", items = { { key = "a__b", path = "a/b" } } },
      environment = { secret = "squaring-env" },
    }
    assert.same({
      BLUEPRINT_ID = "0", SERVICE_ID = "7", PROTOCOL = "eigenlayer", CHAIN = "local",
      HTTP_RPC_URL = "http://10.96.0.9:8545", WS_RPC_URL = "wss://rpc.example/x",
      BOOTNODES = "/ip4/10.96.0.9/tcp/30333/p2p/Q,/dns4/b.example/tcp/1",
      DATA_DIR = "/mnt/data", KEYSTORE_URI = "/mnt/keystore", RUST_LOG = "info",
      TOKEN = { secretKeyRef = { name = "squaring-env", key = "TOKEN" } },
    }, env_of(fields, more))
    local pod = pod_of(fields, more)
    assert.same({ "run", "--test-mode", "-vv", "--poll", "5" }, pod.spec.containers[1].args)
    assert.same({
      name = "keystore",
      secret = {
        secretName = "ks", defaultMode = 288, items = { { key = "a__b", path = "a/b" } },
      },
    }, pod.spec.volumes[2])
    assert.same({ name = "keystore", mountPath = "/mnt/keystore", readOnly = true },
      pod.spec.containers[1].volumeMounts[2])
    assert.is_nil(json.encode(pod):find(os.getenv "HOME", 1, true))
  end)

  it("takes the node's own keystore where asked", function()
    assert.same({
      name = "keystore", hostPath = { path = "/srv/keys", type = "Directory" },
    }, pod_of({ keystore = "keys" }, { keystore = { host_path = "/srv/keys" } }).spec.volumes[2])
  end)

  it("leaves out `run` for an image whose entrypoint holds it", function()
    assert.is_nil(container_of { container = { run_word = false } }.args)
    assert.same({ "--pretty" },
      container_of { container = { run_word = false }, args = { pretty = true } }.args)
  end)

  it("runs a command exactly, in place of the image's entrypoint", function()
    local container = container_of { command = { "/bin/x", "-a" }, args = { pretty = true } }
    assert.same({ "/bin/x", "-a" }, container.command)
    assert.is_nil(container.args)
  end)

  it("takes every value literally, whatever Kubernetes would expand", function()
    local fields = {
      env = { A = "$(HOME)", B = "$$", C = "$HOME", D = "a$$(b)$c" }, args = { x = "$(A)" },
    }
    local env = env_of(fields)
    assert.equal("$$(HOME)", env.A)
    assert.equal("$$$$", env.B)
    assert.equal("$HOME", env.C)
    assert.equal("a$$$$(b)$$c", env.D)
    assert.same({ "run", "--x", "$$(A)" }, container_of(fields).args)
    assert.same({ "$$(A)" }, container_of { command = { "$(A)" } }.command)
  end)

  it("is restarted as the manifest says", function()
    assert.equal("Never", pod_of { restart = { policy = "no" } }.spec.restartPolicy)
    assert.equal("Always", pod_of { restart = { policy = "always" } }.spec.restartPolicy)
  end)

  it("has the limits, and reserves them or less", function()
    local limits = { memory = "512MiB", cpus = 1.5, storage = "20GiB", pids = 10 }
    local container = container_of { limits = limits }
    local same = { memory = "512Mi", cpu = "1500m", ["ephemeral-storage"] = "20Gi" }
    assert.same({ limits = same, requests = same }, container.resources)
    container = container_of { limits = limits, container = { requests = { cpus = 0.1 } } }
    assert.equal("100m", container.resources.requests.cpu)
    assert.equal("1500m", container.resources.limits.cpu)
    container = container_of { container = { requests = { memory = "1MB" } } }
    assert.same({ requests = { memory = "1M" } }, container.resources)
  end)

  it("gets graphics processors, on a node that has them", function()
    local pod = pod_of { container = { gpu = { count = 2 }, node_selector = { zone = "a" } } }
    assert.same({ ["nvidia.com/gpu.present"] = "true", zone = "a" }, pod.spec.nodeSelector)
    assert.same({ ["nvidia.com/gpu"] = "2" }, pod.spec.containers[1].resources.limits)
    assert.is_nil(pod.spec.affinity)
    pod = pod_of { container = { gpu = {
      policy = "preferred", weight = 7, node_labels = { ["amd.com/gpu"] = "yes" },
    } } }
    assert.is_nil(pod.spec.nodeSelector)
    assert.is_nil(pod.spec.containers[1].resources)
    assert.same({ nodeAffinity = { preferredDuringSchedulingIgnoredDuringExecution = { {
      weight = 7, preference = { matchExpressions = {
        { key = "amd.com/gpu", operator = "In", values = { "yes" } },
      } },
    } } } }, pod.spec.affinity)
  end)

  it("takes over what the manifest says of images, accounts, nodes and names", function()
    local pod = pod_of { stop = { grace = 2.5 }, container = {
      image_pull_policy = "Never", image_pull_secrets = { "a", "b" }, working_dir = "/srv",
      service_account = "sa", service_account_token = true, service_links = true,
      priority_class = "high", labels = { tier = "1" }, annotations = { note = "x y" },
      host_aliases = { ["b.lan"] = "10.0.0.1", ["a.lan"] = "10.0.0.1", ["c.lan"] = "10.0.0.2" },
      tolerations = { { key = "gpu" }, { key = "a", value = "b", effect = "NoExecute",
        seconds = 3 } },
      ports = { metrics = 9464, p2p = { port = 30333, protocol = "UDP" } },
    } }
    local spec, container = pod.spec, pod.spec.containers[1]
    assert.equal("Never", container.imagePullPolicy)
    assert.equal("/srv", container.workingDir)
    assert.same({ { name = "a" }, { name = "b" } }, spec.imagePullSecrets)
    assert.equal("sa", spec.serviceAccountName)
    assert.is_true(spec.automountServiceAccountToken)
    assert.is_true(spec.enableServiceLinks)
    assert.equal("high", spec.priorityClassName)
    assert.equal(3, spec.terminationGracePeriodSeconds)
    assert.same({ { ip = "10.0.0.1", hostnames = { "a.lan", "b.lan" } },
      { ip = "10.0.0.2", hostnames = { "c.lan" } } }, spec.hostAliases)
    assert.same({ { key = "gpu", operator = "Exists" },
      { key = "a", operator = "Equal", value = "b", effect = "NoExecute", tolerationSeconds = 3 },
    }, spec.tolerations)
    assert.same({ { name = "metrics", containerPort = 9464, protocol = "TCP" },
      { name = "p2p", containerPort = 30333, protocol = "UDP" } }, container.ports)
    assert.equal("1", pod.metadata.labels.tier)
    assert.equal("x y", pod.metadata.annotations.note)
  end)

  it("runs as the manifest's rights say", function()
    local pod = pod_of { container = { security = {
      run_as_user = 0, run_as_group = 0, fs_group = 5, run_as_non_root = false,
      read_only_root = true, capabilities = { "NET_ADMIN" }, seccomp = "localhost/x.json",
    } } }
    assert.same({ runAsNonRoot = false, runAsUser = 0, runAsGroup = 0, fsGroup = 5,
      seccompProfile = { type = "Localhost", localhostProfile = "x.json" } },
      pod.spec.securityContext)
    assert.same({ drop = { "ALL" }, add = { "NET_ADMIN" } },
      pod.spec.containers[1].securityContext.capabilities)
    assert.is_true(pod.spec.containers[1].securityContext.readOnlyRootFilesystem)
    assert.same({ name = "tmp", mountPath = "/tmp" }, pod.spec.containers[1].volumeMounts[2])
    assert.equal(1234, pod_of { user = "1234" }.spec.securityContext.runAsUser)
  end)

  it("runs under the RuntimeClass that was chosen, and tells containerd the handler", function()
    local pod = pod_of({}, { runtime_class = "vms", runtime_handler = "kata-qemu" })
    assert.equal("vms", pod.spec.runtimeClassName)
    assert.equal("kata-qemu", pod.metadata.annotations["io.containerd.cri.runtime-handler"])
  end)

  it("registers once, into what the kubelet gives back", function()
    local pod = pod_of { registration = { output = "out.json" } }
    assert.equal("Never", pod.spec.restartPolicy)
    assert.equal("/mnt/registration.json", pod.spec.containers[1].terminationMessagePath)
    local env = env_of { registration = { output = "out.json" } }
    assert.equal("true", env.REGISTRATION_MODE_ON)
    assert.equal("/mnt/registration.json", env.REGISTRATION_OUTPUT_PATH)
  end)

  it("reaches further ports of the host by a name", function()
    local fields = { container = { host_ports = { 8080, 8545 },
      host_aliases = { ["a.lan"] = "10.0.0.1" } } }
    assert.same({ { ip = "10.0.0.1", hostnames = { "a.lan" } },
      { ip = "10.96.0.9", hostnames = { "blueprint-service" } } }, pod_of(fields).spec.hostAliases)
    assert.same({ { ip = "10.0.0.1", hostnames = { "a.lan" } } },
      pod_of(fields, { host = { address = "host.lan" } }).spec.hostAliases)
    assert.equal("(known after host)",
      pod_of(fields, { host = maybe.new "host" }).spec.hostAliases[2].ip)
  end)

  it("can be described before the host's address is known", function()
    local env = env_of({ http_rpc_url = "http://localhost:1/" },
      { host = maybe.new "host", environment = { secret = maybe.new "environment" } })
    assert.equal("(known after host)", env.HTTP_RPC_URL)
  end)
end)

describe("the readiness of a pod", function()
  local function probes(ready, more)
    local container = container_of(with({ ready = ready }, more or {}))
    return container.startupProbe, container.readinessProbe, container.livenessProbe
  end

  it("is asked of the pod's own address, for a URL that means the service itself", function()
    for url, get in pairs {
      ["http://127.0.0.1:9090/-/ready?x=1"] = { scheme = "HTTP", port = 9090,
        path = "/-/ready?x=1" },
      ["http://localhost"] = { scheme = "HTTP", port = 80, path = "/" },
      ["https://[::1]?a"] = { scheme = "HTTPS", port = 443, path = "/?a" },
      ["http://10.1.2.3:8/x#y"] = { scheme = "HTTP", port = 8, path = "/x", host = "10.1.2.3" },
    } do
      local startup, readiness, liveness = probes { http = url }
      for _, probe in ipairs { startup, readiness, liveness } do
        assert.same(get, probe.httpGet)
      end
    end
  end)

  it("may take the manifest's time at the start, and is then asked at its interval", function()
    local startup, readiness, liveness =
      probes { tcp = "127.0.0.1:99", timeout = "90s", interval = "2s" }
    assert.same({ tcpSocket = { port = 99 }, periodSeconds = 2, timeoutSeconds = 5,
      successThreshold = 1, failureThreshold = 45 }, startup)
    assert.same({ tcpSocket = { port = 99 }, periodSeconds = 2, timeoutSeconds = 5,
      successThreshold = 1, failureThreshold = 3 }, readiness)
    assert.same({ tcpSocket = { port = 99 }, periodSeconds = 10, timeoutSeconds = 5,
      successThreshold = 1, failureThreshold = 6 }, liveness)
  end)

  it("says of life what the manifest wants it to", function()
    local _, readiness, liveness = probes({ exec = { "check", "$(A)" } }, { container = {
      probes = { period = "30s", failures = 2, timeout = "1s" } } })
    assert.same({ "check", "$(A)" }, readiness.exec.command)
    assert.equal(30, liveness.periodSeconds)
    assert.equal(2, liveness.failureThreshold)
    assert.equal(1, readiness.timeoutSeconds)
    _, _, liveness = probes({ tcp = "x:1" }, { container = { probes = { liveness = false } } })
    assert.is_nil(liveness)
  end)

  it("can be a file, which says nothing of life", function()
    local _, readiness, liveness = probes { file = "ready" }
    assert.same({ "test", "-e", "/mnt/data/ready" }, readiness.exec.command)
    assert.is_nil(liveness)
  end)

  it("is for moonport to see where it is a line of output", function()
    assert.is_nil(probes { log = "ready" })
  end)
end)

describe("the data of a pod", function()
  it("is an empty directory, as large as allowed", function()
    assert.same({ name = "data", emptyDir = { sizeLimit = "1Gi" } },
      pod_of { container = { data = { size = "1GiB" } } }.spec.volumes[1])
  end)

  it("is a directory of the node", function()
    assert.same({ name = "data", hostPath = { path = "/srv/x", type = "DirectoryOrCreate" } },
      pod_of { container = { data = { kind = "host", path = "/srv/x" } } }.spec.volumes[1])
  end)

  it("is a claim that stays from revision to revision", function()
    local ctx = helper.context { limits = { storage = "2GiB" }, container = { data = {
      kind = "claim", storage_class = "fast", keep = true } } }
    local claims = data.claims(ctx, "blueprints")
    assert.same({ {
      apiVersion = "v1", kind = "PersistentVolumeClaim",
      metadata = { name = "data-squaring-0c5a3ad2-0", namespace = "blueprints",
        labels = with(LABELS, { ["moonport/keep"] = "true" }) },
      spec = { accessModes = { "ReadWriteOnce" }, storageClassName = "fast",
        resources = { requests = { storage = "2Gi" } } },
    } }, claims)
    local pod = workload.pod(ctx, parts())
    assert.same({ claimName = "data-squaring-0c5a3ad2-0" },
      pod.spec.volumes[1].persistentVolumeClaim)
    assert.is_nil(pod.spec.containers[1].resources)
    assert.equal("OnRootMismatch", pod.spec.securityContext.fsGroupChangePolicy)
  end)
end)

describe("several replicas", function()
  local function objects(container)
    local ctx = helper.context { container = container }
    return ctx, table.unpack(workload.objects(ctx, parts()))
  end

  it("are a StatefulSet behind a Service without an address", function()
    local ctx, service, set = objects { replicas = 3, ports = { metrics = 9464 } }
    assert.same({
      apiVersion = "v1", kind = "Service",
      metadata = { name = "squaring-0c5a3ad2", namespace = "blueprints", labels = LABELS },
      spec = {
        clusterIP = "None", publishNotReadyAddresses = true,
        selector = { ["moonport/store"] = helper.STORE, ["moonport/deployment"] = "4f3c2b1a" },
        ports = { { name = "metrics", port = 9464, targetPort = 9464, protocol = "TCP" } },
      },
    }, service)
    local template = set.spec.template
    set.spec.template = nil
    assert.same({
      apiVersion = "apps/v1", kind = "StatefulSet",
      metadata = { name = "squaring-0c5a3ad2", namespace = "blueprints", labels = LABELS,
        annotations = { ["moonport/revision"] = "3" } },
      spec = {
        replicas = 3, serviceName = "squaring-0c5a3ad2", podManagementPolicy = "Parallel",
        selector = { matchLabels = names.selector(ctx) },
        updateStrategy = { type = "RollingUpdate" },
      },
    }, set)
    assert.equal("Always", template.spec.restartPolicy)
  end)

  it("are not replaced because there are to be more, or because of another revision", function()
    local fields = { container = { replicas = 2 } }
    local before = workload.set(helper.context(fields), parts())
    fields.container.replicas = 5
    local after = workload.set(helper.context(fields, { revision = 9, tag = "4f3c2b1a-9" }),
      parts())
    assert.same(before.spec.template, after.spec.template)
    assert.same(before.spec.selector, after.spec.selector)
  end)

  it("have a claim each, the first of them that of a single pod", function()
    local ctx, _, set = objects { replicas = 2, data = { kind = "claim", size = "1GiB" },
      labels = { tier = "1" } }
    assert.same({ {
      metadata = { name = "data", labels = LABELS },
      spec = { accessModes = { "ReadWriteOnce" }, resources = { requests = { storage = "1Gi" } } },
    } }, set.spec.volumeClaimTemplates)
    assert.is_nil(set.spec.template.spec.volumes)
    assert.same({}, data.claims(ctx, "blueprints"))
    assert.same({ "data-squaring-0c5a3ad2-0", "data-squaring-0c5a3ad2-1" }, data.claim_names(ctx))
  end)

  it("can be one, which is scaled without a new start", function()
    local _, _, set = objects { rolling = true }
    assert.equal(1, set.spec.replicas)
  end)
end)

describe("the names of objects", function()
  local function base_of(name)
    return names.base(helper.context({ name = name }))
  end

  it("fit, however long the deployment's is, and stay apart", function()
    local long = ("a"):rep(62)
    for _, last in ipairs { "b", "c" } do
      local base = base_of(long .. last)
      assert.truthy(#base <= 52)
      assert.truthy(base:find "^a+%-%x+%-0c5a3ad2$")
    end
    assert.not_equal(base_of(long .. "b"), base_of(long .. "c"))
    assert.equal(52, #base_of(("a"):rep(43)))
  end)

  it("begin with a letter for a Service, and end with none of `-` in a label", function()
    local ctx = helper.context { name = "7-" }
    assert.equal("s-7--0c5a3ad2", names.service(ctx))
    assert.equal("7", names.labels(ctx)["moonport/name"])
  end)

  it("differ between two stores that deploy the same", function()
    assert.not_equal(names.base(helper.context()), names.base(helper.context({}, {
      store = "ffffffff-0000-4000-8000-000000000000",
    })))
  end)

  it("tell an image's version where it has one", function()
    for image, version in pairs {
      ["a:1.2"] = "1.2", ["r.example:5000/a/b:v1-x"] = "v1-x", ["r.example:5000/a/b"] = false,
      ["a@sha256:0123"] = false, ["a:3@sha256:0123"] = "3",
    } do
      assert.equal(version or nil, names.version(image))
    end
  end)
end)

describe("an address of the host", function()
  local function seen(text, host)
    return address.translate(text, host or HOST)
  end

  it("is rewritten where it is a loopback, and all else stays to the byte", function()
    for from, to in pairs {
      ["http://127.0.0.1:8545"] = "http://10.96.0.9:8545",
      ["HTTP://LocalHost:8545/a%20b?q=127.0.0.1#f"] = "HTTP://10.96.0.9:8545/a%20b?q=127.0.0.1#f",
      ["https://u:p@127.9.9.9/x"] = "https://u:p@10.96.0.9/x",
      ["ws://[::1]:1/"] = "ws://10.96.0.9:1/",
      ["ws://[::]:1"] = "ws://10.96.0.9:1",
      ["http://0.0.0.0:3?x"] = "http://10.96.0.9:3?x",
      ["http://[::ffff:127.0.0.1]:3"] = "http://10.96.0.9:3",
      ["enode://abc@127.0.0.1:30303?discport=1"] = "enode://abc@10.96.0.9:30303?discport=1",
      ["/ip4/127.0.0.1/udp/9/quic-v1"] = "/ip4/10.96.0.9/udp/9/quic-v1",
      ["/dns4/localhost/tcp/9"] = "/ip4/10.96.0.9/tcp/9",
      ["/ip6/::1/tcp/9/p2p/Q"] = "/ip4/10.96.0.9/tcp/9/p2p/Q",
    } do
      assert.equal(to, seen(from))
    end
  end)

  it("is left alone where it is none", function()
    for _, text in ipairs {
      "http://10.0.0.1:8545", "https://127.0.0.1.example/", "http://x/127.0.0.1",
      "http://localhost@rpc.example/", "/ip4/10.0.0.1/tcp/1", "/dns4/localhost.example/tcp/1",
      "not an address", "", "http://1270.0.0.1/", "http://[fe80::1]/",
    } do
      assert.equal(text, seen(text))
    end
  end)

  it("has the port that leads there, and brackets where it needs them", function()
    local host = { address = "fd00::9", ports = { [8545] = 18545, [80] = 8080 } }
    assert.equal("http://[fd00::9]:18545/x", seen("http://127.0.0.1:8545/x", host))
    assert.equal("http://[fd00::9]:8080", seen("http://127.0.0.1", host))
    assert.equal("/ip6/fd00::9/tcp/18545", seen("/ip4/127.0.0.1/tcp/8545", host))
    assert.equal("/dns/host.lan/tcp/8545",
      seen("/ip4/127.0.0.1/tcp/8545", { address = "host.lan" }))
  end)

  it("tells which ports a pod is to reach, each once", function()
    assert.same({
      { port = 8545, protocol = "TCP", name = "http-rpc", from = "http://127.0.0.1:8545" },
      { port = 443, protocol = "TCP", name = "ws-rpc", from = "wss://localhost" },
      { port = 8545, protocol = "UDP", name = "bootnode-2", from = "/ip4/127.0.0.1/udp/8545" },
    }, address.ports(helper.manifest {
      http_rpc_url = "http://127.0.0.1:8545", ws_rpc_url = "wss://localhost",
      bootnodes = { "/ip4/127.0.0.1/tcp/8545", "/ip4/127.0.0.1/udp/8545", "/ip4/9.9.9.9/tcp/1" },
    }))
    assert.same({}, address.ports(helper.manifest { http_rpc_url = "http://10.0.0.1:8545" }))
    assert.same({
      { port = 8545, protocol = "TCP", name = "http-rpc", from = "http://127.0.0.1:8545" },
      { port = 8080, protocol = "TCP", name = "host-8080", from = "container.host_ports[2]" },
    }, address.ports(helper.manifest { http_rpc_url = "http://127.0.0.1:8545",
      container = { host_ports = { 8545, 8080 } } }))
    assert.equal(1, #address.ports(helper.manifest { ws_rpc_url = "ws://127.0.0.1:1" }))
  end)
end)

describe("the secrets among a service's variables", function()
  local fields = { env = { A = "plain", T = { ["$secret"] = { env = "HOME" } } } }

  it("are a Secret that is known by its content and hides it", function()
    local ctx = helper.context(fields)
    assert.same({ T = { env = "HOME" } }, environment.secret_references(ctx.manifest))
    local values = { T = secret.env "HOME" }
    local name = environment.secret_name(ctx, values, "key")
    assert.truthy(name:find("^squaring%-0c5a3ad2%-env%-%x+$"))
    assert.equal(name, environment.secret_name(ctx, values, "key"))
    assert.not_equal(name, environment.secret_name(ctx, { T = secret.env "PATH" }, "key"))
    assert.not_equal(name, environment.secret_name(ctx, { U = secret.env "HOME" }, "key"))
    local object = environment.secret(ctx, values, name, "blueprints")
    assert.equal(name, object.metadata.name)
    assert.is_true(object.immutable)
    assert.is_true(secret.is(object.data.T))
  end)
end)

describe("an amount", function()
  it("is written as the server writes it back", function()
    for bytes, text in pairs {
      [512 << 20] = "512Mi", [1 << 40] = "1Ti", [1536] = "1536", [1000] = "1k", [1500000] = "1500k",
      [1000001] = "1000001", [1024000] = "1000Ki", [3 << 60] = "3Ei",
    } do
      assert.equal(text, quantity.bytes(bytes))
    end
    for cpus, text in pairs {
      [2] = "2", [0.25] = "250m", [1.5] = "1500m", [0.0001] = "1m", [0.1 * 3] = "300m",
    } do
      assert.equal(text, quantity.cpus(cpus))
    end
  end)
end)

describe("what a registration has written", function()
  local function pod(terminated)
    return { status = { containerStatuses = { { state = { terminated = terminated } } } } }
  end

  local function refusal(terminated, part)
    local ok, err = pcall(registration.output, pod(terminated))
    assert.is_false(ok)
    assert.truthy(err.message:find(part, 1, true), err.message)
  end

  it("comes back with the end of its pod", function()
    assert.is_nil(registration.output {})
    assert.is_nil(registration.output(pod(nil)))
    assert.equal('{"a":1}', registration.output(pod { exitCode = 0, message = '{"a":1}' }))
  end)

  it("is refused where it cannot be whole", function()
    refusal({ exitCode = 0, message = ("x"):rep(4096) }, "4096 bytes or more")
    refusal({ exitCode = 0, message = "a\u{fffd}" }, "not text")
    refusal({ exitCode = 0 }, "wrote no output")
    refusal({ exitCode = 2, message = "x" }, "exited with 2")
    refusal({ exitCode = 137, reason = "OOMKilled" }, "out of memory")
  end)
end)
