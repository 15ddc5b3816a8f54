--- What cloud-init is told in a guest: user-data, meta-data and network-config, as data.
--
-- `tables` makes Lua tables, which a site's recipe can change before `render` writes them: every
-- value is encoded, none is put into a script. Commands are lists of arguments. The network is
-- matched by its hardware address, whatever the guest calls it. The instance-id is a digest of all
-- that goes in: cloud-init runs again when something has changed, and only then.
-- @module moonport.hypervisor.cloudinit

local canonical = require "moonport.canonical"
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local json = require "moonport.json"
local units = require "moonport.hypervisor.units"
local yaml = require "moonport.yaml"

local M = {
  --- What the guest runs: the same for every driver.
  AGENT = {
    "/run/moonport/service/moonport-shim", "agent", "--dir", "/run/moonport/agent", "--spec",
    "/run/moonport/service/service.spec",
  },
  --- The account that ssh keys open.
  ACCOUNT = "moonport",
}

local SERVICE, DATA, KEYSTORE = "/run/moonport/service", "/mnt/data", "/mnt/keystore"
-- As udev names a disk by the serial that the VMM gives it.
local DATA_DEVICE = "/dev/disk/by-id/virtio-data"
local DATA_PARTITION = DATA_DEVICE .. "-part1"
local GROW = "/lib/systemd/systemd-growfs"

local function add_unit(data, name, content)
  local files = data.write_files
  files[#files + 1] = {
    path = units.DIR .. "/" .. name, content = content, permissions = "0644", owner = "root:root",
  }
end

local function add_mount(data, mount)
  add_unit(data, units.mount(mount))
end

-- Only root sees what is on the service disk, or the account that the service runs as.
local function service_options(user)
  local options = { "ro", "nodev", "nosuid", "fmask=0077", "dmask=0077" }
  if user then options[#options + 1] = ("uid=%d"):format(user.uid) end
  return options
end

local function add_keystore(data, how)
  local mount = {
    where = KEYSTORE, description = "moonport's keystore", options = { "bind", "ro" },
    what = SERVICE .. "/keystore", type = "none", needs = SERVICE,
  }
  if how == "virtiofs" then
    mount.what, mount.type, mount.needs = "keystore", "virtiofs", nil
    mount.options = { "ro", "nodev", "nosuid" }
  end
  add_mount(data, mount)
end

local function add_shares(data, shares)
  local mounts = {}
  for index, share in ipairs(shares) do
    add_mount(data, {
      what = share.tag, where = share.mount, type = "virtiofs",
      description = "a directory of moonport's host",
      options = { share.readonly == false and "rw" or "ro", "nodev", "nosuid" },
    })
    mounts[index] = share.mount
  end
  return mounts
end

local function add_mounts(data, input)
  add_mount(data, {
    what = "/dev/disk/by-label/SERVICEDISK", where = SERVICE, type = "vfat",
    description = "moonport's service disk", options = service_options(input.user),
  })
  local needed = { SERVICE }
  if input.data ~= false then needed[2] = DATA end
  if input.keystore then
    add_keystore(data, input.keystore)
    needed[#needed + 1] = KEYSTORE
  end
  local shares = add_shares(data, input.shares or {})
  return table.move(shares, 1, #shares, #needed + 1, needed)
end

-- `any`: a file system that is there stays, whatever its label. Without sgdisk in the guest there
-- is no partition, and the whole disk is formatted; both are mounted by the same line.
local function add_data_disk(data)
  data.disk_setup = {
    [DATA_DEVICE] = { table_type = "gpt", layout = true, overwrite = false },
  }
  data.fs_setup = { {
    label = "data", filesystem = "ext4", device = DATA_DEVICE, partition = "any", overwrite = false,
  } }
  data.mounts = { { DATA_DEVICE, DATA, "ext4", "defaults,nofail,x-systemd.growfs", "0", "2" } }
  data.growpart = { mode = "auto", devices = { "/", DATA_PARTITION } }
  data.runcmd[#data.runcmd + 1] = { GROW, DATA }
end

local function account(keys)
  return {
    name = M.ACCOUNT, gecos = "moonport", shell = "/bin/bash", lock_passwd = true,
    sudo = "ALL=(ALL) NOPASSWD:ALL", ssh_authorized_keys = keys,
  }
end

local function service_account(user)
  return {
    name = user.name, uid = user.uid, gecos = "moonport service", system = true,
    no_create_home = true, lock_passwd = true, shell = "/usr/sbin/nologin",
  }
end

local function add_accounts(data, input)
  local keys, user = input.ssh_keys or {}, input.user
  if #keys > 0 then data.users[2] = account(keys) end
  if not user then return end
  data.users[#data.users + 1] = service_account(user)
  if input.data ~= false then
    data.runcmd[#data.runcmd + 1] = { "chown", tostring(user.uid), DATA }
  end
end

local function add_packages(data, input)
  local packages = table.move(input.packages or {}, 1, #(input.packages or {}), 1, {})
  -- The distribution's own, from its signed archive.
  if input.docker then packages[#packages + 1] = "docker.io" end
  if #packages == 0 then return end
  data.packages, data.package_update = packages, true
  if input.docker then
    data.runcmd[#data.runcmd + 1] = { "systemctl", "enable", "--now", "docker.service" }
  end
end

local function is_list(value)
  return type(value) == "table" and (#value > 0 or json.is_array(value))
end

-- Tables are merged, lists go after ours, and anything else takes the place of ours.
local function merge(ours, theirs)
  if type(ours) ~= "table" or type(theirs) ~= "table" or is_list(ours) ~= is_list(theirs) then
    return theirs
  end
  if is_list(ours) then return table.move(theirs, 1, #theirs, #ours + 1, ours) end
  for key, value in pairs(theirs) do
    if ours[key] == nil then ours[key] = value else ours[key] = merge(ours[key], value) end
  end
  return ours
end

local function user_data(input)
  local data = {
    -- Without a list there would be the distribution's own account, and an empty one is invalid.
    users = { { name = "root", lock_passwd = true } },
    write_files = {}, runcmd = {}, ssh_pwauth = false, disable_root = true, manage_etc_hosts = true,
  }
  local needed = add_mounts(data, input)
  if input.data ~= false then add_data_disk(data) end
  add_accounts(data, input)
  add_packages(data, input)
  add_unit(data, units.AGENT, units.agent(input.agent or M.AGENT, needed))
  data = merge(data, input.user_data or {})
  -- What the site adds runs before the service does.
  local commands = data.runcmd
  commands[#commands + 1] = { "systemctl", "daemon-reload" }
  commands[#commands + 1] = { "systemctl", "enable", "--now", units.AGENT }
  return data
end

local function network_config(input)
  local servers = input.nameservers or {}
  return {
    version = 2,
    ethernets = {
      uplink = {
        match = { macaddress = input.mac:lower() },
        addresses = { ("%s/%d"):format(input.address, input.prefix or 30) },
        -- Not `routes`: with ifupdown, cloud-init sets those by route(8), which few images have.
        gateway4 = input.gateway,
        nameservers = #servers > 0 and { addresses = servers } or nil,
        dhcp4 = false, dhcp6 = false, ["accept-ra"] = false,
      },
    },
  }
end

local function check(input)
  for _, name in ipairs { "hostname", "mac", "address", "gateway" } do
    if type(input[name]) ~= "string" then
      errors.raise {
        kind = "argument", code = "invalid", message = ("cloudinit: `%s` is missing"):format(name),
      }
    end
  end
end

--- Makes what cloud-init is told, as tables.
-- @tparam table input `hostname`; `mac`, `address`, `prefix` (30), `gateway`, `nameservers` of its
--   one interface; `data=false`: there is no data disk; `keystore`: "disk" or "virtiofs" where
--   there is one; `shares`: list of {tag, mount, readonly}; `ssh_keys`: public keys of the account
--   `moonport`; `packages` to install and `docker=true` for the distribution's Docker; `user`:
--   {name, uid} of the service, else root; `user_data`: merged in; `agent`: argv in place of
--   `AGENT`
-- @treturn table `{user_data, network_config, hostname}`
function M.tables(input)
  check(input)
  return {
    user_data = user_data(input), network_config = network_config(input), hostname = input.hostname,
  }
end

local function digest(tables, inputs)
  return "i-" .. crypto.hash("sha256", canonical.encode {
    user_data = tables.user_data, network_config = tables.network_config,
    hostname = tables.hostname, inputs = inputs or {},
  }):sub(1, 32)
end

--- Writes what cloud-init is told.
-- @tparam table tables as @{tables} gives them
-- @tparam[opt] table options `inputs`: digests of what else the guest is set up from; `instance_id`
--   pins it
-- @treturn table `{user_data, meta_data, network_config, instance_id}` of text
-- @raise {kind="yaml", code="secret"} for a secret, which anybody could read in the guest's logs
function M.render(tables, options)
  options = options or {}
  -- First of all, since it says best what is wrong with a value.
  local text = yaml.encode(tables.user_data)
  local id = options.instance_id or digest(tables, options.inputs)
  return {
    user_data = "#cloud-config\n" .. text,
    meta_data = yaml.encode { ["instance-id"] = id, ["local-hostname"] = tables.hostname },
    network_config = yaml.encode(tables.network_config),
    instance_id = id,
  }
end

--- Makes and writes it in one call.
-- @tparam table input of @{tables}, with `inputs` and `instance_id` of @{render}
-- @treturn table as @{render}
function M.build(input)
  return M.render(M.tables(input), { inputs = input.inputs, instance_id = input.instance_id })
end

return M
