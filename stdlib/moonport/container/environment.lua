--- What a service finds in its environment and among its arguments, as fields of a container.
--
-- Values that are secrets stand in a Secret of their own, never in the pod: who may read pods does
-- not read them.
-- @module moonport.container.environment

local address = require "moonport.container.address"
local contract = require "moonport.contract"
local crypto = require "moonport.crypto"
local names = require "moonport.container.names"
local places = require "moonport.container.places"
local secret = require "moonport.secret"
local secret_object = require "moonport.container.secret_object"

local M = {}

-- Kubernetes expands `$(NAME)` in values and arguments, and takes `$$` for `$`.
local function literal(text)
  if not text:find("%$[$(]") then return text end
  return (text:gsub("%$", "$$"))
end

local function translated(text, host)
  return text and host and address.translate(text, host) or text
end

-- The manifest with boot nodes as the pod sees them.
local function with_bootnodes(manifest, host)
  if not (manifest.bootnodes and host) then return manifest end
  local bootnodes = {}
  for index, node in ipairs(manifest.bootnodes) do bootnodes[index] = translated(node, host) end
  return setmetatable({ bootnodes = bootnodes }, { __index = manifest })
end

local function environment(ctx, parts)
  local manifest = ctx.manifest
  return contract.environment(with_bootnodes(manifest, parts.host), {
    data_dir = places.DATA,
    keystore = manifest.keystore and places.KEYSTORE,
    registration_output = manifest.registration and places.REGISTRATION,
    http_rpc_url = translated(manifest.http_rpc_url, parts.host),
    ws_rpc_url = translated(manifest.ws_rpc_url, parts.host),
  })
end

local function sorted_names(map)
  local list = {}
  for name in pairs(map) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- The container's `env`.
-- @tparam context ctx
-- @tparam table parts `host` {address, ports}; `environment` {secret}: the name of the Secret with
-- the values that are secrets
-- @treturn {table,...}
function M.variables(ctx, parts)
  local env, list = environment(ctx, parts), {}
  for index, name in ipairs(sorted_names(env)) do
    local value = env[name]
    if type(value) == "table" then
      local from = { name = parts.environment.secret, key = name }
      list[index] = { name = name, valueFrom = { secretKeyRef = from } }
    else
      list[index] = { name = name, value = literal(value) }
    end
  end
  return list
end

local function literals(words)
  local list = {}
  for index, word in ipairs(words) do list[index] = literal(word) end
  return #list > 0 and list or nil
end

--- The container's `command` and `args`.
-- @tparam table manifest
-- @treturn {string,...}|nil command: in place of the image's entrypoint
-- @treturn {string,...}|nil args
function M.arguments(manifest)
  if manifest.command then return literals(manifest.command), nil end
  local args = contract.arguments(manifest)
  if not manifest.container.run_word then table.remove(args, 1) end
  return nil, literals(args)
end

--- The variables whose values are secrets.
-- @tparam table manifest
-- @treturn table name -> reference, as `secret.resolve` takes it; empty when there are none
function M.secret_references(manifest)
  local references = {}
  for name, value in pairs(manifest.env or {}) do
    if type(value) == "table" then references[name] = value["$secret"] end
  end
  return references
end

-- A digest of names and values that tells nothing of the values to who lacks the key.
local function digest(values, key)
  local lines = {}
  for index, name in ipairs(sorted_names(values)) do
    local value = values[name]
    local own = secret.is(value) and secret.digest(value, key)
      or crypto.hmac("sha256", key, value)
    lines[index] = name .. "=" .. own
  end
  return crypto.hmac("sha256", key, table.concat(lines, "\n"))
end

--- The name of the Secret with the values that are secrets.
-- @tparam context ctx
-- @tparam table values name -> secret
-- @tparam string key of the store
-- @treturn string
function M.secret_name(ctx, values, key)
  return names.secret(ctx, "env", digest(values, key))
end

--- The Secret itself. Its values stay secrets: encode it with `secrets = true`.
-- @tparam context ctx
-- @tparam table values name -> secret
-- @tparam string name of `secret_name`
-- @tparam string namespace
-- @treturn table object
function M.secret(ctx, values, name, namespace)
  return secret_object.new(ctx, name, namespace, values)
end

return M
