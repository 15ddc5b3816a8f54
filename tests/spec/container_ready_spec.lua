-- Waiting for pods, on a cluster that the spec plays: what it watches is pushed by the spec, and
-- the clock stands until the spec moves it.
local clock = require "moonport.clock"
local errors = require "moonport.errors"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/container_helper.lua")
local names = require "moonport.container.names"
local ready = require "moonport.container.ready"
local task = require "moonport.task"

local UID = "5d3c"
local CONFIG_MISSING = 'MountVolume.SetUp failed for volume "keystore": secret "keys" not found'

describe("the wait for pods", function()
  local monotonic, now, version

  setup(function() monotonic = clock.monotonic end)
  before_each(function()
    now, version = 1000, 0
    clock.monotonic = function() return now end -- luacheck: ignore 122
  end)
  after_each(function() clock.monotonic = monotonic end) -- luacheck: ignore 122

  -- A wait that has begun: `pods` and `events` are the queues of what its watches give.
  local function begin(fields)
    local ctx = helper.context(fields, { told = {} })
    local self = { ctx = ctx, pods = task.queue(), events = task.queue(), told = task.queue() }
    function ctx.progress(_, format, ...) self.told:push(format:format(...)) end
    local cluster = {}
    function cluster.watch(_, resource)
      local queue = assert(self[resource], resource)
      return setmetatable({}, {
        __call = function() return queue:pop() end, __close = function() end,
      })
    end
    self.name = names.pod(ctx)
    self.task = task.contained(ready.wait_pods, ctx, cluster,
      { kind = "Pod", name = self.name, namespace = "blueprints" })
    return self
  end

  local function pod(self, status)
    self.pods:push { type = "MODIFIED", object = {
      metadata = { name = self.name, uid = UID, labels = {} }, spec = { nodeName = "node" },
      status = status,
    } }
  end

  local function making(self, reason, message)
    pod(self, { phase = "Pending", containerStatuses = {
      { name = "blueprint", state = { waiting = { reason = reason, message = message } } },
    } })
  end

  local function running(self)
    pod(self, {
      phase = "Running", conditions = { { type = "Ready", status = "True" } },
      containerStatuses = { { name = "blueprint", state = { running = {} } } },
    })
  end

  -- The node tells of it, `age` seconds after it told so first.
  local function event(self, reason, message, age)
    version = version + 1
    self.events:push { type = "MODIFIED", object = {
      type = "Warning", reason = reason, message = message,
      metadata = { name = "e", resourceVersion = tostring(version) },
      involvedObject = { kind = "Pod", name = self.name, uid = UID },
      firstTimestamp = "2026-11-24T06:00:00Z",
      lastTimestamp = ("2026-11-24T06:00:%02dZ"):format(age or 0),
    } }
  end

  -- Later, whatever is looked at next is judged by that clock.
  local function pass(seconds) now = now + seconds end

  -- What is pushed is looked at before this returns.
  local function settle() for _ = 1, 20 do task.sleep(0) end end

  local function failure(self)
    local _, why = try(self.task.await, self.task)
    assert.is_true(errors.is(why, "ready", "failed"), tostring(why))
    return why
  end

  local function is_waiting(self)
    settle()
    assert.equal("waiting", self.task:status())
  end

  it("bears what a node tells once, however long it then takes", function()
    for _, told in ipairs {
      { "FailedMount", CONFIG_MISSING },
      { "FailedMount", "Unable to attach or mount volumes: timed out waiting for the condition" },
      { "FailedAttachVolume", "rpc error: code = DeadlineExceeded" },
      { "FailedCreatePodSandBox", "failed to set up sandbox: plugin is not ready" },
    } do
      local wait = begin {}
      making(wait, "ContainerCreating")
      event(wait, told[1], told[2])
      is_waiting(wait)
      pass(300)
      making(wait, "ContainerCreating")
      is_waiting(wait)
      running(wait)
      assert.truthy(wait.task:await())
    end
  end)

  it("ends when a node tells the same again after a while", function()
    local wait = begin {}
    making(wait, "ContainerCreating")
    event(wait, "FailedMount", CONFIG_MISSING)
    pass(2)
    event(wait, "FailedMount", CONFIG_MISSING, 2)
    is_waiting(wait)
    pass(14)
    event(wait, "FailedMount", CONFIG_MISSING, 16)
    local why = failure(wait)
    assert.equal("FailedMount", why.reason)
    assert.matches("pod `squaring-", why.message, 1, true)
    assert.matches("not found", why.message, 1, true)
  end)

  it("counts how long it was told before the wait began", function()
    local wait = begin {}
    making(wait, "ContainerCreating")
    event(wait, "FailedMount", CONFIG_MISSING, 40)
    assert.equal("FailedMount", failure(wait).reason)
  end)

  it("does not take one event for two", function()
    local wait = begin {}
    making(wait, "ContainerCreating")
    event(wait, "FailedMount", CONFIG_MISSING)
    settle()
    pass(60)
    version = version - 1
    event(wait, "FailedMount", CONFIG_MISSING)
    is_waiting(wait)
    running(wait)
    assert.truthy(wait.task:await())
  end)

  it("ends at once on what no second try changes", function()
    local wait = begin {}
    making(wait, "ContainerCreating")
    event(wait, "FailedCreatePodSandBox", 'no runtime for "kata" is configured')
    assert.matches("handler", failure(wait).hint, 1, true)
    for _, refused in ipairs {
      'failed to resolve reference "r.example/none:1": not found',
      "dial tcp 127.0.0.1:1: connect: connection refused",
      "pull access denied, repository does not exist",
    } do
      wait = begin {}
      making(wait, "ErrImagePull", refused)
      assert.matches(refused, failure(wait).message, 1, true)
    end
  end)

  it("gives a registry that is slow or busy another try, and then says why", function()
    local wait = begin {}
    making(wait, "ErrImagePull", "net/http: TLS handshake timeout")
    is_waiting(wait)
    pass(20)
    making(wait, "ImagePullBackOff", 'Back-off pulling image "squaring:1.2"')
    is_waiting(wait)
    pass(41)
    making(wait, "ImagePullBackOff", 'Back-off pulling image "squaring:1.2"')
    assert.matches("TLS handshake timeout", failure(wait).message, 1, true)

    wait = begin {}
    making(wait, "ErrImagePull", "429 Too Many Requests")
    is_waiting(wait)
    pass(20)
    running(wait)
    assert.truthy(wait.task:await())
  end)

  it("says why an image could not be pulled, also when it came too late to see it", function()
    local wait = begin {}
    event(wait, "Failed", 'Failed to pull image "squaring:1.2": manifest unknown')
    settle()
    making(wait, "ImagePullBackOff", 'Back-off pulling image "squaring:1.2"')
    assert.matches("manifest unknown", failure(wait).message, 1, true)
  end)

  it("gives a node time that has not seen a Secret yet", function()
    local wait = begin {}
    making(wait, "CreateContainerConfigError", 'secret "svc-env" not found')
    is_waiting(wait)
    pass(12)
    running(wait)
    assert.truthy(wait.task:await())

    wait = begin {}
    making(wait, "CreateContainerConfigError", 'secret "svc-env" not found')
    is_waiting(wait)
    pass(26)
    making(wait, "CreateContainerConfigError", 'secret "svc-env" not found')
    assert.equal("CreateContainerConfigError", failure(wait).reason)
  end)
end)
