--- Stands in for an Ethereum node: every question finds a new block.
local json = require "moonport.json"
local task = require "moonport.task"

local M = {}

-- One request of the example blueprint, answered with a block; false when the client has gone.
local function answer(connection, block)
  local length = 0
  while true do
    local line = connection:read_line()
    if not line then return false end
    if line == "" or line == "\r" then break end
    length = tonumber(line:lower():match "^content%-length: *(%d+)") or length
  end
  local request = json.decode(connection:read(length))
  local body =
    json.encode { jsonrpc = "2.0", id = request.id, result = ("0x%x"):format(block) }
  connection:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
  return true
end

--- Answers until it is cancelled.
-- @tparam listener listener
function M.serve(listener)
  local block = 40
  while true do
    local accepted = listener:accept()
    task.spawn(function()
      local connection <close> = accepted
      repeat block = block + 1 until not try(answer, connection, block)
    end)
  end
end

return M
