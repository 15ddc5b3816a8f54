--- Values of a manifest as people write them: `64MiB`, `30s`, `<secret file:/etc/token>`.
-- @module moonport.cli.values

local schema = require "moonport.schema"
local text = require "moonport.text"
local units = require "moonport.units"

local M = {}

local LONGEST = 100 -- bytes of a value in a line

-- Variables that hold a credential in plain text are told by their names.
local CREDENTIAL = { "KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "AUTH" }

--- True for a field whose value is not to be seen, although it is no reference to a secret.
-- @tparam string path such as `env.API_TOKEN`
-- @treturn boolean
function M.is_credential(path)
  local name = path:match("^env%.(.*)$")
  name = name and name:upper() or ""
  for _, word in ipairs(CREDENTIAL) do
    if name:find(word, 1, true) then return true end
  end
  return false
end

local function secret(reference)
  local kind, source = next(reference)
  if type(source) == "table" then source = source[1] end
  return ("<secret %s:%s>"):format(kind, tostring(source))
end

--- Cuts text that is too long for a line.
-- @tparam string shown
-- @tparam[opt=100] integer limit in bytes
-- @treturn string
function M.short(shown, limit)
  limit = limit or LONGEST
  if #shown <= limit then return shown end
  return text.cut(shown, limit - 3) .. "..."
end

local render

local function map(value, field)
  local names, parts = {}, {}
  for name in pairs(value) do names[#names + 1] = tostring(name) end
  table.sort(names)
  for index, name in ipairs(names) do
    local sub = field and (field.fields and field.fields[name] or field.of)
    parts[index] = ("%s = %s"):format(name, render(value[name], sub))
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

function render(value, field)
  local kind = field and field.type
  if value == nil then return "(not set)" end
  if kind == "size" and math.type(value) == "integer" then return units.format_size(value) end
  if kind == "duration" and math.type(value) then return units.format_duration(value) end
  if type(value) ~= "table" then return text.visible(tostring(value)) end
  if value["$secret"] then return secret(value["$secret"]) end
  if #value > 0 and type(value[1]) ~= "table" then return text.argv(value) end
  if #value == 0 then return map(value, field) end
  return require("moonport.inspect").format(value)
end

--- Shows a value.
-- @param value in normal form; nil when the field is not set
-- @tparam ?string path of the field that it is the value of
-- @treturn string in one line, cut where it is too long
function M.show(value, path)
  local field
  if path then
    if value ~= nil and M.is_credential(path) and type(value) ~= "table" then
      return "(not shown)"
    end
    field = schema.find(require("moonport.manifest").schema(), path)
  end
  return M.short(render(value, field))
end

--- The changes of fields as JSON has them: credentials masked.
-- @tparam {change,...} fields {path, from, to}
-- @treturn {change,...}
function M.plain_changes(fields)
  local json, list = require "moonport.json", {}
  for index, field in ipairs(fields) do
    local masked = M.is_credential(field.path)
    local function plain(value)
      if value ~= nil and masked and type(value) ~= "table" then return "(not shown)" end
      return value
    end
    list[index] = { path = field.path, from = plain(field.from), to = plain(field.to) }
  end
  return json.array(list)
end


return M
