--- What a plan cannot know yet: a value that only applying will give.
--
-- While planning, `ctx.results.STEP` of a step that has not run is a `maybe`. Every field of it is
-- a `maybe` again; as text it reads "(known after STEP)". It is a type of its own, so that a plan
-- never takes an unknown for a value, nor a value for an unknown.
--
-- @module moonport.engine.maybe
local M = {}

local Maybe = { __name = "moonport.maybe" }

--- Makes an unknown.
-- @tparam string step that will make it known
-- @treturn maybe
function M.new(step)
  return setmetatable({ step = step }, Maybe)
end

--- True for an unknown.
-- @param value
-- @treturn boolean
function M.is(value)
  return getmetatable(value) == Maybe
end

--- The step that will make an unknown known.
-- @tparam maybe value
-- @treturn string
function M.step_of(value)
  return rawget(value, "step")
end

Maybe.__index = function(value)
  return M.new(M.step_of(value))
end
Maybe.__newindex = function()
  error("a plan cannot set fields of a value that is not known yet", 2)
end
Maybe.__call = function(value)
  return value
end
Maybe.__concat = function(a, b)
  return M.is(a) and a or b
end
Maybe.__tostring = function(value)
  return ("(known after %s)"):format(M.step_of(value))
end

return M
