--- The command line: finds the command that the words name, parses its words, runs it.
--
-- Each command is one file below `cli/`, a table with `summary`, `example`, `configure(parser)` and
-- `run(args)`; `run` returns the exit status (nil: 0) or raises. Only the named command's file is
-- loaded.
-- @module moonport.cli

local errors = require "moonport.errors"

local M = {}

--- The commands in the order in which help lists them. `run` is in C, where its start-up counts.
M.COMMANDS = {
  "run", "repl",
  "deploy", "plan",
  "ps", "status", "logs", "exec",
  "start", "stop", "restart", "rm",
  "history", "rollback", "restore", "gc",
  "recipe", "explain", "doctor", "completion",
}

--- Loads a command.
-- @tparam string name
-- @treturn table|nil the command; nil when there is none of that name
function M.command(name)
  for _, known in ipairs(M.COMMANDS) do
    if known == name then return require("moonport.cli." .. name) end
  end
end

local function usage(message, hint)
  errors.raise { kind = "cli", code = "usage", message = message, hint = hint, where = "" }
end

-- Options that every command takes, also in front of the command's name.
local function add_global_options(parser)
  parser:option("--state", "Directory of the state store."):argname("DIR")
  parser:option("--site", "Directory of the site's recipes, hooks and defaults."):argname("DIR")
  parser:flag("--trace", "On an error, print the Lua traceback too.")
end

--- Makes the parser of a command.
-- @tparam string name
-- @tparam table command
-- @treturn Parser of lua-argparse
function M.parser(name, command)
  local argparse = require "argparse"
  local parser = argparse("moonport " .. name, command.description or command.summary .. ".")
  parser:usage_max_width(100):help_max_width(100)
  parser:epilog("Example: " .. command.example)
  command.configure(parser)
  add_global_options(parser)
  return parser
end

local function parse(name, command, words)
  local parser = M.parser(name, command)
  local ok, args = parser:pparse(words)
  if not ok then usage(args, ("see `moonport %s --help`"):format(name)) end
  return args
end

local function print_help()
  local lines = {
    "Usage: moonport [--state DIR] [--site DIR] COMMAND [ARGS...]", "",
    "Deploys blueprint services, with recipes in Lua.", "", "Commands:",
  }
  for _, name in ipairs(M.COMMANDS) do
    lines[#lines + 1] = ("  %-12s %s"):format(name, M.command(name).summary)
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "`moonport COMMAND --help` tells more. Example: moonport deploy service.lua"
  print(table.concat(lines, "\n"))
end

local function print_version()
  print("moonport " .. require "moonport.version")
end

-- Takes the options in front of the command's name; returns the rest.
local function take_leading_options(words)
  local options, index = {}, 1
  while words[index] do
    local word = words[index]
    local name, value = word:match("^%-%-(%a+)=(.*)$")
    name = name or word:match("^%-%-(%a+)$")
    if name == "state" or name == "site" then
      if not value then
        index = index + 1
        value = words[index] or usage(("`--%s` wants a directory"):format(name))
      end
      options[name] = value
    elseif word ~= "--trace" then
      break
    end
    index = index + 1
  end
  return options, table.move(words, index, #words, 1, {})
end

--- The exit status for an error: its `exit` field, else by its code.
-- @param err
-- @treturn integer 2 wrong usage, 3 not found, 4 refused, 1 anything else
function M.exit_status(err)
  local STATUS = { usage = 2, not_found = 3, refused = 4 }
  while type(err) == "table" do
    if err.exit then return err.exit end
    if STATUS[err.code] then return STATUS[err.code] end
    err = err.failure and err.cause
  end
  return 1
end

--- Runs the command that the words name.
-- @tparam {string,...} words those after the program's name
-- @treturn integer the exit status
function M.main(words)
  local options, rest = take_leading_options(words)
  local name = table.remove(rest, 1)
  if not name or name == "--help" or name == "-h" or (name == "help" and not rest[1]) then
    print_help()
    return 0
  elseif name == "--version" or name == "version" then
    print_version()
    return 0
  elseif name == "help" then
    name, rest = rest[1], { "--help" }
  end
  local command = M.command(name)
  if not command then
    local nearest = require "moonport.nearest"
    usage(("there is no command `%s`"):format(name),
      nearest.hint(name, M.COMMANDS) or "see `moonport --help`")
  end
  local args = parse(name, command, rest)
  args.state, args.site = args.state or options.state, args.site or options.site
  return command.run(args, name) or 0
end

return M
