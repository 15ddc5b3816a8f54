local env = require "moonport.cli.env"

local M = {
  summary = "Attach to the console of a virtual machine",
  description = "Gives you the console of the virtual machine that a service runs in, as if you "
    .. "sat in front of it: every key goes there. Ctrl-] leaves it; the machine goes on. One at a "
    .. "time can attach. Off a terminal, input goes to the console and its output to standard "
    .. "output, until the machine ends or you interrupt it.",
  example = "moonport console squaring\nmoonport console --escape ^A squaring\n"
    .. "moonport console squaring </dev/null >console.txt",
}

-- `^X` as people write it, to the byte that the terminal sends.
local function escape_of(text)
  if text == "none" then return "" end
  local letter = text:match "^%^([@-_a-z])$"
  if letter then return string.char(letter:upper():byte() & 31) end
  if #text == 1 then return text end
  return nil, ("`%s` is no key; write ^] for Ctrl-], or none"):format(text)
end

local function configure(parser)
  parser:argument("name", "Name of the service.")
  parser:option("-e --escape", "The key that leaves the console: ^A for Ctrl-A, none for no key.")
    :argname("KEY"):convert(escape_of):default("^]")
end

local function run(args)
  require("moonport.cli").quiet_interrupt = true
  local opened <close> = env.open(args, { read_only = true })
  local service = env.service(opened, args.name)
  service:console { escape = args.escape }
end

M.configure, M.run = configure, run

return M
