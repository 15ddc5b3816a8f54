--- Running programs in a guest, over the agent's channel.
-- @module moonport.hypervisor.agent.exec

local attach = require "moonport.attach"
local channels = require "moonport.hypervisor.agent.channel"
local clock = require "moonport.clock"
local core = require "moonport.core.agent"
local errors = require "moonport.errors"
local json = require "moonport.json"
local shim = require "moonport.shim"
local streams = require "moonport.streams"
local task = require "moonport.task"

local M = {}

local CALL = "agent:exec"
local WINDOW = 32768 -- bytes of input that may be under way
local STDOUT, STDERR = 1, 2
local TAIL = 4096

local KNOWN = {
  check = true, cwd = true, env = true, input = true, limit = true, stderr = true, stdin = true,
  stdout = true, timeout = true, truncate = true, tty = true, user = true,
}

local function invalid(format, ...)
  errors.raise {
    kind = "argument", code = "invalid", message = CALL .. ": " .. format:format(...),
  }
end

-- The argv and the named options apart.
local function split(options)
  if type(options) ~= "table" then invalid("the command is a table, got a %s", type(options)) end
  local argv, named = {}, {}
  for index, word in ipairs(options) do
    if type(word) ~= "string" and type(word) ~= "number" then
      invalid("argument %d is a %s, not a string", index - 1, type(word))
    end
    argv[index] = tostring(word)
  end
  if #argv == 0 then invalid('it wants the program and its arguments: {"ls", "-l"}') end
  for name, value in pairs(options) do
    if not (math.type(name) == "integer" and argv[name]) then
      if not KNOWN[name] then invalid("there is no option `%s`", tostring(name)) end
      named[name] = value
    end
  end
  return argv, named
end

local Session = {}
Session.__index = Session

local function write(self, text)
  self.writing = true -- and stays so where it is cancelled half-way
  self.connection:write(text)
  self.writing = false
end

-- The next line; the guest's death and the agent's are an end of the connection.
local function read_line(self)
  local line = self.connection:read_line()
  -- A greeting is that of another agent: the guest was reset.
  if not line or line:find "^moonport%-shim " then
    self.agent:close()
    channels.fail(self.agent.options, "lost",
      ("the guest went away while `%s` ran: how it ended is unknown"):format(self.argv[1]))
  end
  return line
end

local function start(self, named, has_input)
  local words = { "exec" }
  if named.tty then
    local size = type(named.tty) == "table" and named.tty or attach.size()
    words[2] = ("rows=%d columns=%d"):format(size.rows or 24, size.columns or 80)
  elseif has_input then
    words[2] = "input=1"
  end
  local spec = shim.encode { argv = self.argv, env = named.env, cwd = named.cwd, user = named.user }
  write(self, table.concat(words, " ") .. "\n" .. core.lines("spec", spec) .. "run\n")
  local line = read_line(self)
  if line:find "^ok " then return end
  local code, message = line:match "^error (%S+) ?(.*)$"
  local kind = code and code:find "^E[A-Z]" and "process" or "agent"
  errors.raise {
    kind = kind, code = code or "protocol",
    message = message or ("the agent answered `%s`"):format(line),
  }
end

-- Reads until there is output, or the end.
function Session:next()
  while not self.result do
    local line = read_line(self)
    local word = line:match "^%a+"
    if word == "out" then return STDOUT, core.bytes(line, 5) end
    if word == "err" then return STDERR, core.bytes(line, 5) end
    if word == "took" then
      self.room = self.room + tonumber(line:match "%d+")
      self.more:set()
    elseif word == "end" then
      self.result = json.decode(line:sub(5))
      self.more:set()
    elseif word == "error" then
      errors.raise { kind = "agent", code = line:match "^error (%S+)", message = line }
    end
  end
end

-- As a process with a terminal.
function Session:read()
  local _, bytes = self:next()
  return bytes
end

-- Never more than the agent holds, so that it always hears us. Also a secret goes in parts.
function Session:write(bytes)
  local at = 1
  while not self.result do
    while self.room == 0 and not self.result do
      self.more:clear()
      self.more:wait()
    end
    local lines, taken = core.lines("in", bytes, at, self.room)
    if taken == 0 or self.result then return end
    self.room, at = self.room - taken, at + taken
    write(self, lines)
  end
end

function Session:finish()
  write(self, "eof\n")
end

function Session:resize(rows, columns)
  write(self, ("window %d %d\n"):format(rows, columns))
end

local function is_over(err)
  return errors.is(err, "net")
end

-- The operator's terminal is passed on where both ends of it are meant.
local function is_for_operator(named)
  return named.tty and named.stdin == "inherit" and named.stdout == "inherit"
end

local function pass(self, named, source)
  if is_for_operator(named) then
    attach.run(self)
    return {}
  end
  return streams.run(self, source, named, CALL, is_over)
end

local function last_line(text)
  return text and text:match "([^\n]*%S[^\n]*)%s*$"
end

local function tail_of(text)
  return text and text:sub(-TAIL)
end

local function check(argv, result)
  if result.code == 0 then return end
  local said = last_line(result.stderr)
  local how = result.signal and "was killed by " .. result.signal
    or ("exited with code %d"):format(result.code)
  errors.raise {
    kind = "process", code = result.signal and "signal" or "exit",
    message = ("`%s` %s in the guest%s"):format(argv[1], how, said and ": " .. said or ""),
    exit_code = result.code, signal = result.signal,
    stdout = tail_of(result.stdout), stderr = tail_of(result.stderr),
  }
end

local function run(agent, argv, named)
  local began = clock.monotonic()
  local source = not is_for_operator(named) and streams.source(named, CALL) or nil
  local session = setmetatable({
    agent = agent, connection = agent:open(), argv = argv, room = WINDOW, more = task.event(),
  }, Session)
  -- Whatever goes wrong in the middle: the end of the connection hangs the command up. Nor is a
  -- connection good for a next request where half of some input was sent.
  local _ <close> = setmetatable({}, { __close = function()
    if not session.result or session.writing then agent:close() end
  end })
  local ok, why = pcall(start, session, named, source ~= nil)
  if not ok then
    -- An answer, after which the agent is ready for the next request.
    if errors.is(why, "process") or errors.is(why, "agent") then session.result = {} end
    error(why, 0)
  end
  local result = pass(session, named, source)
  result.code = session.result.code ~= json.null and session.result.code or nil
  local signal = session.result.signal
  result.signal = signal ~= json.null and signal and "SIG" .. signal or nil
  result.duration = clock.monotonic() - began
  return result
end

--- See @{moonport.hypervisor.agent}.
function M.run(agent, options)
  local argv, named = split(options)
  local result
  if named.timeout then
    result = task.timeout(named.timeout, run, agent, argv, named)
  else
    result = run(agent, argv, named)
  end
  if named.check ~= false and not is_for_operator(named) then check(argv, result) end
  return result
end

return M
