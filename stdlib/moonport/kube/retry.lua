-- When to try again, and after what time.

local calendar = require "moonport.calendar"
local clock = require "moonport.core.clock"

local M = {}

M.RETRIES = 6
-- A server that has never answered is rather a wrong address than a restart.
M.FIRST_CONTACT_RETRIES = 2

-- The longest wait that a server may ask for, in seconds. One that has more to do is told so, and
-- asked again; nobody looks at a prompt for an hour.
M.LONGEST_ASKED = 300

local FIRST, LONGEST = 0.25, 30

local OVERLOADED = 429
local FAILED = { [500] = true, [502] = true, [503] = true, [504] = true }

-- Trouble of a connection of which nobody knows how far it came.
local LOST = { closed = true, timeout = true, protocol = true, failed = true }

local months = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10,
  Nov = 11, Dec = 12,
}

-- The seconds that a Retry-After header asks for (RFC 9110, 10.2.3); nil when it says nothing.
function M.retry_after(value, now)
  if not value then return nil end
  local seconds = value:match("^%s*(%d+)%s*$")
  if seconds then return tonumber(seconds) + 0.0 end
  local day, month, year, hour, minute, second =
    value:match("^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  if not day or not months[month] then return nil end
  local at = calendar.days(tonumber(year), months[month], tonumber(day)) * 86400 + hour * 3600 +
    minute * 60 + second
  return math.max(0.0, at - (now or clock.now()))
end

-- The time before try number `attempt` + 1: doubled each time, of which up to a half is left to
-- chance, so that many who were refused together do not come again together.
function M.backoff(attempt, random)
  local whole = math.min(LONGEST, FIRST * 2.0 ^ (attempt - 1))
  return whole * (0.5 + 0.5 * (random or math.random)())
end

-- Whether to try again after an error.
--   safe: doing it twice does no harm
--   answered: whether this server ever has
-- Returns how often at most; nil for not at all.
function M.allowed(err, safe, answered, retries)
  if err.kind == "kube" then
    local status = err.status
    -- A server says ServerTimeout of what it has not begun.
    local untouched = status == OVERLOADED or err.code == "server_timeout"
    return (untouched or (safe and FAILED[status])) and retries or nil
  end
  if err.kind ~= "http" then return nil end
  if err.code == "connect" then
    return answered and retries or math.min(retries, M.FIRST_CONTACT_RETRIES)
  end
  return safe and LOST[err.code] and retries or nil
end

-- The wait before the next try: what the server asked for, within bounds, and on top of it our own,
-- by which those who were told the same scatter.
function M.delay(attempt, asked, random)
  return math.min(asked or 0, M.LONGEST_ASKED) + M.backoff(attempt, random)
end

return M
