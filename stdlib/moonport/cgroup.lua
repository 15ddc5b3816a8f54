--- Control groups, v1 and v2: limits on memory, CPU and processes, and all of a service's processes
-- under one name.
--
--     local group = cgroup.create("moonport-1f2e3d4c/web", { memory = 512 << 20, cpus = 1.5 })
--     local p = process.spawn { "nginx", "-g", "daemon off;", cgroup = group }
--     ...
--     print(group:usage().oom_kills)
--     group:kill()
--     group:remove()
--
-- Names are relative: a group stands below the topmost one that moonport may write to.
-- @module moonport.cgroup

local core = require "moonport.core.cgroup"
local errors = require "moonport.errors"
local sys = require "moonport.core.sys"

local M = {}

--- Which control groups the machine has.
-- @function mode
-- @treturn string "v2", "v1", "hybrid" (controllers on v1) or "none"
M.mode = sys.cgroup_mode

-- All of them in the message, the first as the cause, each in the error's `missing`.
local function raise_missing(name, missing)
  local names, first = {}, nil
  for _, limit in ipairs { "memory", "cpu", "pids" } do
    if missing[limit] then
      names[#names + 1] = limit
      first = first or missing[limit]
    end
  end
  errors.raise {
    kind = "cgroup",
    code = "unavailable",
    message = ("`%s` cannot be limited in %s"):format(name, table.concat(names, ", ")),
    hint = first.hint,
    cause = first,
    missing = missing,
  }
end

--- Makes a group, or takes over the one that is there, and sets its limits.
-- @tparam string name such as "moonport-1f2e3d4c/web"
-- @tparam[opt] table limits `memory` in bytes (swap included), `cpus` (1.5), `pids`
-- @tparam[opt] table options `partial=true`: a limit that cannot be set does not raise; the second
-- result says which and why
-- @treturn Cgroup
-- @treturn table the limits that could not be set: "memory", "cpu", "pids" -> error; empty if all
-- could
-- @raise {kind="cgroup", code="unavailable"}: no group can be made, or (without `partial`) a limit
-- cannot be set, with what is missing and how to get it
function M.create(name, limits, options)
  local existed = core.open(name) ~= nil
  local group, missing = core.create(name, limits)
  if next(missing) and not (options and options.partial) then
    if not existed then group:remove() end
    raise_missing(name, missing)
  end
  return group, missing
end

--- Finds a group that was made earlier.
-- @function open
-- @tparam string name
-- @treturn Cgroup nil when there is none
M.open = core.open

--- The names of the groups directly below another.
-- @function list
-- @tparam string parent such as "moonport-1f2e3d4c"
-- @treturn {string,...} sorted; empty when there is no such group either
M.list = core.list

--- Kills all processes of a group, waits until they are gone and removes it. A group that is not
-- there is fine.
-- @tparam string name
-- @tparam[opt=10] number timeout seconds until it gives up on a process that does not die
-- @raise {kind="cgroup", code="timeout"}
function M.destroy(name, timeout)
  local group = core.open(name)
  if not group then return end
  group:signal "SIGKILL"
  group:wait(timeout or 10)
  group:remove()
end

--- The group that holds all those of one store of state: its mark.
-- @tparam string uuid the store's
-- @treturn string such as "moonport-1f2e3d4c"
function M.parent(uuid)
  return "moonport-" .. uuid:sub(1, 8)
end

-- The groups with the store's mark that belong to no deployment, by its id or name. Groups are
-- listed first: a deployment has its row before it has a group.
local function orphans(state)
  local parent, known, found = M.parent(state.uuid), {}, {}
  local names = M.list(parent)
  for _, deployment in ipairs(state:deployments()) do
    known[deployment.id], known[deployment.name] = true, true
  end
  for _, name in ipairs(names) do
    -- Of a revision (`ctx.tag`), of a deployment, or of nobody.
    local owner = name:match("^(.+)%-%d+$")
    if not known[name] and not known[owner] then
      found[#found + 1] = { identity = { name = parent .. "/" .. name } }
    end
  end
  return found
end

-- How what a step recorded is removed; see `moonport.resources`.
M.resource = {
  remove = function(identity) M.destroy(identity.name) end,
  describe = function(identity) return identity.name end,
  orphans = orphans,
}

--- A control group; an option of `process.run` and `process.spawn`.
-- @type Cgroup

--- Sets other limits; those not given are lifted.
-- @function Cgroup:set
-- @tparam table limits as for `create`
-- @treturn table the limits that could not be set, as `create` returns them

--- Its name.
-- @function Cgroup:name
-- @treturn string

--- Its directories: one on v2, one for each hierarchy on v1.
-- @function Cgroup:paths
-- @treturn {string,...}

--- What it uses. A field that the kernel does not tell is nil.
-- @function Cgroup:usage
-- @treturn table `memory` and `memory_peak` in bytes, `oom_kills`, `pids`, `cpu` in seconds

--- The processes in it and in groups below. They may have ended since.
-- @function Cgroup:processes
-- @treturn {integer,...} pids, sorted

--- Signals every process in it.
-- @function Cgroup:signal
-- @tparam string|integer signal

--- Waits until no process is left in it.
-- @function Cgroup:wait
-- @tparam[opt] number timeout seconds
-- @raise {kind="cgroup", code="timeout"} naming one that is left

--- Stops all its processes where they are, or lets them go on.
-- @function Cgroup:freeze
-- @tparam boolean frozen

--- Removes it, the groups below, and those above that are empty then.
-- @function Cgroup:remove
-- @raise {kind="cgroup", code="EBUSY"} with the processes that live in it

return M
