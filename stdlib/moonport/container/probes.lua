--- The checks by which a node knows that a service is ready, and that it lives.
--
-- A pod has one readiness probe. A startup probe stands before it and lasts as long as
-- `ready.timeout`, so that a slow start is not taken for a death. `ready.log` has no counterpart:
-- moonport waits for it when it deploys.
-- @module moonport.container.probes

local address = require "moonport.container.address"
local quantity = require "moonport.container.quantity"

local M = {}

-- Kubelets ask the pod's own address where no host is given; a loopback would be the node's.
local function probed_host(host)
  if not address.is_loopback(host) then return host end
end

local function http_get(url)
  local scheme, authority, rest = url:match("^(%a+)://([^/?#]*)([^#]*)")
  local host, port = authority:match("^%[(.-)%]:?(%d*)$")
  if not host then host, port = authority:match("^([^:]*):?(%d*)$") end
  return {
    scheme = scheme:upper(),
    host = probed_host(host or authority),
    port = tonumber(port) or (scheme == "https" and 443 or 80),
    path = rest:sub(1, 1) == "/" and rest or "/" .. rest,
  }
end

local handlers = {}

function handlers.http(ready)
  return { httpGet = http_get(ready.http) }
end

function handlers.tcp(ready)
  local host, port = ready.tcp:match("^%[?(.-)%]?:(%d+)$")
  return { tcpSocket = { host = probed_host(host), port = tonumber(port) } }
end

function handlers.exec(ready)
  return { exec = { command = table.move(ready.exec, 1, #ready.exec, 1, {}) } }
end

-- `test` is in every image that has a shell; where there is none, the pod's event says so.
function handlers.file(ready, places)
  local path = ready.file
  if path:sub(1, 1) ~= "/" then path = places.data_dir .. "/" .. path end
  return { exec = { command = { "test", "-e", path } } }
end

local KINDS = { "http", "tcp", "exec", "file" }

local function probe(handler, fields)
  for key, value in pairs(handler) do fields[key] = value end
  return fields
end

--- The probes of a container.
-- @tparam table manifest
-- @tparam table places `data_dir`
-- @treturn table {startupProbe, readinessProbe, livenessProbe}; empty where nothing is probed
function M.container(manifest, places)
  local ready = manifest.ready
  local kind
  for _, candidate in ipairs(KINDS) do
    if ready and ready[candidate] then kind = candidate break end
  end
  if not kind then return {} end
  local handler, own = handlers[kind](ready, places), manifest.container.probes
  local interval, answer = quantity.seconds(ready.interval), quantity.seconds(own.timeout)
  local probes = {
    startupProbe = probe(handler, {
      periodSeconds = interval, timeoutSeconds = answer, successThreshold = 1,
      failureThreshold = math.max(1, math.ceil(ready.timeout / interval)),
    }),
    readinessProbe = probe(handler, {
      periodSeconds = interval, timeoutSeconds = answer, successThreshold = 1, failureThreshold = 3,
    }),
  }
  -- That a file is there says nothing of life.
  if own.liveness and kind ~= "file" and not manifest.registration then
    probes.livenessProbe = probe(handler, {
      periodSeconds = quantity.seconds(own.period), timeoutSeconds = answer, successThreshold = 1,
      failureThreshold = own.failures,
    })
  end
  return probes
end

return M
