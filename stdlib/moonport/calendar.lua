--- Dates of the Gregorian calendar.
-- @module moonport.calendar

local M = {}

--- The days from 1970-01-01 to a date.
-- @tparam integer year
-- @tparam integer month 1 to 12
-- @tparam integer day of the month
-- @treturn integer
function M.days(year, month, day)
  -- A year that begins in March has its odd day at the end.
  if month <= 2 then year, month = year - 1, month + 12 end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day -
    719469
end

return M
