--- Requests: sent, tried again where that helps, refusals raised.
-- @submodule moonport.kube

local clock = require "moonport.core.clock"
local json = require "moonport.json"
local options_of = require "moonport.kube.options"
local paths = require "moonport.kube.paths"
local retry = require "moonport.kube.retry"
local status = require "moonport.kube.status"
local task = require "moonport.task"

local M = {}

local TOLD = 1 -- seconds from which on a wait is told about

local reads = { GET = true, HEAD = true, OPTIONS = true }

-- Telling.

-- Tells of a wait before the next try: {seconds=, why=, attempt=, request=, error=}.
local function tell(cluster, on_wait, wait)
  if on_wait then return on_wait(wait) end
  if wait.seconds <= TOLD then return end
  local asked = wait.error and wait.error.retry_after
  require("moonport.log").info("waiting to ask the cluster again", {
    server = cluster.server, request = wait.request, why = wait.why,
    seconds = tonumber(("%.1f"):format(wait.seconds)),
    asked = asked and asked > retry.LONGEST_ASKED and asked or nil,
  })
end

M.tell = tell

-- Warning: 299 - "text" [date]
local function warning_text(value)
  local quoted = value:match('^%d+%s+%S+%s+"(.*)"')
  return quoted and quoted:gsub("\\(.)", "%1") or value
end

-- Each warning is told once.
local function pass_on_warnings(cluster, response)
  if not response.headers.Warning then return end
  local warned = cluster.shared.warned
  for _, value in ipairs(response:values("Warning")) do
    local words = warning_text(value)
    if not warned[words] then
      warned[words] = true
      if cluster.on_warning then
        cluster.on_warning(words)
      else
        require("moonport.log").warn("the cluster warns: " .. words, { server = cluster.server })
      end
    end
  end
end

-- One try.

local function body_of(response)
  local body <close> = response
  return body:text()
end

-- An API server does not redirect, and credentials are for no other.
local function is_redirect(response)
  return response.status >= 300 and response.status < 400 and response.headers.Location ~= nil
end

-- The response, or nil and the error; raises what is neither the server's nor the network's.
local function send(cluster, request, about)
  local response, err = try(cluster.client.request, cluster.client, request)
  if not response then
    if err.kind == "http" then err.server = cluster.server end
    return nil, err
  end
  cluster.shared.answered = true
  pass_on_warnings(cluster, response)
  if is_redirect(response) then
    response:close()
    return nil, status.redirect(response, about)
  end
  if response.status < 400 then return response end
  local body
  body, err = try(body_of, response)
  if not body then return nil, err end
  local raised = status.error_of(response, body, about)
  raised.retry_after = retry.retry_after(response.headers["Retry-After"]) or
    tonumber(raised.details.retryAfterSeconds)
  return nil, raised
end

local function raise(err, attempt, began)
  if err.retry_after and err.retry_after > 0 then
    err.message = ("%s (the server asks to wait %g s)"):format(err.message, err.retry_after)
  end
  if attempt > 1 then
    err.attempts = attempt
    err.message = ("%s (tried %d times in %.1f s)"):format(err.message, attempt,
      clock.monotonic() - began)
  end
  error(err, 0)
end

-- The options of a try; its time is what is left of the whole.
local function of_try(request, deadline)
  if not deadline then return request end
  local copy = {}
  for name, value in next, request do copy[name] = value end
  copy.timeout = math.max(0.001, deadline - clock.monotonic())
  return copy
end

-- The response to a request that the client takes.
--   control: {safe=, timeout= or deadline=, retries=, on_wait=, about=}
function M.send(cluster, request, control)
  local began = clock.monotonic()
  local timeout = control.timeout or cluster.timeout
  local deadline = control.deadline or timeout and began + timeout
  local retries = control.retries or cluster.retries or retry.RETRIES
  local about = control.about or {}
  about.cluster = cluster
  about.request = about.request or request.method .. " " .. request.path:gsub("%?.*", "")
  local attempt = 1
  while true do
    local response, err = send(cluster, of_try(request, deadline), about)
    if response then return response end
    local most = retry.allowed(err, control.safe, cluster.shared.answered, retries)
    local wait = {
      seconds = retry.delay(attempt, err.retry_after), why = err.server_message or err.message,
      attempt = attempt, request = about.request, error = err,
    }
    local too_late = deadline and clock.monotonic() + wait.seconds >= deadline
    if not most or attempt > most or too_late then raise(err, attempt, began) end
    tell(cluster, control.on_wait or cluster.on_wait, wait)
    task.sleep(wait.seconds)
    attempt = attempt + 1
  end
end

-- The object that a response is.
function M.decode(response)
  local object, err = try(json.decode, response.body)
  if type(object) ~= "table" then error(status.no_json(response, err), 0) end
  return object
end

-- When a call has to be over: its own option or the connection's.
function M.deadline(cluster, options)
  local timeout = options.timeout or cluster.timeout
  return timeout and clock.monotonic() + timeout
end

local known = {
  body = "any", check = "boolean", compressed = "boolean", connect_timeout = "any",
  headers = "any", idle_timeout = "any", json = "any", max_body = "count", method = "name",
  path = "name", query = "any", safe = "boolean", stream = "boolean", timeout = "any",
}

local function with_header(headers, name, value)
  local copy = { [name] = value }
  for key, other in next, headers or {} do
    if key:lower() == name:lower() then copy[name] = nil end
    copy[key] = other
  end
  return copy
end

-- What the client takes of it.
local function for_client(cluster, options)
  local request = {
    method = options.method or "GET",
    path = paths.with_query(options.path, options.query),
    headers = options.headers, body = options.body, stream = options.stream,
    timeout = options.stream and options.timeout or nil,
    idle_timeout = options.idle_timeout, connect_timeout = options.connect_timeout,
    max_body = options.max_body, compressed = options.compressed,
  }
  if request.compressed == nil then request.compressed = cluster.compressed end
  if options.json ~= nil then
    request.body = json.encode(options.json)
    request.headers = with_header(request.headers, "Content-Type", "application/json")
  end
  return request
end

--- Sends a request of one's own, with the connection's credentials, tries and errors.
--
--     local text = cluster:raw { path = "/metrics" }.body
-- @function Cluster:raw
-- @tparam table request `path`; `method` ("GET"); `query`: a table of names and values; `headers`;
--   `body`, or `json`: a value; `stream`: true returns when the header is there; `safe`: true says
--   that sending it twice does no harm (true for GET); `check`: false returns a refusal rather than
--   raising it; `timeout` (of a stream: of all of it), `idle_timeout`, `connect_timeout`,
--   `max_body`, `compressed` as for @{moonport.http}; `retries`, `on_wait`
-- @treturn Response of @{moonport.http}
-- @raise {kind="kube"}, {kind="http"}
function M.raw(self, request)
  local options = options_of.check("cluster:raw", request, known)
  if not options.path then options_of.bad("cluster:raw: there is no `path`") end
  local wanted = for_client(self, options)
  if options.check == false then
    return self.client:request(of_try(wanted, not options.stream and M.deadline(self, options)))
  end
  local safe = options.safe
  if safe == nil then safe = reads[wanted.method] or false end
  return M.send(self, wanted, {
    safe = safe, retries = options.retries, on_wait = options.on_wait,
    deadline = not options.stream and M.deadline(self, options) or nil,
  })
end

return M
