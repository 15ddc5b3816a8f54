--- For measurements: how long at least one request or stream of any cluster was awaited. What is
-- left of the time is our own.
--
--     local awaited = require "moonport.kube.awaited"   -- before connecting
--     local began = clock.monotonic()
--     ...
--     print("our own", clock.monotonic() - began - awaited.seconds())
--
-- Connections count from the moment that this module is loaded; without it they are as they are.
-- @module moonport.kube.awaited

local clock = require "moonport.core.clock"

local M = {}

local pending, since, total = 0, nil, 0.0

local function begin()
  if pending == 0 then since = clock.monotonic() end
  pending = pending + 1
end

local function finish()
  pending = pending - 1
  if pending == 0 then total = total + clock.monotonic() - since end
end

-- A stream is awaited until it is closed.
local function follow(response)
  local open, close = true, response.close
  rawset(response, "close", function(self)
    if open then finish() end
    open = false
    return close(self)
  end)
  return response
end

--- The seconds in which something was awaited.
-- @treturn number
function M.seconds()
  return pending > 0 and total + clock.monotonic() - since or total
end

--- A client of `moonport.core.kube` whose requests are counted.
-- @tparam userdata client
-- @treturn table
function M.counted(client)
  local counted = { config = client.config }
  function counted.request(_, options)
    begin()
    local response, err = try(client.request, client, options)
    if response and options.stream then return follow(response) end
    finish()
    return response or error(err, 0)
  end
  function counted.websocket(_, options) return client:websocket(options) end
  function counted.close() client:close() end
  return counted
end

return M
