--- Attaching the operator's terminal to a command that has a terminal of its own.
--
-- Every key goes to the command, Ctrl-C too, and the size of the window follows. A command that
-- runs as somebody else never gets hold of the operator's terminal itself, into which it could
-- type.
-- @module moonport.attach

local sys = require "moonport.sys"
local task = require "moonport.task"
local terminal = require "moonport.core.terminal"

local M = {}

--- The size for a new terminal: that of the operator's.
-- @treturn table {rows, columns}
function M.size()
  local columns, rows = terminal.size(0)
  return { rows = rows or 24, columns = columns or 80 }
end

local function pass_keys(own, remote)
  for bytes in function() return own:read() end do
    -- The command may end while a key is on its way.
    if not try(remote.write, remote, bytes) then return end
  end
end

local function pass_size(signals, remote)
  for _ in signals do
    local size = M.size()
    try(remote.resize, remote, size.rows, size.columns)
  end
end

--- Passes the terminal on until the command closes its own.
-- @tparam table remote `read()` gives bytes, nil at the end; `write(bytes)`; `resize(rows,
--   columns)`: a process with a `pty` is such a thing
function M.run(remote)
  local signals <close> = sys.signals { "WINCH" }
  local own <close> = terminal.raw()
  local _ <close> = setmetatable({}, { __close = terminal.cooked })
  local keys = task.contained(pass_keys, own, remote)
  local sizes = task.contained(pass_size, signals, remote)
  for bytes in function() return remote:read() end do own:write(bytes) end
  keys:cancel("the command has ended")
  sizes:cancel("the command has ended")
end

return M
