--- What `moonport doctor` checks of the hypervisor target.
-- @module moonport.hypervisor.doctor

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local process = require "moonport.process"
local sys = require "moonport.sys"

local M = {}

local GUEST_SECONDS = 10

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

--- Whether you may make what a VM takes, and how to come to it.
-- @treturn string what was found
-- @treturn ?string hint
function M.rights()
  local capabilities = require "moonport.hypervisor.capabilities"
  local _, why = try(capabilities.check)
  if why then return why.message, why.hint end
  local without = {}
  for _, row in ipairs(capabilities.list()) do
    if not row.have then
      without[#without + 1] = ("CAP_%s, and so %s"):format(row.capability:upper(), row.without)
    end
  end
  if #without == 0 then return "all that VMs take" end
  return "enough; without " .. table.concat(without, "; without ")
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

-- -- One service ----------------------------------------------------------------------------------

-- The ports of the guest that its probes ask from this host.
local function probed_ports(ctx)
  local lease, ports = ctx.intents.lease, {}
  local ready = lease and ctx.manifest.ready
    and require("moonport.hypervisor.ready").translate(ctx.manifest.ready, lease.guest)
  for _, where in ipairs(ready and { ready.tcp or "", ready.http or "" } or {}) do
    local port = where:match("^%w*:?/?/?" .. lease.guest:gsub("%.", "%%.") .. ":(%d+)")
    ports[#ports + 1] = port and math.tointeger(tonumber(port)) or nil
  end
  return ports
end

-- Has the guest send; who does not answer once is not asked again.
local function sender(agent)
  local silent
  return function(packet, from)
    if silent then error(silent, 0) end
    local ok, why = pcall(agent.probe, agent, { protocol = packet.protocol,
      address = packet.daddr, port = packet.port, from = from })
    if ok then return end
    silent = not why.code:find "^E%u+$" and why or nil
    error(why, 0)
  end
end

local function connect(ctx)
  local intent = require("moonport.hypervisor.vmm").need_running(ctx)
  return require("moonport.hypervisor.boot").agent(ctx, intent, { timeout = GUEST_SECONDS })
end

--- The ways of a service's packets; see `moonport.hypervisor.firewall.doctor`.
-- @tparam env env
-- @tparam table deployment row
-- @treturn table rows
function M.ways(env, deployment)
  local rows = require("moonport.hypervisor.firewall.doctor").rows
  local revision = deployment.revision
    and env.state:revision(deployment.id, deployment.revision)
  if not revision then
    return rows(env.state, deployment.id, { why = { message = "its machine does not run" } })
  end
  local ctx = require("moonport.engine.job").open(env, deployment, revision).ctx
  local agent, why = try(connect, ctx)
  if not agent then
    if errors.is(why, "task", "cancelled") then error(why, 0) end
    return rows(env.state, deployment.id, { why = why, revision = revision.number,
      ports = probed_ports(ctx) })
  end
  local held <close> = agent -- luacheck: ignore held
  return rows(env.state, deployment.id, { guest = sender(agent), revision = revision.number,
    ports = probed_ports(ctx) })
end

return M
