--- The step that starts the virtual machine monitor, under moonport-shim; and what ends it.
--
-- The intent holds the whole machine as data. So it is started again after a reboot, or by its
-- supervisor after a crash, the very same as at first.
-- @module moonport.hypervisor.vmm

local boot_source = require "moonport.hypervisor.boot_source"
local driver = require "moonport.hypervisor.driver"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local guest_config = require "moonport.hypervisor.guest_config"
local limits = require "moonport.native.limits"
local places = require "moonport.hypervisor.places"
local shim = require "moonport.shim"
local spec = require "moonport.hypervisor.spec"
local sys = require "moonport.sys"
local units = require "moonport.units"

local M = {}

-- What emulation takes beyond the guest's memory: QEMU keeps up to so much of translated code.
local EMULATION = 1 << 30

-- For a supervisor that is told to end, at a shutdown of the host: the VMM then quits at once.
local TERM_SECONDS = 10

-- vsock addresses below 3 are taken, and an address is the whole host's.
local FIRST_CID, LAST_CID = 0x10000, 0x7fffffff

-- From the lease, which no two VMs have at once.
local function cid_of(lease)
  local a, b, c, d = lease.guest:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  local number = ((tonumber(a) << 24) | (tonumber(b) << 16) | (tonumber(c) << 8) | tonumber(d))
  return FIRST_CID + number % (LAST_CID - FIRST_CID)
end

-- A reset of the guest's power is its own doing; a VMM that crashes or is killed is started again.
local function restart_policy(manifest)
  if manifest.registration then return { policy = "no" } end
  return manifest.restart
end

-- How the machine's supervisor is found.
local function supervised(intent)
  return { id = intent.id, dir = intent.dir, socket = intent.socket }
end

--- Chooses how machine and supervisor are found again.
-- @tparam context ctx
-- @treturn table intent {id, dir, socket, sockets, group, limits, spec, helpers}
-- @treturn table resources
function M.allocate(ctx)
  local manifest = ctx.manifest
  local made, lease, image = ctx.results.disks, ctx.intents.lease, ctx.results.image
  local intent = {
    id = ctx.tag, dir = ctx.intents.data.supervisor, socket = places.supervisor_socket(ctx),
    sockets = places.sockets(ctx), group = limits.allocate(ctx).group,
    spec = spec.build(ctx, {
      driver = image.driver, machine = image.machine, accel = image.accel,
      boot = {
        kernel = made.kernel, initrd = made.initrd,
        cmdline = boot_source.cmdline(manifest, lease, {
          root = made.disks.root and (image.root or true), arch = sys.uname().machine,
          driver = image.driver,
        }),
      },
      disks = made.disks, lease = lease, user = ctx.intents.data.user, cid = cid_of(lease),
      shim = made.shim, keystore = guest_config.shares_keystore(ctx),
    }),
  }
  intent.limits = {
    memory = intent.spec.memory + manifest.hypervisor.overhead
      + (image.accel == "tcg" and EMULATION or 0),
    cpus = manifest.limits.cpus,
  }
  local vm = require "moonport.vm"
  intent.helpers = vm.helpers(vm.plan(intent.spec), supervised(intent))
  local resources = {
    { "directory", { path = intent.sockets } }, { "cgroup", { name = intent.group } },
    { "vmm", supervised(intent) },
  }
  for _, helper in ipairs(intent.helpers) do resources[#resources + 1] = { "vmm", helper } end
  return intent, resources
end

--- Tells which machine would be started, on what, and why.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local manifest = ctx.manifest
  local chosen = driver.look(ctx)
  -- Long before anything is made: a path that is too long for a socket.
  places.sockets(ctx)
  places.supervisor_socket(ctx)
  local cpus = spec.cpus(manifest)
  return {
    {
      action = ctx.present and "change" or "create", what = ("virtual machine %s"):format(ctx.name),
      to = ("%s, %d %s, %s"):format(driver.describe(chosen), cpus, cpus == 1 and "CPU" or "CPUs",
        units.format_size(spec.memory(manifest))),
    },
  }
end

--- Starts the machine, unless it was started with this very intent already.
-- @tparam context ctx
-- @tparam table intent
-- @treturn table {pid}
function M.start(ctx, intent)
  local record = shim.find(intent)
  if record and not shim.has_ended(record) then
    return { pid = record.service and record.service.pid }
  end
  if not record and (shim.state(intent.dir) or {}).damaged then shim.stop(intent) end
  -- What a supervisor that was killed left behind would hold disks and the TAP. The group is made
  -- anew: one in which processes were killed takes new ones slowly.
  limits.remove(ctx, intent)
  ctx:make_runtime { pass = intent.spec.user ~= nil } -- the VMM's account gets to its sockets
  local group, vm = limits.make(ctx, intent), require "moonport.vm"
  local plan = vm.plan(intent.spec)
  local machine <close> = vm.start(plan, { -- luacheck: ignore machine
    id = intent.id, dir = intent.dir, socket = intent.socket,
    cgroups = group.paths, shim_cgroups = limits.supervisors(ctx),
    restart = plan.restartable and restart_policy(ctx.manifest) or { policy = "no" },
    stop = { signal = "TERM", grace = TERM_SECONDS }, log = ctx.manifest.log,
  })
  record = shim.find(intent)
  return { pid = record and record.service and record.service.pid }
end

--- The step: starts the machine.
-- @tparam context ctx
-- @tparam table intent
-- @treturn table {pid}
function M.apply(ctx, intent)
  limits.share_supervisors(ctx)
  return M.start(ctx, intent)
end

--- Ends the machine at once, and what helps it. What its guest had not written is lost: `stop` of
-- `moonport.hypervisor.stop` asks it first.
-- @tparam context _
-- @tparam table intent
function M.kill(_, intent)
  require("moonport.vm").stop(supervised(intent), { grace = 0 })
  limits.kill(intent)
end

--- The undo of the step: shuts the machine down and removes what it ran in. A guest that never came
-- up would not hear its power button.
-- @tparam context ctx
-- @tparam table intent
function M.undo(ctx, intent)
  local options = not ctx.results.boot and { grace = 0 } or nil
  require("moonport.hypervisor.stop").run(ctx, intent, options)
  fs.remove_tree(intent.sockets)
  limits.remove(ctx, intent)
end

--- Connects to the VMM. Nothing is said before something is asked.
-- @tparam table intent
-- @treturn Machine of `moonport.vm`
function M.connect(intent)
  return require("moonport.vm").connect {
    dir = intent.sockets, driver = intent.spec.driver, machine = intent.spec.machine,
    shim = supervised(intent),
  }
end

--- True when its supervisor starts the machine again after a crash of its VMM.
-- @tparam table intent
-- @treturn boolean
function M.is_restartable(intent)
  local machine <close> = M.connect(intent)
  return machine.can.features.restartable == true
end

--- Why the machine ended.
-- @tparam table intent
-- @treturn ?table {reason, oom}; nil while it runs
function M.ended(intent)
  local machine <close> = M.connect(intent)
  return machine:ended()
end

--- Refuses what needs a running machine where there is none.
-- @tparam context ctx
-- @treturn table intent
function M.need_running(ctx)
  local intent = ctx.intents.vmm
  local record = intent and shim.find(intent)
  if record and not shim.has_ended(record) then return intent end
  errors.raise {
    kind = "hypervisor", code = "refused",
    message = ("the virtual machine of `%s` does not run"):format(ctx.name),
    hint = ("`moonport start %s` starts it, `moonport status %s` says why"):format(ctx.name,
      ctx.name),
  }
end

return M
