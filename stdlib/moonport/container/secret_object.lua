--- Secrets that are known by their content, and so never change.
-- @module moonport.container.secret_object

local crypto = require "moonport.crypto"
local names = require "moonport.container.names"
local secret = require "moonport.secret"

local M = {}

local function is_empty(value)
  if not secret.is(value) then return value == "" end
  return secret.digest(value, "") == crypto.hmac("sha256", "", "")
end

-- Where a value is empty the server takes every change, also of an annotation, for one of the data:
-- it reads "" from what it is sent, and nothing at all from its own store.
local function may_be_immutable(values)
  for _, value in pairs(values) do
    if is_empty(value) then return nil end
  end
  return true
end

--- Makes the object. Its values stay secrets: encode it with `secrets = true`.
-- @tparam context ctx
-- @tparam string name
-- @tparam string namespace
-- @tparam table values key -> secret or text
-- @treturn table
function M.new(ctx, name, namespace, values)
  local data = {}
  for key, value in pairs(values) do data[key] = crypto.base64(value) end
  return {
    apiVersion = "v1",
    kind = "Secret",
    metadata = names.metadata(ctx, name, namespace),
    type = "Opaque",
    immutable = may_be_immutable(values),
    data = data,
  }
end

return M
