--- The environment that deployments live in: a state store, a site, and who is told what happens.
--
--     local env <close> = mp.env.open { observer = print_event }
--     mp.deploy.run(env, mp.manifest.load("squaring.lua", { site = env.site }))
--
-- @module moonport.env

local M = {}

local Env = {}
Env.__index = Env
Env.__name = "moonport.env"

--- Closes the store. A `<close>` variable does it.
function Env:close()
  self.state:close()
end

Env.__close = Env.close

--- Opens the store and the site.
-- @tparam[opt] table options `state` and `site`: directories in place of those that `--state` and
--   `--site` stand for when they are not given; `observer`: a function that is told what happens
--   (see `moonport.engine.run`)
-- @treturn env {state, site, observer}, for a `<close>` variable
-- @raise {kind="state"}, {kind="site"}, {kind="store"}
function M.open(options)
  options = options or {}
  local site = require("moonport.site").open { dir = options.site }
  local notice = options.notice or require("moonport.log").warn
  local state = require("moonport.state").open { dir = options.state, notice = notice }
  local env = setmetatable({ state = state, site = site, observer = options.observer }, Env)
  require("moonport.deploy").register_targets(env)
  return env
end

local _default

--- The environment of this program, opened when it is first asked for. `service.open` and
-- `service.list` use it where they are given none.
-- @treturn env
function M.default()
  _default = _default or M.open()
  return _default
end

return M
