--- Services under their supervisor, moonport-shim.
--
-- A shim owns one service after moonport has gone. It keeps a record, `state.json`, in the
-- service's directory, and takes commands on a Unix socket. Its contract is told in docs/shim.md.
--
-- Reading (`state`) goes by the record and never by the socket, so that it also works while
-- nothing may be changed, and when the shim is gone.
-- @module moonport.shim

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local net = require "moonport.net"
local process = require "moonport.process"
local sys = require "moonport.sys"
local task = require "moonport.task"

local M = {}

-- A start is done once the program was executed; more than this is a hung file system.
local START_SECONDS = 60

local function fail(code, message, hint, cause)
  errors.raise { kind = "shim", code = code, message = message, hint = hint, cause = cause }
end

-- From moonport's own place: as built, and as installed.
local PLACES = { "moonport-shim", "../libexec/moonport/moonport-shim" }

--- Where moonport-shim is.
-- @treturn string
-- @raise {kind="shim", code="not_found"}
function M.program()
  local beside = fs.dirname(fs.readlink("/proc/self/exe"))
  for _, place in ipairs(PLACES) do
    local path = fs.normalize(fs.join(beside, place))
    if fs.exists(path) then return path end
  end
  fail("not_found", ("moonport-shim is not where it belongs: `%s` or `%s`, seen from `%s`"):format(
    PLACES[1], PLACES[2], beside), "install moonport whole; the two belong together")
end

local function add(parts, key, value)
  if value == nil then return end
  parts[#parts + 1] = key .. "=" .. value .. "\0"
end

local function milliseconds(seconds)
  return seconds and ("%d"):format(math.floor(seconds * 1000 + 0.5))
end

local function number(value)
  return value and ("%d"):format(value)
end

local function add_list(parts, key, list)
  for _, value in ipairs(list or {}) do add(parts, key, value) end
end

local function add_environment(parts, env)
  local names = {}
  for name in pairs(env or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if env[name] == false then
      add(parts, "unset", name)
    else
      add(parts, "env", name .. "=" .. env[name])
    end
  end
end

local function add_restart(parts, restart)
  if not restart then return end
  add(parts, "restart", restart.policy)
  add(parts, "restart_max", restart.max and restart.max > 0 and number(restart.max) or nil)
  add(parts, "backoff_initial_ms", milliseconds(restart.backoff))
  add(parts, "backoff_max_ms", milliseconds(restart.backoff_max))
  add(parts, "backoff_reset_ms", milliseconds(restart.reset))
end

local function add_user(parts, user)
  if not user then return end
  add(parts, "uid", number(user.uid))
  add(parts, "gid", number(user.gid))
  for _, gid in ipairs(user.groups or {}) do add(parts, "group", number(gid)) end
end

-- Joins the parts; secrets among them make the whole a secret. By halves, since each joint copies.
local function join(parts, first, last)
  if first == last then return parts[first] end
  local middle = (first + last) // 2
  return join(parts, first, middle) .. join(parts, middle + 1, last)
end

--- Writes a spec as the shim reads it.
-- @tparam table spec `name`, `id`, `argv`, `exe`, `env` (values may be secrets; false takes one
--   away, of an agent's `exec`), `cwd`, `user`
--   ({uid, gid, groups}), `cgroups` ({path,...}), `restart`, `stop` ({signal, grace}), `log`
--   (`{max_size, max_files}`), `nofile`, `nice`, `oom_score_adj`, `no_new_privs`; `notify`: the
--   path of a socket to make, on which the service says that it is ready; `bounded_file`: the path
--   of a file that the service writes, of which only the end is kept; `output_pipes`: the directory
--   in which its outputs are to be pipes named `stdout` and `stderr`, which it can open by name
-- @treturn string|secret
function M.encode(spec)
  local parts = { "version=1\0" }
  add(parts, "name", spec.name)
  add(parts, "id", spec.id)
  add_list(parts, "arg", spec.argv)
  add(parts, "exe", spec.exe)
  add_environment(parts, spec.env)
  add(parts, "cwd", spec.cwd)
  add_user(parts, spec.user)
  add_list(parts, "cgroup", spec.cgroups)
  add_restart(parts, spec.restart)
  add(parts, "stop_signal", spec.stop and spec.stop.signal)
  add(parts, "stop_grace_ms", spec.stop and milliseconds(spec.stop.grace))
  add(parts, "log_max_size", spec.log and number(spec.log.max_size))
  add(parts, "log_max_files", spec.log and number(spec.log.max_files))
  add(parts, "nofile", number(spec.nofile))
  add(parts, "nice", number(spec.nice))
  add(parts, "oom_score_adj", number(spec.oom_score_adj))
  add(parts, "no_new_privs", spec.no_new_privs and "1" or nil)
  add(parts, "notify", spec.notify)
  add(parts, "bounded_file", spec.bounded_file)
  add(parts, "output_pipes", spec.output_pipes)
  parts[#parts + 1] = "end=1\0"
  return join(parts, 1, #parts)
end

--- Starts a shim, which starts the service. Returns once the program was executed.
-- @tparam table options `dir` (its directory, which exists), `socket` (path), `spec` (see
--   `encode`), `cgroups` (those that the shim itself enters)
-- @treturn integer the service's process id
-- @raise {kind="shim", code=errno name or "start"} with the operation that failed
function M.start(options)
  local call = {
    M.program(), "run", "--dir", options.dir, "--socket", options.socket,
    "--spec-fd", "0", "--ready-fd", "1",
    stdin = "pipe", stdout = "pipe", clean_env = true, detached = true,
  }
  for _, path in ipairs(options.cgroups or {}) do
    call[#call + 1] = "--cgroup"
    call[#call + 1] = path
  end
  local starter <close> = process.spawn(call)
  local answer, refused = task.timeout(START_SECONDS, function()
    -- One that refuses the spec does not read it to its end, and says why.
    local _, why = try(starter.write, starter, M.encode(options.spec))
    starter:close_stdin()
    local line = starter:read_line()
    starter:wait()
    return line or "", why
  end)
  local pid = answer:match("^ok (%d+)$")
  if pid then return tonumber(pid) end
  local code, message = answer:match("^error (%S+) (.*)$")
  if message then fail(code, message) end
  fail("start", "moonport-shim ended without saying why", nil, refused)
end

-- In the record null stands for what there is none of.
local function without_nulls(record)
  for key, value in pairs(record) do
    if value == json.null then
      record[key] = nil
    elseif type(value) == "table" then
      without_nulls(value)
    end
  end
  return record
end

--- Reads a service's record, as the shim here or the agent in a guest tells it.
-- @tparam string text JSON
-- @treturn table without what is null
function M.record(text)
  return without_nulls(json.decode(text))
end

--- Asks a shim and returns its answer.
-- @tparam string socket
-- @tparam string request such as `stop grace_ms=5000`
-- @tparam[opt=60] number seconds to wait for the answer
-- @treturn table the answer's JSON
-- @raise {kind="shim"} with the shim's code; {kind="net"} when none answers
function M.request(socket, request, seconds)
  local connection <close> = net.connect { unix = socket, timeout = 5 }
  local answer = task.timeout(seconds or 60, function()
    connection:read_line() -- the greeting
    connection:write(request .. "\n")
    return connection:read_line()
  end)
  if not answer then fail("closed", "the supervisor closed the connection without an answer") end
  local body = answer:match("^ok (.*)$")
  if body then return M.record(body) end
  local code, message = answer:match("^error (%S+) ?(.*)$")
  fail(code or "protocol", message or ("the supervisor answered `%s`"):format(answer))
end

--- The request that has a shim send one packet.
-- @tparam table packet {protocol = "tcp" or "udp", address, port, from}: an IPv4 address, and ports
-- @treturn string
function M.probe_request(packet)
  return ("probe %s=%s:%d from=%d"):format(packet.protocol, packet.address, packet.port,
    packet.from)
end

--- Sends one packet from here, and waits for nothing.
-- @tparam table packet {protocol, address, port, from}, and `netns` to send it from there
-- @raise {kind="shim", code=errno name}: "EADDRINUSE" where `from` is taken, "ENETUNREACH" where no
-- route leads there, "EPERM" where this machine's rules drop it on its way out
function M.probe(packet)
  local call = { M.program(), netns = packet.netns, check = false, timeout = 10 }
  for word in M.probe_request(packet):gmatch "%S+" do call[#call + 1] = word end
  local result = process.run(call)
  if result.code ~= 0 then
    local code, message = result.stderr:match("^moonport%-shim probe: (%S+): ([^\n]*)")
    fail(code or "probe", message or "moonport-shim could not send a packet")
  end
end

local ENDED = { exited = true, failed = true }

-- The record names processes as the kernel does; see `moonport.sys`.
local function identity_of(process_record)
  return {
    pid = process_record.pid,
    start = process_record.start_time,
    boot_id = process_record.boot_id,
  }
end

-- Stands for a record that a failing disk has left us without.
local function damaged(why)
  return {
    state = "lost", damaged = true,
    error = { message = "the supervisor's record is damaged: " .. why },
  }
end

local function read_record(path)
  local text = fs.read(path)
  local record, why = try(json.decode, text)
  if type(record) == "table" then record = without_nulls(record) end
  if type(record) ~= "table" or type(record.shim) ~= "table" then
    return damaged(why and why.message or "it names no supervisor")
  end
  return record
end

--- Reads the record in a service's directory, whoever wrote it.
-- @tparam string dir
-- @treturn table|nil the record (docs/shim.md), `state` being `lost` where the supervisor died
--   without recording an end, or, with `damaged` set, where the record cannot be read; nil when
--   there is none
function M.state(dir)
  local path = fs.join(dir, "state.json")
  if not fs.exists(path) then return nil end
  local record = read_record(path)
  if record.damaged then return record end
  if ENDED[record.state] or sys.is_alive(identity_of(record.shim)) then return record end
  -- It may have written its last record, and ended, since that one was read.
  record = read_record(path)
  if record.damaged then return record end
  if not ENDED[record.state] and not sys.is_alive(identity_of(record.shim)) then
    record.state = "lost"
    record.exit = nil
  end
  return record
end

--- True once the service has ended for good or its supervisor is gone.
-- @tparam table record as `state` gives it
-- @treturn boolean
function M.has_ended(record)
  return ENDED[record.state] or record.state == "lost"
end

--- Reads the record of the service that was started with an intent, and of no other.
-- @tparam table intent {id, dir}
-- @treturn table|nil
function M.find(intent)
  local record = M.state(intent.dir)
  return record and record.id == intent.id and record or nil
end

--- Waits until the service of an intent has ended for good, and its supervisor with it.
-- @tparam table intent {id, dir}
-- @treturn table|nil the record
function M.wait_end(intent)
  while true do
    local record = M.find(intent)
    if not record or record.state == "lost" then return record end
    -- It writes its last record and then exits, so this is the event to wait for.
    sys.wait_gone(identity_of(record.shim))
    if M.has_ended(record) then return record end
  end
end

-- A supervisor that was being started when moonport was killed has no record yet; its arguments
-- name its directory.
local function unrecorded(dir)
  local found = {}
  for _, entry in ipairs(fs.list("/proc")) do
    if entry.name:find("^%d+$") then
      local file = io.open("/proc/" .. entry.name .. "/cmdline", "rb")
      local words = file and file:read(4096) or ""
      if file then file:close() end
      if words:find("moonport-shim\0run\0--dir\0" .. dir .. "\0", 1, true) then
        found[#found + 1] = try(sys.identity, math.tointeger(tonumber(entry.name)))
      end
    end
  end
  return found
end

-- Kills a supervisor, and by that its service.
local function kill(identity)
  process.signal(identity, "KILL")
  sys.wait_gone(identity)
end

local function stop_words(options)
  local words = { "shutdown" }
  if options.signal then words[#words + 1] = "signal=" .. options.signal end
  if options.grace then words[#words + 1] = "grace_ms=" .. milliseconds(options.grace) end
  return table.concat(words, " ")
end

-- Time beyond the grace in which a supervisor must have answered.
local ANSWER_SECONDS = 30

--- Stops the service of an intent and its supervisor. Fine when both have ended, or never began. A
-- supervisor that does not answer is killed, and the service with it.
-- @tparam table intent {id, dir, socket}
-- @tparam[opt] table options `grace` (seconds before SIGKILL), `signal`
-- @treturn table|nil the last record
function M.stop(intent, options)
  options = options or {}
  local record = M.find(intent)
  if not record then
    if not M.state(intent.dir) or M.has_ended(M.state(intent.dir)) then
      for _, identity in ipairs(unrecorded(intent.dir)) do kill(identity) end
    end
    return nil
  end
  if M.has_ended(record) then return M.wait_end(intent) end
  local seconds = (options.grace or 0) + ANSWER_SECONDS
  local answer, err = try(M.request, intent.socket, stop_words(options), seconds)
  if not answer then
    if errors.is(err, "task", "cancelled") then error(err, 0) end
    record = M.find(intent)
    if record and not M.has_ended(record) then kill(identity_of(record.shim)) end
  end
  return M.wait_end(intent)
end

--- Why a service that was asked to tell of itself does not count as ready.
-- @tparam table record
-- @treturn ?string nil when it is ready, or was not asked
function M.unready(record)
  local told = record.notify
  if not told or told.ready then return nil end
  if record.error then return record.error.message end
  if told.stopping then return "it says that it stops" end
  return "it has not said that it is ready"
    .. (told.status and (" (it says: %s)"):format(told.status) or "")
end

--- Adds what a service has told of itself to its status.
-- @tparam table status gets `ready` (boolean), `says` (text), and a `reason` where it is not ready
-- @tparam table record
function M.add_told(status, record)
  local told = record.notify
  if not told then return end
  status.ready, status.says = told.ready, told.status
  if status.state == "running" and not told.ready then
    status.reason = status.reason or told.stopping and "it says that it stops" or "not ready yet"
  end
end

--- Describes how a service ended, for people.
-- @tparam table|nil record as `state` gives it
-- @treturn string such as "exited with 1", "killed by KILL (out of memory)"
function M.describe_end(record)
  if not record then return "nothing is known of it" end
  if record.state == "lost" then return "its supervisor is gone; how it ended is unknown" end
  if record.error then return record.error.message end
  local exit = record.exit
  if not exit then return "it has not ended" end
  local text = exit.code and ("exited with %d"):format(exit.code)
    or ("killed by SIG%s"):format(exit.signal)
  if exit.oom then text = text .. " (out of memory)" end
  return text
end

--- How `moonport.resources` removes a service: {id, dir, socket}.
M.resource = {
  remove = function(identity) M.stop(identity) end,
  describe = function(identity) return identity.dir end,
}

return M
