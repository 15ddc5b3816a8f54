-- Results and errors, on the screen.

local errors = require "moonport.errors"
local inspect = require "moonport.inspect"
local secret = require "moonport.core.secret"
local style = require "moonport.ui.style"
local text = require "moonport.text"

local M = {}

local most_text = 20000 -- bytes of a string of several lines

local function options_for(stream, more)
  local options = { width = style.width(stream), colour = style.has_colour(stream) }
  for name, value in pairs(more or {}) do options[name] = value end
  return options
end

-- A string of several lines is easier to read as such.
local function text_block(value, limit)
  local shown = text.cut(value, limit)
  local rest = #shown < #value and string.format("\n… (%d bytes)", #value) or ""
  return "[[\n" .. text.visible(shown, "\n\t") .. rest .. "]]"
end

-- One value, as a line or several.
function M.value(value, limits)
  if type(value) == "string" and value:find("\n", 1, true) then
    return secret.scrub(text_block(value, limits and limits.string or most_text))
  end
  if errors.is(value) then return inspect.error(value, options_for("stdout", limits)) end
  return inspect(value, options_for("stdout", limits))
end

-- Prints each value of a packed list.
function M.results(results, limits)
  for i = 1, results.n do io.stdout:write(M.value(results[i], limits), "\n") end
  io.stdout:flush()
end

-- An error that ended a line.
function M.error(err)
  local options = options_for("stderr")
  if errors.is(err) and not errors.is(err, "repl") then return inspect.error(err, options) end
  local told
  if errors.is(err) then -- the prompt's own; where it was raised helps nobody
    told = text.visible(err.message) .. (err.hint and "\n  hint: " .. text.visible(err.hint) or "")
  elseif type(err) == "string" then
    told = text.visible(err, "\n\t")
  else
    told = inspect(err, options)
  end
  local word = options.colour and style.paint("red", "error:") or "error:"
  return secret.scrub(word .. " " .. told)
end

-- A remark of the prompt's own.
function M.note(words)
  io.stderr:write(style.has_colour("stderr") and style.paint("dim", words) or words, "\n")
end

return M
