-- What server-side apply leaves of fields that are not applied any more.
local json = require "moonport.json"
local leftovers = require "moonport.container.leftovers"

local EMPTY_PROBE = { periodSeconds = 10, failureThreshold = 3 }
local TCP = { tcpSocket = { port = 1 }, periodSeconds = 10 }

local function set(container, volume)
  container.name = "blueprint"
  return { spec = { template = { spec = {
    containers = { container, { name = "beside", livenessProbe = container.beside } },
    volumes = { volume },
  } } } }
end

describe("of a template that is applied without what it had", function()
  local data = { name = "data", emptyDir = {} }

  it("something may be left only where something goes", function()
    assert.is_true(leftovers.possible(set { startupProbe = TCP }, set {}))
    assert.is_false(leftovers.possible(set {}, set { startupProbe = TCP }))
    assert.is_false(leftovers.possible(set({ startupProbe = TCP }, data),
      set({ startupProbe = TCP }, data)))
    assert.is_true(leftovers.possible(set({}, data), set({}, { name = "data", hostPath = {} })))
    assert.is_false(leftovers.possible(set({}, data), set({}, { name = "other", hostPath = {} })))
  end)

  it("a probe that asks nothing is taken out, and no other", function()
    local patch = leftovers.patch(set { startupProbe = EMPTY_PROBE, readinessProbe = TCP }, set {})
    local spec = patch.spec.template.spec
    assert.same({ { name = "blueprint", startupProbe = json.null } }, { spec.containers[1] })
    assert.equal(1, #spec.containers)
    assert.is_nil(spec.volumes)
    -- Somebody else's.
    assert.is_nil(leftovers.patch(set { livenessProbe = { grpc = { port = 1 } } }, set {}))
  end)

  it("a volume keeps the source that is wanted, and no other", function()
    local both = { name = "data", emptyDir = {}, hostPath = { path = "/x" } }
    local wanted = set({}, { name = "data", hostPath = { path = "/x" } })
    local volumes = leftovers.patch(set({}, both), wanted).spec.template.spec.volumes
    assert.same({ ["$retainKeys"] = { "hostPath", "name" }, name = "data",
      hostPath = { path = "/x" } }, volumes[1])
    assert.is_nil(leftovers.patch(set({}, data), set({}, data)))
  end)
end)
