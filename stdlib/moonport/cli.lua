--- The command line: finds the command that the words name, parses its words, runs it.
--
-- Each command is one file below `cli/`, a table with `summary`, `example` (one call a line),
-- `configure(parser)` and `run(args)`; `run` returns the exit status (nil: 0) or raises. Where they
-- help, `description` (several sentences for `--help`), `advice(message, words)` (a hint for words
-- that could not be parsed) and `complete` (what to offer for an argument, by its name; see
-- `cli/complete.lua`). Only the named command's file is loaded.
-- @module moonport.cli

local errors = require "moonport.errors"

local M = {
  --- True while Ctrl-C is how one leaves the command: then it ends without a word.
  quiet_interrupt = false,
}

--- The commands in the order in which help lists them. `run` is in C, where its start-up counts.
M.GROUPS = {
  { "Deploying", { "deploy", "plan", "history", "rollback", "rm" } },
  { "Looking", { "ps", "status", "logs", "exec", "console", "explain" } },
  { "Running", { "start", "stop", "restart", "restore", "watch" } },
  { "Scripting", { "run", "repl", "recipe" } },
  { "Housekeeping", { "image", "gc", "doctor", "completion" } },
}

--- The names of all commands.
M.COMMANDS = {}
for _, group in ipairs(M.GROUPS) do
  table.move(group[2], 1, #group[2], #M.COMMANDS + 1, M.COMMANDS)
end

--- Options that every command takes, also in front of the command's name.
M.GLOBAL_OPTIONS = { state = true, site = true, trace = true, help = true }

-- What is run and not shown.
local HIDDEN = { __complete = "moonport.cli.complete" }

--- Loads a command.
-- @tparam string name
-- @treturn table|nil the command; nil when there is none of that name
function M.command(name)
  if HIDDEN[name] then return require(HIDDEN[name]) end
  for _, known in ipairs(M.COMMANDS) do
    if known == name then return require("moonport.cli." .. name) end
  end
end

local function usage(message, hint)
  errors.raise { kind = "cli", code = "usage", message = message, hint = hint, where = "" }
end

local function show_help(path, parser, example)
  return function()
    local help = require "moonport.cli.help"
    require("moonport.ui").print(help.command(path, parser, example, M.GLOBAL_OPTIONS))
    os.exit(0)
  end
end

local function add_global_options(path, parser, example)
  local show = show_help(path, parser, example)
  parser:option("--state", "Directory of the state store; else $MOONPORT_STATE."):argname("DIR")
  parser:option("--site", "Directory of the site's recipes, hooks and defaults; else "
    .. "$MOONPORT_SITE."):argname("DIR")
  parser:flag("--trace", "On an error, print the Lua traceback too.")
  parser:flag("-h --help", "Show this help."):action(show)
end

--- Makes the parser of a command.
-- @tparam string name
-- @tparam table command
-- @treturn Parser of lua-argparse
function M.parser(name, command)
  local argparse = require "argparse"
  local path = "moonport " .. name
  local parser = argparse(path, command.description or command.summary .. "."):add_help(false)
  command.configure(parser)
  add_global_options(path, parser, command.example)
  for _, sub in ipairs(parser._commands) do
    sub:add_help(false)
    local example = sub._epilog or command.example
    add_global_options(path .. " " .. sub._name, sub, example)
  end
  return parser
end

-- The command or its subcommand that the words are about.
local function subject(name, parser, words)
  for _, sub in ipairs(parser._commands) do
    for _, word in ipairs(words) do
      if word == sub._name then return name .. " " .. word, sub end
    end
  end
  return name, parser
end

local function usage_hint(path, parser)
  local call = require("moonport.cli.help").usage("moonport " .. path, parser)
  return ("usage: %s; `moonport %s --help` tells more"):format(call, path)
end

-- Says in our way what lua-argparse did not understand.
local function refuse(name, command, parser, words, text)
  local tip = text:match("Did you mean ([^\n]*)%?")
  local message = text:match("^[^\n]*"):gsub("'([^']*)'", "`%1`")
  local path, of = subject(name, parser, words)
  local missing = message:match("^missing argument `(.-)`$")
  for _, argument in ipairs(missing and of._arguments or {}) do
    if argument._name == missing then
      local shown = require("moonport.cli.help").argument(argument):gsub("%.%.%.$", "")
      local article = shown:find "^[AEIOU]" and "an" or "a"
      message = ("`moonport %s` wants %s %s"):format(path, article, shown)
    end
  end
  local names = {}
  for index, sub in ipairs(of._commands) do names[index] = sub._name end
  if message == "a command is required" then
    message = ("`moonport %s` wants one of: `%s`"):format(path, table.concat(names, "`, `"))
  elseif message == "too many arguments" then
    message = ("`moonport %s` does not take that many arguments"):format(path)
  end
  local advice = command.advice and command.advice(message, words)
  -- Of a single letter, everything is near.
  if tip and not advice and not tip:find("^one of") then
    advice = ("did you mean %s?"):format((tip:gsub("'", "`")))
  end
  usage(message, advice or usage_hint(path, of))
end

local function parse(name, command, words)
  local parser = M.parser(name, command)
  local ok, args = parser:pparse(words)
  if not ok then refuse(name, command, parser, words, args) end
  return args
end

local function print_help()
  local help = require "moonport.cli.help"
  require("moonport.ui").print(help.program(M.GROUPS, function(name)
    return M.command(name).summary
  end))
end

local function print_version()
  require("moonport.ui").print("moonport " .. require "moonport.version")
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

local function no_such_command(name)
  local nearest = require "moonport.nearest"
  if name:find("^%-") then
    local known = { "--state", "--site", "--trace", "--help", "--version" }
    local near = nearest.find(name, known)
    usage(("there is no option `%s`"):format(name),
      near and ("did you mean `%s`?"):format(near) or "`moonport --help` lists what there is")
  end
  local near = nearest.find(name, M.COMMANDS)
  usage(("there is no command `%s`"):format(name),
    near and ("did you mean `%s`?"):format(near) or "`moonport --help` lists the commands")
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
  elseif name == "--version" or name == "-V" or name == "version" then
    print_version()
    return 0
  elseif name == "help" then
    name, rest = rest[1], { "--help" }
  end
  local command = M.command(name)
  if not command then no_such_command(name) end
  -- At the prompt `require` finds the modules of the directory one works in, as a script does.
  if name ~= "repl" then require("moonport.loader").leave_working_directory() end
  local args = command.raw and rest or parse(name, command, rest)
  args.state, args.site = args.state or options.state, args.site or options.site
  return command.run(args, name) or 0
end

return M
