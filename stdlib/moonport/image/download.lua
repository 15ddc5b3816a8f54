--- Fetching what an image is made of: streamed to disk, resumed, verified.
-- @module moonport.image.download

local checksums = require "moonport.image.checksums"
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local http = require "moonport.http"
local task = require "moonport.task"

local M = {
  --- What a server may send at most.
  LARGEST = 32 << 30,
}

-- What may be over the next time, and how long to wait until then.
local PASSING = { closed = true, timeout = true, connect = true, resolve = true }
local WAITS = { 1, 2, 4, 8 }

-- What the server says on being asked once more tells whether it has trouble or no such file.
local function has_trouble(source)
  local answer, why = try(http.head, source.url, { timeout = 60 })
  if why then return PASSING[why.code] end
  return answer.status < 400 or answer.status >= 500 or answer.status == 429
end

local function is_passing(source, err)
  if not errors.is(err, "http") then return false end
  return PASSING[err.code] or err.code == "status" and has_trouble(source)
end

local function fetch(source, expected, path, progress)
  return http.download {
    url = source.url, path = path, resume = true, max_size = M.LARGEST,
    sha256 = expected.sha256, sha512 = expected.sha512,
    progress = function(done, total) progress("downloading " .. source.label, done, total) end,
  }
end

-- Goes on where the connection broke.
local function fetch_patiently(source, expected, path, progress)
  for attempt = 1, #WAITS + 1 do
    local result, why = try(fetch, source, expected, path, progress)
    if result then return result end
    if attempt > #WAITS or not is_passing(source, why) then error(why, 0) end
    progress(("downloading %s: %s; going on in %d s"):format(source.label, why.message,
      WAITS[attempt]))
    task.sleep(WAITS[attempt])
  end
end

local function mismatch(source, expected, cause)
  local list = expected.list
  errors.raise {
    kind = "image", code = "checksum",
    message = list and ("what `%s` gave is not what `%s` says"):format(source.url, list)
      or ("what `%s` gave does not have the SHA-256 that is asked for"):format(source.url),
    hint = list and "nothing of it was kept; its publisher may be replacing it: try again later"
      or "nothing of it was kept; check the sha256, or where the image comes from",
    cause = cause,
  }
end

-- What an earlier command fetched whole, and could not make an image of: its disk was full, say.
local function is_there(path, expected)
  if not fs.exists(path) then return false end
  local algorithm = expected.sha256 and "sha256" or expected.sha512 and "sha512"
  return algorithm ~= nil and crypto.hash_file(algorithm, path) == expected[algorithm]
end

--- Downloads an image.
-- @tparam table source of `moonport.image.source`
-- @tparam string path where it appears, once it is whole and verified
-- @tparam function progress called with a text, bytes done and, where known, in total
-- @treturn table {expected, size}: `expected` as `checksums.expected` gives it
-- @raise {kind="image", code="checksum"}, {kind="http"}
function M.image(source, path, progress)
  local expected = checksums.expected(source)
  if is_there(path, expected) then return { expected = expected, size = fs.stat(path).size } end
  local result, why = try(fetch_patiently, source, expected, path, progress)
  if errors.is(why, "http", "checksum") and expected.list then
    -- "latest" may have become another image between the list and the file.
    local now = checksums.expected(source)
    if now.sha256 == expected.sha256 and now.sha512 == expected.sha512 then
      mismatch(source, expected, why)
    end
    expected = now
    result, why = try(fetch_patiently, source, expected, path, progress)
  end
  if errors.is(why, "http", "checksum") then mismatch(source, expected, why) end
  if why then error(why, 0) end
  return { expected = expected, size = result.size }
end

--- Downloads a file that lies beside an image, if its publisher has it.
-- @tparam table unpacked {list, algorithm} with {url, file} by name
-- @tparam string name "kernel" or "initrd"
-- @tparam string path
-- @tparam function progress
-- @treturn boolean false when there is none
-- @raise {kind="image", code="checksum"}, {kind="http"}
function M.beside(unpacked, name, path, progress)
  local file = unpacked[name]
  local list = { url = unpacked.list, algorithm = unpacked.algorithm }
  local sum, missing = try(checksums.fetch, list, file.file)
  if not sum then
    if missing and not errors.is(missing, "http", "status") then error(missing, 0) end
    return false
  end
  local source = { url = file.url, label = file.file, list = list.url }
  local expected = { [list.algorithm] = sum, list = list.url }
  local _, why = try(fetch_patiently, source, expected, path, progress)
  if errors.is(why, "http", "checksum") then mismatch(source, expected, why) end
  if why then error(why, 0) end
  return true
end

return M
