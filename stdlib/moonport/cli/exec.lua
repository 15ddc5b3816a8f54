local env = require "moonport.cli.env"
local errors = require "moonport.errors"

local M = {
  summary = "Run a command where a service runs",
  description = "Runs a command where and as whom a service runs, with its environment and within "
    .. "its limits. When both input and output are a terminal, the command gets one of its own, "
    .. "and every key goes to it. Exits with the command's status; with 128 and its number when a "
    .. "signal ended it, 127 when there is no such command, and 126 when it cannot be run.",
  example = "moonport exec squaring -- env\nmoonport exec squaring -- sh\n"
    .. "echo hi | moonport exec squaring -- sh -c 'cat >note'",
}

local ENDED_BY_SIGNAL = 128
local NO_COMMAND, CANNOT_RUN = 127, 126
local NUMBERS = {
  SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7,
  SIGFPE = 8, SIGKILL = 9, SIGUSR1 = 10, SIGSEGV = 11, SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14,
  SIGTERM = 15,
}

local function variable_of(text)
  local name, value = text:match("^([^=]+)=(.*)$")
  if name then return { name, value } end
  return nil, ("`%s` is no assignment; write NAME=VALUE"):format(text)
end

local function configure(parser)
  parser:argument("name", "Name of the service.")
  parser:argument("command", "The command and its arguments, after `--`."):args("+")
  parser:option("-e --env", "Sets a variable of its environment."):argname("NAME=VALUE")
    :count("*"):convert(variable_of)
  parser:flag("-t --tty", "Give it a terminal; refuse where there is none.")
  parser:flag("-T --no-tty", "Give it no terminal, also where there is one.")
  parser:flag("-i --interactive", "For those used to it: input always goes to the command.")
    :hidden(true)
end

--- The options of a command need `--` in front of it.
function M.advice(message, words)
  for _, word in ipairs(words) do
    if word == "--" then return nil end
  end
  if message:find("unknown option", 1, true) then
    return "put `--` before the command: moonport exec NAME -- COMMAND..."
  end
end

local function wants_terminal(args)
  local ui = require "moonport.ui"
  local there = ui.is_terminal("stdin") and ui.is_terminal("stdout")
  if args.tty and not there then
    errors.raise {
      kind = "cli", code = "usage", message = "there is no terminal to give to the command",
      hint = "leave out --tty", where = "",
    }
  end
  return there and not args.no_tty
end

local function call_of(args)
  local call = table.move(args.command, 1, #args.command, 1, { env = {} })
  call.tty = wants_terminal(args)
  if call.tty then call.env.TERM = os.getenv("TERM") end
  for _, pair in ipairs(args.env) do call.env[pair[1]] = pair[2] end
  return call
end

-- As a shell tells them apart.
local function with_status(err)
  if errors.is(err, "process", "ENOENT") then
    err.exit = NO_COMMAND
  elseif errors.is(err, "process", "EACCES") then
    err.exit = CANNOT_RUN
  end
  return err
end

local function run(args)
  require("moonport.cli").quiet_interrupt = true
  local opened <close> = env.open(args, { read_only = true })
  local service = env.service(opened, args.name)
  local result, err = try(service.exec, service, call_of(args))
  if err then error(with_status(err), 0) end
  if result.code then return result.code end
  require("moonport.ui").note(("`%s` was ended by %s"):format(args.command[1], result.signal))
  return ENDED_BY_SIGNAL + (NUMBERS[result.signal] or 0)
end

M.configure, M.run = configure, run

return M
