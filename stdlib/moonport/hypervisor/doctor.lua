--- What `moonport doctor` checks of the hypervisor target.
-- @module moonport.hypervisor.doctor

local fs = require "moonport.fs"
local process = require "moonport.process"
local sys = require "moonport.sys"

local M = {}

local VERSION_SECONDS = 10

-- The first number with dots that a program says of itself.
local function version_of(program)
  local result = process.run { program, "--version", check = false, timeout = VERSION_SECONDS }
  return (result.stdout .. result.stderr):match "%d+%.%d[%d.]*" or "of an unknown version"
end

--- Which VMMs there are, and of which version.
-- @treturn string what was found
-- @treturn ?string hint
function M.vmms()
  local parts = {}
  for _, name in ipairs { "cloud-hypervisor", "qemu-system-" .. sys.uname().machine } do
    local program = process.which(name)
    if program then parts[#parts + 1] = ("%s %s"):format(name, version_of(program)) end
  end
  if #parts == 0 then
    return "none; only the hypervisor target needs one"
  end
  return table.concat(parts, ", ")
end

--- Whether the programs that make disks are there.
-- @treturn string what was found
-- @treturn ?string hint
function M.tools()
  local missing = require("moonport.hypervisor.prerequisites").missing_tools()
  if #missing == 0 then return "all that VMs' disks take" end
  local programs, packages = {}, {}
  for index, tool in ipairs(missing) do
    programs[index], packages[index] = tool.name, tool.package
  end
  return ("VMs' disks also take `%s`"):format(table.concat(programs, "`, `")),
    "apt-get install " .. table.concat(packages, " ")
end

local FORWARDING = "/proc/sys/net/ipv4/ip_forward"

--- Whether guests can reach beyond this host.
-- @treturn string what was found
-- @treturn ?string hint
function M.forwarding()
  local text = try(fs.read, FORWARDING)
  if text and text:match "^1" then return "on: guests of VMs reach beyond this host" end
  return "off: guests of VMs reach nothing beyond this host",
    "sysctl net.ipv4.ip_forward=1, or `hypervisor.network.forwarding = \"enable\"`"
end

return M
