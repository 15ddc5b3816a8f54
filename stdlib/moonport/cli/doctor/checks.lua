--- What `moonport doctor` checks, in order: {name, run, optional, tries}.
--
-- `run(about)` gives what was found, and a hint where that is a warning; what it raises is a
-- failure, or a warning where moonport does most of its work without it (`optional`). It runs with
-- the effect gate shut unless it `tries` something or opens the store.
-- @module moonport.cli.doctor.checks

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local process = require "moonport.process"
local sys = require "moonport.sys"

local LEAST_SPACE = 1 << 30     -- bytes free below which logs and data soon have no room
local LEAST_INODES = 10000
local LEAST_FILES = 1024        -- open files

local function fail(message, hint)
  errors.raise {
    kind = "doctor", code = "failed", message = message, hint = hint, where = "",
  }
end

local function count(number, one, several)
  return ("%d %s"):format(number, number == 1 and one or several or one .. "s")
end

-- The installation.

local function check_supervisor()
  local shim = require("moonport.shim").program()
  local said = process.run({ shim, "--version", timeout = 10 }).stdout
  local version, mine = said:match("^moonport%-shim (%S+)"), require "moonport.version"
  if version ~= mine then
    fail(("`%s` is version %s, and moonport is %s"):format(shim, version or "?", mine),
      "install moonport whole; the two belong together")
  end
  return ("%s, version %s"):format(shim, version)
end

local function check_http()
  return "libcurl " .. require("moonport.http").version()
end

-- The state store.

local function state_dir(about)
  return require("moonport.state").locate(about.state)
end

-- The nearest directory of a path that is there.
local function existing(path)
  while not fs.exists(path) do path = fs.dirname(path) end
  return path
end

local function check_state(about)
  local dir = state_dir(about)
  local there = fs.exists(dir .. "/store.json")
  local state <close> = require("moonport.state").open { dir = about.state, read_only = not there }
  if not there then
    local scratch = fs.temp_dir { dir = existing(dir), prefix = ".moonport-doctor" }
    fs.remove_tree(scratch)
    return dir .. ", which the first deployment will make"
  end
  fs.write(dir .. "/.doctor", "")
  fs.remove(dir .. "/.doctor")
  return ("%s, with %s"):format(dir, count(#state:deployments(), "service"))
end

local function check_disk(about)
  local dir = existing(state_dir(about))
  local disk, size = sys.disk(dir), require("moonport.ui").size
  local found = ("%s free of %s below `%s`"):format(size(disk.available), size(disk.total), dir)
  if disk.network then
    return found .. ", on a network file system",
      "SQLite and locks want a local one: put the state elsewhere with --state or $MOONPORT_STATE"
  elseif disk.available < LEAST_SPACE then
    return found, "logs and data will have no room: free some, or put the state elsewhere"
  elseif disk.inodes and disk.inodes < LEAST_INODES then
    return ("only %d more files can be made below `%s`"):format(disk.inodes, dir),
      "remove files that nobody needs"
  end
  return found
end

local function check_site(about)
  local site = require("moonport.site").open { dir = about.site }
  local broken = {}
  local recipes = require("moonport.recipe").list(site)
  for _, recipe in ipairs(recipes) do
    if recipe.error then broken[#broken + 1] = recipe.name end
  end
  if #broken > 0 then
    fail(("these recipes do not load: %s"):format(table.concat(broken, ", ")),
      ("`moonport recipe show %s` says why"):format(broken[1]))
  end
  return ("%s; %s"):format(site.dir or "none", count(#recipes, "recipe"))
end

-- The services.

local PROBLEMS = {
  interrupted = { "interrupted", "deploy it again, or `moonport rm %s`" },
  ["lost supervisor"] = { "without their supervisor", "`moonport start %s` starts it again" },
  failed = { "failed", "`moonport status %s` says why" },
  unknown = { "in an unknown state", "`moonport status %s` says more" },
}

-- Worst first.
local ORDER = { "lost supervisor", "interrupted", "failed", "unknown" }

local function open_env(about)
  return require("moonport.cli.env").open(about, { read_only = true })
end

local function check_services(about)
  local env <close> = open_env(about)
  local services = require("moonport.service").list(env)
  local by_state = {}
  for _, service in ipairs(services) do
    local state = service:status().state
    by_state[state] = by_state[state] or {}
    table.insert(by_state[state], service.name)
  end
  local parts, hint = {}, nil
  for _, state in ipairs(ORDER) do
    local names, problem = by_state[state], PROBLEMS[state]
    if names then
      parts[#parts + 1] = ("%s: %s"):format(problem[1], table.concat(names, ", "))
      hint = hint or problem[2]:format(names[1])
    end
  end
  if #parts == 0 then return ("%s, nothing wrong"):format(count(#services, "service")) end
  return table.concat(parts, "; "), hint
end

local function check_leftovers(about)
  local env <close> = open_env(about)
  if not fs.exists(env.state.dir .. "/deployments") then return "none" end
  local rows = require("moonport.gc").run(env, { dry = true })
  if #rows == 0 then return "none" end
  return ("%s of killed commands, such as %s"):format(count(#rows, "leftover"), rows[1].what),
    "`moonport gc --dry-run` lists them, `moonport gc` removes them"
end

-- The machine.

local function check_kernel()
  local host = sys.uname()
  return ("%s %s %s"):format(host.system, host.release, host.machine)
end

local function check_privileges()
  if sys.euid() == 0 then return "root" end
  return ("uid %d: native services run as you"):format(sys.euid())
end

local function check_files()
  local soft, hard = fs.read("/proc/self/limits"):match("Max open files%s+(%S+)%s+(%S+)")
  local found = ("%s open files, at most %s"):format(soft, hard)
  if tonumber(soft) and tonumber(soft) < LEAST_FILES then
    return found, ("deploying many services at once takes more: ulimit -n %d"):format(LEAST_FILES)
  end
  return found
end

local LIMITS = { memory = "memory", cpu = "CPU", pids = "processes" }

local function check_cgroups()
  local cgroup = require "moonport.cgroup"
  local name = ("moonport-doctor-%d"):format(sys.pid())
  local group, missing = cgroup.create(name, { memory = 1 << 30, cpus = 1, pids = 1000 },
    { partial = true })
  group:remove()
  local can, cannot, hint = {}, {}, nil
  for _, limit in ipairs { "memory", "cpu", "pids" } do
    local list = missing[limit] and cannot or can
    list[#list + 1] = LIMITS[limit]
    hint = hint or missing[limit] and (missing[limit].hint or missing[limit].message)
  end
  local found = ("%s: limits on %s"):format(cgroup.mode(),
    #can > 0 and table.concat(can, ", ") or "nothing")
  if #cannot == 0 then return found end
  return ("%s, none on %s"):format(found, table.concat(cannot, ", ")), hint
end

local UNIT = "moonport-restore.service"
local UNIT_DIRS = { "/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system" }

local function is_enabled()
  for _, dir in ipairs(UNIT_DIRS) do
    if try(fs.lstat, ("%s/multi-user.target.wants/%s"):format(dir, UNIT)) then return true end
  end
  return false
end

local function check_boot()
  if not fs.exists("/run/systemd/system") then
    return "no systemd here; services start again when something calls `moonport restore` at boot"
  elseif is_enabled() then
    return UNIT .. " starts services again after a reboot"
  end
  return "nothing starts services again after a reboot", "systemctl enable " .. UNIT
end

local function check_kvm()
  sys.check_kvm()
  return "/dev/kvm opens"
end

-- The cluster.

-- A check of the container target, where this build has it.
local function of_container(name)
  return function(about)
    local found, doctor = pcall(require, "moonport.container.doctor")
    if not found then return "not available in this build" end
    return doctor[name](about)
  end
end

-- The virtual machines.

-- A check of the hypervisor target, where this build has it.
local function of_hypervisor(name)
  return function(about)
    local found, doctor = pcall(require, "moonport.hypervisor.doctor")
    if not found then return "not available in this build" end
    return doctor[name](about)
  end
end

-- The firewall of virtual machines.

local function check_firewall(about)
  local found, doctor = pcall(require, "moonport.hypervisor.firewall.doctor")
  if not found then return "not available in this build" end
  local env <close> = open_env(about)
  return require("moonport.task").read_only(doctor.check, env.state)
end

return {
  { name = "supervisor", run = check_supervisor, tries = true },
  { name = "http", run = check_http, optional = true },
  { name = "state", run = check_state, tries = true },
  { name = "disk", run = check_disk },
  { name = "site", run = check_site },
  { name = "services", run = check_services, tries = true },
  { name = "leftovers", run = check_leftovers, tries = true },
  { name = "kernel", run = check_kernel },
  { name = "privileges", run = check_privileges },
  { name = "open files", run = check_files },
  { name = "control groups", run = check_cgroups, optional = true, tries = true },
  { name = "boot", run = check_boot },
  { name = "kvm", run = check_kvm, optional = true },
  { name = "VMMs", run = of_hypervisor "vmms", optional = true, tries = true },
  { name = "VM tools", run = of_hypervisor "tools", optional = true },
  { name = "VM rights", run = of_hypervisor "rights", optional = true },
  { name = "VM network", run = of_hypervisor "forwarding", optional = true },
  { name = "firewall", run = check_firewall, optional = true, tries = true },
  { name = "cluster", run = of_container "cluster", optional = true },
  { name = "cluster rights", run = of_container "rights", optional = true },
  { name = "cluster VMs", run = of_container "isolation", optional = true },
}
