local progress = require "moonport.container.progress"
local status = require "moonport.container.status"
local trouble = require "moonport.container.trouble"

local function pod(fields)
  local found = {
    kind = "Pod", metadata = { name = "svc-r1", uid = "u1", labels = {} }, spec = {},
    status = { phase = "Running" },
  }
  for key, value in pairs(fields or {}) do found.status[key] = value end
  return found
end

local function waiting(reason, message, more)
  local container = {
    name = "blueprint", image = "squaring:1", restartCount = 0,
    state = { waiting = { reason = reason, message = message } },
  }
  for key, value in pairs(more or {}) do container[key] = value end
  return pod { phase = "Pending", containerStatuses = { container } }
end

local function ended(code, more)
  local terminated = { exitCode = code, reason = code == 0 and "Completed" or "Error",
    finishedAt = "2026-11-24T06:00:00Z" }
  for key, value in pairs(more or {}) do terminated[key] = value end
  return terminated
end

local function crashing(terminated)
  return waiting("CrashLoopBackOff", "back-off 10s", {
    restartCount = 2, lastState = { terminated = terminated },
  })
end

local READY = { { type = "Ready", status = "True" } }

describe("trouble of a pod", function()
  it("is none where it runs, is being set up, or has no status yet", function()
    assert.is_nil(trouble.of_pod(pod()))
    assert.is_nil(trouble.of_pod(waiting("ContainerCreating")))
    assert.is_nil(trouble.of_pod { metadata = {}, spec = {} })
  end)

  it("counts at once for what does not mend by itself", function()
    for _, reason in ipairs { "ErrImagePull", "ImagePullBackOff", "InvalidImageName",
      "ErrImageNeverPull", "CreateContainerConfigError", "RunContainerError" } do
      local found = trouble.of_pod(waiting(reason, "why"))
      assert.equal(reason, found.reason)
      assert.equal(0, found.patience)
      assert.equal("blueprint", found.container)
    end
  end)

  it("tells how to get an image", function()
    local found = trouble.of_pod(waiting("ErrImagePull", "401 unauthorized"))
    assert.matches("image_pull_secrets", found.hint)
    found = trouble.of_pod(waiting("ErrImageNeverPull", "Container image is not present"))
    assert.matches("images import", found.hint)
  end)

  it("of a crash loop says how it ended last", function()
    local found = trouble.of_pod(crashing(ended(3)))
    assert.equal("CrashLoopBackOff", found.reason)
    assert.equal("it ends again and again; last it exited with 3", found.message)
    assert.equal(3, found.exit.code)
    found = trouble.of_pod(crashing(ended(137, { reason = "OOMKilled" })))
    assert.matches("more memory than", found.message)
    assert.is_true(found.exit.oom)
    found = trouble.of_pod(crashing(ended(139)))
    assert.matches("SIGSEGV", found.message)
    assert.equal("SEGV", found.exit.signal)
    assert.is_nil(found.exit.code)
  end)

  it("that no node takes it is put up with for a moment, a volume to come for longer", function()
    local function unschedulable(message)
      return pod { phase = "Pending", conditions = {
        { type = "PodScheduled", status = "False", reason = "Unschedulable", message = message },
      } }
    end
    local found = trouble.of_pod(unschedulable "0/1 nodes are available: 1 Insufficient memory.")
    assert.equal("Unschedulable", found.reason)
    assert.is_true(found.patience > 0 and found.patience <= 20)
    assert.matches("limits", found.hint)
    local volume = trouble.of_pod(unschedulable "pod has unbound immediate PersistentVolumeClaims.")
    assert.is_true(volume.patience > found.patience)
  end)

  it("of one that was evicted names the reason", function()
    local found = trouble.of_pod(pod {
      phase = "Failed", reason = "Evicted", message = "The node was low on resource: memory.",
    })
    assert.equal("Evicted", found.reason)
    assert.equal("The node was low on resource: memory.", found.message)
  end)
end)

describe("trouble told by an event", function()
  local function event(reason, message)
    return { type = "Warning", reason = reason, message = message, metadata = {} }
  end

  it("ends the wait where an admission refuses pods, or a quota again and again", function()
    local function refused(why)
      return trouble.of_event(event("FailedCreate",
        "create Pod x-0 in StatefulSet x failed error: pods \"x-0\" is forbidden: " .. why))
    end
    local found = refused "violates PodSecurity \"restricted:latest\""
    assert.equal(0, found.patience)
    assert.matches("container.security", found.hint, 1, true)
    -- It counts a pod that has just gone.
    found = refused "exceeded quota: small"
    assert.is_true(found.patience > 0 and found.patience < 10 and found.repeats)
    assert.matches("ResourceQuota", found.hint)
    -- The controller that makes it is late.
    assert.is_true(refused("error looking up service account x/default: not found").patience > 0)
    assert.is_true(trouble.of_event(event("FailedCreate", "etcd is slow")).patience > 0)
  end)

  it("bears a volume that is being attached longer than one that cannot be", function()
    local slow = trouble.of_event(event("FailedMount", "timed out waiting for the condition"))
    local never = trouble.of_event(event("FailedMount",
      "hostPath type check failed: /x is not a directory"))
    assert.is_true(never.patience < slow.patience)
  end)

  it("names a runtime handler that the node does not have", function()
    local found = trouble.of_event(event("FailedCreatePodSandBox",
      "failed to get sandbox runtime: no runtime for \"kata\" is configured"))
    assert.equal(0, found.patience)
    assert.matches("handler", found.hint)
  end)

  it("is none for other events", function()
    assert.is_nil(trouble.of_event(event("Unhealthy", "probe")))
    assert.is_nil(trouble.of_event { type = "Normal", reason = "FailedMount", metadata = {} })
  end)
end)

describe("progress", function()
  local function view(fields)
    local found = { pods = {}, events = {}, scaling = {}, pulls = {}, replicas = 1 }
    for key, value in pairs(fields) do found[key] = value end
    return found
  end

  it("is at its end when every pod of the wanted template is ready and no other is left", function()
    local old, new = pod { conditions = READY }, pod { conditions = READY }
    old.metadata.uid, old.metadata.labels = "old", { ["controller-revision-hash"] = "a" }
    new.metadata.labels = { ["controller-revision-hash"] = "b" }
    local set = { metadata = { generation = 2 },
      status = { observedGeneration = 1, updateRevision = "a" } }
    local both = view { set = set, pods = { old = old, u1 = new } }
    assert.is_false(progress.is_done(both)) -- its controller has not seen the change
    set.status = { observedGeneration = 2, updateRevision = "b" }
    assert.is_false(progress.is_done(both))
    both.pods.old = nil
    assert.is_true(progress.is_done(both))
  end)

  it("does not count a pod that is going", function()
    local going = pod { conditions = READY }
    going.metadata.deletionTimestamp = "2026-11-24T06:00:00Z"
    assert.is_false(progress.is_done(view { pods = { u1 = going } }))
  end)

  it("is not troubled by events of before a container has started", function()
    local about = {
      reason = "FailedMount", message = "m", patience = 9, object = "u1", of_pod = true,
      about = "Pod svc-r1",
    }
    local started = pod { containerStatuses = { { state = { running = {} } } } }
    assert.equal(0, #progress.troubles(view { pods = { u1 = started }, events = { about } }))
    local found = progress.troubles(view { pods = { u1 = waiting("ContainerCreating") },
      events = { about } })
    assert.equal("svc-r1", found[1].pod)
  end)

  it("knows what autoscalers say when they add a node", function()
    assert.is_true(trouble.is_scaling { reason = "TriggeredScaleUp" })
    assert.is_true(trouble.is_scaling { reason = "Nominated" }) -- Karpenter
    assert.is_false(trouble.is_scaling { reason = "NotTriggerScaleUp" })
  end)

  it("waits longer for a node that an autoscaler adds", function()
    local lonely = pod { phase = "Pending", conditions = {
      { type = "PodScheduled", status = "False", reason = "Unschedulable", message = "none" },
    } }
    local found = progress.troubles(view { pods = { u1 = lonely }, scaling = { u1 = true } })
    assert.equal(trouble.SCALING, found[1].patience)
  end)
end)

describe("the status of a service", function()
  local ABOUT = { name = "svc", want = "running" }

  local function single(found, about) return status.of_single(found, about or ABOUT) end

  local function running(more)
    local container = { name = "blueprint", restartCount = 1, started = true,
      state = { running = { startedAt = "2026-11-24T06:00:00Z" } } }
    for key, value in pairs(more or {}) do container[key] = value end
    return pod { conditions = READY, containerStatuses = { container }, podIP = "10.1.0.7" }
  end

  it("is read from its pod", function()
    local found = single(running())
    assert.same({ "running", "Running", true, 1, "2026-11-24T06:00:00Z", "10.1.0.7", "svc-r1" }, {
      found.state, found.condition, found.ready, found.restarts, found.since, found.ip, found.pod,
    })
    assert.same({ "starting", "Pending" }, { single(waiting("ContainerCreating")).state,
      single(waiting("ContainerCreating")).condition })
    assert.equal("starting", single(running { started = false }).state)
  end)

  it("is an error where it crashes again and again, whatever its phase says", function()
    local found = crashing(ended(3))
    found.status.phase = "Running"
    found = single(found)
    assert.same({ "restarting", "Error", "CrashLoopBackOff", 2, 3 }, {
      found.state, found.condition, found.reason, found.restarts, found.exit.code,
    })
  end)

  it("tells a good end from a bad one", function()
    local good = pod { phase = "Succeeded", containerStatuses = {
      { name = "blueprint", state = { terminated = ended(0) } },
    } }
    assert.same({ "exited", "Finished" }, { single(good).state, single(good).condition })
    local registered = { name = "svc", want = "running", registration = true }
    assert.equal("completed", single(good, registered).state)
    local bad = pod { phase = "Failed", containerStatuses = {
      { name = "blueprint", state = { terminated = ended(3) } },
    } }
    assert.same({ "failed", "Error", 3 },
      { single(bad).state, single(bad).condition, single(bad).exit.code })
  end)

  it("of one whose pod is gone depends on what is wanted", function()
    assert.equal("stopped", single(nil, { name = "svc", want = "stopped" }).state)
    local found = single(nil)
    assert.equal("failed", found.state)
    assert.matches("moonport start svc", found.hint)
  end)

  it("of several is that of the worst, with how many are ready", function()
    local set = { spec = { replicas = 3 } }
    local two = status.of_set(set, { running(), running() }, ABOUT)
    assert.same({ "starting", 2, 3, false },
      { two.state, two.replicas.ready, two.replicas.wanted, two.ready })
    local three = status.of_set(set, { running(), running(), running() }, ABOUT)
    assert.same({ "running", true, 3 }, { three.state, three.ready, three.restarts })
    local broken = status.of_set(set, { running(), running(), crashing(ended(1)) }, ABOUT)
    assert.same({ "restarting", "CrashLoopBackOff" }, { broken.state, broken.reason })
    local none = status.of_set({ spec = { replicas = 0 } }, {}, { name = "svc", want = "stopped" })
    assert.equal("stopped", none.state)
  end)

  it("of several that somebody has scaled tells how many are wanted", function()
    local about = { name = "svc", want = "running", replicas = 3 }
    local scaled = status.of_set({ spec = { replicas = 1 } }, { running() }, about)
    assert.same({ "running", 1, 1, 3, false }, { scaled.state, scaled.replicas.ready,
      scaled.replicas.asked, scaled.replicas.wanted, scaled.ready })
    assert.matches("1 of 3 replicas", scaled.problem, 1, true)
    assert.equal("stopped", status.of_set({ spec = { replicas = 0 } }, {}, about).state)
    local stopped = { name = "svc", want = "stopped", replicas = 3 }
    local none = status.of_set({ spec = { replicas = 0 } }, {}, stopped)
    assert.same({ "stopped", 0 }, { none.state, none.replicas.wanted })
    assert.is_nil(none.problem)
  end)
end)
