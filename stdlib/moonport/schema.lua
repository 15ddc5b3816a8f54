--- Declarative shapes of plain data: one description gives checking, defaults and documentation.
--
--    local fields = schema.record {
--      name = schema.string { required = true, doc = "what the service is called" },
--      limits = schema.record({ memory = schema.size { doc = "..." } }, { default = {} }),
--    }
--    local data = schema.parse(fields, value, { what = "manifest", locate = fn })
--
-- A field is a plain table {type = ..., doc = ..., default = ..., required = ..., ...}. Every
-- constructor takes one table of options; those all fields know:
--
--   doc       one line for people
--   default   used by `fill` where the value is absent (already in its normal form)
--   required  `fill` reports the field when it is absent
--   check     function(value) returning nil, or the reason why not and a hint
--   sensitive the value is not shown in errors
--
-- Checking never stops at the first problem: all are reported, each with field path, file, line,
-- value, what was expected, and the nearest known name.
--
-- @module moonport.schema
local errors = require "moonport.errors"
local keypath = require "moonport.keypath"
local types = require "moonport.schema.types"

local M = {}

local function constructor(type_name)
  return function(options)
    local field = { type = type_name }
    for key, value in pairs(options or {}) do
      field[key] = value
    end
    return field
  end
end

--- Text without NUL bytes. Options: `pattern` (a Lua pattern it must match), `expected` (in words),
-- `max` (bytes).
M.string = constructor "string"

--- A path; a relative one is resolved against the directory of the file it was written in.
M.path = constructor "path"

--- A whole number. Options: `min`, `max`.
M.integer = constructor "integer"

--- A number. Options: `min`, `max`.
M.number = constructor "number"

--- true or false.
M.boolean = constructor "boolean"

--- A size (`"512MiB"`); its normal form is bytes. Options: `min`, `max`.
M.size = constructor "size"

--- A duration (`"30s"`); its normal form is seconds. Options: `min`, `max`.
M.duration = constructor "duration"

--- Text, or a reference to a secret. The normal form of a reference is {["$secret"] = {...}}.
M.secret = constructor "secret"

--- Any plain data.
M.any = constructor "any"

--- One of the words listed: `schema.enum { "no", "always", default = "no" }`.
M.enum = constructor "enum"

--- A list whose elements are all alike. Options: `min`, `max` (elements).
-- @tparam table of the field of each element
-- @tparam ?table options
function M.list(of, options)
  local field = constructor "list"(options)
  field.of = of
  return field
end

--- A table from text to values that are all alike. Options: `key` (check function of the key).
-- @tparam table of the field of each value
-- @tparam ?table options
function M.map(of, options)
  local field = constructor "map"(options)
  field.of = of
  return field
end

--- A table with known fields. Options: `whole` (function(data, report) that checks fields against
-- each other in `fill`; `report(key, message, hint)` adds a problem), `stray` (function(key) ->
-- hint, which knows where a field belongs that is none of this table).
-- @tparam table fields name -> field
-- @tparam ?table options
function M.record(fields, options)
  local field = constructor "record"(options)
  field.fields = fields
  return field
end

--- The first of several alternatives that fits.
-- @tparam table alternatives list of fields
-- @tparam ?table options
function M.one_of(alternatives, options)
  local field = constructor "one_of"(options)
  field.alternatives = alternatives
  return field
end

--- Checks a value and brings it to its normal form, without defaults. What is absent stays absent,
-- so that layers can be merged afterwards.
-- @tparam table field
-- @param value plain data
-- @tparam ?table options `locate` (function(path) -> file, line), `base` (directory for relative
-- paths), `path` (where `value` stands)
-- @return the normal form (nil where it does not fit)
-- @treturn table list of problems {path, file, line, message, hint}
function M.check(field, value, options)
  options = options or {}
  local state = {
    problems = {},
    locate = options.locate or function() end,
    base = options.base,
  }
  local normal = types.check(field, value, options.path or "", state)
  return normal, state.problems
end

local function absent(field, path, state)
  if field.default ~= nil then
    return types.copy(field.default)
  elseif field.required then
    types.report(state, path, ("`%s` is missing"):format(path), field.doc and "it is " .. field.doc)
  end
end

local fill

local function fill_record(field, data, path, state)
  for name, sub in pairs(field.fields) do
    local sub_path = keypath.join(path, name)
    local value = data[name]
    if value == nil then
      value = absent(sub, sub_path, state)
    end
    data[name] = value ~= nil and fill(sub, value, sub_path, state) or value
  end
  if field.whole then
    field.whole(data, function(key, message, hint)
      types.report(state, key and keypath.join(path, key) or path, message, hint)
    end)
  end
end

function fill(field, value, path, state)
  if field.type == "record" then
    fill_record(field, value, path, state)
  elseif field.type == "list" or field.type == "map" then
    for key, element in pairs(value) do
      value[key] = fill(field.of, element, keypath.join(path, key), state)
    end
  end
  return value
end

--- Adds defaults to data in normal form (in place) and reports what is required and absent.
-- @tparam table field
-- @tparam table data from `check`
-- @tparam ?table options as for `check`
-- @treturn table data
-- @treturn table problems
function M.fill(field, data, options)
  options = options or {}
  local state = { problems = {}, locate = options.locate or function() end }
  return fill(field, data, options.path or "", state), types.in_order(state.problems)
end

--- Raises one error that tells all problems. Does nothing when there are none.
-- @tparam table problems from `check` and `fill`
-- @tparam string what is being checked: "manifest", "site configuration"
-- @raise {kind = "schema", code = "invalid", problems = {...}}
function M.refuse(problems, what)
  if #problems == 0 then
    return
  end
  local lines = {}
  for _, problem in ipairs(types.in_order(problems)) do
    lines[#lines + 1] = M.problem_text(problem)
  end
  local head = #lines == 1 and "the %s is not valid: " or "the %s is not valid:\n  "
  local failure = errors.new {
    kind = "schema",
    code = "invalid",
    message = head:format(what) .. table.concat(lines, "\n  "),
  }
  failure.problems = problems
  error(failure, 0)
end

--- A problem in one line (two when it has a hint).
-- @tparam table problem
-- @treturn string
function M.problem_text(problem)
  local place = problem.file and (problem.line and "%s:%d: " or "%s: ") or ""
  local text = place:format(problem.file, problem.line) .. problem.message
  return problem.hint and ("%s (%s)"):format(text, problem.hint) or text
end

--- Checks, fills and refuses in one go.
-- @tparam table field
-- @param value
-- @tparam table options as for `check`, and `what`
-- @treturn table the normal form with defaults
function M.parse(field, value, options)
  local data, problems = M.check(field, value, options)
  M.refuse(problems, options.what)
  data, problems = M.fill(field, data, options)
  M.refuse(problems, options.what)
  return data
end

--- Finds the field that a path leads to.
-- @tparam table field the top
-- @tparam string path such as `ready.http` or `command[2]`
-- @treturn ?table the field, or nil when the path names nothing
-- @treturn ?string the nearest path that exists, when there is one
function M.find(field, path)
  return types.find(field, path)
end

--- Documents a schema: one row per field, in order of their paths.
-- @tparam table field
-- @treturn table list of {path, type, default, required, doc}
function M.describe(field)
  local rows = {}
  types.describe(field, "", rows)
  table.sort(rows, function(a, b)
    return a.path < b.path
  end)
  return rows
end

return M
