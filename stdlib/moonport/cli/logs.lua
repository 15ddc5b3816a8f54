local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Show the output of services",
  example = "moonport logs -f --tail 20 squaring",
}

local function configure(parser)
  options.names(parser)
  parser:flag("-f --follow", "Go on with what comes.")
  parser:option("--tail", "Only the last lines."):argname("LINES"):convert(options.integer)
  parser:option("--since", "Only what is newer: a duration such as 10m, or a time such as "
    .. "2026-11-24T06:00:00Z."):argname("TIME")
  parser:flag("-t --timestamps", "Put the time before each line.")
  parser:option("--stream", "Only stdout or stderr."):choices({ "stdout", "stderr" })
    :argname("STREAM")
end

local function parse_time(text)
  local year, month, day, hour, minute, second =
    text:match("^(%d%d%d%d)-(%d%d)-(%d%d)[T ](%d%d):(%d%d):?(%d*)")
  if year then
    local as_local = os.time {
      year = year, month = month, day = day, hour = hour, min = minute, sec = tonumber(second) or 0,
    }
    -- The text is UTC; os.time reads local time.
    local utc = os.date("!*t", as_local)
    utc.isdst = nil
    return as_local + (as_local - os.time(utc))
  end
  return os.time() - require("moonport.units").duration(text)
end

local COLOURS = { "cyan", "yellow", "green", "magenta", "blue" }

local function prefixes(names)
  local ui = require "moonport.ui"
  local width, list = 0, {}
  for _, name in ipairs(names) do width = math.max(width, #name) end
  for index, name in ipairs(names) do
    local colour = COLOURS[(index - 1) % #COLOURS + 1]
    list[name] = #names > 1 and ui.colour(colour, ("%-" .. width .. "s | "):format(name)) or ""
  end
  return list
end

local function printer(args)
  local ui = require "moonport.ui"
  local prefix = prefixes(args.name)
  local on_terminal = ui.is_terminal()
  return function(name, line)
    local text = on_terminal and ui.visible(line.text) or line.text
    local time = args.timestamps and line.time and line.time .. " " or ""
    ui.print(prefix[name] .. time .. text)
  end
end

local function follow(services, wanted, print_line)
  local task = require "moonport.task"
  local readers = {}
  for index, service in ipairs(services) do
    readers[index] = function()
      for line in service:logs(wanted) do print_line(service.name, line) end
    end
  end
  task.all(readers)
end

-- Lines of several services, in the order of their times.
local function merge(services, wanted, print_line)
  local sources = {}
  for _, service in ipairs(services) do
    local next_line, state, control, closing = service:logs(wanted)
    local source = { name = service.name, closing = closing }
    function source.step() source.line = next_line(state, control) end
    source.step()
    sources[#sources + 1] = source
  end
  while true do
    local first
    for _, source in ipairs(sources) do
      if source.line and (not first or (source.line.time or "") < (first.line.time or "")) then
        first = source
      end
    end
    if not first then return end
    print_line(first.name, first.line)
    first.step()
  end
end

local function run(args)
  local opened <close> = env.open(args)
  local services = {}
  for index, name in ipairs(args.name) do services[index] = env.service(opened, name) end
  local wanted = {
    follow = args.follow, tail = args.tail, stream = args.stream,
    since = args.since and parse_time(args.since),
  }
  local show = args.follow and follow or merge
  show(services, wanted, printer(args))
end

M.configure, M.run = configure, run

return M
