local status = require "moonport.hypervisor.status"

local RUNS = {
  state = "running", restarts = 1, started_at = "2026-11-24T06:00:00Z", service = { pid = 42 },
}
local ABOUT = { want = "running" }
local SERVICE = { state = "running", restarts = 2, started_at = "2026-11-24T06:01:00Z" }
local NETWORK = { up = true, address = "172.30.0.6" }

local function record(fields)
  local made = {}
  for key, value in pairs(fields) do made[key] = value end
  return made
end

local function of(machine, guest, about)
  return status.of(RUNS, about or ABOUT, { machine = machine, guest = guest })
end

local function ended(how, exit, reason, about)
  local found = record { state = "exited", ["end"] = how, exit = exit }
  return status.of(found, about or ABOUT, { ending = { reason = reason } })
end

describe("the status of a virtual machine", function()
  it("is running when supervisor, VMM, guest and service all are", function()
    local found = of({ state = "running" },
      { service = SERVICE, network = NETWORK })
    assert.equal("running", found.state)
    assert.equal(42, found.pid)
    assert.equal(3, found.restarts)
    assert.equal("2026-11-24T06:01:00Z", found.since)
    assert.is_nil(found.problem)
  end)

  it("tells what the service says of itself", function()
    local service = record(SERVICE)
    service.notify = { ready = false, stopping = false, status = "at block 7" }
    local found = of({ state = "running" }, { service = service, network = NETWORK })
    assert.same({ "running", "not ready yet", false, "at block 7" },
      { found.state, found.reason, found.ready, found.says })
    service.notify = { ready = true, stopping = false }
    found = of({ state = "running" }, { service = service, network = NETWORK })
    assert.is_true(found.ready)
    assert.is_nil(found.reason)
  end)

  it("is starting until the guest answers", function()
    local found = of({ state = "running" }, { problem = "no answer" })
    assert.equal("starting", found.state)
    assert.equal("no answer", found.problem)
    assert.equal("starting", of({ state = "created" }).state)
  end)

  it("is paused when the machine is, whatever the guest said", function()
    local found = of({ state = "paused" }, { service = SERVICE })
    assert.equal("paused", found.state)
  end)

  it("is failed when the guest's kernel has panicked", function()
    local found = of({ state = "panicked" })
    assert.equal("failed", found.state)
    assert.equal("guest-panic", found.reason)
    assert.equal("the guest's kernel has panicked", found.problem)
  end)

  it("is unknown when a VMM that lives does not answer", function()
    local found = of({ problem = "timed out" })
    assert.equal("unknown", found.state)
    assert.equal("timed out", found.problem)
  end)

  it("is what the guest says of a service that has ended in it", function()
    local function inside(service, about)
      return of({ state = "running" }, { service = service }, about)
    end
    local over = { state = "exited", ["end"] = "exit", exit = { code = 0 } }
    assert.equal("exited", inside(over).state)
    local failed = inside { state = "failed", ["end"] = "gave-up",
      exit = { code = 3, at = "2026-11-24T06:02:00Z" } }
    assert.equal("failed", failed.state)
    assert.equal(3, failed.exit.code)
    assert.equal("restarting", inside({ state = "backoff" }).state)
    assert.equal("stopped", inside({ state = "exited", ["end"] = "stopped" }).state)
    local done = { state = "exited", ["end"] = "exit", exit = { code = 0 } }
    assert.equal("completed", inside(done, { want = "running", registration = true }).state)
  end)

  it("tells of a guest without a network", function()
    local found = of({ state = "running" },
      { service = SERVICE, network = { up = false, problem = "no carrier" } })
    assert.equal("running", found.state)
    assert.equal("the guest has no network: no carrier", found.problem)
  end)

  it("is stopped when it was told to stop, or was never started", function()
    assert.equal("stopped", ended("stopped", { code = 0 }).state)
    assert.equal("stopped", ended("terminated", { signal = "KILL" }).state)
    assert.equal("stopped", status.of(nil, ABOUT).state)
  end)

  it("is exited when the guest has shut down by itself", function()
    local found = ended("exit", { code = 0 }, "guest-shutdown")
    assert.equal("exited", found.state)
    assert.equal("guest-shutdown", found.reason)
    local registered = { want = "running", registration = true, registered = true }
    assert.equal("completed", ended("exit", { code = 0 }, "guest-shutdown", registered).state)
    assert.equal("completed", ended("stopped", { code = 0 }, "guest-shutdown", registered).state)
  end)

  it("is failed, never running, when the VMM was killed or the guest panicked", function()
    local killed = ended("gave-up", { signal = "KILL" }, "vmm-killed")
    assert.equal("failed", killed.state)
    assert.equal("the VMM was killed", killed.problem)
    assert.equal("failed", ended("exit", { code = 1 }, "vmm-error").state)
    assert.equal("failed", ended("exit", { code = 0 }, "guest-panic").state)
  end)

  it("is restarting between a crash of the VMM and its next start", function()
    local found = status.of(record { state = "backoff", exit = { signal = "KILL" } }, ABOUT)
    assert.equal("restarting", found.state)
    assert.equal("KILL", found.exit.signal)
  end)

  it("tells of a disk that this host has no room for", function()
    local found = of { state = "paused", disks = { { disk = "data", reason = "disk-full" } } }
    assert.equal("paused", found.state)
    assert.truthy(found.problem:find("no room for its disk `data`", 1, true))
  end)

  it("is stopping while the guest shuts down", function()
    assert.equal("stopping", status.of(record { state = "stopping" }, ABOUT).state)
  end)

  it("tells of a supervisor that is lost", function()
    assert.equal("lost supervisor", status.of(record { state = "lost" }, ABOUT).state)
    local found = status.of(record { state = "lost" }, { want = "stopped" })
    assert.equal("stopped", found.state)
    assert.is_true(found.exit.unknown)
  end)
end)
