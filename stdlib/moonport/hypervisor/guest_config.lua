--- What cloud-init is told of a guest: plain data for `moonport.hypervisor.cloudinit`.
-- @module moonport.hypervisor.guest_config

local checks = require "moonport.hypervisor.checks"
local endpoint = require "moonport.endpoint"
local fs = require "moonport.fs"
local sys = require "moonport.sys"

local M = {
  --- The guest's account that the service runs as, where it is not root.
  ACCOUNT = "blueprint",
}

-- What `auto` comes to: the directory itself where that is as good as a copy in every way.
-- cloud-init has to mount it, this host to keep it from being written, which takes root, and the
-- service to be who may read it, which another account of the guest's is not.
local function can_share(manifest)
  return checks.has_cloud_init(manifest) and checks.uid(manifest) == 0 and sys.euid() == 0
    and require("moonport.vm").virtiofsd() ~= nil
end

--- How the keystore reaches the guest.
-- @tparam table manifest
-- @treturn ?string "virtiofs", "disk", or nil where there is none
function M.keystore(manifest)
  if not manifest.keystore then return nil end
  local wanted = manifest.hypervisor.keystore
  if wanted ~= "auto" then return wanted end
  return can_share(manifest) and "virtiofs" or "disk"
end

--- True when the keystore reaches the guest over virtio-fs: as the first step has found.
-- @tparam context ctx
-- @treturn boolean
function M.shares_keystore(ctx)
  return (ctx.results.prerequisites or {}).keystore == "virtiofs"
end

--- The name servers in a resolv.conf that a guest can ask. Pure.
-- @tparam string text
-- @treturn {string,...}
function M.parse_nameservers(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    local address = line:match "^%s*nameserver%s+(%S+)"
    if address and endpoint.is_ipv4(address) and not endpoint.is_loopback(address) then
      list[#list + 1] = address
    end
  end
  return list
end

-- Where the host's own resolver listens on loopback, systemd-resolved tells whom it asks.
local RESOLV = { "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf" }

--- The name servers of the guest.
-- @tparam table manifest
-- @treturn {string,...} empty where the host has none that it could ask
function M.nameservers(manifest)
  local given = manifest.hypervisor.network.nameservers
  if given then return given end
  for _, path in ipairs(RESOLV) do
    local list = M.parse_nameservers(try(fs.read, path) or "")
    if #list > 0 then return list end
  end
  return {}
end

local function digests(ctx)
  local list = {}
  for field, input in pairs(ctx.inputs or {}) do list[#list + 1] = field .. "=" .. input.sha256 end
  table.sort(list)
  return list
end

--- What cloud-init is told.
-- @tparam context ctx
-- @treturn table
function M.cloud_init(ctx)
  local manifest, lease = ctx.manifest, ctx.intents.lease
  local vm = manifest.hypervisor
  local uid = checks.uid(manifest)
  return {
    hostname = ctx.name,
    instance_id = vm.cloud_init.instance_id,
    mac = lease.mac, address = lease.guest, prefix = lease.prefix, gateway = lease.host,
    nameservers = M.nameservers(manifest),
    packages = vm.cloud_init.packages,
    docker = vm.cloud_init.docker,
    user_data = vm.cloud_init.user_data,
    ssh_keys = vm.ssh_keys,
    user = uid ~= 0 and { name = M.ACCOUNT, uid = uid } or nil,
    keystore = manifest.keystore and (M.shares_keystore(ctx) and "virtiofs" or "disk") or nil,
    shares = vm.shares,
    inputs = digests(ctx),
  }
end

return M
