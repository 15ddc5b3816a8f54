--- The prompt: `moonport repl`.
--
-- On a terminal it edits, completes and remembers lines, and background tasks go on while someone
-- types. From a pipe or a file it runs each complete piece of Lua as it arrives, prints what
-- expressions give, and stops with status 1 at the first error.
-- @module moonport.repl

local chunk = require "moonport.repl.chunk"
local commands = require "moonport.repl.commands"
local globals = require "moonport.repl.globals"
local show = require "moonport.repl.show"
local terminal = require "moonport.core.terminal"

local M = {}

local help = [[
Usage: moonport repl [--no-init]

A prompt for Lua with moonport's modules at hand. `.help` there tells more.

~/.config/moonport/init.lua runs first, unless --no-init is given. With input from a pipe or a file,
there is no prompt and no init.lua; the first error ends it with status 1.

Example: echo 'mp.sys.hostname()' | moonport repl
]]

-- `_` is what the last expression gave.
local function keep(results)
  if results.n > 0 then rawset(_G, "_", results[1]) end
end

local function run_source(state, source, compiled)
  local name, argument
  if not compiled then name, argument = commands.parse(source) end
  if name then return commands.run(state, name, argument) end
  local results = table.pack(compiled())
  keep(results)
  show.results(results)
end

-- A pipe.

local function read_chunks()
  local number = 0
  -- The next complete piece: its source, with as many newlines ahead as lines came before, so that
  -- errors name the line of the input.
  return function()
    local source, first
    while true do
      local line = terminal.read_line()
      if not line then return source, nil, first end
      number = number + 1
      if number == 1 and line:sub(1, 2) == "#!" then line = "" end
      source = source and source .. "\n" .. line or line
      first = first or number
      if not source:find("\n") and commands.parse(source) then return source end
      local padded = string.rep("\n", first - 1) .. source
      local fn, err = chunk.compile(padded, "=stdin")
      if fn then return source, fn end
      if err ~= "incomplete" then error(err, 0) end
    end
  end
end

local function run_pipe(state)
  io.stdin:setvbuf("no") -- io.read in a line takes no more than it gives
  local next_chunk = read_chunks()
  while not state.quit do
    local source, compiled, first = next_chunk()
    if not source then return 0 end
    if first then
      error(string.format("stdin:%d: the input ends within what begins here", first), 0)
    end
    run_source(state, source, compiled)
  end
  return 0
end

--- Runs the prompt.
-- @tparam {string,...} words those after `repl`
-- @treturn integer the exit status
function M.main(words)
  local no_init = false
  for _, word in ipairs(words) do
    if word == "-h" or word == "--help" then
      io.stdout:write(help)
      return 0
    elseif word == "--no-init" then
      no_init = true
    else
      io.stderr:write("moonport repl: `", word, "` is not known here; see `moonport repl --help`\n")
      return 2
    end
  end
  globals.install(_G)
  local state = { keep = keep, run = run_source }
  if terminal.is_terminal(0) and terminal.is_terminal(1) then
    return require "moonport.repl.prompt".run(state, { init = not no_init })
  end
  return run_pipe(state)
end

return M
