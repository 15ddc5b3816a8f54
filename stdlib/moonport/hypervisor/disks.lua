--- The step that makes a revision's disks: the root disk of its image, the one that cloud-init
-- reads, and the one with the service.
-- @module moonport.hypervisor.disks

local account = require "moonport.hypervisor.account"
local checks = require "moonport.hypervisor.checks"
local environment = require "moonport.hypervisor.environment"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local guest_config = require "moonport.hypervisor.guest_config"
local places = require "moonport.hypervisor.places"
local shim = require "moonport.shim"
local task = require "moonport.task"
local units = require "moonport.units"

local M = {}

local PRIVATE = 448 -- 0700

--- Chooses where they are.
-- @tparam context ctx
-- @treturn table intent {dir}
-- @treturn table resources
function M.allocate(ctx)
  local intent = { dir = places.disks(ctx) }
  return intent, { { "directory", { path = intent.dir } } }
end

--- Tells which disks would be made.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local manifest, changes = ctx.manifest, {}
  local function add(what, to)
    changes[#changes + 1] = { action = "create", what = what, to = to }
  end
  if checks.has_cloud_init(manifest) then
    local disk = manifest.hypervisor.disk
    add("root disk", ("%s, %s"):format(units.format_size(disk.size), disk.method == "auto"
      and "as cheaply as this host can" or "by " .. disk.method))
    add("cloud-init disk")
  end
  add("service disk")
  local keystore = guest_config.keystore(manifest)
  if keystore then
    add("keystore", keystore == "virtiofs" and "the directory itself by virtio-fs, read-only"
      or "a copy on the service disk")
  end
  return changes
end

-- The root disk. Making it is what the reference spends its time on; so it is told how it was made.
local function make_root(ctx, dir, image)
  local disk, path = ctx.manifest.hypervisor.disk, fs.join(dir, "root.img")
  local made = require("moonport.image.layer").make {
    base = image.path, path = path, size = math.max(disk.size, image.size or 0),
    method = disk.method, overlay = image.overlay,
  }
  ctx:outcome("root disk by %s in %.0f ms", made.method, made.ms)
  return {
    path = path, format = made.format, backing = made.backing, method = made.method, ms = made.ms,
  }
end

local function service_disk(ctx, dir)
  local path = fs.join(dir, "service.img")
  local manifest, lease = ctx.manifest, ctx.intents.lease
  require("moonport.hypervisor.service_disk").write(path, {
    binary = not manifest.command and manifest.binary or nil,
    keystore = not guest_config.shares_keystore(ctx) and manifest.keystore or nil,
    shim = shim.program(),
    spec = shim.encode(environment.service(ctx, lease.host)),
  })
  return { path = path }
end

local function seed_disk(ctx, dir)
  local path = fs.join(dir, "seed.img")
  local built = require("moonport.hypervisor.cloudinit").build(guest_config.cloud_init(ctx))
  require("moonport.hypervisor.seed").write(path, built)
  return { path = path, instance_id = built.instance_id }
end

-- Together, since each mostly waits: for programs, and for what they wrote to be on the disk.
local function make_all(ctx, dir, image)
  local work = { function() return service_disk(ctx, dir) end }
  if image.path then
    work[2] = function() return make_root(ctx, dir, image) end
    work[3] = function() return seed_disk(ctx, dir) end
  end
  local made = task.all(work)
  return { service = made[1], root = made[2], seed = made[3] }
end

-- A VMM that is not the operator reads no file in the operator's home: it gets a copy. So it does
-- of moonport-shim, where moonport itself is there.
local function readable(ctx, dir, name, path)
  if not path or account.can_read(path, ctx.intents.data.user) then return path end
  local copy = fs.join(dir, name)
  fs.copy(path, copy)
  account.give(copy, ctx.intents.data.user)
  return copy
end

local function check_backing(made, user)
  if not made.backing or account.can_read(made.backing, user) then return end
  errors.raise {
    kind = "hypervisor", code = "refused",
    message = ("the VMM's account cannot read the image `%s`"):format(made.backing),
    hint = "let others read it and enter its directories, or set `hypervisor.disk.method` to "
      .. "`copy`",
  }
end

--- Makes the disks. What is left of an interrupted attempt is made anew.
-- @tparam context ctx
-- @tparam table intent
-- @treturn table {disks, kernel, initrd, shim}
function M.apply(ctx, intent)
  local image, user = ctx.results.image or {}, ctx.intents.data.user
  fs.remove_tree(intent.dir)
  fs.mkdirs(intent.dir, PRIVATE)
  local disks = make_all(ctx, intent.dir, image)
  disks.data = { path = ctx.intents.data.disk }
  check_backing(disks.root or {}, user)
  for _, disk in pairs(disks) do account.give(disk.path, user) end
  account.give(intent.dir, user)
  if user then account.let_pass(fs.dirname(intent.dir)) end
  return {
    disks = disks,
    kernel = readable(ctx, intent.dir, "kernel", image.kernel),
    initrd = readable(ctx, intent.dir, "initrd", image.initrd),
    shim = readable(ctx, intent.dir, "moonport-shim", shim.program()),
  }
end

--- Removes them.
-- @tparam context _
-- @tparam table intent
function M.undo(_, intent)
  fs.remove_tree(intent.dir)
  -- The directory of all revisions' goes with the last.
  try(fs.remove, fs.dirname(intent.dir), { if_exists = true })
end

return M
