--- The step that starts the virtual machine monitor, under moonport-shim; and what ends it.
--
-- The intent holds the whole machine as data. So it is started again after a reboot, or by its
-- supervisor after a crash, the very same as at first.
-- @module moonport.hypervisor.vmm

local account = require "moonport.hypervisor.account"
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

local PRIVATE = 448 -- 0700
local PASS = 457 -- 0711

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

local function helpers_of(ctx, machine)
  local list = {}
  for index, helper in ipairs(machine.helpers or {}) do
    local dir = fs.join(places.supervisor(ctx), helper.name)
    list[index] = {
      id = ctx.tag, name = helper.name, dir = dir,
      socket = ctx:runtime_path(("r%d/%s.sock"):format(ctx.revision, helper.name)),
    }
  end
  return list
end

--- Chooses how machine and supervisor are found again.
-- @tparam context ctx
-- @treturn table intent {id, dir, socket, sockets, group, limits, spec, driver, machine, accel}
-- @treturn table resources
function M.allocate(ctx)
  local manifest = ctx.manifest
  local made, lease, image = ctx.results.disks, ctx.intents.lease, ctx.results.image or {}
  local machine = spec.build(ctx, {
    boot = {
      kernel = made.kernel, initrd = made.initrd,
      cmdline = boot_source.cmdline(manifest, lease, {
        root = made.disks.root and (image.root or true), arch = sys.uname().machine,
      }),
    },
    disks = made.disks, lease = lease, user = ctx.intents.data.user, cid = cid_of(lease),
    keystore = guest_config.shares_keystore(ctx),
  })
  local plan = require("moonport.vm").plan(machine)
  machine.driver, machine.machine, machine.accel = plan.driver, plan.machine, plan.accel
  local group = limits.allocate(ctx).group
  local intent = {
    id = ctx.tag, dir = ctx.intents.data.supervisor, socket = places.supervisor_socket(ctx),
    sockets = places.sockets(ctx), group = group, spec = machine,
    limits = {
      memory = machine.memory + manifest.hypervisor.overhead, cpus = manifest.limits.cpus,
    },
    driver = plan.driver, machine = plan.machine, accel = plan.accel, reasons = plan.reasons,
    helpers = helpers_of(ctx, plan),
  }
  local resources = {
    { "directory", { path = intent.sockets } }, { "cgroup", { name = group } },
    { "vmm", { id = intent.id, dir = intent.dir, socket = intent.socket } },
  }
  for _, helper in ipairs(intent.helpers) do
    resources[#resources + 1] =
      { "vmm", { id = helper.id, dir = helper.dir, socket = helper.socket } }
  end
  return intent, resources
end

local function memory_text(bytes)
  return units.format_size(bytes)
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
        memory_text(spec.memory(manifest))),
    },
  }
end

-- The directory of the VMM's sockets. What is above it lets the VMM's account through.
local function make_sockets(ctx, intent)
  local user = intent.spec.user
  fs.mkdirs(intent.sockets, PRIVATE)
  if user then
    fs.chmod(ctx:runtime_path(), PASS)
    fs.chmod(fs.dirname(ctx:runtime_path()), PASS)
  end
  account.give(intent.sockets, user)
end

local function shim_spec(ctx, intent, argv, env, more)
  local manifest = ctx.manifest
  local fields = {
    name = ctx.name, id = intent.id, argv = argv, env = env, cwd = intent.sockets,
    user = intent.spec.user, restart = restart_policy(manifest), log = manifest.log,
    stop = { signal = "TERM", grace = 10 }, no_new_privs = true,
    cgroups = more.cgroups,
  }
  for key, value in pairs(more) do fields[key] = value end
  return fields
end

local function start_helpers(ctx, intent)
  local started = require("moonport.vm").helpers
  if #intent.helpers == 0 or not started then return end
  for index, helper in ipairs(started(intent.spec)) do
    local own = intent.helpers[index]
    local record = shim.find(own)
    if not record or shim.has_ended(record) then
      fs.mkdirs(own.dir, PRIVATE)
      shim.start {
        dir = own.dir, socket = own.socket, cgroups = limits.supervisors(ctx),
        spec = shim_spec(ctx, intent, helper.argv, helper.env, {
          name = ("%s %s"):format(ctx.name, own.name), user = helper.user or nil,
          restart = { policy = "always", max = 0, backoff = 0.1, backoff_max = 5, reset = 10 },
          no_new_privs = false, cgroups = nil,
        }),
      }
    end
  end
end

local function stop_helpers(intent)
  for _, helper in ipairs(intent.helpers or {}) do
    shim.stop(helper, { grace = 1 })
  end
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
  -- What a supervisor that was killed left behind would hold disks and the TAP.
  limits.kill(intent)
  make_sockets(ctx, intent)
  local group = limits.make(ctx, intent)
  start_helpers(ctx, intent)
  local argv, env = require("moonport.vm").command(intent.spec)
  local pid = shim.start {
    dir = intent.dir, socket = intent.socket, cgroups = limits.supervisors(ctx),
    spec = shim_spec(ctx, intent, argv, env, { cgroups = group.paths }),
  }
  return { pid = pid }
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
  shim.stop(intent, { grace = 0 })
  stop_helpers(intent)
  limits.kill(intent)
end

--- The undo of the step: shuts the machine down and removes what it ran in.
-- @tparam context ctx
-- @tparam table intent
function M.undo(ctx, intent)
  require("moonport.hypervisor.stop").run(ctx, intent)
  fs.remove_tree(intent.sockets)
  for _, helper in ipairs(intent.helpers or {}) do fs.remove_tree(helper.dir) end
  limits.remove(ctx, intent)
end

--- Connects to the VMM.
-- @tparam table intent
-- @treturn machine of `moonport.vm`
function M.connect(intent)
  return require("moonport.vm").connect {
    driver = intent.driver, machine = intent.machine, dir = intent.sockets,
    socket = intent.sockets .. "/" .. (intent.driver == "qemu" and "qmp" or "api"),
  }
end

--- How the machine ended, or that it runs.
-- @tparam table intent
-- @treturn ?table record of the supervisor
function M.record(intent)
  return shim.find(intent)
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
