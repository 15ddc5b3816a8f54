--- Times on the command line: how they are read, and how they are shown.
--
-- In JSON a time is RFC 3339 in UTC; for people it is local, or how long ago it was.
-- @module moonport.cli.times

local units = require "moonport.units"

local M = {}

--- A time as JSON has it.
-- @tparam ?number seconds since 1970
-- @treturn ?string such as `2026-11-24T06:00:00.250Z`
function M.rfc3339(seconds)
  if not seconds then return nil end
  local milliseconds = math.floor(seconds * 1000 + 0.5)
  return os.date("!%Y-%m-%dT%H:%M:%S", milliseconds // 1000)
    .. (".%03dZ"):format(milliseconds % 1000)
end

--- A time for people, in their time zone.
-- @tparam number seconds since 1970
-- @treturn string
function M.clock(seconds)
  return os.date("%Y-%m-%d %H:%M:%S", math.floor(seconds))
end

-- Days since 1970 of a civil date (years from March, eras of 400 years).
local function days_of(year, month, day)
  if month <= 2 then year = year - 1 end
  local era, of_era = year // 400, year % 400
  local of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
end

-- Seconds east of Greenwich; nil for what is no zone.
local function offset_of(zone)
  if zone == "" or zone == "Z" or zone == "z" then return 0 end
  local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d%d)$")
  local offset = sign and tonumber(hours) * 3600 + tonumber(minutes) * 60
  return sign == "-" and -offset or offset or nil
end

local function in_range(month, day, hour, minute, second)
  return month >= 1 and month <= 12 and day >= 1 and day <= 31
    and hour <= 23 and minute <= 59 and second < 61
end

--- Reads a time in RFC 3339. The time of day, its seconds and the zone (UTC) may be left out.
-- @tparam string text
-- @treturn ?number seconds since 1970; nil when it is none
function M.seconds(text)
  local year, month, day, rest = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$")
  if not year then return nil end
  local hour, minute, second, zone = 0, 0, 0, ""
  if rest ~= "" then
    local seconds
    hour, minute, seconds, zone = rest:match("^[Tt ](%d%d):(%d%d)(:?[%d.]*)(.*)$")
    if not hour then return nil end
    hour, minute = tonumber(hour), tonumber(minute)
    second = seconds == "" and 0 or tonumber(seconds:match("^:(%d%d%.?%d*)$"))
  end
  local offset = offset_of(zone)
  month, day = tonumber(month), tonumber(day)
  if not second or not offset or not in_range(month, day, hour, minute, second) then return nil end
  local days = days_of(tonumber(year), month, day)
  return days * 86400 + hour * 3600 + minute * 60 + second - offset
end

--- Reads a point in time: how long ago it was (`10m`, `1h30m`), RFC 3339, or seconds since 1970.
-- @tparam string text
-- @tparam number now seconds since 1970
-- @treturn ?number seconds since 1970
-- @treturn ?string why it is none
function M.point(text, now)
  local at = text:find("^%d+%.?%d*$") and tonumber(text) or M.seconds(text)
  if at then return at end
  local ago = units.duration(text)
  if ago then return now - ago end
  return nil, ("`%s` is no time; write how long ago (10m, 1h30m), a time (2026-11-24T06:00:00Z), "
    .. "or seconds since 1970"):format(text)
end

local STEPS = {
  { 86400 * 365, "year" }, { 86400 * 30, "month" }, { 86400 * 7, "week" }, { 86400, "day" },
  { 3600, "hour" }, { 60, "minute" }, { 1, "second" },
}

--- How long ago a time was, in one unit.
-- @tparam number seconds that have passed
-- @treturn string such as `2 minutes ago`
function M.ago(seconds)
  if seconds < 1 then return "just now" end
  for index, step in ipairs(STEPS) do
    -- One of a unit says little: 90 minutes are not "an hour".
    local least = index == #STEPS and 1 or 2
    if seconds >= step[1] * least then
      local count = seconds // step[1]
      return ("%d %s%s ago"):format(count, step[2], count == 1 and "" or "s")
    end
  end
end

--- Reads a length of time for lua-argparse: `30s`, `5m`, or a number of seconds.
-- @tparam string text
-- @treturn ?number seconds
-- @treturn ?string what was expected
function M.duration(text)
  local seconds = text:find("^%d+%.?%d*$") and tonumber(text)
  if seconds then return math.tointeger(seconds) or seconds end
  local parsed, why = units.duration(text)
  if parsed then return parsed end
  return nil, ("`%s` is no length of time (%s); write 30s, 5m or a number of seconds")
    :format(text, why)
end

return M
