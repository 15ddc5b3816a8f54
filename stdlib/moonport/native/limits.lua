--- The control group of a native service: its limits, and the way to end all its processes.
-- @module moonport.native.limits

local cgroup = require "moonport.cgroup"
local errors = require "moonport.errors"
local units = require "moonport.units"

local M = {}

-- A process that SIGKILL does not end by then is stuck in the kernel.
local KILL_SECONDS = 10

--- Chooses the group's name, which carries the store's mark.
-- @tparam context ctx
-- @treturn table intent {group}
-- @treturn table resources
function M.allocate(ctx)
  local name = ("%s/%s"):format(cgroup.parent(ctx.store), ctx.tag)
  return { group = name }, { { "cgroup", { name = name } } }
end

-- A VMM is held to other limits than its guest's, which its intent has.
local function wanted(ctx, intent)
  local limits = intent and intent.limits or ctx.manifest.limits
  return { memory = limits.memory, cpus = limits.cpus, pids = limits.pids }
end

--- Tells which limits would be set.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local parts = {}
  for _, name in ipairs { "memory", "cpus", "pids" } do
    local value = wanted(ctx)[name]
    local shown = name == "memory" and value and units.format_size(value) or value
    if value then parts[#parts + 1] = ("%s %s"):format(name, shown) end
  end
  -- Its name says nothing to people, and is chosen only when it is made.
  local to = #parts > 0 and table.concat(parts, ", ") or "no limits"
  return { { action = "create", what = "control group", to = to } }
end

-- A limit that was asked for and cannot be had is never passed over in silence.
local function warn(ctx, problem)
  local hint = problem.hint and (" (%s)"):format(problem.hint) or ""
  ctx:warn("%s%s", problem.message, hint)
end

-- The same where there can be no group at all.
local function warn_of_all(ctx, limits, problem)
  local names = {}
  for _, name in ipairs { "memory", "cpus", "pids" } do
    if limits[name] then names[#names + 1] = name end
  end
  if #names == 0 then return end
  warn(ctx, {
    message = ("the limits on %s do not hold: %s"):format(table.concat(names, ", "),
      problem.message),
    hint = problem.hint,
  })
end

--- Makes the group and sets the limits. Where there can be none, the service runs without, and the
-- operator is told of each limit that does not hold.
-- @tparam context ctx
-- @tparam table intent {group}; and `limits` where they are not the manifest's
-- @treturn table {paths, missing}; no paths where there is no group
function M.make(ctx, intent)
  local limits = wanted(ctx, intent)
  local group, missing = try(cgroup.create, intent.group, limits, { partial = true })
  if not group then
    if not errors.is(missing, "cgroup") then error(missing, 0) end
    warn_of_all(ctx, limits, missing)
    return { paths = {}, missing = { missing.message } }
  end
  local messages = {}
  for _, problem in pairs(missing) do
    warn(ctx, problem)
    messages[#messages + 1] = problem.message
  end
  return { paths = group:paths(), missing = messages }
end

local function supervisors_name(ctx)
  return cgroup.parent(ctx.store) .. "-supervisors"
end

--- The group that supervisors stand in, without limits: outside of their services' groups, and
-- outside of whatever moonport was started in, since a unit or session that ends takes all with it
-- that is in its group.
-- @tparam context ctx
-- @treturn {string,...} its directories; none where there can be no group
function M.supervisors(ctx)
  local group = try(cgroup.create, supervisors_name(ctx))
  return group and group:paths() or {}
end

--- Uses the group that all supervisors share, which goes with the last of them. For `apply`.
-- @tparam context ctx
function M.share_supervisors(ctx)
  local name = supervisors_name(ctx)
  ctx:share("cgroup", { name = name }, {
    exists = function() return cgroup.open(name) ~= nil end,
    make = function() M.supervisors(ctx) end,
  })
end

--- The step: makes the group, and uses the one that all supervisors share.
-- @tparam context ctx
-- @tparam table intent
-- @treturn table as `make`
function M.apply(ctx, intent)
  M.share_supervisors(ctx)
  return M.make(ctx, intent)
end

--- The group, for entering and measuring.
-- @tparam table|nil intent
-- @treturn Cgroup|nil nil when there is none
function M.group(intent)
  return intent and cgroup.open(intent.group)
end

--- Ends whatever still runs in the group, and waits until it has.
-- @tparam table|nil intent
function M.kill(intent)
  local group = M.group(intent)
  if not group then return end
  group:signal("KILL")
  group:wait(KILL_SECONDS)
end

--- Removes the group with whatever still runs in it.
-- @tparam context _
-- @tparam table intent
function M.remove(_, intent)
  cgroup.destroy(intent.group)
end

--- What the group uses now.
-- @tparam table|nil intent
-- @treturn table `{memory, memory_peak, oom_kills, pids, cpu}`; empty when nothing is known
function M.usage(intent)
  local group = M.group(intent)
  return group and group:usage() or {}
end

return M
