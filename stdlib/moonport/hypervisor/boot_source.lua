--- What is booted: an image with its own kernel, a kernel of one's own beside it, or a kernel with
-- an initramfs that is the whole guest.
-- @module moonport.hypervisor.boot_source

local checks = require "moonport.hypervisor.checks"

local M = {}

-- The console first, so that a kernel that finds no root says so where somebody reads it.
local CONSOLE = {
  x86_64 = "console=ttyS0", aarch64 = "console=ttyAMA0",
}

--- The image that is wanted, as `moonport.image` takes it.
-- @tparam table manifest
-- @treturn ?table {name|url|path, sha256, kernel, initrd}; nil where none is booted
function M.wanted(manifest)
  local vm = manifest.hypervisor
  if not checks.has_cloud_init(manifest) then return nil end
  local image = vm.image or { name = checks.IMAGE }
  return {
    name = image.name, url = image.url, path = image.path, sha256 = image.sha256,
    kernel = vm.kernel, initrd = vm.initrd,
  }
end

local function netmask(prefix)
  local bits = (0xffffffff << (32 - prefix)) & 0xffffffff
  return ("%d.%d.%d.%d"):format(bits >> 24, bits >> 16 & 255, bits >> 8 & 255, bits & 255)
end

--- Puts the guest's own values into a command line: `{address}`, `{prefix}`, `{netmask}`,
-- `{gateway}`, `{mac}`, `{hostname}`. Pure.
-- @tparam string text
-- @tparam table lease {guest, host, prefix, mac}
-- @tparam string hostname
-- @treturn string
function M.expand(text, lease, hostname)
  local values = {
    address = lease.guest, prefix = tostring(lease.prefix), netmask = netmask(lease.prefix),
    gateway = lease.host, mac = lease.mac, hostname = hostname,
  }
  return (text:gsub("{(%l+)}", values))
end

--- The command line.
-- @tparam table manifest
-- @tparam table lease
-- @tparam table facts `root` (true: there is a root disk; or the device, where the image tells
-- it), `arch`, `driver`
-- @treturn string
function M.cmdline(manifest, lease, facts)
  local own = manifest.hypervisor.cmdline
  if own then return M.expand(own, lease, manifest.name) end
  local console = CONSOLE[facts.arch] or CONSOLE.x86_64
  if not facts.root then return console end
  local root = type(facts.root) == "string" and facts.root or "/dev/vda1"
  local line = ("root=%s ro %s"):format(root, console)
  -- Its hvc0 is where the service's output goes.
  return facts.driver == "cloud-hypervisor" and line .. " systemd.mask=serial-getty@hvc0.service"
    or line
end

return M
