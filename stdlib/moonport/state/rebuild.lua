--- Rebuilding the state database from the deployments' records.
--
-- @module moonport.state.rebuild
local fs = require "moonport.fs"
local json = require "moonport.json"
local record = require "moonport.state.record"

local M = {}

--- Moves a damaged database aside, with the files SQLite keeps beside it.
-- @tparam string path
-- @treturn string where it is now
function M.move_aside(path)
  local aside = ("%s.damaged-%s"):format(path, os.date "!%Y%m%dT%H%M%SZ")
  local free, count = aside, 1
  while fs.exists(free) do
    count = count + 1
    free = ("%s-%d"):format(aside, count)
  end
  for _, suffix in ipairs { "", "-wal", "-shm" } do
    if fs.exists(path .. suffix) then
      fs.rename(path .. suffix, free .. suffix)
    end
  end
  return free
end

local COLUMN = "^[a-z_]+$"

-- A record is our own file, yet its column names go into SQL: nothing but a name may.
local function is_sound(data)
  if type(data) ~= "table" or data.version ~= 1 or type(data.deployments) ~= "table" then
    return false
  end
  for _, rows in pairs(data) do
    for _, row in ipairs(type(rows) == "table" and rows or {}) do
      for column in pairs(row) do
        if not column:find(COLUMN) then
          return false
        end
      end
    end
  end
  return true
end

--- Fills an empty database from the records.
-- @tparam store db
-- @tparam string dir the state directory
-- @treturn integer how many deployments were found
function M.from_records(db, dir)
  local count = 0
  for _, entry in ipairs(fs.list(dir .. "/deployments")) do
    local path = ("%s/deployments/%s/record.json"):format(dir, entry.name)
    local data = fs.exists(path) and try(json.decode, fs.read(path)) or nil
    if is_sound(data) then
      db:transaction(function(tx)
        record.restore(tx, data)
      end)
      count = count + 1
    end
  end
  return count
end

return M
