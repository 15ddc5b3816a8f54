-- What deployments, stores and machines share on a cluster, and how it is told whose it is.
local access = require "moonport.container.access"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/container_helper.lua")
local host = require "moonport.container.host"
local host_address = require "moonport.container.host_address"
local listener = require "moonport.listener"
local marks = require "moonport.container.marks"
local names = require "moonport.container.names"
local namespace = require "moonport.container.namespace"
local net = require "moonport.net"
local resources = require "moonport.resources"

local STORE = helper.STORE
local OURS = marks.store_label(STORE)

describe("a namespace", function()
  local function object(fields) return { metadata = fields, status = { phase = "Active" } } end
  local made = { [marks.MADE] = "some-store" }

  it("is ours to remove only where moonport made it and our label is on it", function()
    assert.equal("missing", namespace.standing(nil, STORE))
    assert.equal("foreign", namespace.standing(object {}, STORE))
    assert.equal("foreign", namespace.standing(object { labels = { [OURS] = "" } }, STORE))
    assert.equal("shared", namespace.standing(object { annotations = made }, STORE))
    assert.equal("ours", namespace.standing(object { annotations = made, labels = { [OURS] = "" } },
      STORE))
    assert.equal("terminating",
      namespace.standing(object { annotations = made, deletionTimestamp = "t" }, STORE))
  end)

  it("is empty when it holds what every namespace holds, and what goes by itself", function()
    local function is_given(kind, name, more)
      local found = { kind = kind, metadata = { name = name } }
      for key, value in pairs(more or {}) do found[key] = value end
      return namespace.is_given(found)
    end
    assert.is_true(is_given("ServiceAccount", "default"))
    assert.is_true(is_given("ConfigMap", "kube-root-ca.crt"))
    assert.is_true(is_given("Event", "x"))
    assert.is_true(is_given("EndpointSlice", "x",
      { metadata = { name = "x", ownerReferences = { {} } } }))
    assert.is_true(is_given("Secret", "default-token-x", {
      type = "kubernetes.io/service-account-token",
      metadata = {
        name = "d", annotations = { ["kubernetes.io/service-account.name"] = "default" },
      },
    }))
    assert.is_false(is_given("ServiceAccount", "mine"))
    assert.is_false(is_given("ConfigMap", "mine"))
    assert.is_false(is_given("Secret", "mine"))
    assert.is_false(is_given("Pod", "default"))
  end)

  it("says what holds it while it is being deleted", function()
    local text = namespace.holders {
      metadata = {}, status = { conditions = {
        { type = "NamespaceFinalizersRemaining", status = "True",
          message = "Some content has finalizers remaining: x.io/hold in 1 resource instances" },
        { type = "NamespaceDeletionDiscoveryFailure", status = "False", message = "ok" },
      } },
    }
    assert.matches("x.io/hold", text, 1, true)
    assert.is_nil(text:find("ok", 1, true))
  end)
end)

describe("the host service", function()
  local function service(annotations)
    return { metadata = { name = "blueprint-service", namespace = "n", uid = "u",
      annotations = annotations } }
  end

  it("has the ports of all its users, each once", function()
    local users = host.users(service {
      ["moonport.host/aaaaaaaa-1"] = "8545/TCP,8546/TCP", ["moonport.host/bbbbbbbb-3"] = "8545/TCP",
      ["other"] = "1/TCP",
    })
    assert.same({ { port = 8545, protocol = "TCP" }, { port = 8546, protocol = "TCP" } },
      host.union(users))
    assert.is_nil(users.other)
  end)

  it("leads to the host by Endpoints on old servers, by an EndpointSlice on others", function()
    local ports = { { port = 8545, protocol = "TCP" } }
    local old = host.ends(service {}, STORE, "10.0.0.5", ports, false)
    assert.equal("Endpoints", old.kind)
    assert.same({ { ip = "10.0.0.5" } }, old.subsets[1].addresses)
    local new = host.ends(service {}, STORE, "fd00::5", ports, true)
    assert.equal("discovery.k8s.io/v1", new.apiVersion)
    assert.equal("IPv6", new.addressType)
    assert.equal("blueprint-service", new.metadata.labels["kubernetes.io/service-name"])
    for _, ends in ipairs { old, new } do
      assert.equal(STORE, ends.metadata.labels[names.STORE])
      assert.equal("u", ends.metadata.ownerReferences[1].uid)
    end
    assert.equal(old.subsets[1].ports[1].name, new.ports[1].name)
  end)

  it("has the ports of the manifest's loopback addresses, and no others", function()
    local manifest = helper.manifest {
      http_rpc_url = "http://127.0.0.1:8545", ws_rpc_url = "ws://localhost:8546",
    }
    assert.equal(2, #host.ports(manifest))
    assert.equal(0, #host.ports(helper.manifest { http_rpc_url = "http://10.0.0.7:8545" }))
  end)
end)

describe("this host's address", function()
  it("is what somebody has said", function()
    assert.same({ "10.1.2.3", true }, { host_address.find("10.1.2.3", "https://127.0.0.1:1") })
  end)

  it("is never a loopback", function()
    local found, given = host_address.find(nil, "https://127.0.0.1:1")
    assert.is_nil(found:find "^127%.")
    assert.is_false(given)
  end)

  it("where only the loopback answers names the listener", function()
    local socket <close> = net.listen { host = "127.0.0.1", port = 0 }
    local port = { port = socket:port(), protocol = "TCP", from = "http://127.0.0.1:x" }
    local address = host_address.find(nil, "https://127.0.0.1:1")
    local found = host_address.trouble(address, port)
    assert.is_true(found.certain)
    assert.matches("moonport", found.message)
    assert.matches(("127.0.0.1:%d alone"):format(port.port), found.message, 1, true)
    assert.is_nil(host_address.trouble("127.0.0.1", port))
  end)

  it("says so where nothing listens at all", function()
    local port
    do
      local socket <close> = net.listen { host = "127.0.0.1", port = 0 }
      port = socket:port()
    end
    local found = host_address.trouble("127.0.0.1", { port = port, protocol = "TCP", from = "x" })
    assert.is_nil(found.certain)
    assert.matches("nothing listens", found.message)
  end)

  it("is read from the kernel's table of sockets", function()
    local table_text = "  sl  local_address rem_address   st\n"
      .. "   0: 0100007F:2161 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000"
      .. "        0 4711 1 0000000000000000 100 0 0 10 0\n"
      .. "   1: 0100007F:2161 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000"
      .. "        0 4712 1 0000000000000000 100 0 0 10 0\n"
    assert.same({ { address = "127.0.0.1", inode = "4711" } }, listener.parse(table_text, 8545))
    assert.same({}, listener.parse(table_text, 8546))
  end)
end)

describe("the permissions that a deployment takes", function()
  local function wants(manifest, about, verb, resource)
    for _, need in ipairs(access.needs(manifest, about)) do
      if need.verb == verb and need.resource == resource then return true end
    end
    return false
  end

  it("are those for what it makes, and no others", function()
    local plain = helper.manifest {}
    assert.is_true(wants(plain, {}, "create", "pods"))
    assert.is_false(wants(plain, {}, "create", "secrets"))
    assert.is_false(wants(plain, {}, "create", "namespaces"))
    assert.is_false(wants(plain, {}, "list", "runtimeclasses.node.k8s.io"))
    assert.is_true(wants(plain, { namespace = "missing" }, "create", "namespaces"))
    assert.is_true(wants(plain, { host = true }, "update", "endpoints"))
    local several = helper.manifest { isolation = "required", keystore = "/srv/keys",
      container = { replicas = 3 } }
    assert.is_true(wants(several, {}, "patch", "statefulsets.apps"))
    assert.is_false(wants(several, {}, "create", "pods"))
    assert.is_true(wants(several, {}, "create", "secrets"))
    assert.is_true(wants(several, {}, "list", "runtimeclasses.node.k8s.io"))
  end)

  it("has logs among them where a line of output tells that it is ready", function()
    local ready = { log = "ready", timeout = "1s" }
    assert.is_true(wants(helper.manifest { ready = ready }, {}, "get", "pods/log"))
    assert.is_false(wants(helper.manifest {}, {}, "get", "pods/log"))
  end)

  it("that are good to have are told with what does not work without them", function()
    local sentences = access.losses(access.wishes())
    assert.equal(4, #sentences)
    assert.matches("may not get pods/exec: `moonport exec` will not work", sentences[2], 1, true)
    assert.matches("may not list and watch events: ", sentences[4], 1, true)
    assert.same({}, access.losses {})
  end)

  it("are told by resource", function()
    assert.equal("pods (create, delete), secrets (get)", access.describe {
      { verb = "create", resource = "pods" }, { verb = "delete", resource = "pods" },
      { verb = "get", resource = "secrets" },
    })
  end)
end)

describe("a kind of what is made on a cluster", function()
  it("can be removed, described and looked for", function()
    for _, name in ipairs { "kubernetes", "kubernetes-host" } do
      local kind = resources.kind(name)
      assert.is_function(kind.remove)
      assert.is_function(kind.describe)
      assert.is_function(kind.orphans)
    end
    assert.is_function(resources.kind("kubernetes-namespace").remove)
  end)
end)
