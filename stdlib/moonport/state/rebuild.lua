--- Rebuilding the state database from the deployments' records.
--
-- A crash of the host can lose what was not on its disk yet, and leave files of no bytes behind. So
-- an empty database beside deployments is taken for a lost one, and a deployment whose record
-- cannot be read for one of which nothing is known; never for none.
--
-- @module moonport.state.rebuild
local errors = require "moonport.errors"
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

-- What a deployment's directory may hold before its first record. A step's record is there before
-- the step makes anything, so all else belongs to a record that is lost.
local BEFORE_RECORD = { recipes = true, ["failure.txt"] = true, ["failure.json"] = true }

local function holds_more(path)
  for _, entry in ipairs(fs.list(path)) do
    -- A name with a dot is of a file that was being written.
    if not BEFORE_RECORD[entry.name] and not entry.name:find "^%." then
      return true
    end
  end
  return false
end

--- Reads the record in a deployment's directory.
-- @tparam string path the directory
-- @treturn ?table record; nil when there is none that can be read
-- @treturn boolean true when there was one, and it is lost
function M.read(path)
  local text = try(fs.read, path .. "/record.json")
  local data = text and try(json.decode, text)
  if is_sound(data) then
    return data, false
  end
  return nil, text ~= nil or holds_more(path)
end

local function directories(dir)
  local base, list = dir .. "/deployments", {}
  for _, entry in ipairs(fs.exists(base) and fs.list(base) or {}) do
    local path = ("%s/%s"):format(base, entry.name)
    if fs.stat(path, { follow = false }).type == "directory" then
      list[#list + 1] = { name = entry.name, path = path }
    end
  end
  return list
end

--- Fills an empty database from the records.
-- @tparam store db
-- @tparam string dir the state directory
-- @treturn integer how many deployments were found
-- @treturn {string,...} names of those whose record is lost
function M.from_records(db, dir)
  local count, lost = 0, {}
  for _, one in ipairs(directories(dir)) do
    local data, is_lost = M.read(one.path)
    if data then
      db:transaction(function(tx)
        record.restore(tx, data)
      end)
      count = count + 1
    elseif is_lost then
      lost[#lost + 1] = one.name
    end
  end
  return count, lost
end

--- Tells which store the deployments in a directory belong to, where nothing else does.
-- @tparam string dir the state directory
-- @treturn ?string UUID; nil when there are none
-- @raise {kind = "state", code = "lost"} when there are some, and none tells, or not all the same
function M.store_of_records(dir)
  local uuid, names, agree = nil, {}, true
  for _, one in ipairs(directories(dir)) do
    local data, is_lost = M.read(one.path)
    if data or is_lost then
      names[#names + 1] = one.name
    end
    if data then
      agree = agree and (uuid == nil or uuid == data.store)
      uuid = data.store
    end
  end
  if agree and (type(uuid) == "string" or #names == 0) then
    return uuid
  end
  errors.raise {
    kind = "state",
    code = "lost",
    message = ("`%s` holds deployments (%s), and neither `store.json` nor `state.db` nor their "
      .. "records tell of which store"):format(dir, table.concat(names, ", ")),
    hint = ("put `store.json` or `state.db` back from a backup; to begin anew, and to look for "
      .. "what is left yourself, move `%s/deployments` away"):format(dir),
  }
end

--- What there is to say of a deployment whose record is lost.
-- @tparam string name
-- @treturn string message
-- @treturn string hint
function M.describe_lost(name)
  return ("the record of `%s` is lost, and so is what it has"):format(name),
    ("put `record.json` back from a backup, or move the directory away, with its data; then "
      .. "`moonport gc` takes `%s` back, or removes what it had"):format(name)
end

return M
