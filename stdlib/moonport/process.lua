--- Programs: run to the end, or talked to while they run.
--
--     local out = process.run { "git", "rev-parse", "HEAD", cwd = "/srv/app" }.stdout
--
--     local p <close> = process.spawn { "tcpdump", "-l", "-i", "tap0" }
--     for line in p:lines() do print(line) end
--
-- A program gets its arguments as they are: there is no shell, and nothing in them becomes code. It
-- runs in a session of its own and is signalled with its whole process group; when moonport ends,
-- however it ends, the kernel kills it (unless `detached`). Being stopped means SIGTERM, then a
-- grace, then SIGKILL.
--
-- A program has ended when it has exited and its outputs are closed. A descendant that keeps them
-- open (a daemon) delays the end by `drain` seconds; what was written by then is all that is read.
--
-- Both calls take these options:
--
-- * `env`: variables to set (a string, number or secret) or take away (`false`); `clean_env=true`:
--   these are all, else they come on top of moonport's own
-- * `cwd`; `netns`: the name or path of a network namespace
-- * `user` and `group`: names or ids; the supplementary groups are the user's, while `HOME` and
--   `USER` are what `env` makes them
-- * `cgroup`: as `cgroup.create` gives it, entered before the program starts
-- * `rlimits`: `as core cpu data fsize memlock nofile nproc stack`, as for setrlimit(2)
-- * `stdin`, `stdout`, `stderr`: `"inherit"`, `"null"` or `{file=PATH, append=BOOL, mode=MODE}` (a
--   new file gets mode 0600 else); `stderr="stdout"` sends both the same way
-- * `pty=true` or `{rows=, columns=}`: a terminal in place of the three
-- * `foreground=true`: it uses moonport's terminal (an editor, `sudo`)
-- * `grace`: seconds between SIGTERM and SIGKILL (5); `drain`: see above (1)
-- @module moonport.process

local core = require "moonport.core.process"
local errors = require "moonport.errors"
local sys = require "moonport.core.sys"

local M = {}

local TAIL = 4096

local function tail_of(text)
  if not text or #text <= TAIL then return text end
  local tail = text:sub(-TAIL)
  return tail:match("\n(.*)") or tail
end

local function last_line(text)
  return text and text:match("([^\n]*%S[^\n]*)%s*$")
end

local function how_it_ended(result)
  if result.signal then return "was killed by " .. result.signal end
  return ("exited with code %d"):format(result.code)
end

-- The error for a program that did not end well; `argv[1]` alone is named, since arguments may be
-- long and stderr says more.
local function failure(options, result)
  local said = last_line(result.stderr)
  return errors.new {
    kind = "process",
    code = result.signal and "signal" or "exit",
    message = ("`%s` %s%s"):format(options[1], how_it_ended(result), said and ": " .. said or ""),
    exit_code = result.code,
    signal = result.signal,
    stdout = tail_of(result.stdout),
    stderr = tail_of(result.stderr),
  }
end

--- Runs a program to its end and captures its outputs.
-- @tparam table options the program and its arguments as a list, with the options above and:
-- `input`: a string or secret for its standard input (which is else `"null"`); `timeout` in
-- seconds; `limit`: bytes of each output (16 MiB), beyond which it is stopped, or with
-- `truncate=true` the rest is dropped; `check=false`: an exit code other than 0 is no error.
-- `stdout` and `stderr` are `"capture"` unless told. `purpose="credential"` says that it gives a
-- credential and changes nothing: it runs in a plan, too.
-- @treturn table `code` or `signal` ("SIGKILL"), `stdout`, `stderr`, `truncated`, `duration` and
-- `cpu` in seconds
-- @raise {kind="process"}: "exit" and "signal" (with `exit_code` or `signal`, and the ends of
-- `stdout` and `stderr`), "timeout" and "limit" (with what it had written), or why it could not
-- start: "ENOENT", "EACCES", ...
function M.run(options)
  local result = core.run(options)
  if result.code ~= 0 and options.check ~= false then error(failure(options, result), 0) end
  return result
end

--- Starts a program to talk to.
-- @tparam table options as above; `stdin` and `stdout` are `"pipe"` and `stderr` is `"inherit"`
-- unless told; `detached=true`: it outlives moonport, and all three are `"null"` unless told
-- @treturn Process leaving the scope of `local p <close> =` stops it
-- @raise {kind="process"}: why it could not start
-- @function spawn
M.spawn = core.spawn

--- Finds the file that would be run.
-- @function which
-- @tparam string name
-- @tparam[opt] string path directories, as in `$PATH`, which is the default
-- @treturn string nil when there is none
M.which = core.which

--- Signals a process that moonport may not have started, by its identity: never one that has
-- merely got the same pid since.
-- @function signal
-- @tparam table identity as `sys.identity` gives it
-- @tparam string|integer signal "SIGTERM", "TERM" or 15
-- @treturn boolean false when it has gone
-- @raise {kind="process", code="EPERM"}
M.signal = sys.signal

--- A running program. `pid` is its pid; `stdin`, `stdout` and `stderr` are streams, or nil where
-- they are no pipes; `exited` is nil while it runs, then as `wait` returns it. The methods to read
-- and write are those of `stdout` and `stdin`.
-- @type Process

--- Reads what is there from its output.
-- @function Process:read
-- @tparam[opt=65536] integer max bytes
-- @treturn string nil at the end

--- Reads a line of its output.
-- @function Process:read_line
-- @tparam[opt=1048576] integer limit a longer line raises
-- @treturn string nil at the end

--- Reads the rest of its output.
-- @function Process:read_all
-- @tparam[opt=16777216] integer limit
-- @treturn string

--- Goes through the lines of its output.
-- @function Process:lines
-- @tparam[opt=1048576] integer limit a longer line raises
-- @treturn function

--- Writes to its input.
-- @function Process:write
-- @tparam string|secret bytes
-- @treturn Stream

--- Ends its input; on a terminal by the end-of-file character.
-- @function Process:close_stdin

--- Waits until it has ended. Of an output that nobody reads the first MiB is kept and the rest
-- thrown away, so that it does not block.
-- @function Process:wait
-- @treturn table `code` or `signal`, `duration`, `cpu`

--- Stops it and its whole group, and waits for the end.
-- @function Process:stop
-- @tparam[opt] number grace seconds until SIGKILL
-- @treturn table as `wait` returns it

--- Signals its process group.
-- @function Process:kill
-- @tparam[opt="SIGTERM"] string|integer signal
-- @treturn boolean false when it has ended

--- Changes the size of its terminal.
-- @function Process:resize
-- @tparam integer rows
-- @tparam integer columns

--- Tells who it is, to be stored.
-- @function Process:identity
-- @treturn table

--- Kills it at once, unless it is detached.
-- @function Process:close

return M
