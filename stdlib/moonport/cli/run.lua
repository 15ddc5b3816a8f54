-- What `--help` and completion know of `run`, which is in C where its start-up counts (lua/main.c).
local M = {
  summary = "Run a Lua script with moonport's modules",
  example = "moonport run deploy-all.lua",
}

local function configure(parser)
  parser:option("-e", "The code to run, in place of a file."):argname("CODE")
  parser:argument("file", "The script; `-` for standard input."):args("?")
  parser:argument("args", "Its arguments."):args("*")
end

local function run()
  error("run is handled before commands are", 0)
end

M.configure, M.run = configure, run

return M
