local M = {
  summary = "A prompt for operations, in Lua",
  description = "A prompt at which moonport's modules are at hand and calls that wait just work. "
    .. "`.help` at the prompt tells more.",
  example = "moonport repl",
}

local function configure(parser)
  parser:flag("--no-init", "Do not run ~/.config/moonport/init.lua.")
end

local function run(args)
  return require("moonport.repl").main(args.no_init and { "--no-init" } or {})
end

M.configure, M.run = configure, run

return M
