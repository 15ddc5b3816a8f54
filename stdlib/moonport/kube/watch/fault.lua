--- What a failed request means for somebody who wants to go on.
-- @module moonport.kube.watch.fault

local errors = require "moonport.errors"

local M = {}

-- The connection, not the request: another one may do.
local PASSING = { resolve = true, connect = true, closed = true, timeout = true, protocol = true,
  proxy = true, failed = true }

-- Refused, and perhaps only for a while: just after its start a server knows neither roles nor
-- custom resources yet.
local REFUSED = { [401] = true, [403] = true, [404] = true }

-- A version that this server has not reached, such as after a restore of etcd.
local function is_ahead(err)
  for _, cause in ipairs(err.causes or {}) do
    if cause.reason == "ResourceVersionTooLarge" then return true end
  end
  return type(err.message) == "string"
    and err.message:find("Too large resource version", 1, true) ~= nil
end

local function of_api(err)
  local status = err.status
  if err.code == "expired" or err.code == "gone" or status == 410 or is_ahead(err) then
    return "expired"
  elseif REFUSED[status] then
    return "refused"
  elseif err.code == "credentials" or (status and (status == 429 or status >= 500)) then
    return "passing" -- a credential plugin often needs the very network that is away
  end
  return "fatal"
end

--- Judges an error.
-- @param err what was raised
-- @treturn string "expired": the version asked for is no longer (or not yet) to be had; "passing":
--   try again; "refused": try again for a while; "fatal": do not
function M.judge(err)
  if errors.is(err, "kube") then return of_api(err) end
  if errors.is(err, "http") then
    if PASSING[err.code] then return "passing" end
    return err.code == "tls" and "refused" or "fatal"
  end
  return "fatal"
end

--- The seconds that the server asked to wait.
-- @param err
-- @treturn ?number
function M.wanted_wait(err)
  if type(err) ~= "table" then return nil end
  local details = type(err.details) == "table" and err.details or {}
  return tonumber(err.retry_after) or tonumber(details.retryAfterSeconds)
end

return M
