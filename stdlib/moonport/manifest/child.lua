--- The child process that evaluates a Lua manifest (lua/manifest_eval.h).
--
-- @module moonport.manifest.child
local errors = require "moonport.errors"
local process = require "moonport.process"

local M = {}

-- The program that runs now, also where its file was replaced meanwhile.
local SELF = "/proc/self/exe"
local COMMAND = "__manifest"

--- Runs the child.
-- @tparam string text of the manifest
-- @tparam number seconds it may take
-- @treturn table `output`, what it wrote; `signal` ("XCPU", "KILL") where one ended it; `text`, how
-- it ended
function M.run(text, seconds)
  local result, why = try(process.run, {
    SELF,
    COMMAND,
    input = text,
    clean_env = true,
    check = false,
    timeout = seconds,
    purpose = "credential",
  })
  if errors.is(why, "process", "timeout") then
    return { output = "", signal = "KILL", text = why.message }
  elseif why then
    error(why, 0)
  end
  local signal = result.signal and result.signal:gsub("^SIG", "")
  local ended = signal and "killed by " .. signal or ("exited with code %d"):format(result.code)
  return { output = result.stdout, signal = signal, text = ended }
end

return M
