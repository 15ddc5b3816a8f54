--- What commands report, as JSON has it: names of fields that stay, numbers as numbers, times in
-- RFC 3339 (UTC), lists as lists also when they are empty.
-- @module moonport.cli.report

local json = require "moonport.json"
local times = require "moonport.cli.times"

local M = {}

local function copy(record)
  local fields = {}
  for name, value in pairs(record) do fields[name] = value end
  return fields
end

--- How a service is.
-- @tparam table status of `service:status`
-- @treturn table
function M.status(status)
  local fields = copy(status)
  fields.created, fields.updated = times.rfc3339(status.created), times.rfc3339(status.updated)
  return fields
end

--- Why a deployment failed.
-- @tparam ?table failure of `moonport.failure`
-- @treturn ?table
function M.failure(failure)
  if not failure then return nil end
  local fields = copy(failure)
  fields.at = times.rfc3339(failure.at)
  for _, name in ipairs { "done", "undone", "left" } do
    fields[name] = json.array(copy(failure[name] or {}))
  end
  return fields
end

--- An error.
-- @param err
-- @treturn table {kind, code, message, hint}
function M.error(err)
  if type(err) ~= "table" then return { message = tostring(err) } end
  return { kind = err.kind, code = err.code, message = err.message, hint = err.hint }
end

--- A revision.
-- @tparam table row of `deploy.history`
-- @treturn table
function M.revision(row)
  local fields = copy(row)
  fields.created, fields.ended = times.rfc3339(row.created), times.rfc3339(row.ended)
  fields.fields = require("moonport.cli.values").plain_changes(row.fields)
  return fields
end

--- What deploying would do.
-- @tparam table plan of `deploy.plan`
-- @treturn table
function M.plan(plan)
  local fields = copy(plan)
  fields.fields = require("moonport.cli.values").plain_changes(plan.fields)
  fields.steps = json.array(copy(plan.steps))
  return fields
end

--- Makes a list for JSON.
-- @tparam {table,...} rows
-- @tparam[opt] function fn applied to each row
-- @treturn table
function M.list(rows, fn)
  local list = {}
  for index, row in ipairs(rows) do list[index] = fn and fn(row) or row end
  return json.array(list)
end

return M
