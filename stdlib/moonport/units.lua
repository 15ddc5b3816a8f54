--- Sizes and durations as people write them, read exactly and printed back.
--
-- Sizes: a number and a unit. `K M G T P E` and `KiB MiB GiB ...` (or `Ki Mi Gi ...`) are powers of
-- 1024, as memory limits are everywhere; `kB MB GB ...` are powers of 1000. A bare number is bytes.
-- Durations: `500ms`, `30s`, `1h30m`, `2d`; a number without quotes is seconds.
--
-- A bad unit is never dropped: the parsers return nil and the reason, and the caller (see
-- `moonport.schema`) names the field.
--
-- @module moonport.units
local M = {}

local POWERS = { K = 1, M = 2, G = 3, T = 4, P = 5, E = 6 }

-- The factor of a size unit, or nil. The `B` is a capital: `b` means bits elsewhere.
local function size_factor(unit)
  if unit == "" or unit == "B" then
    return 1
  end
  local letter, rest = unit:match("^([kKMGTPEmgtpe])(i?B?)$")
  local power = letter and POWERS[letter:upper()]
  if not power then
    return nil
  end
  local base = rest == "B" and 1000 or 1024
  local factor = 1
  for _ = 1, power do
    factor = factor * base
  end
  return factor
end

-- value * factor where value is decimal text; nil when it leaves the 64-bit range.
local function multiply(whole, fraction, factor)
  local number = math.tointeger(tonumber(whole))
  if not number or number > math.maxinteger // factor then
    return nil
  end
  local part = fraction == "" and 0 or math.floor(tonumber("0." .. fraction) * factor)
  local total = number * factor + part
  if total < 0 then
    return nil
  end
  return total
end

--- Reads a size.
-- @tparam string|number value such as `"512MiB"`, `"1.5G"`, `"100k"`, or a number of bytes
-- @treturn ?integer bytes
-- @treturn ?string why it is not a size
function M.size(value)
  if math.type(value) then
    local bytes = math.tointeger(value)
    if not bytes or bytes < 0 then
      return nil, "a number of bytes is a whole number, not below zero"
    end
    return bytes
  elseif type(value) ~= "string" then
    return nil, "a size is text or a number of bytes"
  end
  local whole, fraction, unit = value:match("^(%d+)%.?(%d*)%s*(%a*)$")
  if not whole or value:find("^%d+%.%s*%a*$") then
    return nil, "a size is a number and a unit"
  end
  local factor = size_factor(unit)
  if not factor then
    return nil, ("unknown unit `%s`"):format(unit)
  end
  if factor == 1 and fraction ~= "" then
    return nil, "a size is a whole number of bytes"
  end
  local bytes = multiply(whole, fraction, factor)
  if not bytes then
    return nil, "the size is out of range"
  end
  return bytes
end

-- Seconds per unit, largest first: a duration lists its units in this order.
local UNITS = {
  { "w", 604800 },
  { "d", 86400 },
  { "h", 3600 },
  { "m", 60 },
  { "s", 1 },
  { "ms", 1e-3 },
  { "us", 1e-6 },
}

local RANK = {}
for rank, unit in ipairs(UNITS) do
  RANK[unit[1]] = rank
end

local LONGEST = 3650 * 86400 -- ten years: more is a slip of the pen, and overflows timers below

local function whole_if_possible(number)
  return math.tointeger(number) or number
end

--- Reads a duration.
-- @tparam string|number value such as `"1h30m"`, `"500ms"`, or a number of seconds
-- @treturn ?number seconds
-- @treturn ?string why it is not a duration
function M.duration(value)
  local total = 0
  if math.type(value) then
    total = value
  elseif type(value) ~= "string" then
    return nil, "a duration is text or a number of seconds"
  elseif value:find("^%d+%.?%d*$") then
    return nil, "the unit is missing"
  else
    local last, position = 0, 1
    repeat
      local number, unit, after = value:match("^(%d+%.?%d*)%s*(%a+)%s*()", position)
      if not number then
        return nil, "a duration is numbers with units"
      end
      local rank = RANK[unit]
      if not rank then
        return nil, ("unknown unit `%s`"):format(unit)
      elseif rank <= last then
        return nil, ("`%s` is out of order"):format(unit)
      end
      total = total + tonumber(number) * UNITS[rank][2]
      last, position = rank, after
    until position > #value
  end
  if total ~= total or total < 0 or total > LONGEST then
    return nil, "the duration is out of range"
  end
  return whole_if_possible(total)
end

--- Prints a size so that `size` reads back the same number.
-- @tparam integer bytes
-- @treturn string such as `512MiB`; a count of bytes when no unit divides it
function M.format_size(bytes)
  for _, letter in ipairs { "E", "P", "T", "G", "M", "K" } do
    local factor = size_factor(letter)
    if bytes >= factor and bytes % factor == 0 then
      return ("%d%siB"):format(bytes // factor, letter)
    end
  end
  return ("%dB"):format(bytes)
end

--- Prints a size for people, rounded to three figures.
-- @tparam number bytes
-- @treturn string such as `1.46GiB`
function M.short_size(bytes)
  for _, letter in ipairs { "E", "P", "T", "G", "M", "K" } do
    local factor = size_factor(letter)
    if bytes >= factor then
      local value = bytes / factor
      local digits = value >= 100 and 0 or value >= 10 and 1 or 2
      local text = ("%." .. digits .. "f"):format(value)
      if text:find(".", 1, true) then
        text = text:gsub("0+$", ""):gsub("%.$", "")
      end
      return text .. letter .. "iB"
    end
  end
  return ("%dB"):format(math.floor(bytes))
end

--- Prints a duration so that `duration` reads back the same value (to the microsecond).
-- @tparam number seconds
-- @treturn string such as `1h30m` or `1s500ms`
function M.format_duration(seconds)
  local left = math.floor(seconds * 1e6 + 0.5)
  if left == 0 then
    return "0s"
  end
  local parts = {}
  for _, unit in ipairs(UNITS) do
    local name, size = unit[1], math.floor(unit[2] * 1e6 + 0.5)
    -- Weeks read badly beside days and are not how anyone states an uptime.
    if name ~= "w" and left >= size then
      parts[#parts + 1] = ("%d%s"):format(left // size, name)
      left = left % size
    end
  end
  return table.concat(parts)
end

--- Prints a duration for people: the two leading units, or three figures below a minute.
-- @tparam number seconds
-- @treturn string such as `3d4h`, `12m5s`, `1.25s`, `340ms`
function M.short_duration(seconds)
  if seconds < 1 then
    return ("%dms"):format(math.floor(seconds * 1000 + 0.5))
  elseif seconds < 60 then
    local text = ("%.3g"):format(seconds)
    return text .. "s"
  end
  local left, parts = math.floor(seconds + 0.5), {}
  for _, unit in ipairs { { "d", 86400 }, { "h", 3600 }, { "m", 60 }, { "s", 1 } } do
    local count = left // unit[2]
    left = left % unit[2]
    if #parts > 0 or count > 0 then
      parts[#parts + 1] = count > 0 and ("%d%s"):format(count, unit[1]) or ""
    end
    if #parts == 2 then
      break
    end
  end
  return table.concat(parts)
end

return M
