--- Running programs in pods.
--
--     print(cluster:exec("web-1", { "nginx", "-T" }).stdout)
--     cluster:exec("db-0", {
--       "pg_restore", "-d", "shop", container = "postgres",
--       stdin = { file = "shop.dump" }, stdout = "inherit", stderr = "inherit",
--     })
-- @submodule moonport.kube

local attach = require "moonport.attach"
local clock = require "moonport.core.clock"
local errors = require "moonport.errors"
local options_of = require "moonport.kube.options"
local secret = require "moonport.secret"
local sessions = require "moonport.kube.exec.session"
local streams = require "moonport.streams"
local task = require "moonport.task"

local M = {}

local TAIL = 4096 -- bytes of an output in an error

local KNOWN = {
  check = "boolean", container = "name", env = "any", input = "any", limit = "count",
  stderr = "any", stdin = "any", stdin_ends = "boolean", stdout = "any", truncate = "boolean",
  tty = "any",
}

-- What is to be run.

-- The API takes a command and no environment, so that env(1) sets it.
local function with_env(command, env)
  local names = {}
  for name, value in pairs(env or {}) do
    -- A dash would make it an option of env(1).
    if type(name) ~= "string" or name == "" or name:find("[=\0]") or name:sub(1, 1) == "-" then
      options_of.bad("cluster:exec: `env` has the names of variables as its keys")
    end
    if secret.is(value) then
      errors.raise {
        kind = "secret", code = "refused",
        message = ("cluster:exec: the variable `%s` is a secret"):format(name),
        hint = "commands are written to the API server's audit log: pass it by `input`",
      }
    end
    names[#names + 1] = name
  end
  if #names == 0 then return command end
  if command[1]:find("=", 1, true) then
    options_of.bad("cluster:exec: with `env`, the program's name cannot hold a `=`")
  end
  table.sort(names)
  local whole = { "env" }
  for _, name in ipairs(names) do
    local value = env[name]
    if value == false then
      table.insert(whole, 2, "-u")
      table.insert(whole, 3, name)
    else
      whole[#whole + 1] = name .. "=" .. tostring(value)
    end
  end
  return table.move(command, 1, #command, #whole + 1, whole)
end

local function split(options)
  if type(options) ~= "table" then
    options_of.bad("cluster:exec: the command is a table, got a %s", type(options))
  end
  local command, named = {}, {}
  for index, word in ipairs(options) do
    if type(word) ~= "string" and type(word) ~= "number" then
      options_of.bad("cluster:exec: argument %d is a %s, not a string", index - 1, type(word))
    end
    command[index] = tostring(word)
  end
  if #command == 0 then
    options_of.bad('cluster:exec wants the program and its arguments: {"ls", "-l"}')
  end
  for name, value in pairs(options) do
    if math.type(name) ~= "integer" or not command[name] then named[name] = value end
  end
  options_of.check("cluster:exec", named, KNOWN)
  return command, named
end

local function size_of(tty)
  if type(tty) == "table" then return { rows = tty.rows or 24, columns = tty.columns or 80 } end
  return attach.size()
end

-- The operator's terminal is passed on where both ends of it are meant.
local function is_for_operator(options)
  return options.tty and options.stdin == "inherit" and options.stdout == "inherit"
end

-- Running it.

-- Its connection has ended, as that of a program does that has.
local function is_over(err)
  return errors.is(err, "websocket", "closed") or errors.is(err, "http")
end

local function tail_of(text)
  return text and text:sub(-TAIL)
end

local function last_line(text)
  return text and text:match("([^\n]*%S[^\n]*)%s*$")
end

local function raise_failure(target, result)
  local said = last_line(result.stderr)
  errors.raise {
    kind = "process", code = "exit", exit_code = result.code,
    message = ("`%s` in pod `%s` exited with code %d%s"):format(target.command[1], target.pod,
      result.code, said and ": " .. said or ""),
    stdout = tail_of(result.stdout), stderr = tail_of(result.stderr),
  }
end

local function run(cluster, target, options)
  local began = clock.monotonic()
  local for_operator = is_for_operator(options)
  local source
  if not for_operator then source = streams.source(options, "cluster:exec") end
  target.stdin = for_operator or source ~= nil
  target.must_end = source and source.must_end and not options.tty and options.stdin_ends ~= false
  local session <close> = sessions.open(cluster, target)
  if options.tty then
    local size = size_of(options.tty)
    session:resize(size.rows, size.columns)
  end
  if for_operator then
    attach.run(session)
    return { code = session:result(), duration = clock.monotonic() - began }
  end
  local result = streams.run(session, source, options, "cluster:exec", is_over)
  result.code, result.duration = session:result(), clock.monotonic() - began
  return result
end

-- A container without env(1) still gets a terminal, if not the name of its kind.
local function run_with_env(cluster, target, command, options)
  target.command = with_env(command, options.env)
  local result, err = try(run, cluster, target, options)
  if result then return result end
  local wrapped = target.command ~= command
  if not wrapped or not errors.is(err, "process", "ENOENT") then error(err, 0) end
  if next(options.env, next(options.env)) ~= nil or not options.env.TERM then
    if err.message:find("`env`", 1, true) then
      err.hint = "variables are set by `env`, which its image does not have"
    end
    error(err, 0)
  end
  target.command = command
  return run(cluster, target, options)
end

--- Runs a program in a container of a pod, to its end. Whatever it writes comes unharmed, however
-- much it is; a slow reader holds it up. It may run as long as it likes; a network that is gone is
-- noticed within a minute, a server that is there and does not answer within two. A cancel ends the
-- connection: Kubernetes then hangs up the program's terminal, and leaves one without a terminal
-- running.
--
-- Nodes with containerd before 2.0 do two things to a program's input that no client can change or
-- notice (`kubectl exec` has them too). It ends as soon as the program has closed its stdout or
-- stderr, as the shell's last command does that writes to a file: keep the shell, by
-- `{ "sh", "-c", "cat >file; exit $?" }`, and compare a digest where it matters. And a program that
-- ends with more than some 100 KiB of its input unread is never said to have ended: give a
-- `timeout`.
-- @function Cluster:exec
-- @tparam string pod
-- @tparam table command the program and its arguments as a list; and of the options of
--   @{moonport.process.run}: `stdin` (`"null"`, `"inherit"`, `{file = PATH}`, or a function that
--   gives the next bytes, and nil at the end), `input` (a string, a secret or such a function),
--   `stdout` and `stderr` (`"capture"`, `"inherit"`, `"null"`, `{file = PATH}` or a function that
--   takes the bytes; `stderr = "stdout"`), `limit`, `truncate`, `timeout`, `check = false`, `env`
--   (set by the image's own `env`). `container` (the pod's only or default one); `namespace`;
--   `tty`: a terminal, true or `{rows=, columns=}`, to which that of the operator is passed on when
--   `stdin` and `stdout` are `"inherit"`; `stdin_ends = false`: it knows by itself how much it
--   reads, so that a server will do that cannot end its input (before Kubernetes 1.30)
-- @treturn table `code` (128 and the signal's number where a signal ended it), `stdout`, `stderr`,
--   `truncated`, `duration`
-- @raise {kind="process"}: "exit" (with `exit_code`, `stdout`, `stderr`) unless `check = false`,
--   "ENOENT" and "EACCES" where there is no such program, "limit"; {kind="kube"}:
--   `"stdin_cannot_end"` before anything runs, "lost" when nobody can tell how it ended
--   (`exit = "unknown"`), "not_found" and what else the server says
function M.exec(self, pod, command)
  local words, options = split(command)
  options_of.check_name("cluster:exec", "the pod", pod)
  local target = {
    pod = pod, container = options.container, namespace = options.namespace or self.namespace,
    stdout = true, stderr = not options.tty, tty = options.tty and true or nil,
  }
  local result
  if options.timeout then
    result = task.timeout(options.timeout, run_with_env, self, target, words, options)
  else
    result = run_with_env(self, target, words, options)
  end
  if result.code ~= 0 and options.check ~= false and not is_for_operator(options) then
    raise_failure(target, result)
  end
  return result
end

return M
