-- How far a log has been read, so that another request can go on from there.
--
-- A server can be asked for what was written since a time, by the second. So the last lines come
-- again and are passed over here: by their times, of which the last ones given are kept, and by how
-- often each occurred. The two streams of a container are written without a lock; a line may stand
-- a little behind one of a later time, and is given all the same.

local calendar = require "moonport.calendar"

local M = {}

local KEPT = 256
local SECOND = 1000000000

local Cursor = {}
Cursor.__index = Cursor

-- times: those of the last lines given, as a ring. half: bytes given of a line that was not whole.
function M.new()
  return setmetatable({ times = {}, count = 0, half = 0 }, Cursor)
end

-- Nanoseconds since 1970.
local function nanoseconds(time)
  local year, month, day, hour, minute, second, fraction, zone =
    time:match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.?(%d*)(.*)$"
  local sign, hours, minutes = zone:match "^([+-])(%d%d):?(%d%d)$"
  local offset = sign and (hours * 60 + minutes) * 60 * (sign == "-" and -1 or 1) or 0
  local seconds = calendar.days(year // 1, month // 1, day // 1) * 86400 + hour * 3600 +
    minute * 60 + second
  local nanos = math.tointeger((fraction .. "000000000"):sub(1, 9) // 1)
  return math.tointeger(seconds - offset) * SECOND + nanos
end

-- Nothing has been read yet.
function Cursor:is_empty() return self.count == 0 and self.half == 0 end

-- Notes a row that is given.
function Cursor:note(row)
  if row.partial then
    self.half, self.half_time = self.half + #row.text, row.time
    return
  end
  self.half, self.half_time = 0, nil
  if not row.time then return end
  self.count = self.count + 1
  self.times[self.count % KEPT] = row.time
end

-- Begins to pass over what is known.
-- Gives the time to ask from.
function Cursor:resume()
  local oldest, newest, counts = math.maxinteger, math.mininteger, {}
  for _, time in pairs(self.times) do
    local at = nanoseconds(time)
    oldest, newest = math.min(oldest, at), math.max(newest, at)
    counts[time] = (counts[time] or 0) + 1
  end
  if self.half_time then
    newest = math.max(newest, nanoseconds(self.half_time))
    oldest = math.min(oldest, newest)
  end
  self.passing = {
    oldest = oldest, newest = newest, counts = counts, seen = false,
    skip = self.half, skip_time = self.half_time,
  }
  return os.date("!%Y-%m-%dT%H:%M:%SZ", newest // SECOND - 1)
end

-- The rest of a line of which a part has been given.
local function pass_half(passing, row)
  local skipped = math.min(passing.skip, #row.text)
  passing.skip = passing.skip - skipped
  row.text = row.text:sub(skipped + 1)
  if not row.partial then passing.skip, passing.skip_time = 0, nil end
  return row.text ~= "" or not row.partial
end

-- Whether a row is news. Second result: true where it is the first one, and does not follow upon
-- what was given last: that has been rotated away, and perhaps more.
function Cursor:is_news(row)
  local passing = self.passing
  if not passing or not row.time then return true end
  local at = nanoseconds(row.time)
  if passing.skip > 0 and row.time == passing.skip_time and not passing.counts[row.time] then
    passing.seen = true
    return pass_half(passing, row)
  end
  if at < passing.oldest then return false end
  local count = passing.counts[row.time]
  if count then
    -- The parts of one long line are one.
    if not row.partial then passing.counts[row.time] = count > 1 and count - 1 or nil end
    passing.seen = true
    return false
  end
  if at <= passing.newest then return true end
  local first = not passing.seen
  passing.seen = true
  if at > passing.newest + SECOND then self.passing = nil end
  return true, first
end

return M
