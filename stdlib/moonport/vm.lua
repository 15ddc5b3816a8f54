--- Virtual machines: one interface, two drivers of equal standing.
--
--     local plan = vm.plan {
--       name = "box", memory = 512 << 20, cpus = 2, dir = "/run/box",
--       kernel = "/boot/vmlinuz", initramfs = "/boot/initrd.img", cmdline = "console=ttyS0",
--       disks = { { id = "root", path = "/srv/box.img" } },
--     }
--     print(plan.driver, plan.machine, plan.accel, table.concat(plan.reasons, "\n"))
--     local machine <close> = vm.start(plan, {
--       id = "box", dir = "/srv/box", socket = "/run/box/shim",
--     })
--     print(machine:info().state)
--     machine:power_button()
--     print(machine:wait(30).reason)
--
-- A monitor runs under moonport-shim and outlives the command that started it; `vm.connect` finds
-- it again by its directory. What the guest's port `moonport.output` says is the supervisor's
-- stream "stdout", the serial console its stream "stderr".
--
-- Verbs of a machine: `create boot info pause resume power_button shutdown reboot kill resize
-- add_disk remove snapshot restore console events`. Errors have the kind "vm": `unsupported` (which
-- names a driver that can), `not-running`, `running`, `state`, `invalid`, `socket-path`,
-- `no-driver`, `no-answer`, `limit`, `full`, `rejected` (by the monitor), `in-use`, `snapshot`,
-- `in-the-way`.
-- @module moonport.vm

local capabilities = require "moonport.vm.capabilities"
local choose = require "moonport.vm.choose"
local errors = require "moonport.errors"
local filesystems = require "moonport.vm.filesystems"
local fs = require "moonport.fs"
local logs = require "moonport.logs"
local machine = require "moonport.vm.machine"
local shim = require "moonport.shim"
local sockets = require "moonport.vm.sockets"
local spec = require "moonport.vm.spec"
local sys = require "moonport.sys"
local task = require "moonport.task"

local M = {
  --- What each driver and machine type can: a list of {driver, machine, archs, accels, verbs,
  -- features, formats}.
  capabilities = capabilities.list,
}

--- Where virtiofsd is, which `filesystems` of a machine need.
-- @tparam[opt] table programs as in a spec
-- @treturn ?string nil where there is none
M.virtiofsd = filesystems.program

local START_SECONDS = 60

-- The console that a driver has of itself: what is kept as well where it can be both.
local function default_console(plan)
  return plan.can.features["recorded-pty"] and "pty" or "file"
end

local function require_features(plan)
  local data, can = plan.spec, plan.can
  for _, disk in ipairs(data.disks) do
    if disk.backing then capabilities.require(can, "features", "backing", data.arch) end
  end
  if #data.filesystems > 0 then
    capabilities.require(can, "features", "virtio-fs", data.arch)
    filesystems.require_program(data)
  end
  if #data.channel > 0 and not can.features.ports then
    plan.reasons[#plan.reasons + 1] = "the guest's channel is a vsock: no virtio-serial ports"
    data.channel = {}
  end
  if data.console == "pty" and not can.features["recorded-pty"] then
    plan.reasons[#plan.reasons + 1] = ("the console of %s is a terminal, and not recorded"):format(
      capabilities.name(can))
  end
end

-- /dev/kvm is its group's.
local function add_groups(plan)
  local user = plan.spec.user
  if not user or plan.accel ~= "kvm" then return end
  local device = try(fs.stat, "/dev/kvm")
  if device and device.gid ~= user.gid and user.uid ~= 0 then
    user.groups[#user.groups + 1] = device.gid
  end
end

--- Decides how a machine will be run. Changes nothing; where whether KVM works is not known yet, it
-- boots the kernel once to see, unless nothing may be started now (in a step's `plan`).
-- @tparam table data the machine, see `moonport.vm.spec`
-- @treturn table `driver`, `machine`, `accel`, `reasons` (lines for people), `argv`, `user`, `can`,
--   `restartable` (started once more by its supervisor, it boots by itself), `spec` (with all
--   defaults)
-- @raise {kind="schema"}; {kind="vm"}
function M.plan(data)
  data = spec.parse(data)
  local plan = choose.choose(data)
  data.console = data.console or default_console(plan)
  require_features(plan)
  choose.look(plan)
  add_groups(plan)
  local driver = machine.driver(plan.driver)
  sockets.check(data.dir, driver.sockets(data))
  plan.argv = driver.argv(plan)
  plan.restartable = plan.can.features.restartable == true and not data.restore
  plan.user = data.user
  return plan
end

--- The command of a machine's monitor, for whoever supervises it.
-- @tparam table data the machine, or a plan
-- @treturn {string,...} argv
-- @treturn table env
function M.command(data)
  local plan = data.argv and data or M.plan(data)
  return plan.argv, { PATH = "/usr/sbin:/usr/bin:/sbin:/bin" }
end

--- Makes the directory of a machine and what its monitor needs in it. What a dead monitor left
-- is cleared; a live one is left alone.
-- @tparam table plan
-- @raise {kind="vm", code="running" or "in-the-way"}
function M.prepare(plan)
  local driver = machine.driver(plan.driver)
  sockets.prepare(plan, driver.sockets(plan.spec), driver.files(plan.spec))
  machine.note(plan)
end

local function shim_spec(plan, options)
  local argv, env = M.command(plan)
  local driver = machine.driver(plan.driver)
  return {
    name = plan.spec.name, id = options.id, argv = argv, env = env, cwd = "/",
    user = plan.user, cgroups = options.cgroups,
    restart = plan.restartable and options.restart or nil,
    stop = options.stop, log = options.log, nofile = options.nofile,
    oom_score_adj = options.oom_score_adj, no_new_privs = true,
    bounded_file = fs.join(plan.spec.dir, driver.events_file),
    output_pipes = driver.output_pipes and plan.spec.dir or nil,
  }
end

-- What a monitor that does not start says is mostly one line, at the end.
local function last_words(intent)
  local last
  for record in logs.read { dir = intent.dir, tail = 5 } do
    if record.stream == "stderr" and record.text:find "%S" then last = record.text end
  end
  return last
end

local function fail_to_start(intent, record)
  local said = try(last_words, intent)
  errors.raise {
    kind = "vm", code = "start",
    message = ("the virtual machine monitor ended at once: %s%s"):format(
      shim.describe_end(record), said and (": " .. said) or ""),
    hint = ("all that it said is in `%s`"):format(fs.join(intent.dir, "log")),
  }
end

-- The record of a monitor that has ended once, whether or not it is to be started again.
local function wait_first_end(intent)
  local watch <close> = fs.watch(intent.dir)
  while true do
    local record = shim.find(intent)
    if record and (shim.has_ended(record) or record.exit or record.state == "backoff") then
      return record
    end
    watch:next()
  end
end

-- Until the monitor can be spoken to. One that ends before would do so again: it is not waited for.
local function wait_ready(plan, intent, watch)
  local driver = machine.driver(plan.driver)
  local ended
  task.timeout(START_SECONDS, task.race, {
    function() driver.wait_ready(plan.spec.dir, watch) end,
    function() ended = wait_first_end(intent) end,
  })
  if ended then fail_to_start(intent, ended) end
end

-- What has begun is ended where the rest fails.
local function launch(plan, options, intent)
  local watch <close> = fs.watch(plan.spec.dir)
  filesystems.start(plan.spec, intent)
  shim.start {
    dir = options.dir, socket = options.socket, spec = shim_spec(plan, options),
    cgroups = options.shim_cgroups,
  }
  wait_ready(plan, intent, watch)
  local started = M.connect { dir = plan.spec.dir, shim = intent }
  local _, why = try(started.begin, started, plan)
  if why then
    started:close()
    error(why, 0)
  end
  return started
end

--- Starts a machine under a supervisor of its own, and connects to it. It boots unless its spec
-- says `paused` or `restore`.
-- @tparam table plan as `plan` gives it
-- @tparam table options `id`, `dir` (the supervisor's, which exists), `socket` (the supervisor's);
--   `cgroups`, `shim_cgroups`, `restart` (heeded where the plan is `restartable`), `stop`, `log`,
--   `nofile`, `oom_score_adj` as for `moonport.shim`
-- @treturn Machine
-- @raise {kind="vm"}; {kind="shim"}
function M.start(plan, options)
  local intent = { id = options.id, dir = options.dir, socket = options.socket }
  local dir = plan.spec.dir
  fs.mkdirs(dir, "0700")
  local lock <close> = -- luacheck: ignore lock
    fs.lock(fs.join(dir, "start.lock"), { wait = START_SECONDS })
  M.prepare(plan)
  local started, why = try(launch, plan, options, intent)
  if started then return started end
  M.stop(intent)
  error(why, 0)
end

--- The supervisors that a machine has beside its own, for whoever keeps account of them: one for
-- each of its `filesystems`.
-- @tparam table plan
-- @tparam table intent {id, dir, socket} of its own
-- @treturn {table,...} {id, dir, socket}
function M.helpers(plan, intent)
  return filesystems.intents(plan.spec, intent)
end

--- Ends a machine's supervisor, and so the machine, and what belongs to it. Fine when all have
-- ended, or never began.
-- @tparam table intent {id, dir, socket}
-- @tparam[opt] table options `grace`, `signal` as for `moonport.shim`
-- @treturn ?table the supervisor's last record
function M.stop(intent, options)
  local record = shim.stop(intent, options)
  filesystems.stop(intent)
  return record
end

--- Finds a machine again by the directory of its sockets. Speaks to it only when asked something.
-- @tparam table options `dir`; `shim` ({id, dir, socket}) when it has a supervisor; `driver`,
--   `machine` where `dir` has no note of them
-- @treturn Machine `<close>` it
function M.connect(options)
  return machine.open(options)
end

--- Why a machine ended, without speaking to it.
-- @tparam table options as for `connect`
-- @treturn ?table {reason, oom, time}; nil while it runs
function M.ended(options)
  return machine.open(options):ended()
end

--- True where KVM can be opened; whether it runs a kernel is learnt by `plan`.
-- @treturn boolean
function M.has_kvm()
  return (select(2, try(sys.check_kvm))) == nil
end

return M
