--- The step that sees to the image, and to whether KVM runs its kernel.
-- @module moonport.hypervisor.image

local boot_source = require "moonport.hypervisor.boot_source"
local driver = require "moonport.hypervisor.driver"
local units = require "moonport.units"

local M = {}

local function describe(wanted)
  return wanted.name or wanted.url or wanted.path
end

--- Tells whether the image is downloaded and converted first.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local wanted = boot_source.wanted(ctx.manifest)
  if not wanted then return {} end
  local found = require("moonport.image").plan(wanted, { state = ctx.state, config = ctx.config })
  return {
    {
      action = found.cached and "keep" or "create", what = "image " .. describe(wanted),
      to = not found.cached and ("downloaded and converted, from %s"):format(found.source) or nil,
    },
  }
end

local function ensure(ctx, wanted)
  local image = require "moonport.image"
  local found = image.ensure(wanted, {
    state = ctx.state, config = ctx.config,
    progress = function(text) ctx:progress("%s", text) end,
  })
  image.use(ctx, found)
  return found
end

--- Sees to the image: downloads, verifies and converts it where that was not done before.
-- @tparam context ctx
-- @treturn table {kernel, initrd, root, path, size, digest}, and what runs it: {driver, machine,
-- accel, overlay}
function M.apply(ctx)
  local wanted = boot_source.wanted(ctx.manifest)
  local vm = ctx.manifest.hypervisor
  local found = wanted and ensure(ctx, wanted) or {}
  local result = {
    path = found.path, digest = found.digest, size = found.size,
    root = found.root or (found.path and true) or nil,
    kernel = vm.kernel or found.kernel, initrd = vm.initrd or not vm.kernel and found.initrd or nil,
  }
  if found.size and found.size > vm.disk.size then
    ctx:warn("the image %s is %s, more than `hypervisor.disk.size`: the disk is that large",
      describe(wanted), units.format_size(found.size))
  end
  local chosen = driver.decide(ctx, result)
  ctx:outcome("%s", driver.describe(chosen))
  result.driver, result.machine, result.accel = chosen.driver, chosen.machine, chosen.accel
  result.overlay = chosen.can.features.backing == true
  return result
end

return M
