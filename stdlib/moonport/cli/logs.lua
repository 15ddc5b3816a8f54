local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Show the output of services",
  description = "Shows the output of services, that of several in the order of its times. With -f "
    .. "it goes on until the service is stopped or you press Ctrl-C, over restarts and new "
    .. "revisions. On a terminal, control characters other than colours are made visible.",
  example = "moonport logs -f --tail 20 squaring\n"
    .. "moonport logs --since 10m web db\n"
    .. "moonport logs --console --tail 50 squaring\n"
    .. "moonport logs --since 2026-11-24T06:00:00Z --stream stderr squaring",
}

local function tail_of(text)
  if text == "all" then return math.maxinteger end
  return options.integer(text)
end

local function since_of(text)
  return require("moonport.cli.times").point(text, require("moonport.clock").now())
end

local function configure(parser)
  options.names(parser)
  parser:flag("-f --follow", "Go on with what comes.")
  parser:option("-n --tail", "Only the last lines; 0 for none of what there is."):argname("LINES")
    :convert(tail_of)
  parser:option("--since", "Only what is newer: 10m or 1h30m ago, a time such as "
    .. "2026-11-24T06:00:00Z, or seconds since 1970."):argname("TIME"):convert(since_of)
  parser:flag("-t --timestamps", "Put the time before each line.")
  parser:option("--stream", "Only stdout or stderr."):choices({ "stdout", "stderr" })
    :argname("STREAM")
  parser:flag("--console", "What the console of its virtual machine said, in place of its output.")
  parser:option("-o --output", "How to print: text, or json for an object a line.")
    :argname("FORMAT"):choices({ "text", "json" }):default("text")
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

-- Text for a terminal: colours stay, nothing else drives it, and a colour ends with its line.
local function for_terminal(text, coloured)
  local visible = require("moonport.ui").visible
  if not coloured or not text:find("\27[", 1, true) then return visible(text, "\t") end
  local parts, from = {}, 1
  for before, colour, after in text:gmatch("()(\27%[[%d;]*m)()") do
    parts[#parts + 1] = visible(text:sub(from, before - 1), "\t") .. colour
    from = after
  end
  parts[#parts + 1] = visible(text:sub(from), "\t")
  return table.concat(parts) .. (#parts > 1 and "\27[0m" or "")
end

local function text_printer(args, names)
  local ui = require "moonport.ui"
  local prefix = prefixes(names)
  local on_terminal, coloured = ui.is_terminal(), ui.has_colour()
  return function(name, line)
    local text = on_terminal and for_terminal(line.text, coloured) or line.text
    local time = args.timestamps and line.time and line.time .. " " or ""
    ui.print(prefix[name] .. time .. text)
  end
end

local function json_printer()
  local ui, json = require "moonport.ui", require "moonport.json"
  return function(name, line)
    local record = { name = name, time = line.time, stream = line.stream, gap = line.gap }
    record.text = line.text
    -- Bytes that are no UTF-8 cannot be in JSON.
    if not utf8.len(line.text) then record.text = ui.visible(line.text) end
    ui.print(json.encode(record))
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
  local sources <close> = setmetatable({}, { __close = function(list)
    for _, source in ipairs(list) do
      local closing = source.closing
      if closing then getmetatable(closing).__close(closing) end
    end
  end })
  for index, service in ipairs(services) do
    local next_line, state, control, closing = service:logs(wanted)
    local source = { name = service.name, closing = closing }
    function source.step() source.line = next_line(state, control) end
    sources[index] = source
    source.step()
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

local function unique(names)
  local list, seen = {}, {}
  for _, name in ipairs(names) do
    if not seen[name] then list[#list + 1] = name end
    seen[name] = true
  end
  return list
end

local function run(args)
  require("moonport.cli").quiet_interrupt = true
  local opened <close> = env.open(args, { read_only = true })
  local names, services = unique(args.name), {}
  for index, name in ipairs(names) do services[index] = env.service(opened, name) end
  local wanted = {
    follow = args.follow, tail = args.tail, stream = args.stream, since = args.since,
    console = args.console,
  }
  local printer = args.output == "json" and json_printer() or text_printer(args, names)
  local show = args.follow and follow or merge
  show(services, wanted, printer)
end

M.configure, M.run = configure, run

return M
