--- The context: what a step, and every function of a recipe, gets to work with.
--
--   ctx.name, ctx.id         the deployment's name, and its id, which no other deployment ever has
--   ctx.revision             number of the revision
--   ctx.tag                  "<id>-<revision>": makes names unique to this revision
--   ctx.mark                 "moonport/<store uuid>/<id>": goes on everything made outside moonport
--   ctx.store                the store's UUID
--   ctx.manifest             the manifest's data, in normal form
--   ctx.inputs               digests of the files that count as part of it
--   ctx.config               the site's configuration
--   ctx.dir                  the deployment's own directory, 0700
--   ctx.results.STEP         what an earlier step returned
--   ctx.intents.STEP         what it had allocated
--   ctx.present              {revision, manifest, intents, results} of the revision that serves
--                            while another is planned or applied; nil when there is none.
--                            `present.recipe()` gives the recipe that it was deployed with
--   ctx.planning             true inside `plan`
--
-- @module moonport.engine.context
local errors = require "moonport.errors"
local runtime = require "moonport.state.runtime"
local types = require "moonport.schema.types"

local M = {}

local Context = {}
Context.__index = Context
Context.__name = "moonport.context"

--- Makes a context.
-- @tparam table fields `state`, `deployment` (row), `revision` (row), `observer`, `config`, and
-- `present`, `journal` and `recipe` where there are any
-- @treturn context
function M.new(fields)
  local state, deployment, revision = fields.state, fields.deployment, fields.revision
  local ctx = {
    state = state,
    name = deployment.name,
    id = deployment.id,
    target = deployment.target,
    revision = revision.number,
    tag = ("%s-%d"):format(deployment.id, revision.number),
    mark = ("moonport/%s/%s"):format(state.uuid, deployment.id),
    store = state.uuid,
    manifest = types.copy(revision.manifest),
    inputs = types.copy(revision.inputs),
    config = fields.config or {},
    dir = state:deployment_dir(deployment.name),
    want = deployment.want,
    boot_id = deployment.boot_id,
    results = {},
    intents = {},
    present = fields.present,
    planning = fields.planning or false,
    _revision = revision,
    _journal = fields.journal,
    _recipe = fields.recipe,
    _observer = fields.observer or function() end,
  }
  if fields.journal then
    for _, entry in ipairs(fields.journal:entries()) do
      if entry.state == "done" then
        ctx.results[entry.step] = entry.result
      end
      ctx.intents[entry.step] = entry.intent or {}
    end
  end
  return setmetatable(ctx, Context)
end

--- Makes the context that of a step. Every step gets the manifest anew, so that none can change
-- what another sees.
-- @tparam context ctx
-- @tparam ?string step nil between steps
function M.enter(ctx, step)
  ctx._step, ctx._applying = step, false
  ctx.manifest = types.copy(ctx._revision.manifest)
end

--- Tells what is going on, for whoever watches.
-- @tparam string format
-- @param ... its arguments
function Context:progress(format, ...)
  self._observer {
    type = "progress",
    deployment = self.name,
    step = self._step,
    text = select("#", ...) > 0 and format:format(...) or format,
  }
end

--- Tells what came of a step, where there is more to know than that it is done: which of several
-- ways was taken. It is shown beside the step, the last one that was told.
-- @tparam string format
-- @param ... its arguments
function Context:outcome(format, ...)
  self._observer {
    type = "outcome",
    deployment = self.name,
    step = self._step,
    text = select("#", ...) > 0 and format:format(...) or format,
  }
end

--- Warns the operator of something that does not stop the deployment.
-- @tparam string format
-- @param ... its arguments
function Context:warn(format, ...)
  self._observer {
    type = "warning",
    deployment = self.name,
    step = self._step,
    text = select("#", ...) > 0 and format:format(...) or format,
  }
end

local function need_step(ctx, what)
  if not ctx._applying then
    errors.raise {
      kind = "recipe",
      code = "invalid",
      message = ("%s works only while a step applies"):format(what),
    }
  end
  return ctx._step
end

--- Finds a step of the recipe, as the site has changed it.
-- @tparam string name
-- @treturn ?table step; nil where the recipe has none of that name, or no longer loads
function Context:step(name)
  for _, step in ipairs(self._recipe and self._recipe.steps or {}) do
    if step.name == name then
      return step
    end
  end
end

--- Applies a step once more with the intent that it has, for verbs that bring back what the step
-- made: what a site has put around it holds for them, too.
-- @tparam string name
-- @return its result
function Context:reapply(name)
  local step, before, applying = self:step(name), self._step, self._applying
  self._step, self._applying = name, true
  local restore <close> = setmetatable({}, { -- luacheck: ignore restore
    __close = function()
      self._step, self._applying = before, applying
    end,
  })
  local result = step.apply(self, self.intents[name])
  return result
end

--- Records something that this step is about to make outside moonport. To be called before making
-- it: then a crash in between costs nothing but an attempt to remove what is not there.
-- @tparam string kind of `moonport.resources`
-- @tparam table identity plain data
function Context:record(kind, identity)
  self._journal:record(need_step(self, "ctx:record"), kind, identity)
end

--- Uses something that several deployments share: makes it where nobody has, and sees to it that it
-- goes with its last user, if we made it.
-- @tparam string kind of `moonport.resources`
-- @tparam table identity plain data
-- @tparam table functions `exists()` -> boolean, `make()`
function Context:share(kind, identity, functions)
  local shared = require "moonport.engine.shared"
  shared.use(self, need_step(self, "ctx:share"), kind, identity, functions)
end

--- A short directory for sockets, gone after a reboot. It is not made by this call.
-- @tparam ?string name of a socket in it; then the path's length is checked against what the kernel
-- allows for sockets
-- @treturn string path
-- @raise {kind = "state", code = "refused"} when the path would be too long
function Context:runtime_path(name)
  local dir = runtime.dir(self.state, self.id)
  return name and runtime.check_socket(dir .. "/" .. name) or dir
end

--- Makes that directory, for the operator alone.
-- @tparam[opt] table options `pass`: other accounts get through it, and through what is above it in
-- the runtime directory, to a socket whose path they know; they list nothing
function Context:make_runtime(options)
  runtime.make(self.state, self.id, options and options.pass)
end

--- Takes a value of a pool that no other deployment has; see `state:lease`. For `allocate`.
-- @tparam string pool
-- @tparam string purpose
-- @tparam function candidates
-- @treturn string
function Context:lease(pool, purpose, candidates)
  return self.state:lease(pool, self.id, purpose, candidates)
end

return M
