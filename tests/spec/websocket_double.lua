--- The servers of tests/fixtures/websocket_double.c: they serve until they are closed.

local process = require "moonport.process"

local M = {}

local BIN = os.getenv("MOONPORT"):match("^(.*)/bin/[^/]+$") .. "/tests/bin/websocket_double"

--- @treturn table {url, port, close()}
function M.start()
  local server = process.spawn { BIN, stderr = "inherit" }
  local port = math.tointeger(server:read_line())
  return {
    port = port,
    url = ("ws://127.0.0.1:%d/"):format(port),
    close = function() server:close() end,
  }
end

return M
