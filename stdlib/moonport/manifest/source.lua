--- Reading a manifest file into raw data, without trusting it.
--
-- @module moonport.manifest.source
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local locate = require "moonport.manifest.locate"

local M = {}

local LONGEST = 4 << 20 -- bytes; as MP_MANIFEST_TEXT_MAX in lua/manifest_eval.h
local LONGEST_ANSWER = 32 << 20 -- twice JSON_MAX there
local WALL_SECONDS = 10 -- the child limits itself to 2 s of CPU; a busy machine gets time

local function refuse(file, line, message, hint)
  local place = line and ("%s:%d"):format(file, line) or file
  local failure = errors.new {
    kind = "manifest",
    code = "invalid",
    message = ("%s: %s"):format(place, message),
    hint = hint,
  }
  failure.file, failure.line = file, line
  error(failure, 0)
end

-- Runs moonport itself as the child (see lua/manifest_eval.h). It is started from /proc/self/exe,
-- so that it is this very program even when an upgrade has replaced the file.
local function run_child(text)
  local process = require "moonport.process" -- manifests in JSON go without
  return process.run {
    "/proc/self/exe",
    "__manifest",
    input = text,
    clean_env = true,
    cwd = "/",
    stderr = "null",
    timeout = WALL_SECONDS,
    limit = LONGEST_ANSWER,
    check = false,
  }
end

local ENDED_BY_LIMIT = { SIGXCPU = true, SIGKILL = true }

-- What it means when the child wrote no answer.
local function refuse_ending(file, result, why)
  if errors.is(why, "process", "timeout") or result and ENDED_BY_LIMIT[result.signal] then
    refuse(file, nil, "the manifest computes for too long", "a manifest only describes")
  end
  local how = why and tostring(why) or result.signal or ("exit code %d"):format(result.code)
  refuse(file, nil, ("the manifest could not be evaluated (%s)"):format(how))
end

--- Evaluates the text of a Lua manifest in a child process with limits on CPU and memory.
-- @tparam string text
-- @tparam string file for messages
-- @treturn table raw data
-- @raise {kind = "manifest", code = "invalid", file, line}
function M.evaluate(text, file)
  local result, why = try(run_child, text)
  local answer = result and try(json.decode, result.stdout)
  if type(answer) ~= "table" then
    refuse_ending(file, result, why)
  elseif answer.error then
    local line, found = answer.error.line, answer.error.path
    local message = answer.error.message
    if found then
      message = ("`%s`: %s"):format(found, message)
      line = select(2, locate.finder(file, locate.lua(text))(found))
    end
    refuse(file, line, message, answer.error.hint)
  end
  return answer.ok
end

local function decode_json(text, file)
  local ok, answer = pcall(json.decode, text)
  if not ok then
    local line = errors.is(answer) and answer.line
    refuse(file, line, errors.is(answer) and answer.message or tostring(answer))
  elseif type(answer) ~= "table" then
    refuse(file, 1, "a manifest is a JSON object", "begin it with `{`")
  end
  return answer
end

local function is_json(path, text)
  return path:find "%.json$" ~= nil or (not path:find "%.lua$" and text:find "^%s*{" ~= nil)
end

local function too_long(path)
  refuse(path, nil, ("it is longer than %d MiB"):format(LONGEST >> 20), "is it a manifest?")
end

--- The directory that flags' relative paths stand in.
-- @treturn string
function M.here()
  return fs.cwd()
end

--- Parses a manifest's text.
-- @tparam string text
-- @tparam string file its absolute path
-- @treturn table layer {name = "manifest", file, base, raw, locate, duplicates}
function M.parse(text, file)
  local raw, found
  if is_json(file, text) then
    raw, found = decode_json(text, file), locate.json(text)
  else
    raw, found = M.evaluate(text, file), locate.lua(text)
  end
  return {
    name = "manifest",
    file = file,
    base = fs.dirname(file),
    raw = raw,
    locate = locate.finder(file, found),
    duplicates = found.duplicates,
  }
end

--- Reads a manifest file.
-- @tparam string path
-- @treturn table layer, see `parse`
function M.read(path)
  local file = fs.absolute(path)
  if (fs.stat(file).size or 0) > LONGEST then
    too_long(path)
  end
  return M.parse(fs.read(file), file)
end

return M
