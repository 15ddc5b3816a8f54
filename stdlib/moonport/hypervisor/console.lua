--- Attaching to the console of a virtual machine: a terminal that its VMM holds the other end of.
-- @module moonport.hypervisor.console

local attach = require "moonport.attach"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local streams = require "moonport.streams"
local terminal = require "moonport.core.terminal"
local ui = require "moonport.ui"

local M = {}

M.ESCAPE = "\29" -- Ctrl-]

-- The key as people write it.
local function name_of(escape)
  local byte = escape:byte()
  return byte < 32 and "Ctrl-" .. string.char(byte + 64) or ui.visible(escape)
end

-- Two at one console would each get half of what it says.
local function take(options)
  local lock, why = try(fs.lock, options.lock)
  if lock then return lock end
  if not errors.is(why, "fs", "held") then error(why, 0) end
  errors.raise {
    kind = "console", code = "busy", cause = why,
    message = ("somebody is at the console of `%s` already"):format(options.name),
    hint = why.message,
  }
end

local Console = {}
Console.__index = Console

function Console:read() return self.stream:read() end
function Console:write(bytes) self.stream:write(bytes) end
function Console:resize(rows, columns) terminal.resize(self.stream, rows, columns) end

-- As what streams.run passes on.
function Console:next()
  local bytes = self.stream:read()
  if bytes then return 1, bytes end
end

-- The console has no end of input.
function Console.finish() end

local function is_over(err)
  return errors.is(err, "net")
end

local function copy(console)
  local options = { stdin = "inherit", stdout = "inherit", stderr = "null" }
  streams.run(console, streams.source(options, "console"), options, "console", is_over)
end

local function on_terminal(console, options)
  local escape = options.escape or M.ESCAPE
  if escape == "" then escape = nil end
  ui.note(("at the console of `%s`%s"):format(options.name,
    escape and "; " .. name_of(escape) .. " leaves it" or ""))
  local size = attach.size()
  console:resize(size.rows, size.columns)
  local left = attach.run(console, escape)
  ui.note(left and "left the console" or "the console is closed: the machine has ended")
end

--- Gives the operator's terminal to a console, until they leave it or the machine ends. Where
-- standard input or output is no terminal, plainly copies both ways.
-- @tparam table options `path` of the terminal; `lock`: a file's path, so that one at a time is
--   there; `name` of the machine, for messages; `escape`: the key that leaves ("\29" unless told),
--   "" for none
-- @raise {kind="console", code="busy"} when somebody else is there; {kind="terminal"}
function M.attach(options)
  local lock <close> = take(options) -- luacheck: ignore lock
  local stream <close> = terminal.open(options.path)
  local console = setmetatable({ stream = stream }, Console)
  if ui.is_terminal "stdin" and ui.is_terminal "stdout" then
    on_terminal(console, options)
  else
    copy(console)
  end
end

return M
