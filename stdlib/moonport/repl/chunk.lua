-- What was typed, as a function.

local M = {}

-- Makes none of the chunk's calls a tail call, so that task.spawn sees that the line called it, and
-- tracebacks name it.
local ahead = "local __line <close> = nil "

local function ends_too_early(message) return message:sub(-5) == "<eof>" end

-- Compiles a line, or what has become of several.
-- source: an expression (also behind a `=`, as older Luas wanted it) or statements.
-- Gives a function, or nil and "incomplete", or nil and the error.
function M.compile(source, name)
  source = source .. "\n" -- what a quoted string does not go over
  local expression = source:match("^%s*=(.*)$")
  if expression then
    local fn, err = load(ahead .. "return " .. expression, name, "t")
    if fn then return fn end
    return nil, ends_too_early(err) and "incomplete" or err
  end
  local fn, as_expression, as_statement
  fn, as_expression = load(ahead .. "return " .. source, name, "t")
  if fn then return fn end
  fn, as_statement = load(ahead .. source, name, "t")
  if fn then return fn end
  if ends_too_early(as_statement) or ends_too_early(as_expression) then return nil, "incomplete" end
  return nil, as_statement
end

-- The names that a chunk of nothing but one `local` statement defines, "" for none: they are gone
-- when it has run.
function M.lost_locals(source)
  local names = source:match("^%s*local%s+([%a_][%w_%s,]*)%s*=") or
    source:match("^%s*local%s+function%s+([%a_][%w_]*)") or ""
  return names:match("^(.-)%s*$")
end

return M
