--- The hypervisor target's parts: what its recipe puts in order. Each is loaded when it is needed.
-- @module moonport.hypervisor

local M = {
  --- The schema of a manifest's `hypervisor` table.
  manifest = require "moonport.hypervisor.manifest",
}

local PARTS = {
  boot = true, data = true, disks = true, image = true, lease = true, network = true,
  prerequisites = true, ready = true, service = true, stop = true, tap = true, vmm = true,
}

local function add(inputs, field, path)
  if path then inputs[#inputs + 1] = { field = field, path = path } end
end

local function add_keystore(inputs, path)
  local fs = require "moonport.fs"
  if not (path and fs.exists(path)) then return end
  for entry in fs.walk(path) do
    if entry.type == "file" then
      inputs[#inputs + 1] =
        { field = "keystore/" .. entry.relative, path = entry.path, sensitive = true }
    end
  end
end

--- The files that count as part of a manifest: a changed program, key, kernel or image is a changed
-- service. An image with a checksum is known by that.
-- @tparam table manifest
-- @treturn {{field,path,sensitive},...}
function M.inputs(manifest)
  local inputs, vm = {}, manifest.hypervisor
  if not manifest.command then
    require("moonport.hypervisor.prerequisites").check_program(manifest)
    add(inputs, "binary", manifest.binary)
  end
  add(inputs, "hypervisor.kernel", vm.kernel)
  add(inputs, "hypervisor.initrd", vm.initrd)
  local image = vm.image
  add(inputs, "hypervisor.image.path", image and not image.sha256 and image.path or nil)
  add_keystore(inputs, manifest.keystore)
  return inputs
end

return setmetatable(M, {
  __index = function(_, name)
    return PARTS[name] and require("moonport.hypervisor." .. name) or nil
  end,
})
