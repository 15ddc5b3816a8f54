-- Applying objects, and what is made of a cluster that does not answer; on a connection that the
-- spec plays.
local change = require "moonport.container.change"
local clusters = require "moonport.container.cluster"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/container_helper.lua")
local resource = require "moonport.container.resource"
local workload = require "moonport.container.workload"

local PARTS = { namespace = "fresh" }
local NO_ACCOUNT = 'pods "x" is forbidden: error looking up service account fresh/default: '
  .. 'serviceaccount "default" not found'

describe("a pod in a new namespace", function()
  local reopen, calls, answers, come

  setup(function() reopen = clusters.reopen end)
  before_each(function()
    calls, answers, come = {}, {}, true
    local connection = {
      get = function() errors.raise { kind = "kube", code = "not_found", message = "none" } end,
      apply = function(_, object)
        calls[#calls + 1] = "apply"
        local answer = table.remove(answers, 1)
        if answer then errors.raise(answer) end
        return object
      end,
      wait = function(_, which, name, _, options)
        calls[#calls + 1] = ("wait %s %s/%s"):format(which, options.namespace, name)
        if not come then errors.raise { kind = "kube", code = "forbidden", message = "no" } end
        return true
      end,
    }
    clusters.reopen = function() return connection end -- luacheck: ignore 122
  end)
  after_each(function() clusters.reopen = reopen end) -- luacheck: ignore 122

  local function apply(fields)
    local ctx = helper.context(fields)
    return change.apply(ctx, {}, workload.objects(ctx, PARTS)[1])
  end

  it("waits for the account that a controller makes there", function()
    answers = { { kind = "kube", code = "forbidden", message = NO_ACCOUNT } }
    assert.equal("Pod", apply({}).kind)
    assert.same({ "apply", "wait serviceaccounts fresh/default", "apply" }, calls)
  end)

  it("is refused as the server says where one may not look for the account", function()
    answers, come = { { kind = "kube", code = "forbidden", message = NO_ACCOUNT } }, false
    local _, why = try(apply, {})
    assert.equal(NO_ACCOUNT, why.message)
    assert.same({ "apply", "wait serviceaccounts fresh/default" }, calls)
  end)

  it("does not wait for an account that the manifest names, nor for anything else", function()
    answers = { { kind = "kube", code = "forbidden", message = NO_ACCOUNT } }
    assert.is_nil((try(apply, { container = { service_account = "mine" } })))
    answers = { { kind = "kube", code = "forbidden", message = "exceeded quota: few" } }
    assert.is_nil((try(apply, {})))
    assert.same({ "apply", "apply" }, calls)
  end)
end)

describe("a cluster that does not answer", function()
  local CLUSTER = { context = "moon", server = "https://moon:6443" }
  local ctx = { intents = { pod = { cluster = CLUSTER } } }

  local function told(kind, code)
    local _, why = try(clusters.explaining(function()
      errors.raise { kind = kind, code = code, message = "GET `https://moon:6443/api`: it failed" }
    end), ctx)
    return why
  end

  it("is told as that by the verbs of a service, with the reason", function()
    for _, code in ipairs { "connect", "resolve", "timeout", "proxy" } do
      local why = told("http", code)
      assert.is_true(errors.is(why, "container", "unreachable"))
      assert.equal("the cluster of context `moon` at https://moon:6443 does not answer",
        why.message)
      assert.matches("it failed", why.cause.message, 1, true)
    end
  end)

  it("is told as that when an object on it is removed, by the address that was asked", function()
    local dir = fs.temp_dir { name = "mp-apply-" }
    fs.write(dir .. "/config", [[
current-context: moon
contexts: [{name: moon, context: {cluster: one}}]
clusters: [{name: one, cluster: {server: "https://127.0.0.1:1"}}]
]])
    local function removing(server)
      local _, why = try(resource.remove, {
        cluster = { kubeconfig = dir .. "/config", context = "moon", server = server, uid = "u" },
        namespace = "blueprints", api_version = "v1", kind = "Pod", name = "x", mark = {},
      })
      return why
    end
    for _, server in ipairs { "https://127.0.0.1:1", "https://moved:6443" } do
      local why = removing(server)
      assert.is_true(errors.is(why, "container", "unreachable"), tostring(why))
      assert.equal("the cluster of context `moon` at https://127.0.0.1:1 does not answer",
        why.message)
      assert.truthy(why.cause)
    end
    fs.remove_tree(dir)
  end)

  it("is not the one that refuses", function()
    assert.equal("forbidden", told("kube", "forbidden").code)
    assert.equal("tls", told("http", "tls").code)
  end)

  it("does not hide what a verb gives", function()
    local verb = clusters.explaining(function(_, ...) return nil, ... end)
    assert.same({ nil, 2, nil, 4, n = 4 }, table.pack(verb(ctx, 2, nil, 4)))
  end)
end)
