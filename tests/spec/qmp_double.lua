--- One connection to a QEMU that the test itself plays: what it sends is what the test writes.
local net = require "moonport.core.net"
local task = require "moonport.task"

local M = {}

M.GREETING = '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, '
  .. '"capabilities": ["oob"]}}\r\n'

--- Connects, greets, and answers the negotiation of capabilities.
-- @tparam string path of the socket to make
-- @treturn table `qmp`, `server` (the other end, for `write` and `read_line`) and `close()`
function M.open(path)
  local core = require "moonport.core.vm"
  local listener = net.listen { unix = path }
  local made = {}
  task.all {
    function() made.qmp = core.qmp(path) end,
    function()
      made.server = listener:accept()
      made.server:write(M.GREETING)
      made.server:read_line()
      made.server:write '{"return": {}, "id": 1}\r\n'
    end,
  }
  function made.close()
    made.qmp:close()
    made.server:close()
    listener:close()
  end
  return made
end

return M
