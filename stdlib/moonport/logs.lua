--- The output of a service: the CRI log files that its shim writes, read across rotation.
--
--     2016-10-06T00:17:09.669794202Z stdout F a whole line
--
-- The newest file is `log`, older ones are `log.1`, `log.2`, ... Following goes by inode: the file
-- that is open is read to its end before the next newer one is opened, so rotation loses nothing.
-- @module moonport.logs

local calendar = require "moonport.calendar"
local fs = require "moonport.fs"

local M = {}

local BLOCK = 64 * 1024
local GAP = "[output is missing here: it was rotated away before it was read]"

--- Parses one record.
-- @tparam string line
-- @treturn table|nil {time, stream, tag, text}; nil when it is none
function M.parse(line)
  local time, stream, tag, text = line:match("^(%S+) (%S+) ([FP]) (.*)$")
  if time then return { time = time, stream = stream, tag = tag, text = text } end
end

--- The time of a moment as it stands in a log, for comparison as text.
-- @tparam number seconds since the epoch
-- @treturn string
function M.timestamp(seconds)
  local whole = math.floor(seconds)
  local nanoseconds = math.floor((seconds - whole) * 1e9)
  return os.date("!%Y-%m-%dT%H:%M:%S", whole) .. (".%09dZ"):format(nanoseconds)
end

--- The moment that a timestamp of a log stands for.
-- @tparam string time
-- @treturn number seconds since the epoch
function M.seconds(time)
  local year, month, day, hour, minute, second =
    time:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$")
  local days = calendar.days(tonumber(year), tonumber(month), tonumber(day))
  return days * 86400 + hour * 3600 + minute * 60 + tonumber(second)
end

-- The files of a log, oldest first: {path, ino}. One that is renamed meanwhile may be missed.
local function files_of(dir, name)
  local files = {}
  for _, entry in ipairs(fs.list(dir)) do
    local index = entry.name == name and 0
      or entry.name:sub(1, #name + 1) == name .. "." and tonumber(entry.name:sub(#name + 2))
    local path = fs.join(dir, entry.name)
    local stat = index and try(fs.stat, path)
    if stat then files[#files + 1] = { path = path, ino = stat.ino, index = index } end
  end
  table.sort(files, function(a, b) return a.index > b.index end)
  return files
end

local function position(files, ino)
  for index, file in ipairs(files) do
    if file.ino == ino then return index end
  end
end

-- An open file and what was read of its unfinished last line; nil when another file has the path by
-- now.
local function open_file(file)
  local handle = io.open(file.path, "rb")
  local stat = handle and try(fs.stat, file.path)
  if stat and stat.ino == file.ino then return { handle = handle, ino = file.ino, rest = "" } end
  if handle then handle:close() end
end

-- Calls `each` with the whole lines that have come since the last call.
local function read_lines(source, each)
  while true do
    local block = source.handle:read(BLOCK)
    if not block then
      source.handle:seek("cur", 0) -- forgets the end of file, for what is written later
      return
    end
    local text, from = source.rest .. block, 1
    while true do
      local newline = text:find("\n", from, true)
      if not newline then break end
      each(text:sub(from, newline - 1))
      from = newline + 1
    end
    source.rest = text:sub(from)
  end
end

-- Joins the parts of long lines.
local function joiner()
  local parts = {}
  return function(record)
    local before = parts[record.stream]
    if record.tag == "P" then
      parts[record.stream] = (before or "") .. record.text
      return nil
    end
    if before then
      record.text = before .. record.text
      parts[record.stream] = nil
    end
    return record
  end
end

-- How many lines that `wants` takes end in this file.
local function count_lines(file, wants)
  local count, source = 0, open_file(file)
  if not source then return 0 end
  read_lines(source, function(line)
    local time, stream = line:match("^(%S+) (%S+) F")
    if time and wants(time, stream) then count = count + 1 end
  end)
  source.handle:close()
  return count
end

-- Where the last `wanted` lines begin: the index of a file, and how many of its lines to pass over.
local function find_tail(files, wanted, wants)
  for index = #files, 1, -1 do
    local count = count_lines(files[index], wants)
    if count >= wanted then return index, count - wanted end
    wanted = wanted - count
  end
  return 1, 0
end

local Reader = {}
Reader.__index = Reader

function Reader:wants(time, stream)
  return (not self.since or time >= self.since) and (not self.stream or stream == self.stream)
end

function Reader:take(line)
  local record = M.parse(line)
  record = record and self.join(record)
  if not record or not self:wants(record.time, record.stream) then return end
  if self.passed_over > 0 then
    self.passed_over = self.passed_over - 1
  else
    self.waiting[#self.waiting + 1] = record
  end
end

function Reader:read_source()
  read_lines(self.source, function(line) self:take(line) end)
end

-- Goes on with a newer file; false when it was renamed meanwhile.
function Reader:open(file)
  local source = open_file(file)
  if not source then return false end
  if self.source then self.source.handle:close() end
  self.source = source
  self:read_source()
  return true
end

-- Moves on to newer files than the open one. What was rotated away unread leaves a gap.
function Reader:advance()
  local files = files_of(self.dir, self.name)
  local at = 0
  if self.source then
    at = position(files, self.source.ino)
    if not at then
      -- A second look, since a file in the middle of its renaming is easily missed.
      files = files_of(self.dir, self.name)
      at = position(files, self.source.ino) or 0
    end
    self:read_source()
    if at == 0 and #files > 0 then self.waiting[#self.waiting + 1] = { gap = true, text = GAP } end
  end
  for index = at + 1, #files do
    if not self:open(files[index]) then return self:advance() end
  end
end

function Reader:start(tail)
  local files = files_of(self.dir, self.name)
  local first = 1
  if tail then
    local function wants(time, stream) return self:wants(time, stream) end
    first, self.passed_over = find_tail(files, tail, wants)
  end
  if files[first] and not self:open(files[first]) then return self:start(tail) end
  self:advance()
end

function Reader:next()
  while true do
    local record = self.waiting[self.given + 1]
    if record then
      self.given = self.given + 1
      return record
    end
    self.waiting, self.given = {}, 0
    if not self.watch then return nil end
    local over = self.ended()
    self:advance()
    if #self.waiting == 0 then
      if over then return nil end
      if not self.watch:next() then return nil end
    end
  end
end

function Reader:close()
  if self.source then self.source.handle:close() end
  if self.watch then self.watch:close() end
  self.source, self.watch = nil, nil
end

--- Reads a log.
-- @tparam table options `dir`; `name` (default "log"); `tail` (last lines only); `since` (a
--   timestamp as `timestamp` gives it); `stream` ("stdout" or "stderr" alone); `follow` (goes on
--   with what comes); `ended` (function: true once nothing more will come, asked whenever something
--   in the directory changes)
-- @treturn function iterator over records {time, stream, text}; {gap=true, text} where output was
--   rotated away before it was read. Meant for `for`, which closes the files.
function M.read(options)
  local reader = setmetatable({
    dir = options.dir, name = options.name or "log", since = options.since,
    stream = options.stream,
    ended = options.ended or function() return false end,
    join = joiner(), waiting = {}, given = 0, passed_over = 0,
  }, Reader)
  -- Watched from before the first look, so that nothing falls between.
  if options.follow then reader.watch = fs.watch(options.dir) end
  reader:start(options.tail)
  local closing = setmetatable({}, { __close = function() reader:close() end })
  return function() return reader:next() end, nil, nil, closing
end

return M
