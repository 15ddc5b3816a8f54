--- What `--help` prints: of a command, and of moonport.
--
-- It is made from the parser that reads the words (lua-argparse), so that the two cannot disagree.
-- @module moonport.cli.help

local M = {}

local WIDTH = 90
local MARGIN = 26 -- columns up to a description

local function width()
  local columns = require("moonport.ui").width()
  return columns and math.max(40, math.min(columns, WIDTH)) or WIDTH
end

-- Breaks text into lines of at most `columns`.
local function wrap(text, columns)
  local lines, line = {}, nil
  for word in text:gmatch("%S+") do
    if line and #line + 1 + #word <= columns then
      line = line .. " " .. word
    else
      lines[#lines + 1] = line
      line = word
    end
  end
  lines[#lines + 1] = line
  return lines
end

local function heading(text)
  return require("moonport.ui").colour("bold", text)
end

-- A name at the left, its description wrapped at the right.
local function add_row(lines, name, description)
  local parts = wrap(description, width() - MARGIN)
  local left = "  " .. name
  if #left + 2 > MARGIN then
    lines[#lines + 1] = left
    left = ""
  end
  for index, part in ipairs(parts) do
    lines[#lines + 1] = ("%-" .. MARGIN .. "s%s"):format(index == 1 and left or "", part)
  end
  if #parts == 0 then lines[#lines + 1] = left end
end

--- A positional argument as usage shows it.
-- @tparam Argument argument of lua-argparse
-- @treturn string such as `NAME...` or `[REVISION]`
function M.argument(argument)
  local shown = argument._argname or argument._name:upper()
  if type(shown) == "table" then shown = shown[1] end
  if argument._maxargs > 1 then shown = shown .. "..." end
  return argument._minargs == 0 and "[" .. shown .. "]" or shown
end

--- How a command is called, in one line.
-- @tparam string path such as `moonport recipe`
-- @tparam Parser parser
-- @treturn string
function M.usage(path, parser)
  local parts = { path, "[OPTIONS]" }
  if #parser._commands > 0 then parts[#parts + 1] = "COMMAND" end
  for _, argument in ipairs(parser._arguments) do
    if not argument._hidden then parts[#parts + 1] = M.argument(argument) end
  end
  return table.concat(parts, " ")
end

-- `-f, --follow`, `    --tail LINES`
local function option_name(option)
  local short, long
  for _, alias in ipairs(option._aliases) do
    if alias:find("^%-%-") then long = long or alias else short = short or alias end
  end
  local name = short and long and short .. ", " .. long or long and "    " .. long or short
  if option._maxargs == 0 then return name end
  local argname = option._argname
  if type(argname) == "table" then argname = argname[1] end
  return name .. " " .. (argname or option._name:gsub("^-*", ""):upper())
end

local function option_text(option)
  local text = option._description or ""
  if option._default then text = ("%s Default: %s."):format(text, option._default) end
  return text
end

local function add_options(lines, title, options)
  if #options == 0 then return end
  lines[#lines + 1] = ""
  lines[#lines + 1] = heading(title)
  for _, option in ipairs(options) do add_row(lines, option_name(option), option_text(option)) end
end

local function add_arguments(lines, arguments)
  if #arguments == 0 then return end
  lines[#lines + 1] = ""
  for _, argument in ipairs(arguments) do
    add_row(lines, M.argument(argument), argument._description or "")
  end
end

local function add_commands(lines, commands)
  if #commands == 0 then return end
  lines[#lines + 1] = ""
  lines[#lines + 1] = heading("Commands:")
  for _, command in ipairs(commands) do
    add_row(lines, command._name, command._description or "")
  end
end

local function split(options, is_global)
  local own, global = {}, {}
  for _, option in ipairs(options) do
    local long = option._aliases[#option._aliases]
    local list = is_global[long:match("^%-%-(.*)$")] and global or own
    if not option._hidden then list[#list + 1] = option end
  end
  return own, global
end

--- The help of a command.
-- @tparam string path such as `moonport deploy`
-- @tparam Parser parser
-- @tparam string example one call a line
-- @tparam table is_global names of the options that every command has
-- @treturn string
function M.command(path, parser, example, is_global)
  local lines = { heading("Usage:") .. " " .. M.usage(path, parser), "" }
  local description = wrap(parser._description or "", width())
  table.move(description, 1, #description, #lines + 1, lines)
  add_arguments(lines, parser._arguments)
  add_commands(lines, parser._commands)
  local own, global = split(parser._options, is_global)
  add_options(lines, "Options:", own)
  add_options(lines, "Options of every command:", global)
  lines[#lines + 1] = ""
  lines[#lines + 1] = heading(example:find("\n") and "Examples:" or "Example:")
  for call in example:gmatch("[^\n]+") do lines[#lines + 1] = "  " .. call end
  return table.concat(lines, "\n")
end

--- The help of moonport.
-- @tparam table groups list of {title, {command name, ...}}
-- @tparam function summary of a command by its name
-- @treturn string
function M.program(groups, summary)
  local lines = {
    heading("Usage:") .. " moonport [--state DIR] [--site DIR] COMMAND [ARGS...]", "",
    "Deploys services from manifests: natively, as pods or as virtual machines. Every step is",
    "a recipe in Lua that you can read and change.",
  }
  for _, group in ipairs(groups) do
    lines[#lines + 1] = ""
    lines[#lines + 1] = heading(group[1] .. ":")
    for _, name in ipairs(group[2]) do
      lines[#lines + 1] = ("  %-12s%s"):format(name, summary(name))
    end
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused, "
    .. "130 interrupted;"
  lines[#lines + 1] = "10 from `plan`: there is something to change."
  lines[#lines + 1] = ""
  lines[#lines + 1] = "`moonport COMMAND --help` tells more. To begin: moonport deploy service.lua"
  return table.concat(lines, "\n")
end

return M
