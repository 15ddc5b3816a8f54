local M = {
  summary = "Print the completion script of a shell",
  example = "source <(moonport completion bash)",
}

local function configure(parser)
  parser:argument("shell", "bash, zsh or fish."):choices({ "bash", "zsh", "fish" })
end

local function whole_parser()
  local cli = require "moonport.cli"
  local parser = require "argparse"("moonport", "Deploys blueprint services.")
  for _, name in ipairs(cli.COMMANDS) do
    local command = cli.command(name)
    command.configure(parser:command(name, command.summary))
  end
  return parser
end

local function run(args)
  local parser = whole_parser()
  io.stdout:write(parser["get_" .. args.shell .. "_complete"](parser))
end

M.configure, M.run = configure, run

return M
