--- HTTP and HTTPS: requests, streams and downloads.
--
--     local res = http.get("http://127.0.0.1:9090/api/v1/status/buildinfo"):check()
--     print(res:json().data.version)
--
--     local events <close> = http.get("http://docker/events", {
--       unix = "/run/docker.sock", stream = true,
--     })
--     for line in events:lines() do print(line) end
--
-- A call suspends only its task; cancelling the task, or a `task.timeout` around it, ends the
-- request at once. Connections are kept and used again.
--
-- `GET`, `HEAD` and `OPTIONS` are sent once more when a kept connection ends without an answer;
-- other requests never are, for they may have been carried out.
--
-- A status of 400 or more is an answer, not an error: look at `res.status`, call `res:check()`, or
-- ask with `ok = true`. Errors are `{kind="http"}` with the code `resolve`, `connect`, `tls`,
-- `proxy`, `timeout`, `closed` (the peer ended too early), `protocol`, `redirects`, `limit`,
-- `rewind`, `status`, `checksum`, `busy`, `invalid`, `library` or the name of a file's trouble.
-- Their messages do not show passwords in URLs.
--
-- While nothing may be changed (a plan), `GET`, `HEAD` and `OPTIONS` pass, and so do requests that
-- look like writes and only read: JSON-RPC calls such as `eth_blockNumber`, Kubernetes requests
-- with `dryRun=All`, access reviews.
--
-- Options of every request:
--
-- - `headers`: table of names and values; a value is a string, a number, a secret, or a list of
--   strings and secrets
-- - `body`: string or secret, `{file = path}`, or a function that returns the next piece, and nil
--   at the end; it may wait
-- - `json`: a value to send as JSON in place of `body`
-- - `ok`: true raises when the status is 400 or more
-- - `stream`: true returns when the header is there; read the body with `:chunks()` or `:lines()`
-- - `max_body`: bytes of a body that is not streamed (256 MiB)
-- - `timeout`: seconds for all of it (none); `connect_timeout` (10); `idle_timeout`: without a byte
--   either way (60, none for streams); false means none
-- - `redirects`: how many to follow (10 for `GET`, `HEAD` and `OPTIONS`, else none), true or false;
--   to another server (scheme, host or port) none takes a header that was given as a secret, nor
--   `Authorization` and `Cookie`
-- - `ca`, `ca_pem`: trust this CA (a PEM file, or PEM in a string or secret), not the system's
-- - `cert`, `cert_pem`, `key`, `key_pem`, `key_password`: who we are; the certificate with the
--   issuers, if any, that are to be sent after it
-- - `server_name`: the name to ask for and to verify in place of the URL's host
-- - `insecure`: true verifies nothing
-- - `unix`: path of a Unix socket to connect to in place of the URL's host
-- - `proxy`: URL, or false for none; by default what `http_proxy`, `https_proxy` and `no_proxy`
--   say, and never for loopback
-- - `http2`: true also without TLS, false never; by default where the server offers it by TLS
-- - `compressed`: true offers compression
-- @module moonport.http

local core = require "moonport.core.http"
local errors = require "moonport.errors"

local M = {}

-- How much of an answer an error shows.
local EXCERPT = 500

--- An answer. Fields: `status`, `reason`, `url` (after redirects), `http_version` ("1.1", "2"),
-- `headers` (by name in any case; several of one name are joined with a comma), and `body` unless
-- it is streamed. `timings` holds seconds from the start: `resolved`, `connected`, `secured`,
-- `first_byte`, `total`; of a stream, once it has ended.
-- @type Response
local Response = {}

local function timings_of(self)
  local stream = rawget(self, "stream")
  if stream then return stream:timings() end
  return core.timings(self.headers)
end

core.response.__name = "moonport.http.response"
core.response.__index = function(self, name)
  if name == "timings" then return timings_of(self) end
  return Response[name]
end
core.response.__close = function(self) self:close() end
core.response.__tostring = function(self)
  return string.format("%d %s (%s)", self.status, self.reason, core.redact(self.url))
end

--- The next bytes of the body.
-- @treturn ?string nil at the end
function Response:read()
  if self.stream then return self.stream:read() end
  local body = rawget(self, "unread") or self.body
  self.unread = ""
  if body ~= "" then return body end
end

--- The body as its bytes arrive, for a `for` loop.
-- @treturn function
function Response:chunks()
  return function() return self:read() end
end

--- The body by line, without line ends, for a `for` loop. A line of a stream may have 16 MiB.
-- @treturn function
function Response:lines()
  if self.stream then
    return function() return self.stream:line() end
  end
  local text = self.body
  if text ~= "" and text:sub(-1) ~= "\n" then text = text .. "\n" end
  return text:gmatch("(.-)\r?\n")
end

--- The whole body, also of a stream (once).
-- @treturn string
function Response:text()
  if not self.stream then return self.body end
  local pieces = {}
  for piece in self:chunks() do pieces[#pieces + 1] = piece end
  return table.concat(pieces)
end

--- The body as JSON.
-- @return the value
-- @raise {kind="json"} where it is none
function Response:json()
  return require("moonport.json").decode(self:text())
end

--- Every header field of one name, such as `Set-Cookie`.
-- @tparam string name
-- @treturn {string,...}
function Response:values(name)
  return core.values(self.headers, name)
end

-- The beginning of the body, for an error; nil when nothing can be said.
local function excerpt(response)
  local body = response.body
  if response.stream then
    local piece = try(response.stream.read, response.stream)
    body = piece or ""
  end
  return body:sub(1, EXCERPT)
end

local function describe(body)
  local line = body:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  if line == "" or line:find("[^\32-\126\128-\255]") then return "" end
  return ": " .. line
end

--- Raises unless the status says success.
-- @treturn Response itself
-- @raise {kind="http", code="status"} with `status`, `url` and the beginning of the `body`
function Response:check()
  if self.status < 400 then return self end
  local body, url = excerpt(self), core.redact(self.url)
  self:close()
  errors.raise {
    kind = "http", code = "status", status = self.status, url = url, body = body,
    message = string.format("`%s` answered %d %s%s", url, self.status, self.reason, describe(body)),
  }
end

--- Ends a stream that is not read to its end; its connection closes. Done by `<close>` too.
function Response:close()
  if self.stream then self.stream:close() end
end

--- @section end

-- Sends what the function gives, piece by piece. When the server answers before the end, that
-- answer is the result.
local function send_body(options, produce)
  local exchange <close> = core.open(options)
  while true do
    local piece = produce()
    if piece == nil then break end
    if type(piece) ~= "string" then
      errors.raise {
        kind = "argument", code = "invalid",
        message = "http: `body` returns strings and then nil, got a " .. type(piece),
      }
    end
    if piece ~= "" and not exchange:send(piece) then break end
  end
  exchange:finish()
  return exchange:response(options.stream)
end

local function copy(from)
  local to = {}
  for name, value in pairs(from) do to[name] = value end
  return to
end

local function has_header(headers, wanted)
  for name in pairs(headers) do
    if type(name) == "string" and name:lower() == wanted then return true end
  end
  return false
end

local function with_json(options)
  if options.body ~= nil then
    errors.raise {
      kind = "argument", code = "invalid", message = "http: `json` and `body` exclude each other",
    }
  end
  options = copy(options)
  options.headers = copy(options.headers or {})
  if not has_header(options.headers, "content-type") then
    options.headers["Content-Type"] = "application/json"
  end
  options.body = require("moonport.json").encode(options.json)
  options.json = nil
  return options
end

--- Makes a request.
-- @tparam table options `url`, `method` (`GET`) and those listed above
-- @treturn Response
-- @raise {kind="http"}; {kind="gate"} for what changes something while nothing may be changed
function M.request(options)
  if type(options) ~= "table" then core.request(options) end -- which says what is wrong
  if options.json ~= nil then options = with_json(options) end
  local body, response = options.body
  if type(body) == "function" then
    options = copy(options)
    options.body = nil
    response = send_body(options, body)
  else
    response = core.request(options)
  end
  if options.ok then return response:check() end
  return response
end

local function short(method)
  return function(url, options)
    local request = { url = url, method = method }
    if options ~= nil then
      if type(options) ~= "table" then
        errors.raise {
          kind = "argument", code = "invalid",
          message = "http: the options are a table, got a " .. type(options),
        }
      end
      for name, value in pairs(options) do request[name] = value end
    end
    return M.request(request)
  end
end

--- @function get
-- @tparam string url
-- @tparam[opt] table options
-- @treturn Response
-- @raise {kind="http"}
M.get = short "GET"

--- @function head
-- @tparam string url
-- @tparam[opt] table options
-- @treturn Response
-- @raise {kind="http"}
M.head = short "HEAD"

--- @function post
-- @tparam string url
-- @tparam[opt] table options
-- @treturn Response
-- @raise {kind="http"}
M.post = short "POST"

--- @function put
-- @tparam string url
-- @tparam[opt] table options
-- @treturn Response
-- @raise {kind="http"}
M.put = short "PUT"

--- @function patch
-- @tparam string url
-- @tparam[opt] table options
-- @treturn Response
-- @raise {kind="http"}
M.patch = short "PATCH"

--- @function delete
-- @tparam string url
-- @tparam[opt] table options
-- @treturn Response
-- @raise {kind="http"}
M.delete = short "DELETE"

--- Streams a URL into a file that appears whole or not at all: the bytes go to `PATH.part`, are
-- hashed on the way, synced, and renamed at the end.
-- @tparam table options `url` and `path`; `sha256` and `sha512` (hex) to verify; `resume`: true
--   goes on with what an interrupted download left, if it is still the same file; `max_size` in
--   bytes; `progress`: a function that is called with the bytes done and, where known, in total;
--   and those of a request that say how to connect
-- @treturn table `size`, `resumed` (bytes that were there from before) and `url` (after redirects)
-- @raise {kind="http"} with the code `status`, `checksum` or `limit` among others
function M.download(options)
  local progress = options.progress
  local download <close> = core.download(options, progress ~= nil)
  while true do
    local result, done, total = download:wait()
    if result then return result end
    progress(done, total)
  end
end

--- The version of libcurl, which does the work.
-- @function version
-- @treturn string such as "7.88.1"
-- @raise {kind="http", code="library"} where there is none that can be used
M.version = core.version

return M
