-- What begins with a dot at the prompt.

local chunk = require "moonport.repl.chunk"
local clock = require "moonport.core.clock"
local errors = require "moonport.errors"
local nearest = require "moonport.nearest"
local session = require "moonport.core.session"
local show = require "moonport.repl.show"
local text = require "moonport.text"

local M = {}

local commands = {} -- name -> { usage, help, run = function(state, argument) }

local function wrong(message, hint)
  errors.raise { kind = "repl", code = "usage", message = message, hint = hint }
end

local function compile(argument, command)
  if argument == "" then wrong("`." .. command .. "` wants an expression") end
  local fn, err = chunk.compile(argument, session.CHUNK)
  if err == "incomplete" then wrong("the expression is not complete") end
  return fn or error(err, 0)
end

commands.help = {
  usage = ".help",
  help = "tells what can be done here",
}

local introduction = [[
A line is Lua. What an expression gives is printed, and is `_` in the next line; a line that is not
complete goes on in the next. Calls that wait just do. `mp` holds moonport's modules, which are
globals here too: http, fs, process, task, json, ...

  task.spawn(fn)    starts a background task, which goes on while you type
  try(fn, ...)      gives nil and the error in place of raising it
  x = 1             a global stays; `local x = 1` is gone after its line, as in any Lua

Keys: Tab completes names, fields, methods, modules and files; Ctrl-R searches the history; Ctrl-C
cancels what is running or typed; Ctrl-D leaves. A line that begins with a space is not remembered.
]]

function commands.help.run()
  local lines = { introduction }
  local widest = 0
  for _, name in ipairs(M.names()) do
    widest = math.max(widest, #commands[name:sub(2)].usage)
  end
  for _, name in ipairs(M.names()) do
    local command = commands[name:sub(2)]
    lines[#lines + 1] = string.format("  %-" .. widest .. "s  %s", command.usage, command.help)
  end
  print(table.concat(lines, "\n"))
end

commands.doc = {
  usage = ".doc [NAME]",
  help = "the documentation of a function or a module, or the list of modules",
  run = function(_, argument)
    local told, why, hint = require "moonport.repl.doc".text(argument)
    if not told then wrong(why, hint) end
    print(told)
  end,
}

local function fields_of(value)
  local names = {}
  local function add(from)
    for name in next, from do
      if type(name) == "string" and not name:find("^__") then names[#names + 1] = name end
    end
  end
  local meta = debug.getmetatable(value)
  local index = type(meta) == "table" and rawget(meta, "__index")
  if type(value) == "table" then add(value) end
  if type(index) == "table" and not rawequal(index, value) then add(index) end
  table.sort(names)
  return names
end

local function type_lines(value)
  local kind = math.type(value) or type(value)
  local meta = debug.getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  local lines = { type(name) == "string" and kind .. " (" .. text.visible(name) .. ")" or kind }
  if type(value) == "string" then
    lines[#lines + 1] = string.format("  %d bytes", #value)
  elseif type(value) == "function" then
    local info = debug.getinfo(value, "Su")
    lines[#lines + 1] = info.what == "C" and "  built in" or
      string.format("  %s:%d, %d parameters%s", text.visible(info.short_src), info.linedefined,
        info.nparams, info.isvararg and " and more" or "")
  elseif type(value) == "table" then
    local count = 0
    for _ in next, value do count = count + 1 end
    lines[#lines + 1] = string.format("  %d entries", count)
  end
  local names = type(value) ~= "string" and fields_of(value) or {}
  if #names > 0 then
    local more = #names > 40 and string.format(", … %d more", #names - 40) or ""
    lines[#lines + 1] = "  " .. text.visible(table.concat(names, ", ", 1, math.min(#names, 40))) ..
      more
  end
  return lines
end

commands.type = {
  usage = ".type EXPRESSION",
  help = "what kind of value it is, and its fields and methods",
  run = function(_, argument)
    local values = table.pack(compile(argument, "type")())
    for i = 1, values.n do print(table.concat(type_lines(values[i]), "\n")) end
  end,
}

commands.time = {
  usage = ".time CODE",
  help = "runs it and tells how long it took",
  run = function(state, argument)
    local fn = compile(argument, "time")
    local started, cpu = clock.monotonic(), clock.cpu()
    local results = table.pack(fn())
    local took, used = clock.monotonic() - started, clock.cpu() - cpu
    state.keep(results)
    show.results(results)
    print(string.format("took %s, %s of them computing", text.duration(took), text.duration(used)))
  end,
}

commands.load = {
  usage = ".load FILE",
  help = "runs a file; its globals stay",
  run = function(state, argument)
    if argument == "" then wrong("`.load` wants the name of a file") end
    local path = argument:gsub("^~/", (os.getenv("HOME") or "~") .. "/")
    local fn, err = loadfile(path, "t")
    if not fn then error(err, 0) end
    local results = table.pack(fn())
    state.keep(results)
    show.results(results)
  end,
}

commands.all = {
  usage = ".all EXPRESSION",
  help = "prints a value whole, however long",
  run = function(state, argument)
    local results = table.pack(compile(argument, "all")())
    state.keep(results)
    show.results(results, {
      depth = 1000, items = math.huge, total = math.huge, string = math.maxinteger,
    })
  end,
}

commands.tasks = {
  usage = ".tasks [cancel]",
  help = "the background tasks; `cancel` ends them",
  run = function(_, argument)
    local tasks = session.tasks()
    if argument ~= "" and argument ~= "cancel" then
      wrong("`.tasks` takes nothing but `cancel`")
    end
    for _, handle in ipairs(tasks) do
      if argument == "cancel" then handle:cancel("cancelled at the prompt") end
      print(tostring(handle))
    end
    if #tasks == 0 then print("no background task is running") end
  end,
}

commands.trace = {
  usage = ".trace",
  help = "where the last error came from",
  run = function(state)
    print(state.traceback or "no line has failed")
  end,
}

commands.quit = {
  usage = ".quit",
  help = "leaves, as Ctrl-D does",
  run = function(state) state.quit = true end,
}

-- With their dots, sorted.
function M.names()
  local names = {}
  for name in pairs(commands) do names[#names + 1] = "." .. name end
  table.sort(names)
  return names
end

-- The command of a line and its argument, nil when the line is Lua.
function M.parse(line)
  local name, argument = line:match("^%s*%.(%a+)%s*$"), ""
  if not name then name, argument = line:match("^%s*%.(%a+)%s+(.-)%s*$") end
  return name, argument
end

-- Runs a command.
-- state: keep(results) makes them `_`; `quit` is set to leave; `traceback` of the last error.
function M.run(state, name, argument)
  local command = commands[name]
  if not command then
    wrong("there is no `." .. text.visible(name) .. "`",
      nearest.hint(name, commands) or "`.help` lists what there is")
  end
  command.run(state, argument)
end

return M
