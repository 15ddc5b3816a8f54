-- Where a program's input comes from and where its outputs go.
--
-- Files and our own standard streams are read and written by a child process (cat), since a read or
-- write of ours could hold everything else up.

local core = require "moonport.core.terminal"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local options_of = require "moonport.kube.options"
local process = require "moonport.process"
local secret = require "moonport.secret"

local M = {}

local LIMIT = 16 * 1024 * 1024
local STDIN_FD = 0

local function nothing() end

local function bad(name, value, words)
  options_of.bad("cluster:exec: `%s` is %s, got %s", name, words,
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

-- The source of its input, {must_end, next(), close()}; nil for none.
function M.source(options)
  local input, stdin = options.input, options.stdin
  if input ~= nil then
    if stdin ~= nil then options_of.bad("cluster:exec: `input` and `stdin` exclude each other") end
    if type(input) == "function" then return from_function(input) end
    if type(input) ~= "string" and not secret.is(input) then
      bad("input", input, "a string, a secret or a function")
    end
    return from_value(input)
  end
  if stdin == nil or stdin == "null" then return nil end
  if stdin == "inherit" then return from_ours() end
  if type(stdin) == "function" then return from_function(stdin) end
  if is_file(stdin) then return from_child(stdin) end
  bad("stdin", stdin, '"inherit", "null", {file = PATH} or a function')
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

-- The sink of an output, {write(bytes), finish(), close(), text() where it was captured}.
function M.sink(name, options)
  local spec = options[name]
  if spec == nil or spec == "capture" then return to_memory(name, options) end
  if spec == "null" then return to_function(nothing) end
  if type(spec) == "function" then return to_function(spec) end
  if spec == "inherit" then
    return name == "stderr" and to_our_stderr() or to_child "inherit"
  end
  if is_file(spec) then return to_child(spec) end
  bad(name, spec, '"capture", "inherit", "null", {file = PATH} or a function')
end

return M
