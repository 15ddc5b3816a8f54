--- The service handle: one object with the same verbs, whatever the target.
--
--    local svc = service.open "squaring"
--    svc:status().state                              --> "running"
--    for line in svc:logs { follow = true } do ... end
--    svc:stop { grace = 5 }
--
-- The recipe that deployed the service fills the verbs in (the copy that was kept then); the
-- command line, scripts, hooks and the prompt use nothing else.
--
-- @module moonport.service
local deploy = require "moonport.deploy"
local deployments = require "moonport.state.deployments"
local errors = require "moonport.errors"
local failure = require "moonport.failure"
local job = require "moonport.engine.job"
local manifest = require "moonport.manifest"
local run = require "moonport.engine.run"
local settle = require "moonport.engine.settle"

local M = {}

local Service = {}
Service.__index = Service
Service.__name = "moonport.service"

-- The job of the revision that serves, or else of the pending one.
local function work_of(self)
  if not self._work then
    local deployment = self.deployment
    local number = deployment.revision or deployment.pending
    local row = number and self._env.state:revision(deployment.id, number)
    self._work = row and job.open(self._env, deployment, row)
  end
  return self._work
end

local function refuse(self, code, message, hint)
  errors.raise {
    kind = "service",
    code = code,
    message = message:format(self.name),
    hint = hint and hint:format(self.name),
  }
end

-- Calls a function of the recipe.
local function call(self, verb, ...)
  local work = work_of(self)
  if not work then
    refuse(self, "refused", "`%s` was never deployed", "`moonport status %s` says why")
  elseif not work.recipe then
    error(work.broken, 0)
  elseif not work.recipe[verb] then
    local text = ("the target `%s` cannot %s"):format(self.deployment.target, verb)
    refuse(self, "refused", text .. " (`%s`)")
  end
  return work.recipe[verb](work.ctx, ...)
end

-- What a phase alone says about the state; nil when the service is to be asked.
local function state_of_phase(self)
  local deployment = self.deployment
  if deployments.UNDER_WAY[deployment.phase] and deployment.phase ~= "retiring" then
    if self._env.state:is_locked(self.name) then
      return deployment.phase
    end
    return "interrupted"
  elseif not deployment.revision then
    return "failed"
  end
end

--- Tells how the service is. Changes nothing.
-- @treturn table {name, target, state, phase, step, want, revision, created, updated, hint} and
-- what the target adds ({pid, since, restarts, exit, memory, ...}). `state` is "running",
-- "starting", "restarting", "stopped", "exited", "completed", "failed", "lost supervisor",
-- "unknown"; while a command works on it, its phase; and "interrupted" (at `step`) when a command
-- was killed
function Service:status()
  self:refresh()
  local deployment, status = self.deployment, {}
  local state = state_of_phase(self)
  local work = work_of(self)
  if not state and work.recipe and work.recipe.status then
    local ok, found = pcall(work.recipe.status, work.ctx)
    if ok then
      status = found
    else
      status = { state = "unknown", problem = tostring(found) }
    end
  end
  status.state = state or status.state or "unknown"
  status.name, status.target = deployment.name, deployment.target
  status.phase, status.step, status.want = deployment.phase, deployment.step, deployment.want
  status.revision = deployment.revision
  status.created, status.updated = deployment.created, deployment.updated
  if status.state == "interrupted" then
    status.hint = ("was interrupted at step `%s`; deploy it again, or `moonport rm %s`"):format(
      deployment.step or "?",
      deployment.name
    )
  end
  return status
end

--- Reads the deployment's row anew.
function Service:refresh()
  self.deployment = self._env.state:need_deployment(self.name)
  self._work = nil
end

-- True while a command is about to start the service again: in a restart, or when a new revision
-- takes over.
local function is_being_restarted(self)
  local deployment = self._env.state:deployment(self.name)
  return deployment ~= nil
    and deployment.want == "running"
    and deployment.phase ~= "removing"
    and self._env.state:is_locked(self.name)
end

--- Gives the lines of output.
-- @tparam ?table options `follow` (goes on with what comes, over restarts), `tail` (lines), `since`
-- (seconds since 1970), `stream`; `console`: what a virtual machine's console said, in its place
-- @treturn function iterator of {time, stream, text}
function Service:logs(options)
  local work = options and options.console and work_of(self)
  if work and work.recipe and not work.recipe.console then
    refuse(self, "refused", "`%s` runs in no virtual machine and has no console",
      "leave out --console")
  end
  local wanted = {
    expects_more = function()
      return is_being_restarted(self)
    end,
  }
  for name, value in pairs(options or {}) do
    wanted[name] = value
  end
  return call(self, "logs", wanted)
end

--- Runs a command beside the service, where and as whom it runs.
-- @tparam table options the argv as list elements; `stdin`, `stdout`, `stderr`, `tty`, `env`
-- @treturn table {code, signal}
function Service:exec(options)
  return call(self, "exec", options)
end

--- Waits until the service reaches a state.
-- @tparam string state "running", "ready", "stopped", "exited"
-- @tparam ?table options `timeout` in seconds
-- @treturn table status
function Service:wait(state, options)
  return call(self, "wait", state, options or {})
end

--- Leads a local port to one of the service.
-- @tparam integer port
-- @tparam ?table options `address`, `local_port`
-- @treturn table {address, port, close}
function Service:forward(port, options)
  return call(self, "forward", port, options or {})
end

--- Gives the terminal to the service's console.
-- @tparam ?table options `escape`: the key that leaves it
function Service:console(options)
  return call(self, "console", options or {})
end

--- Lists what happened to the service: what moonport did, and what the target knows.
-- @tparam ?table options `after` (id), `limit`
-- @treturn table list of {at, type, data}
function Service:events(options)
  local events = self._env.state:events(self.name, options)
  local work = work_of(self)
  if work and work.recipe and work.recipe.events then
    for _, event in ipairs(work.recipe.events(work.ctx, options or {})) do
      events[#events + 1] = event
    end
    table.sort(events, function(a, b)
      return a.at < b.at
    end)
  end
  return events
end

-- Changes the service under its lock, between two hooks.
local function change(self, name, options, fn)
  local state = self._env.state
  local lock <close> = state:lock(self.name, options) -- luacheck: ignore lock
  self:refresh()
  if settle.is_unsettled(self.deployment) then
    settle.run(self._env, self.deployment)
    self:refresh()
  end
  if not self.deployment.revision then
    refuse(self, "refused", "nothing of `%s` is deployed", "deploy it first")
  end
  local work = work_of(self)
  run.hook(work, name .. ".before", {})
  fn()
  run.hook(work, name .. ".after", {})
end

local function set_want(self, want, event)
  local state = self._env.state
  state:update_deployment(self.deployment.id, { want = want, boot_id = state.boot_id })
  state:add_event(self.deployment, event)
end

--- Stops the service; it stays stopped, also after a reboot.
-- @tparam ?table options `grace` in seconds, in place of the manifest's
function Service:stop(options)
  change(self, "stop", options, function()
    -- Written first: what we are killed in the middle of was wanted.
    set_want(self, "stopped", "stopped")
    call(self, "stop", options or {})
  end)
end

--- Starts a stopped service.
function Service:start()
  change(self, "start", nil, function()
    set_want(self, "running", "started")
    call(self, "start")
  end)
end

--- Stops and starts the service.
-- @tparam ?table options as for `stop`
function Service:restart(options)
  change(self, "stop", options, function()
    set_want(self, "running", "restarted")
    if work_of(self).recipe and work_of(self).recipe.restart then
      call(self, "restart", options or {})
    else
      call(self, "stop", options or {})
      call(self, "start")
    end
  end)
end

--- After a reboot: starts the service again if it was wanted running. What a command that was
-- interrupted since has left is somebody's to go on with, and stays.
-- @treturn boolean true when something was done
function Service:restore()
  local state = self._env.state
  -- What was never deployed has nothing to start.
  if self.deployment.want ~= "running" or not self.deployment.revision then
    return false
  elseif settle.is_unsettled(self.deployment) and self.deployment.boot_id == state.boot_id then
    return false
  end
  local done = false
  change(self, "start", nil, function()
    local work = work_of(self)
    if work.recipe and work.recipe.restore then
      done = call(self, "restore") ~= false
    elseif self:status().state ~= "running" then
      call(self, "start")
      done = true
    end
    state:update_deployment(self.deployment.id, { boot_id = state.boot_id })
    if done then
      state:add_event(self.deployment, "restored")
    end
  end)
  return done
end

--- Removes the service and everything that was made for it.
-- @tparam ?table options `force`
-- @treturn table report {undone, left}
function Service:remove(options)
  return deploy.remove(self._env, self.name, options)
end

--- Tells what the last failure left behind.
-- @treturn ?table record of `moonport.failure`
function Service:failure()
  return failure.read(self._env.state:deployment_dir(self.name))
end

--- Tells where a value of the manifest comes from.
-- @tparam string path such as `limits.memory`
-- @treturn table as `manifest:explain`
function Service:explain(path)
  local work = work_of(self)
  local origins = work and work.revision.origins or {}
  return manifest.explain(origins, path)
end

--- Opens a service: `service.open "squaring"`, or `service.open(env, "squaring")`.
-- @tparam ?table env {state, site, observer}; without it `moonport.env.default`
-- @tparam string name
-- @treturn service
-- @raise {kind = "state", code = "not_found"} with the nearest name
function M.open(env, name)
  if type(env) == "string" then
    env, name = require("moonport.env").default(), env
  end
  local deployment = env.state:need_deployment(manifest.check_name(name))
  return setmetatable({ name = name, deployment = deployment, _env = env }, Service)
end

--- Lists all services.
-- @tparam ?table env {state, site, observer}; without it `moonport.env.default`
-- @treturn table list of services, by name
function M.list(env)
  env = env or require("moonport.env").default()
  local list = {}
  for index, deployment in ipairs(env.state:deployments()) do
    list[index] =
      setmetatable({ name = deployment.name, deployment = deployment, _env = env }, Service)
  end
  return list
end

return M
