-- Colours, and whether a stream shows them.

local terminal = require "moonport.core.terminal"

local M = {}

local codes = {
  bold = "1", dim = "2", red = "31", green = "32", yellow = "33", blue = "34", magenta = "35",
  cyan = "36",
}

local numbers = { stdin = 0, stdout = 1, stderr = 2 }

-- stream: "stdin", "stdout" or "stderr"; "stdout" when left out
function M.is_terminal(stream) return terminal.is_terminal(numbers[stream or "stdout"]) end

-- Colours are for terminals, and for people who want them (https://no-color.org).
function M.has_colour(stream)
  local refused = os.getenv("NO_COLOR")
  if refused and refused ~= "" then return false end
  if os.getenv("TERM") == "dumb" then return false end
  return M.is_terminal(stream)
end

-- nil where lines may be as long as they like
function M.width(stream)
  if not M.is_terminal(stream) then return nil end
  return terminal.size(numbers[stream or "stdout"]) or 80
end

-- The text in a colour, whoever is looking.
function M.paint(name, text)
  local code = codes[name]
  if not code then error(string.format("there is no colour `%s`", tostring(name)), 2) end
  return "\27[" .. code .. "m" .. text .. "\27[0m"
end

return M
