--- Speaking to people: tables, colours, questions, progress.
--
-- On a terminal, output is aligned to its width and coloured (unless `NO_COLOR` is set); elsewhere
-- it is plain lines without escape codes. Whatever is written here has secrets masked, and control
-- characters in table cells made visible, so that a log line cannot drive the terminal.
-- @module moonport.ui

local errors = require "moonport.errors"
local secret = require "moonport.core.secret"
local style = require "moonport.ui.style"
local terminal = require "moonport.core.terminal"
local text = require "moonport.text"

local M = {}

--- Makes control characters visible (see `moonport.text`).
-- @function visible
-- @tparam string text
-- @tparam[opt] string keep control characters to leave as they are, such as "\n"
-- @treturn string
M.visible = text.visible

--- Writes a size as manifests and people do: `1.5GiB`.
-- @tparam number bytes
-- @treturn string
function M.size(bytes)
  return require("moonport.units").short_size(bytes)
end

--- Writes a duration as people do: `2.3 s`, `4 m 10 s`.
-- @function duration
-- @tparam number seconds
-- @treturn string
M.duration = text.duration

--- Tells whether a standard stream leads to a terminal.
-- @function is_terminal
-- @tparam[opt="stdout"] string stream "stdin", "stdout" or "stderr"
-- @treturn boolean
M.is_terminal = style.is_terminal

--- Tells whether a stream shows colours.
-- @function has_colour
-- @tparam[opt="stdout"] string stream
-- @treturn boolean
M.has_colour = style.has_colour

--- The columns of the terminal behind a stream.
-- @function width
-- @tparam[opt="stdout"] string stream
-- @treturn integer|nil nil when it is no terminal
M.width = style.width

--- Colours text, where the stream shows colours.
-- @tparam string name bold, dim, red, green, yellow, blue, magenta or cyan
-- @tparam string shown
-- @tparam[opt="stdout"] string stream that the text is for
-- @treturn string
function M.colour(name, shown, stream)
  return M.has_colour(stream) and style.paint(name, shown) or shown
end

local function joined(...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = tostring(parts[i]) end
  return table.concat(parts, "\t")
end

local EPIPE = 32
local ENDED_BY_SIGPIPE = 141 -- what a shell shows of a program that died of it

-- A reader that has seen enough (`| head`) is no failure worth a word; a full disk is.
local function cannot_write(why, errno)
  if errno == EPIPE then
    errors.raise {
      kind = "ui", code = "EPIPE", message = "nobody reads standard output any more",
      quiet = true, exit = ENDED_BY_SIGPIPE, where = "",
    }
  end
  errors.raise {
    kind = "ui", code = "write", message = "could not write to standard output: " .. why,
    where = "",
  }
end

--- Prints a line to standard output, with secrets masked.
-- @param ... values, as for `print`
-- @raise {kind="ui"} when it cannot be written; {code="EPIPE"} when nobody reads it any more, which
--   ends moonport without a word
function M.print(...)
  local ok, why, errno = io.stdout:write(secret.scrub(joined(...)), "\n")
  if ok then ok, why, errno = io.stdout:flush() end
  if not ok then cannot_write(why, errno) end
end

--- Prints a line about what happens, to standard error, with secrets masked.
-- @param ... values, as for `print`
function M.note(...)
  io.stderr:write(secret.scrub(joined(...)), "\n")
end

--- Prints a warning to standard error.
-- @tparam string message
function M.warn(message)
  M.note(M.colour("yellow", "warning:", "stderr") .. " " .. message)
end

--- Prints an error to standard error, the way that moonport ends with one.
-- @param err
-- @tparam[opt] string about what it is about, such as a service's name
function M.complain(err, about)
  local shown = tostring(err):gsub("\n  hint:", function(hint)
    return M.colour("cyan", hint, "stderr")
  end)
  M.note(("%s %s%s"):format(M.colour("red", "moonport:", "stderr"),
    about and ("%s: "):format(about) or "", shown))
end

--- Writes rows as an aligned table.
-- @tparam {table,...} rows
-- @tparam {table|string,...} columns each the name of a field, or `{ field, title = "TITLE",
--   align = "right", max = columns, format = function(value, row),
--   colour = name|function(value, row) }`
-- @tparam[opt] table options `width` to fit in, `colour` true for escape codes, `header` false for
--   none
-- @treturn string without a newline at the end
function M.format_table(rows, columns, options)
  return require "moonport.ui.table".format(rows, columns, options or {})
end

--- Prints rows as an aligned table, as wide as the terminal at most.
-- @tparam {table,...} rows
-- @tparam {table|string,...} columns as for @{format_table}
function M.table(rows, columns)
  M.print(M.format_table(rows, columns, { width = M.width(), colour = M.has_colour() }))
end

--- Prints a value as JSON.
-- @param value what `moonport.json` can encode
function M.json(value)
  M.print(require "moonport.json".encode(value, { indent = 2, sort = true }))
end

--- Prints a listing the way that `-o` asked for.
-- @tparam {table,...} rows
-- @tparam {table|string,...} columns as for @{format_table}
-- @tparam[opt] string output "json" for the rows as they are, "names" for the first column
--   alone, else a table
function M.listing(rows, columns, output)
  if output == "json" then
    local json = require "moonport.json"
    M.json(json.array and json.array(rows) or rows)
  elseif output == "names" then
    local first = columns[1]
    local field = type(first) == "table" and (first[1] or first.field) or first
    for _, row in ipairs(rows) do M.print(text.visible(tostring(row[field]))) end
  else
    M.table(rows, columns)
  end
end

--- Calls a function and, when it takes more than a second, shows that it goes on: a moving line at
-- the bottom of a terminal, plain lines elsewhere; and in the end how long it took.
--
--     ui.progress("pulling the image", function(progress)
--       progress:say("layer 3")        -- what is being done
--       progress:advance(12, 40)       -- how much of it, where that is known
--     end)
-- @tparam string label
-- @tparam function fn called with the progress
-- @tparam[opt] table options `always` to tell the time however short, `hush` to leave no line
--   behind
-- @return what `fn` returns
function M.progress(label, fn, options)
  return require "moonport.ui.progress".run(label, fn, options)
end

--- Asks a question that is answered with yes or no.
-- @tparam string question
-- @tparam[opt] table options `yes` true when `--yes` answered already; `default` for an empty
--   answer
-- @treturn boolean
-- @raise {kind="ui", code="usage"} when there is no terminal to ask at
function M.confirm(question, options)
  options = options or {}
  if options.yes then return true end
  if not (M.is_terminal("stdin") and M.is_terminal("stderr")) then
    errors.raise {
      kind = "ui", code = "usage",
      message = string.format("`%s` wants an answer, and there is no terminal to ask at", question),
      hint = "pass --yes to say yes beforehand",
    }
  end
  local choice = options.default and "[Y/n]" or "[y/N]"
  while true do
    io.stderr:write(secret.scrub(text.visible(question)), " ", choice, " ")
    local answer = terminal.read_line()
    if not answer then
      io.stderr:write("\n")
      return false
    end
    answer = answer:match("^%s*(.-)%s*$"):lower()
    if answer == "" then return options.default or false end
    if answer == "y" or answer == "yes" then return true end
    if answer == "n" or answer == "no" then return false end
  end
end

return M
