--- IP forwarding: whether this host passes packets between its interfaces, as a guest's way out
-- needs. It is the whole host's setting, so it is changed only where manifest or site say so.
-- @module moonport.hypervisor.forwarding

local errors = require "moonport.errors"

local M = {
  --- Where the kernel has it.
  FILE = "/proc/sys/net/ipv4/ip_forward",
}

--- Whether it is on.
-- @treturn boolean
function M.is_on()
  local file = io.open(M.FILE)
  local text = file and file:read "l"
  if file then file:close() end
  return text == "1"
end

--- What a VM needs it for. A guest that reaches this host alone needs none.
-- @tparam table manifest
-- @treturn string|nil for people
function M.reason(manifest)
  local network = manifest.hypervisor.network
  if network.egress then return "its way out (`hypervisor.network.egress`)" end
  if #network.peers > 0 then return "its way to other VMs (`hypervisor.network.peers`)" end
  for _, entry in ipairs(network.publish) do
    if not entry.address:find "^127%." then return "ports that others reach" end
  end
  return nil
end

local function may_change(ctx)
  return ctx.manifest.hypervisor.network.forwarding == "enable"
    or (ctx.config.network or {}).forwarding == "enable"
end

local function switch_on()
  local file, why = io.open(M.FILE, "w")
  local ok = file and file:write "1\n"
  if file then
    local closed, problem = file:close()
    ok, why = ok and closed, why or problem
  end
  if ok and M.is_on() then return end
  errors.raise {
    kind = "hypervisor", code = "refused",
    message = ("could not switch on IP forwarding: %s"):format(why or "the kernel did not take it"),
    hint = "as root: sysctl -w net.ipv4.ip_forward=1",
  }
end

--- Switches forwarding on again where a reboot has switched it off and it may be changed; tells
-- where it may not. What runs already is not given up for that.
-- @tparam context ctx
-- @treturn boolean true when it was switched on
function M.mend(ctx)
  local reason = M.reason(ctx.manifest)
  if not reason or M.is_on() then return false end
  if not may_change(ctx) then
    ctx:warn("IP forwarding is off on this host, and the VM needs it for %s: sysctl -w "
      .. "net.ipv4.ip_forward=1", reason)
    return false
  end
  switch_on()
  return true
end

--- Checks that packets are forwarded, where the VM needs it. Where it is off and may be changed, it
-- is switched on, except in a plan; it stays on, since others may have come to need it.
-- @tparam context ctx
-- @raise {kind="hypervisor", code="refused"} where it is off and may not be changed
function M.check(ctx)
  local reason = M.reason(ctx.manifest)
  if not reason or M.is_on() then return end
  if not may_change(ctx) then
    errors.raise {
      kind = "hypervisor", code = "refused",
      message = ("IP forwarding is off on this host, and the VM needs it for %s"):format(reason),
      hint = "as root: sysctl -w net.ipv4.ip_forward=1 (and in /etc/sysctl.d, to last); or let "
        .. "moonport do it: `hypervisor = { network = { forwarding = \"enable\" } }`",
    }
  end
  if ctx.planning then
    ctx:warn("IP forwarding is off on this host; deploying switches it on, until the next reboot")
    return
  end
  switch_on()
  ctx:warn("IP forwarding was off on this host and is on now, until the next reboot")
end

return M
