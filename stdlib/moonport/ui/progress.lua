-- What takes more than a second says that it goes on: lines that move at the bottom of a terminal,
-- plain lines elsewhere.

local clock = require "moonport.core.clock"
local errors = require "moonport.errors"
local secret = require "moonport.core.secret"
local style = require "moonport.ui.style"
local task = require "moonport.task"
local terminal = require "moonport.core.terminal"
local text = require "moonport.text"

local M = {}

local quiet_for = 1    -- seconds until anything is shown
local frame_time = 0.1 -- seconds
local plain_every = 30 -- seconds between two lines where there is no terminal
local bar_cells = 20
local most_lines = 8

local function speaks_utf8()
  local locale = os.getenv("LC_ALL") or os.getenv("LC_CTYPE") or os.getenv("LANG") or ""
  return locale:lower():find("utf%-?8") ~= nil
end

local fancy = { "⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏" }
local plain = { "-", "\\", "|", "/" }

local shown = {} -- the progresses that have lines at the bottom, in order
local frame, drawn_at = 0, 0

local function print_line(line)
  io.stderr:write(secret.scrub(line), "\n")
end

local function share(self)
  if not self.total or self.total <= 0 then return nil end
  return math.min(math.max((self.done or 0) / self.total, 0), 1)
end

local function elapsed(self) return clock.monotonic() - self.started end

local function bar(part)
  local full = math.floor(part * bar_cells)
  return "[" .. string.rep("=", full) .. string.rep(" ", bar_cells - full) .. "]"
end

-- What does not fit is left out, what matters least first.
local function bottom_line(self, symbols, width)
  local part = share(self)
  local symbol = symbols[frame % #symbols + 1]
  local parts = {
    symbol .. " " .. self.label,
    part and bar(part) or false,
    part and string.format("%3d %%", math.floor(part * 100)) or false,
    self.text or false,
    text.duration(elapsed(self)),
  }
  local function joined()
    local kept = {}
    for _, piece in ipairs(parts) do kept[#kept + 1] = piece or nil end
    return table.concat(kept, "  ")
  end
  for _, least in ipairs { 2, 4 } do
    if terminal.columns(joined()) <= width then break end
    parts[least] = false
  end
  return terminal.truncate(joined(), width)
end

local function draw()
  local width = (style.width("stderr") or 80) - 1
  local symbols = speaks_utf8() and fancy or plain
  local lines = {}
  for i, progress in ipairs(shown) do
    if i == most_lines and #shown > most_lines then
      lines[i] = string.format("  … and %d more", #shown - i + 1)
      break
    end
    lines[i] = bottom_line(progress, symbols, width)
  end
  drawn_at = clock.monotonic()
  terminal.footer(#lines > 0 and table.concat(lines, "\n") or nil)
end

local function remove(self)
  for i, progress in ipairs(shown) do
    if progress == self then
      table.remove(shown, i)
      draw()
      return
    end
  end
end

local function move(self)
  self.visible = true
  shown[#shown + 1] = self
  while true do
    if clock.monotonic() - drawn_at >= frame_time * 0.9 then
      frame = frame + 1
      draw()
    end
    task.sleep(frame_time)
  end
end

local function tell(self)
  self.visible = true
  print_line(self.label .. " ...")
  while true do
    task.sleep(plain_every)
    local part = share(self)
    local details = {}
    if part then details[#details + 1] = string.format("%d %%", math.floor(part * 100)) end
    details[#details + 1] = self.text
    details[#details + 1] = text.duration(elapsed(self))
    print_line(self.label .. ": " .. table.concat(details, ", "))
  end
end

local function tick(self)
  task.sleep(quiet_for)
  if self.moves then move(self) else tell(self) end
end

local function finish(self, err)
  self.ticker:cancel("the work has ended")
  remove(self)
  if self.hush or not (self.visible or self.always) then return end
  local took = text.duration(elapsed(self))
  local word = err == nil and "done" or errors.is(err, "task", "cancelled") and "interrupted"
    or "failed"
  if style.has_colour("stderr") then
    word = style.paint(err == nil and "green" or "red", word)
  end
  print_line(string.format("%s: %s %s %s", self.label, word, err == nil and "in" or "after", took))
end

local Progress = {}
Progress.__index = Progress

-- Says what is being done right now; nil for nothing in particular.
function Progress:say(words) self.text = words and text.visible(words) end

-- Says how much is done, out of how much.
function Progress:advance(done, total)
  self.done, self.total = done, total or self.total
end

-- Ends it; `err` is why the work failed.
function Progress:finish(err) finish(self, err) end

-- Begins to show that work goes on. Whoever calls it calls `finish`, also on an error.
function M.begin(label, options)
  options = options or {}
  local self = setmetatable({
    label = text.visible(label),
    started = clock.monotonic(),
    moves = style.is_terminal("stderr") and os.getenv("TERM") ~= "dumb",
    always = options.always,
    hush = options.hush,
  }, Progress)
  self.ticker = task.contained(tick, self)
  return self
end

-- Calls fn(progress) and returns what it returns; see moonport.ui.
function M.run(label, fn, options)
  local self = M.begin(label, options)
  local _ <close> = setmetatable({}, { __close = function(_, err) finish(self, err) end })
  return fn(self)
end

return M
