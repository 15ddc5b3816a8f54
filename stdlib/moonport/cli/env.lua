--- What a command works in: the state store, the site, and somebody who shows what happens.
-- @module moonport.cli.env

local M = {}

local Env = {}
Env.__index = Env

-- Closing the store is the last thing that a command does.
function Env:__close()
  self.state:close()
end

--- Opens the store and the site.
-- @tparam table args of the command line: `state`, `site`
-- @tparam[opt] table options `observer`; `targets` true to know the targets' own fields;
-- `read_only` true for a command that only asks: it makes no store where there is none
-- @treturn env {state, site, observer}, for a `<close>` variable
function M.open(args, options)
  options = options or {}
  local ui = require "moonport.ui"
  local site = require("moonport.site").open { dir = args.site }
  local state = require("moonport.state").open {
    dir = args.state,
    notice = ui.warn,
    read_only = options.read_only,
  }
  local env = setmetatable({ state = state, site = site, observer = options.observer }, Env)
  if options.targets then require("moonport.deploy").register_targets(env) end
  return env
end

--- Opens a service by the name on the command line.
-- @tparam env env
-- @tparam string name
-- @treturn service
function M.service(env, name)
  return require("moonport.service").open(env, name)
end

return M
