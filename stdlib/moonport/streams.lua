--- Where the input of a program elsewhere (in a pod, in a guest) comes from, and where its outputs
-- go: what the options `input`, `stdin`, `stdout`, `stderr`, `limit` and `truncate` of
-- @{moonport.process.run} say.
--
-- Files and our own standard streams are read and written by a child process (cat), since a read or
-- write of ours could hold everything else up.
-- @module moonport.streams

local core = require "moonport.core.terminal"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local process = require "moonport.process"
local secret = require "moonport.secret"
local task = require "moonport.task"

local M = {}

local LIMIT = 16 * 1024 * 1024
local STDIN_FD = 0
local STDOUT, STDERR = 1, 2

local function nothing() end

local function invalid(call, format, ...)
  errors.raise {
    kind = "argument", code = "invalid", message = call .. ": " .. format:format(...),
  }
end

local function bad(call, name, value, words)
  invalid(call, "`%s` is %s, got %s", name, words,
    type(value) == "string" and "`" .. value .. "`" or "a " .. type(value))
end

local function is_file(value)
  return type(value) == "table" and type(value.file) == "string"
end

-- Input.

local function from_child(spec)
  local child = process.spawn { "cat", stdin = spec, stdout = "pipe" }
  return {
    must_end = true,
    next = function() return child:read() end,
    close = function() child:close() end,
  }
end

local function from_value(value)
  local given = false
  return {
    must_end = true, close = nothing,
    next = function()
      if given then return nil end
      given = true
      return value
    end,
  }
end

local function from_function(produce)
  return { must_end = true, close = nothing, next = produce }
end

-- What our own input is worth: nobody types for a command without a terminal.
local function from_ours()
  if core.is_terminal(STDIN_FD) then return nil end
  if try(fs.readlink, "/proc/self/fd/0") == "/dev/null" then return nil end
  return from_child "inherit"
end

--- The source of its input.
-- @tparam table options
-- @tparam string call for errors, such as "cluster:exec"
-- @treturn table|nil {must_end, next(), close()}; nil for none
function M.source(options, call)
  local input, stdin = options.input, options.stdin
  if input ~= nil then
    if stdin ~= nil then invalid(call, "`input` and `stdin` exclude each other") end
    if type(input) == "function" then return from_function(input) end
    if type(input) ~= "string" and not secret.is(input) then
      bad(call, "input", input, "a string, a secret or a function")
    end
    return from_value(input)
  end
  if stdin == nil or stdin == "null" then return nil end
  if stdin == "inherit" then return from_ours() end
  if type(stdin) == "function" then return from_function(stdin) end
  if is_file(stdin) then return from_child(stdin) end
  bad(call, "stdin", stdin, '"inherit", "null", {file = PATH} or a function')
end

-- Output.

local function to_child(spec)
  local child = process.spawn { "cat", stdin = "pipe", stdout = spec, stderr = "inherit" }
  return {
    write = function(bytes) child:write(bytes) end,
    finish = function()
      child:close_stdin()
      child:wait()
    end,
    close = function() child:close() end,
  }
end

local function raise_limit(name, limit)
  errors.raise {
    kind = "process", code = "limit",
    message = ("%s is longer than %d bytes"):format(name, limit),
    hint = "raise `limit`, cut it off with `truncate = true`, or give a function that takes it",
  }
end

local function to_memory(name, options)
  local pieces, size, limit = {}, 0, options.limit or LIMIT
  local sink = { finish = nothing, close = nothing }
  function sink.write(bytes)
    if size + #bytes > limit then
      if not options.truncate then raise_limit(name, limit) end
      sink.truncated = true
      bytes = bytes:sub(1, limit - size)
    end
    size = size + #bytes
    pieces[#pieces + 1] = bytes
  end
  function sink.text() return table.concat(pieces) end
  return sink
end

local function to_function(take)
  return { write = take, finish = nothing, close = nothing }
end

-- Little is written there; it is what the operator waits for.
local function to_our_stderr()
  return to_function(function(bytes) io.stderr:write(bytes) end)
end

local function sink(name, options, call)
  local spec = options[name]
  if spec == nil or spec == "capture" then return to_memory(name, options) end
  if spec == "null" then return to_function(nothing) end
  if type(spec) == "function" then return to_function(spec) end
  if spec == "inherit" then
    return name == "stderr" and to_our_stderr() or to_child "inherit"
  end
  if is_file(spec) then return to_child(spec) end
  bad(call, name, spec, '"capture", "inherit", "null", {file = PATH} or a function')
end

local function sinks_of(options, call)
  local out = sink("stdout", options, call)
  if options.stderr == "stdout" or options.tty then return { out, out } end
  return { out, sink("stderr", options, call) }
end

local function feed(session, source)
  for bytes in source.next do session:write(bytes) end
  session:finish()
end

-- The program may end, and its connection with it, before it has read everything; then it is how it
-- ended that counts.
local function feed_until_it_ends(session, source, is_over)
  local ok, err = pcall(feed, session, source)
  if not ok and not is_over(err) then error(err, 0) end
end

local function pump(session, sinks)
  for channel, bytes in function() return session:next() end do
    sinks[channel].write(bytes)
  end
end

local function closing(thing)
  return setmetatable({}, { __close = function() thing.close() end })
end

--- Passes the input and the outputs of a program on until it has ended: the input in a task of its
-- own, so that neither direction waits for the other.
-- @tparam table session `next()` gives 1 (stdout) or 2 (stderr) and bytes, nil at the end;
--   `write(bytes)` and `finish()` are for its input
-- @tparam ?table source as `source` gives it
-- @tparam table options
-- @tparam string call for errors
-- @tparam function is_over of an error of `write` or `finish`: the program has ended
-- @treturn table `stdout` and `stderr` where they were captured, `truncated`
function M.run(session, source, options, call, is_over)
  local sinks = sinks_of(options, call)
  local out, err = sinks[STDOUT], sinks[STDERR]
  local _ <close> = closing(out)
  local _ <close> = closing(err)
  local _ <close> = source and closing(source)
  task.scope(function()
    local feeder = source and task.spawn(feed_until_it_ends, session, source, is_over)
    pump(session, sinks)
    if feeder then feeder:cancel("the command has ended") end
  end)
  out.finish()
  if err ~= out then err.finish() end
  return {
    stdout = out.text and out.text(),
    stderr = err ~= out and err.text and err.text() or nil,
    truncated = out.truncated or err.truncated or nil,
  }
end

return M
