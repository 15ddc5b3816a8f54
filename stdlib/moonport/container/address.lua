--- Addresses of this host as a pod sees them: a Service gives the address for its loopback.
-- @module moonport.container.address

local endpoint = require "moonport.endpoint"

local M = {
  --- True for a name or address that leads back to the host itself.
  is_loopback = endpoint.is_loopback,
  --- An address as a pod sees it; see `moonport.endpoint`.
  translate = endpoint.translate,
}

--- The ports of this host that a service is to reach: of loopback addresses, and
-- `container.host_ports`.
-- @tparam table manifest the manifest's data
-- @treturn {{port,protocol,name,from},...} each port once, named by its first use; `from` is the
-- address or the field that asks for it
function M.ports(manifest)
  local found, seen = {}, {}
  local function add(port, protocol, name, from)
    local key = port .. protocol
    if seen[key] then return end
    seen[key] = true
    found[#found + 1] = { port = port, protocol = protocol, name = name, from = from }
  end
  for _, target in ipairs(endpoint.targets(manifest)) do
    if M.is_loopback(target.host) then
      add(target.port, target.protocol:upper(), target.name, target.from)
    end
  end
  for index, port in ipairs(manifest.container and manifest.container.host_ports or {}) do
    add(port, "TCP", "host-" .. port, ("container.host_ports[%d]"):format(index))
  end
  return found
end

return M
