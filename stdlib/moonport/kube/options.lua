-- Options of the verbs: which there are, and of what kind.

local errors = require "moonport.errors"

local M = {}

local function is_count(value) return math.type(value) == "integer" and value >= 0 end

-- What stays one segment of a path, and the one that it is.
local function is_segment(text)
  return type(text) == "string" and text ~= "" and text ~= "." and text ~= ".."
    and not text:find("[/%%]")
end

local kinds = {
  any = function() return true end,
  boolean = function(value) return type(value) == "boolean" end,
  count = is_count,
  ["function"] = function(value) return type(value) == "function" end,
  name = function(value) return type(value) == "string" and value ~= "" end,
  page = function(value) return is_count(value) and value > 0 end,
  seconds = function(value) return type(value) == "number" and value > 0 end,
  segment = is_segment,
  string = function(value) return type(value) == "string" end,
}

local wanted = {
  boolean = "true or false",
  count = "a whole number from 0 on",
  ["function"] = "a function",
  name = "a string that is not empty",
  page = "a whole number from 1 on",
  seconds = "a number of seconds above 0",
  segment = "a name without `/` and `%`",
  string = "a string",
}

local common = {
  namespace = "segment", on_wait = "function", retries = "count", subresource = "segment",
  timeout = "seconds",
}

-- Raises about an argument.
function M.bad(format, ...)
  errors.raise { kind = "argument", code = "invalid", message = string.format(format, ...) }
end

local function unknown(call, name, extra)
  local known = {}
  for option in pairs(common) do known[#known + 1] = option end
  for option in pairs(extra) do known[#known + 1] = option end
  errors.raise {
    kind = "argument", code = "invalid",
    message = string.format("%s: there is no option `%s`", call, tostring(name)),
    hint = type(name) == "string" and require("moonport.nearest").hint(name, known) or nil,
  }
end

-- The options of a call, checked: those of all verbs and `extra` ones, name to kind.
function M.check(call, options, extra)
  if options == nil then return {} end
  if type(options) ~= "table" then
    M.bad("%s: the options are a table, got a %s", call, type(options))
  end
  for name, value in next, options do
    local kind = extra[name] or common[name]
    if not kind then unknown(call, name, extra) end
    if not kinds[kind](value) then
      M.bad("%s: `%s` is %s, got %s", call, name, wanted[kind],
        type(value) == "string" and "`" .. value .. "`" or "a " .. type(value))
    end
  end
  return options
end

-- A name that cannot be mistaken for something else. An empty one would make a call on one object
-- a call on all of them.
function M.check_name(call, what, name)
  if type(name) ~= "string" then M.bad("%s: %s is a string, got a %s", call, what, type(name)) end
  if name == "" then M.bad("%s: %s is empty", call, what) end
  if not is_segment(name) then
    M.bad("%s: `%s` cannot be %s", call, name, what)
  end
  return name
end

return M
