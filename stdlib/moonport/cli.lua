--- The command line.
-- @module moonport.cli

local M = {}

--- Runs the command that the words name.
-- @tparam {string,...} words those after the program's name
-- @treturn integer the exit status
function M.main(words)
  if words[1] == "--version" then print("moonport") end
  if words[1] == "repl" then
    return require "moonport.repl".main(table.move(words, 2, #words, 1, {}))
  end
  return 0
end

return M
