--- What of the kernel's privileges the hypervisor target needs, checked before anything is made.
--
-- CAP_NET_ADMIN alone is enough for the network: TAPs, addresses, rules. What else is better with
-- more is named by `list`, each with what is done without it.
-- @module moonport.hypervisor.capabilities

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local sys = require "moonport.sys"

local M = {}

local function program()
  return try(fs.realpath, "/proc/self/exe") or "/usr/bin/moonport"
end

--- The commands that give the program what it needs, for one group of users alone: who may run it
-- may change the host's network.
-- @tparam[opt] string path the program; without it, this one
-- @treturn string
function M.setcap_line(path)
  path = path or program()
  return ("groupadd -f --system moonport && chgrp moonport %s && chmod 0750 %s && "
    .. "setcap cap_net_admin+ep %s"):format(path, path, path)
end

-- What each privilege is for, beyond the network, and what is done without it.
local OTHERS = {
  {
    capability = "setuid", what = "VMMs run as accounts of their own",
    without = "they run as you",
  },
  {
    capability = "net_raw", what = "rules of legacy iptables are looked at, where a host has some",
    without = "a deployment warns that it could not",
  },
  {
    capability = "chown", what = "disks are given to these accounts",
    without = "they are yours",
  },
  {
    capability = "sys_admin", what = "network namespaces are made and entered",
    without = "only this host's own network is used, which is all that deployments need",
  },
}

--- All that is asked for, and whether it is there.
-- @treturn {table,...} {what, capability, have, needed, without}
function M.list()
  local rows = {
    {
      what = "TAPs, addresses, firewall rules", capability = "net_admin", needed = true,
      have = sys.has_capability "net_admin",
    },
  }
  for _, other in ipairs(OTHERS) do
    rows[#rows + 1] = {
      what = other.what, capability = other.capability, needed = false, without = other.without,
      have = sys.has_capability(other.capability),
    }
  end
  return rows
end

--- Checks what is needed: CAP_NET_ADMIN, and the device of TAPs.
-- @raise {kind="hypervisor", code="refused"} with the commands that mend it
function M.check()
  if not sys.has_capability "net_admin" then
    errors.raise {
      kind = "hypervisor", code = "refused",
      message = "making a VM's network takes CAP_NET_ADMIN, which you do not have",
      hint = "as root, for the users of one group: " .. M.setcap_line(),
    }
  end
  local _, why = try(require("moonport.netlink").check_tap)
  if not why then return end
  errors.raise {
    kind = "hypervisor", code = "refused", cause = why,
    message = ("a VM's network is a TAP, which cannot be made here: %s"):format(why.message),
    hint = errors.is(why, "netlink", "EACCES")
      and "as root: chmod 0666 /dev/net/tun, as udev does; what protects it is CAP_NET_ADMIN"
      or why.hint,
  }
end

return M
