--- The nearest known name: what an operator probably meant.
--
-- Every error about an unknown name (a field, a step, a hook, a recipe, a command) goes through
-- here, so that they all guess alike and all read alike.
--
-- @module moonport.nearest
local M = {}

--- The number of single-character edits (insert, delete, replace, swap of neighbours) between two
-- strings, compared byte by byte.
-- @tparam string a
-- @tparam string b
-- @treturn integer
function M.distance(a, b)
  local before, last = {}, {}
  for j = 0, #b do
    last[j] = j
  end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      local swapped = i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j)
      row[j] = swapped and math.min(best, before[j - 2] + 1) or best
    end
    before, last = last, row
  end
  return last[#b]
end

-- `-`, `_`, `.` and case are what people mix up most; a name that differs in nothing else is near.
local function plain(name)
  return (name:lower():gsub("[-_.]", ""))
end

local function names_of(known)
  local names = {}
  if #known > 0 then
    table.move(known, 1, #known, 1, names)
  else
    for name in pairs(known) do
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

--- Finds the known name nearest to `name`.
-- @tparam string name what was written
-- @tparam table known a list of names, or a table whose keys are the names
-- @treturn ?string the nearest one, or nil when none is near enough to be meant
function M.find(name, known)
  local wanted = plain(name)
  local best, best_distance
  for _, candidate in ipairs(names_of(known)) do
    local distance = M.distance(wanted, plain(candidate))
    if not best_distance or distance < best_distance then
      best, best_distance = candidate, distance
    end
  end
  -- A third of the name may be wrong, as long as something of it is right.
  local allowed = math.max(1, #wanted // 3)
  if best and best_distance <= allowed and best_distance < #wanted then
    return best
  end
end

-- Up to this many names are worth listing in full.
local LISTED = 12

--- The hint that belongs to an error about an unknown name.
-- @tparam string name what was written
-- @tparam table known as for `find`
-- @treturn ?string "did you mean `x`?", or the known names when they are few, or nil
function M.hint(name, known)
  local near = M.find(name, known)
  if near then
    return ("did you mean `%s`?"):format(near)
  end
  local names = names_of(known)
  if #names > 0 and #names <= LISTED then
    return ("known: `%s`"):format(table.concat(names, "`, `"))
  end
end

return M
