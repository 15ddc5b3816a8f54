-- The container target on a server that is newer than the test cluster's: against the double of
-- kube_newer_double, by whole deployments.
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/spec/?.lua;" .. package.path
local container = require "moonport.container.manifest"
local deploy = require "moonport.deploy"
local fs = require "moonport.fs"
local gc = require "moonport.gc"
local manifest = require "moonport.manifest"
local names = require "moonport.container.names"
local net = require "moonport.net"
local newer = require "kube_newer_double"
local state = require "moonport.state"

local SPACE = "blueprints"
local SERVICE = "blueprint-service"
local ADDRESS = "127.0.0.2"

describe("on a server that has EndpointSlices of v1 alone, a deployment", function()
  local dir, server, env, node

  local function wanted(name, ports)
    return manifest.build { {
      name = "manifest", file = "m.lua", raw = {
        name = name, target = "container", image = "squaring:1.2",
        http_rpc_url = ("http://127.0.0.1:%d"):format(node:port()),
        container = {
          kubeconfig = dir .. "/kubeconfig", host_address = ADDRESS, host_ports = ports,
        },
      },
    } }
  end

  local function slice() return server:get("endpointslices", SPACE, SERVICE) end

  local function ports_of(list)
    local numbers = {}
    for index, port in ipairs(list) do numbers[index] = port.port end
    return numbers
  end

  before_each(function()
    dir, server = fs.temp_dir(), newer.start()
    server:kubeconfig(dir .. "/kubeconfig")
    node = net.listen { host = "0.0.0.0", port = 0 }
    env = { state = state.open { dir = dir .. "/state" } }
    manifest.register_target("container", container)
  end)

  after_each(function()
    env.state:close()
    node:close()
    server:__close()
    fs.remove_tree(dir)
  end)

  it("is led to this host by one, and by no Endpoints", function()
    local result = deploy.run(env, wanted "one")
    assert.equal("deployed", result.outcome)
    local found = slice()
    assert.equal("discovery.k8s.io/v1", found.apiVersion)
    assert.equal("IPv4", found.addressType)
    assert.same({ ADDRESS }, found.endpoints[1].addresses)
    assert.is_true(found.endpoints[1].conditions.ready)
    assert.equal(SERVICE, found.metadata.labels["kubernetes.io/service-name"])
    assert.equal(env.state.uuid, found.metadata.labels[names.STORE])
    local service = server:get("services", SPACE, SERVICE)
    assert.equal(service.metadata.uid, found.metadata.ownerReferences[1].uid)
    assert.equal(service.spec.ports[1].name, found.ports[1].name)
    assert.same({ node:port() }, ports_of(found.ports))
    assert.same({}, server:names "endpoints")
  end)

  it("has its ports beside those of another, and leaves the other's when it goes", function()
    deploy.run(env, wanted "one")
    deploy.run(env, wanted("two", { 9999 }))
    local both = { node:port(), 9999 }
    table.sort(both)
    assert.same(both, ports_of(slice().ports))
    deploy.remove(env, "two")
    assert.same({ node:port() }, ports_of(slice().ports))
    assert.same({ ADDRESS }, slice().endpoints[1].addresses)
  end)

  it("takes it along when the last goes", function()
    deploy.run(env, wanted "one")
    deploy.remove(env, "one")
    for _, kind in ipairs { "endpointslices", "services", "pods", "namespaces" } do
      assert.same({}, server:names(kind))
    end
    assert.same({}, gc.run(env))
  end)

  it("asks for nothing of the version that is gone", function()
    deploy.run(env, wanted "one")
    deploy.remove(env, "one")
    for _, request in ipairs(server.scripted.requests) do
      assert.is_nil(request.path:find("v1beta1", 1, true), request.path)
    end
  end)
end)
