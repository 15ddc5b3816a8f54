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

-- Until the operator presses the key that leaves: then true.
local function pass_keys(own, remote, escape)
  for bytes in function() return own:read() end do
    local at = escape and bytes:find(escape, 1, true)
    if at then bytes = bytes:sub(1, at - 1) end
    -- The command may end while a key is on its way.
    if bytes ~= "" and select(2, try(remote.write, remote, bytes)) then return false end
    if at then return true end
  end
end

local function pass_size(signals, remote)
  for _ in signals do
    local size = M.size()
    try(remote.resize, remote, size.rows, size.columns)
  end
end

local function pass_output(own, remote)
  for bytes in function() return remote:read() end do own:write(bytes) end
  return false
end

--- Passes the terminal on until the command closes its own, or the operator leaves.
-- @tparam table remote `read()` gives bytes, nil at the end; `write(bytes)`; `resize(rows,
--   columns)`: a process with a `pty` is such a thing
-- @tparam[opt] string escape the key that leaves, a byte; without it every key is the command's
-- @treturn boolean true when the operator left
function M.run(remote, escape)
  local signals <close> = sys.signals { "WINCH" }
  local own <close> = terminal.raw()
  local _ <close> = setmetatable({}, { __close = terminal.cooked })
  local sizes = task.contained(pass_size, signals, remote)
  local left = false
  local keys = task.contained(function() left = pass_keys(own, remote, escape) end)
  local output = task.contained(pass_output, own, remote)
  local first = escape and task.race {
    function() return output:await() end,
    -- The end of our own input does not end the command.
    function()
      keys:await()
      if not left then output:await() end
      return left
    end,
  } or output:await()
  keys:cancel("the command has ended")
  output:cancel("left")
  sizes:cancel("the command has ended")
  return first
end

return M
