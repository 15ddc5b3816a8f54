--- A failure explains itself: what an operator would look up, collected before anything is undone.
--
-- The record is plain data, kept whole in the deployment's directory (failure.json, and failure.txt
-- for people); the terminal shows it short.
--
--   {deployment, revision, target, at, step, error, diagnosis, done, undone, left, stopped,
--    serving, resume}
--
-- `stopped` is the error that kept undoing from its end, such as a full disk.
--
-- `diagnosis` is what the recipe's `diagnose` gave: for a service {exit = {code, signal, oom,
-- peak}, log = {last lines}, console = {last lines of a guest's console}}.
--
-- @module moonport.failure
local clock = require "moonport.clock"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local resources = require "moonport.resources"
local secret = require "moonport.secret"
local task = require "moonport.task"
local undo = require "moonport.engine.undo"

local M = {}

local DIAGNOSE_SECONDS = 10
local PRIVATE_FILE = "0600"

local function diagnose(job, step, cause)
  if not (job.recipe and job.recipe.diagnose) then
    return nil
  end
  local about = { step = step, error = cause }
  local ok, found = pcall(task.timeout, DIAGNOSE_SECONDS, job.recipe.diagnose, job.ctx, about)
  return ok and found or { problem = tostring(found) }
end

--- Begins the record of a failure, before undoing.
-- @tparam table job
-- @tparam ?string step that failed; nil when the failure lies between steps
-- @param cause error
-- @tparam ?string resume the command to go on with
-- @treturn table record
function M.collect(job, step, cause, resume)
  local done = {}
  -- It may be the journal that cannot be written.
  for _, entry in ipairs(try(job.journal.entries, job.journal) or {}) do
    if entry.state == "done" and entry.step ~= step then
      done[#done + 1] = entry.step
    end
  end
  return {
    version = 1,
    deployment = job.deployment.name,
    target = job.deployment.target,
    revision = job.revision.number,
    at = clock.now(),
    step = step,
    error = undo.describe_error(cause),
    diagnosis = diagnose(job, step, cause),
    done = done,
    undone = {},
    left = {},
    resume = resume,
  }
end

--- Adds what undoing has done and could not do.
-- @tparam table record
-- @tparam table report of `moonport.engine.undo`
function M.add_undo(record, report)
  record.undone = report.undone
  for index, left in ipairs(report.left) do
    local what = {}
    for at, resource in ipairs(left.resources) do
      what[at] = resources.describe(resource.kind, resource.identity)
    end
    record.left[index] =
      { step = left.step, error = undo.describe_error(left.error), resources = what }
  end
end

--- Notes that undoing did not come to its end.
-- @tparam table record
-- @param why error
function M.add_stopped(record, why)
  record.stopped = undo.describe_error(why)
end

local function add_error(lines, title, why, indent)
  lines[#lines + 1] = ("%s%s%s"):format(indent, title, why.message)
  if why.where then
    lines[#lines + 1] = ("%s  at %s"):format(indent, why.where)
  end
  if why.cause then
    add_error(lines, "because: ", why.cause, indent .. "  ")
  end
  if why.hint then
    lines[#lines + 1] = ("%s  hint: %s"):format(indent, why.hint)
  end
end

local function exit_text(exit)
  local parts = {}
  if exit.oom then
    parts[#parts + 1] = "killed by the kernel: out of memory"
  elseif exit.signal then
    parts[#parts + 1] = "ended by signal " .. exit.signal
  elseif exit.code then
    parts[#parts + 1] = "exited with " .. exit.code
  else
    parts[#parts + 1] = "exit unknown"
  end
  if exit.peak then
    local units = require "moonport.units"
    parts[#parts + 1] = ("peak memory %s"):format(units.short_size(exit.peak))
  end
  return table.concat(parts, ", ")
end

local function add_last(lines, title, last, count)
  if not last or #last == 0 then
    return
  end
  lines[#lines + 1] = ("  %s:"):format(title)
  for index = math.max(1, #last - count + 1), #last do
    local line = last[index]
    lines[#lines + 1] = "    | " .. (type(line) == "table" and line.text or tostring(line))
  end
end

local function add_diagnosis(lines, diagnosis, log_lines)
  if not diagnosis then
    return
  end
  if diagnosis.exit then
    lines[#lines + 1] = "  exit: " .. exit_text(diagnosis.exit)
  end
  add_last(lines, "last output", diagnosis.log, log_lines)
  add_last(lines, "the console's last lines", diagnosis.console, log_lines)
  for key, value in pairs(diagnosis) do
    if key ~= "exit" and key ~= "log" and type(value) ~= "table" then
      lines[#lines + 1] = ("  %s: %s"):format(key, tostring(value))
    end
  end
end

local function list(lines, title, names)
  if #names > 0 then
    lines[#lines + 1] = ("  %s: %s"):format(title, table.concat(names, ", "))
  end
end

--- The record as text for people.
-- @tparam table record
-- @tparam ?table options `log_lines` (default 10)
-- @treturn string lines, the last without a newline
function M.text(record, options)
  local lines = {}
  local title = ("`%s` failed"):format(record.deployment)
  if record.step then
    title = ("%s at step `%s`"):format(title, record.step)
  end
  add_error(lines, title .. ": ", record.error, "")
  add_diagnosis(lines, record.diagnosis, options and options.log_lines or 10)
  list(lines, "done before", record.done)
  list(lines, "undone", record.undone)
  for _, left in ipairs(record.left) do
    add_error(lines, ("left over, step `%s`: "):format(left.step), left.error, "  ")
    list(lines, "  still there", left.resources)
  end
  if record.stopped then
    add_error(lines, "undoing it stopped: ", record.stopped, "  ")
  end
  if record.serving then
    lines[#lines + 1] = "  " .. record.serving
  end
  if record.resume then
    lines[#lines + 1] = ("  to go on: %s"):format(record.resume)
  end
  return secret.scrub(table.concat(lines, "\n"))
end

--- Keeps the record in a deployment's directory.
-- @tparam string dir
-- @tparam table record
-- @treturn string the file
function M.write(dir, record)
  local path = dir .. "/failure.json"
  fs.write(path, secret.scrub(json.encode(record)) .. "\n", { mode = PRIVATE_FILE })
  local text = M.text(record, { log_lines = math.huge })
  fs.write(dir .. "/failure.txt", text .. "\n", { mode = PRIVATE_FILE })
  return path
end

--- Reads the record of the last failure.
-- @tparam string dir
-- @treturn ?table record; nil when nothing has failed
function M.read(dir)
  local path = dir .. "/failure.json"
  return fs.exists(path) and json.decode(fs.read(path)) or nil
end

--- Makes the error that a failed deployment raises.
-- @tparam table record
-- @param cause error
-- @tparam ?string path of the record
-- @treturn error {kind = "deploy", code = "failed", failure = record, cause}
function M.error(record, cause, path)
  local message = ("`%s` failed"):format(record.deployment)
  if record.step then
    message = ("%s at step `%s`"):format(message, record.step)
  end
  if #record.left > 0 then
    message = ("%s; %d of its steps could not be undone"):format(message, #record.left)
  elseif record.stopped then
    message = ("%s; undoing it stopped: %s"):format(message, record.stopped.message)
  end
  return errors.new {
    kind = "deploy",
    code = "failed",
    message = message,
    cause = cause,
    hint = path and ("the whole record is in `%s`"):format(path) or nil,
    failure = record,
  }
end

return M
