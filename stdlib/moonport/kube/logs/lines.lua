-- The bytes of a log, each of whose lines the server has put a time before, cut into lines.
--
--     2026-11-24T09:20:11.123456789Z the text
--
-- A container runtime writes a long line in pieces of (a multiple of) 8 KiB, and servers before
-- 1.27 put a time before each piece, in the middle of the line. These are taken out again.

local M = {}

local MOST = 1 << 20 -- bytes of a row; longer lines come in several
local PIECE = 8192
local LONGEST_TIME = 36

local TIME = "^(%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.?%d*[Z+-][%d:]*) "

local Lines = {}
Lines.__index = Lines

-- at: where in `chunk` the next line begins. parts: of a line whose end has not come. time: of a
-- line of which rows have been given already; offset: bytes since the last place for a time in it.
function M.new()
  return setmetatable({ chunk = "", at = 1, parts = {}, held = 0, offset = 0 }, Lines)
end

-- Adds bytes; what came before has to be read first.
function Lines:feed(chunk)
  self.chunk, self.at = chunk, 1
end

-- Takes the times out of the middle of a line, up to `last`. Gives what is left of that part, and
-- where the rest begins: behind `last`, or earlier where a time may just be coming.
local function without_times(self, text, last)
  local parts, from = {}, 1
  local boundary = 1 + PIECE - self.offset
  while boundary <= last do
    local time = text:match(TIME, boundary)
    if time then
      parts[#parts + 1] = text:sub(from, boundary - 1)
      from = boundary + #time + 1
      boundary = from
    end
    boundary = boundary + PIECE
  end
  local till = math.max(from - 1, last)
  parts[#parts + 1] = text:sub(from, till)
  self.offset = PIECE - (boundary - till - 1)
  return table.concat(parts), till + 1
end

-- Splits the time off the beginning of a line.
local function begin(self, text)
  local time = text:match(TIME)
  self.offset = 0
  return time, time and text:sub(#time + 2) or text
end

-- A row of a line that is whole now.
local function finish(self, text)
  local time, continued = self.time, self.inside
  if not continued then time, text = begin(self, text) end
  if self.offset + #text > PIECE then text = without_times(self, text, #text) end
  self.time, self.inside, self.offset = nil, false, 0
  return { time = time, text = text }
end

-- A row of a line that is too long to wait for its end.
local function split(self)
  local text = table.concat(self.parts)
  if not self.inside then self.time, text = begin(self, text) end
  self.inside = true
  local row, rest = without_times(self, text, #text - LONGEST_TIME)
  text = text:sub(rest)
  self.parts, self.held = { text }, #text
  return { time = self.time, text = row, partial = true }
end

-- Keeps the bytes of the chunk up to `last` for the row that they are part of.
local function hold(self, last)
  local text = self.chunk
  if self.at > 1 or last < #text then text = text:sub(self.at, last) end
  self.at = last + 1
  if text == "" then return end
  self.parts[#self.parts + 1] = text
  self.held = self.held + #text
end

-- The row of what is held, which is whole.
local function take_held(self)
  local text = table.concat(self.parts)
  self.parts, self.held = {}, 0
  return finish(self, text)
end

-- The next row {time=, text=, partial=}; nil when more bytes are needed. `time` is nil where the
-- line has none: then it is the node's own words.
function Lines:next()
  local newline = self.chunk:find("\n", self.at, true)
  local last = newline and newline - 1 or #self.chunk
  local room = MOST + 1 - self.held -- one byte over it, and the line is to be split
  if newline and self.held == 0 and newline - self.at < room then -- as most are
    local text = self.chunk:sub(self.at, last)
    self.at = newline + 1
    return finish(self, text)
  end
  hold(self, math.min(last, self.at + room - 1))
  if self.held > MOST then return split(self) end
  if newline then
    self.at = newline + 1
    return take_held(self)
  end
  self.chunk, self.at = "", 1
end

-- The last row, where the log does not end with a newline.
function Lines:finish()
  if self.held == 0 and not self.inside then return nil end
  return take_held(self)
end

return M
