-- await.lua NAME CONDITION [SECONDS]: waits until a condition holds for `status`, what
-- `service:status()` gives. It is asked anew whenever the supervisor has written something.
local fs = require "moonport.fs"
local service = require "moonport.service"
local site = require "moonport.site"
local state = require "moonport.state"
local task = require "moonport.task"

local name, condition, seconds = arg[1], arg[2], tonumber(arg[3] or 60)
local store <close> = state.open()
local svc = service.open({ state = store, site = site.open() }, name)

local function holds()
  return load("local status = ...; return " .. condition)(svc:status())
end

task.timeout(seconds, function()
  local watch <close> = fs.watch(store:deployment_dir(name) .. "/service")
  while not holds() do watch:next() end
end)
