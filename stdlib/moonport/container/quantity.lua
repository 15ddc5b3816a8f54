--- Amounts as Kubernetes writes them, in the very form that the server gives them back.
-- @module moonport.container.quantity

local M = {}

local function scaled(number, step, units)
  local power = 0
  while power < #units and number >= step and number % step == 0 do
    number, power = number // step, power + 1
  end
  return ("%d%s"):format(number, power > 0 and units[power] or "")
end

local BINARY = { "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" }
local DECIMAL = { "k", "M", "G", "T", "P", "E" }

--- Bytes.
-- @tparam integer bytes
-- @treturn string such as `512Mi`, `1500k` or `1000001`
function M.bytes(bytes)
  return bytes % 1024 == 0 and scaled(bytes, 1024, BINARY) or scaled(bytes, 1000, DECIMAL)
end

--- Processors, to the thousandth (upwards).
-- @tparam number cpus
-- @treturn string such as `2` or `250m`
function M.cpus(cpus)
  -- 0.1 * 3 is a little above 0.3, and is not to become 301.
  local millis = math.ceil(cpus * 1000 - 1e-6)
  return millis % 1000 == 0 and ("%d"):format(millis // 1000) or ("%dm"):format(millis)
end

--- Whole seconds, upwards.
-- @tparam number seconds
-- @treturn integer at least 1
function M.seconds(seconds)
  return math.max(1, math.ceil(seconds))
end

return M
