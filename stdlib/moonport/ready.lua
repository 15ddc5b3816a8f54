--- Readiness: waits until a service does its work, or says why it does not.
--
-- All probes that a manifest gives must hold: `http`, `tcp`, `exec`, `log`, `file`, `notify`. What
-- can be waited for (a line of output, the service's word or its end) is waited for; an address, a
-- command or a file can only be asked again, every `interval`.
-- @module moonport.ready

local errors = require "moonport.errors"
local task = require "moonport.task"

local M = {}

-- One attempt may not take longer than this, so that a peer that hangs is asked again.
local ATTEMPT_SECONDS = 5

local function short(err)
  return type(err) == "table" and err.message or tostring(err)
end

-- Asks until `attempt` returns true; each reason why not replaces the one before.
local function ask_until(interval, attempt, note)
  while true do
    local ok, reason = try(attempt)
    if ok == true then return end
    note(short(reason or "no answer"))
    task.sleep(interval)
  end
end

local probes = {}

function probes.http(ready, _, note)
  local http = require "moonport.http"
  ask_until(ready.interval, function()
    local response = http.get(ready.http, { timeout = ATTEMPT_SECONDS, redirects = false })
    if response.status >= 200 and response.status < 400 then return true end
    error(("%s answered with status %d"):format(ready.http, response.status), 0)
  end, note)
end

function probes.tcp(ready, _, note)
  local net = require "moonport.net"
  local host, port = ready.tcp:match("^%[?(.-)%]?:(%d+)$")
  ask_until(ready.interval, function()
    return net.connect {
      host = host, port = tonumber(port), timeout = ATTEMPT_SECONDS, probe = true,
    }
  end, note)
end

function probes.exec(ready, service, note)
  ask_until(ready.interval, function()
    local result = service.run(ready.exec, ATTEMPT_SECONDS)
    if result.code == 0 then return true end
    local last = (result.stderr .. result.stdout):match("([^\n]+)\n*$")
    error(("`%s` exited with %s%s"):format(ready.exec[1], result.code or result.signal,
      last and ": " .. last or ""), 0)
  end, note)
end

function probes.log(ready, service, note)
  note(("no line of output matched `%s`"):format(ready.log))
  for line in service.follow_log() do
    if line.text:find(ready.log) then return end
  end
end

function probes.file(ready, service, note)
  local fs = require "moonport.fs"
  local path = fs.absolute(ready.file, service.data_dir)
  local exists = service.exists or fs.exists
  ask_until(ready.interval, function()
    if exists(path) then return true end
    error(("`%s` does not exist"):format(path), 0)
  end, note)
end

function probes.notify(_, service, note)
  service.wait_notified(note)
end

local KINDS = { "http", "tcp", "exec", "log", "file", "notify" }

local function describe(reasons)
  local lines = {}
  for _, kind in ipairs(KINDS) do
    if reasons[kind] then lines[#lines + 1] = ("%s: %s"):format(kind, reasons[kind]) end
  end
  return table.concat(lines, "; ")
end

local function start_probes(ready, service, reasons)
  local running = {}
  for _, kind in ipairs(KINDS) do
    if ready[kind] then
      reasons[kind] = "not asked yet"
      running[#running + 1] = function()
        probes[kind](ready, service, function(reason) reasons[kind] = reason end)
        reasons[kind] = nil
      end
    end
  end
  return running
end

--- True where a service is to say itself that it is ready, and so needs a socket to say it on. A
-- registration is not waited for by probes.
-- @tparam table manifest its data, in normal form
-- @treturn boolean
function M.is_told(manifest)
  return manifest.ready ~= nil and manifest.ready.notify == true and not manifest.registration
end

--- Checks what a service's own word needs of the rest of the manifest.
-- @tparam table manifest its data, in normal form
-- @tparam function report function(path, message, hint)
function M.check(manifest, report)
  if M.is_told(manifest) and (manifest.env or {}).NOTIFY_SOCKET ~= nil then
    report("env.NOTIFY_SOCKET", "`ready.notify` sets NOTIFY_SOCKET", "take it out of `env`")
  end
end

--- Waits until a service is ready.
-- @tparam table ready the manifest's `ready`, in normal form
-- @tparam table service `run(argv, seconds)` runs a command as the service would and returns
--   {code, signal, stdout, stderr}; `follow_log()` iterates over its output from the start;
--   `wait_end()` returns a description once it has ended for good; `wait_notified(note)` returns
--   once the service says that it is ready, and calls `note(reason)` with what it says until then;
--   `data_dir`; and where its files are not this host's, `exists(path)`
-- @raise {kind="ready", code="timeout"} with the reason of each probe that does not hold, or
--   {kind="ready", code="ended"} when the service ended first
function M.wait(ready, service)
  local reasons = {}
  local function all_hold()
    task.all(start_probes(ready, service, reasons))
    return "ready"
  end
  local function ended()
    return service.wait_end()
  end
  local outcome, err = try(task.timeout, ready.timeout, task.race, { all_hold, ended })
  if outcome == "ready" then return end
  if outcome then
    errors.raise {
      kind = "ready", code = "ended",
      message = ("the service ended before it was ready: %s"):format(outcome),
    }
  end
  if not errors.is(err, "task", "timeout") then error(err, 0) end
  errors.raise {
    kind = "ready", code = "timeout",
    message = ("not ready after %g s: %s"):format(ready.timeout, describe(reasons)),
    hint = "if it only needs longer, raise `ready.timeout`",
  }
end

return M
