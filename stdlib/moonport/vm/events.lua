--- What a virtual machine monitor tells of itself, in a file of its own: it is there for whoever
-- looks later, also when nobody was connected and when the monitor has ended since. Its supervisor
-- keeps the end of it and makes a hole of what is older, so that a guest cannot fill the host.
-- @module moonport.vm.events

local fs = require "moonport.fs"
local json = require "moonport.json"

local M = {}

-- More than that is not looked at from its beginning: the supervisor keeps less.
local READ_MOST = 2 << 20

-- Behind a hole, or from its middle on, the text begins within a message: it is passed over up to
-- the next one. Drivers write each on a line of its own, and what is within one is indented.
local function whole_messages(text, torn)
  local hole = text:find("\0[^\0]*$")
  if not hole and not torn then return text end
  local start = text:find("\n{", hole or 1, true)
  return start and text:sub(start + 1) or ""
end

--- Reads what is in the file behind a place. The file is the monitor's to write, so it is taken for
-- whatever it may be.
-- @tparam string path
-- @tparam integer from bytes to pass over
-- @treturn string
-- @treturn boolean true when it does not go on from there: the file has become shorter, or so much
-- longer that its beginning is not there any more
-- @treturn integer where the text ends in the file
function M.read_from(path, from)
  local info = try(fs.stat, path, { follow = false })
  if not info or info.type ~= "file" then return "", false, from end
  local anew = info.size < from
  if anew then from = 0 end
  local len = info.size - from
  local torn = len > READ_MOST
  if torn then from, len = info.size - READ_MOST, READ_MOST end
  local text = len > 0 and try(fs.read_at, path, from, len) or ""
  local whole = whole_messages(text, torn)
  return whole, anew or #whole < #text, from + #text
end

--- The events of the present run, or of the last one where it has ended: the last ones, as many as
-- are kept.
-- @tparam table driver with `events_file` and `parse_events`
-- @tparam string dir
-- @treturn {event,...} `what`, `reason`, `time`, `raw` (the monitor's own name), `data`
function M.all(driver, dir)
  local text = M.read_from(fs.join(dir, driver.events_file), 0)
  return (driver.parse_events(text))
end

-- Follows the file; `alive` tells whether more can come, and is asked after each look.
--
-- A monitor that is started again empties the file first.
local Follower = {}
Follower.__index = Follower

function Follower:_take()
  if #self.waiting > 0 then return table.remove(self.waiting, 1) end
end

function Follower:_look()
  local text, anew, stop = M.read_from(self.path, self.at)
  if anew then self.rest = "" end
  self.at = stop
  local events, rest = self.driver.parse_events(self.rest .. text)
  self.rest = rest
  for _, event in ipairs(events) do self.waiting[#self.waiting + 1] = event end
end

--- The next event; waits for it.
-- @treturn ?event nil once closed
function Follower:next()
  while true do
    local event = self:_take()
    if event then return event end
    self:_look()
    if #self.waiting == 0 and not self.watch:next() then return nil end
  end
end

Follower.__call = Follower.next

--- Ends it.
function Follower:close()
  self.watch:close()
end

Follower.__close = Follower.close

--- Follows the events of a directory from its beginning, or from now on.
-- @tparam table driver
-- @tparam string dir
-- @tparam[opt] table options `since="now"`
-- @treturn Follower an iterator; `<close>` it
function M.follow(driver, dir, options)
  local path = fs.join(dir, driver.events_file)
  local follower = setmetatable({
    driver = driver, path = path, at = 0, rest = "", waiting = {}, watch = fs.watch(path),
  }, Follower)
  if options and options.since == "now" then
    follower:_look()
    follower.waiting = {}
  end
  return follower
end

--- Splits text that JSON objects follow each other in, one a line or over several, from what is
-- incomplete yet.
-- @tparam string text
-- @treturn {table,...} decoded
-- @treturn string the rest
function M.objects(text)
  local objects, at = {}, 1
  while true do
    local start = text:find("{", at, true)
    if not start then return objects, "" end
    local stop = M.object_end(text, start)
    if not stop then return objects, text:sub(start) end
    local value = try(json.decode, text:sub(start, stop))
    if type(value) == "table" then objects[#objects + 1] = value end
    at = stop + 1
  end
end

-- A quote behind an odd number of backslashes is part of the text.
local function is_escaped(text, at)
  local before = at - 1
  while text:byte(before) == 92 do before = before - 1 end
  return (at - before) % 2 == 0
end

-- The quote that ends the string which begins at a place.
local function string_end(text, start)
  local at = text:find('"', start + 1, true)
  while at and is_escaped(text, at) do at = text:find('"', at + 1, true) end
  return at
end

--- Where the object that begins at a place ends.
-- @tparam string text
-- @tparam integer start of its `{`
-- @treturn ?integer nil when it is not all there
function M.object_end(text, start)
  local depth, at = 0, start
  while true do
    at = text:find('[{}"]', at)
    local byte = at and text:sub(at, at)
    if byte == '"' then
      at = string_end(text, at)
    elseif byte then
      depth = depth + (byte == "{" and 1 or -1)
      if depth == 0 then return at end
    end
    if not at then return nil end
    at = at + 1
  end
end

return M
