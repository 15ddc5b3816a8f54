--- Errors about what somebody wrote: a rule, a set, an element.
--
-- @module moonport.nft.problem
local errors = require "moonport.errors"
local nearest = require "moonport.nearest"

local M = {}

--- Raises an error about an ill-formed value.
-- @tparam string message
-- @tparam ?string hint
-- @raise {kind = "nft", code = "invalid"}
function M.raise(message, hint)
  errors.raise { kind = "nft", code = "invalid", message = message, hint = hint }
end

--- What a value is, for messages: short, and quoted as it was written.
-- @param value
-- @treturn string
function M.show(value)
  if type(value) == "string" then
    return ("`%s`"):format(#value > 80 and value:sub(1, 77) .. "..." or value)
  elseif type(value) == "number" or type(value) == "boolean" then
    return ("`%s`"):format(value)
  elseif type(value) == "table" and value[1] ~= nil then
    return "a list"
  end
  return "a " .. type(value)
end

--- Raises for a value of the wrong kind.
-- @tparam string where the field
-- @param value what stands there
-- @tparam string expected in words
function M.expected(where, value, expected)
  M.raise(("`%s` is %s; expected %s"):format(where, M.show(value), expected))
end

--- Raises for a name that is not known.
-- @tparam string what "field", "chain type", ...
-- @tparam string name
-- @tparam table known a list, or a table by name
function M.unknown(what, name, known)
  M.raise(("there is no %s `%s`"):format(what, tostring(name)), nearest.hint(tostring(name), known))
end

--- Raises for a key that a table may not have.
-- @tparam table value
-- @tparam table known name -> true
-- @tparam string what "chain", "set", ...
function M.only(value, known, what)
  for key in pairs(value) do
    if not known[key] then
      M.unknown(("field of a %s"):format(what), key, known)
    end
  end
end

--- Raises for an option that a function does not have: passed over, it would do something else than
-- was meant.
-- @tparam ?table options
-- @tparam table known name -> true
-- @tparam string what the function
function M.options(options, known, what)
  if options ~= nil and type(options) ~= "table" then
    M.expected("options", options, "a table")
  end
  for key in pairs(options or {}) do
    if not known[key] then
      M.unknown(("option of %s"):format(what), key, known)
    end
  end
end

return M
