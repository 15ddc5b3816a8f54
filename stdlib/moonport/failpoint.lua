--- Dying at a chosen point, for the tests of recovery.
--
-- With MOONPORT_FAILPOINT=POINT:STEP in its environment a moonport that was built with tests kills
-- itself (SIGKILL) when it comes to that point of that step; POINT:STEP:N, when it comes there the
-- Nth time. In any other build, and with more privileges than the caller's, the variable is
-- nothing.
--
-- @module moonport.failpoint
local M = {}

local _state = {}

local function load_core()
  local ok, core = pcall(require, "moonport.core.failpoint")
  return ok and core or nil
end

-- Reads the variable once: points are passed often.
local function setting()
  if _state.ready == nil then
    local text = os.getenv "MOONPORT_FAILPOINT"
    local point, step, count = (text or ""):match "^([%w_.]+):([%w_-]+):?(%d*)$"
    _state.core = point and load_core() or nil
    _state.point, _state.step, _state.left = point, step, tonumber(count) or 1
    _state.ready = true
  end
  return _state
end

--- Dies here if the environment says so.
-- @tparam string point such as `journal.after_intent`
-- @tparam string step
function M.hit(point, step)
  local set = setting()
  if set.core and set.point == point and set.step == step then
    set.left = set.left - 1
    if set.left == 0 then
      set.core.die()
    end
  end
end

return M
