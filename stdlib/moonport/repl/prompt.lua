-- The loop at a terminal.

local chunk = require "moonport.repl.chunk"
local commands = require "moonport.repl.commands"
local complete = require "moonport.repl.complete"
local history = require "moonport.repl.history"
local session = require "moonport.core.session"
local show = require "moonport.repl.show"
local style = require "moonport.ui.style"

local M = {}

local most_remembered = 10000

-- Colours between \1 and \2, which readline leaves out of its count of columns.
local function prompt_text(words)
  if not style.has_colour("stdout") then return words end
  return "\1\27[36m\2" .. words .. "\1\27[0m\2"
end

local function report(state, handle, err)
  if handle:status() == "cancelled" then
    show.note("interrupted")
    return
  end
  state.traceback = handle:traceback()
  io.stderr:write(show.error(err), "\n")
end

-- Runs a function as a line: Ctrl-C cancels it, and its errors are printed.
local function run_line(state, fn, ...)
  local handle = session.line(fn, ...)
  local ok, err = pcall(handle.await, handle)
  if not ok then report(state, handle, err) end
  return ok
end

local function hint_at_locals(state, source)
  local lost = chunk.lost_locals(source)
  if lost == "" or state.told_of_locals then return end
  state.told_of_locals = true
  show.note("`" .. lost .. "` is gone now: a local ends with its line; without `local` it stays")
end

-- A piece of input that is complete.
local function run_complete(state, source, compiled)
  state.history:add(source)
  local fn = compiled
  if run_line(state, state.run, state, source, fn) and fn then hint_at_locals(state, source) end
end

-- One line more. state.pending: the lines before it that are not complete.
local function take_line(state, line)
  if state.pending == "" then
    if line:find("^%s*$") then return end
    if line == "exit" or line == "quit" then
      show.note("Ctrl-D or .quit leaves")
      return
    end
    if commands.parse(line) then return run_complete(state, line) end
  end
  local source = state.pending .. line
  local fn, err = chunk.compile(source, session.CHUNK)
  if err == "incomplete" then
    state.pending = source .. "\n"
    return
  end
  state.pending = ""
  if fn then return run_complete(state, source, fn) end
  state.history:add(source)
  io.stderr:write(show.error(err), "\n")
end

local function interrupted(state, had_text)
  if state.pending == "" and not had_text then show.note("Ctrl-D leaves") end
  state.pending = ""
end

local function end_of_input(state)
  if state.pending == "" then
    state.quit = true
  else
    state.pending = ""
  end
end

local function read_lines(state, read)
  while not state.quit do
    local line, why, had_text = read(state.pending == "" and state.prompt or state.more_prompt)
    if line then
      take_line(state, line)
    elseif why == "interrupted" then
      interrupted(state, had_text)
    else
      end_of_input(state)
    end
  end
end

-- Reading.

local function load_history(state, readline)
  readline.history(state.history.entries, most_remembered)
  local add = state.history.add
  function state.history.add(self, entry)
    if add(self, entry) then readline.remember(entry) end
  end
end

-- The function that reads a line: with readline, or where that is missing as the terminal does it.
local function reader(state)
  local readline = require "moonport.core.readline"
  local ok, err = pcall(readline.completer, function(line, point)
    return complete.complete(line, point, state.pending)
  end)
  if ok then
    load_history(state, readline)
    return readline.read
  end
  show.note(tostring(err))
  local terminal = require "moonport.core.terminal"
  return function(words)
    io.stdout:write((words:gsub("[\1\2]", "")))
    io.stdout:flush()
    return terminal.read_line()
  end
end

local function run_init(state)
  local config = os.getenv("XDG_CONFIG_HOME")
  local home = os.getenv("HOME")
  if not config or config == "" then config = home and home .. "/.config" end
  local path = config and config .. "/moonport/init.lua"
  local file = path and io.open(path)
  if not file then return end
  file:close()
  run_line(state, function()
    local trusted, err = try(require "moonport.fs".check_trusted, path)
    if err then error(err, 0) end
    local _ = trusted
    local fn, why = loadfile(path, "t")
    if not fn then error(why, 0) end
    fn()
  end)
end

local function background_failed(err)
  local words = "a background task failed: "
  io.stderr:write(style.has_colour("stderr") and style.paint("red", words) or words, "\n",
    show.error(err), "\n")
end

local function end_tasks()
  local tasks = session.tasks()
  if #tasks > 0 then
    show.note(#tasks == 1 and "cancelling a background task" or
      string.format("cancelling %d background tasks", #tasks))
  end
  for _, handle in ipairs(tasks) do handle:cancel("the session ends") end
end

-- Runs until the end of the input. Returns the exit status.
function M.run(state, options)
  state.pending = ""
  state.prompt, state.more_prompt = prompt_text("mp> "), prompt_text(" >> ")
  session.begin(background_failed)
  state.history = history.open(history.path())
  local read = reader(state)
  show.note("moonport with " .. _VERSION .. ". `.help` tells what can be done here, Ctrl-D leaves.")
  if options.init then run_init(state) end
  read_lines(state, read)
  end_tasks()
  session.finish()
  return 0
end

return M
