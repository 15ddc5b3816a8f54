--- The blueprint contract: what a blueprint finds in its environment and among its arguments.
--
-- The environment is clean. It holds the variables of the contract that have a value and the
-- manifest's own `env`, and nothing of the operator's.
-- @module moonport.contract

local M = {}

local function put(env, name, value)
  if value ~= nil then env[name] = tostring(value) end
end

--- The environment of a service.
-- @tparam table manifest the manifest's data, in normal form
-- @tparam table places where things are as the service sees them: `data_dir`, `keystore`,
--   `registration_output`, and `http_rpc_url`, `ws_rpc_url` where they differ from the manifest's
-- @treturn {[string]=string|secret} by name
function M.environment(manifest, places)
  local env = {}
  put(env, "HTTP_RPC_URL", places.http_rpc_url or manifest.http_rpc_url)
  put(env, "WS_RPC_URL", places.ws_rpc_url or manifest.ws_rpc_url)
  put(env, "KEYSTORE_URI", places.keystore)
  put(env, "DATA_DIR", places.data_dir)
  put(env, "BLUEPRINT_ID", manifest.blueprint_id)
  put(env, "SERVICE_ID", manifest.service_id)
  put(env, "PROTOCOL", manifest.protocol)
  put(env, "CHAIN", manifest.chain)
  put(env, "BOOTNODES", manifest.bootnodes and table.concat(manifest.bootnodes, ","))
  put(env, "BRIDGE_SOCKET_PATH", manifest.bridge_socket_path)
  if manifest.registration then
    put(env, "REGISTRATION_MODE_ON", "true")
    put(env, "REGISTRATION_OUTPUT_PATH", places.registration_output)
  end
  for name, value in pairs(manifest.env or {}) do env[name] = value end
  return env
end

-- The flags that every blueprint knows, in the order in which it is given them.
local FLAGS = { "test_mode", "pretty", "verbose", "dry_run" }

local function add_flag(argv, name, value)
  if name == "verbose" then
    local level = value == true and 1 or tonumber(value) or 0
    if level > 0 then argv[#argv + 1] = "-" .. ("v"):rep(math.min(level, 4)) end
  elseif value then
    argv[#argv + 1] = "--" .. name:gsub("_", "-")
  end
end

local function sorted_extra_keys(args)
  local known, keys = {}, {}
  for _, name in ipairs(FLAGS) do known[name] = true end
  for key in pairs(args) do
    if not known[key] then keys[#keys + 1] = key end
  end
  table.sort(keys)
  return keys
end

--- The arguments of a service: `run`, the flags, then the further ones in the order of their names.
-- `true` gives `--key`, false gives nothing, another value gives `--key` and the value.
-- @tparam table manifest the manifest's data
-- @treturn {string,...} without the program
function M.arguments(manifest)
  local args = manifest.args or {}
  local argv = { "run" }
  for _, name in ipairs(FLAGS) do add_flag(argv, name, args[name]) end
  for _, key in ipairs(sorted_extra_keys(args)) do
    local value = args[key]
    if value ~= false then argv[#argv + 1] = "--" .. key:gsub("_", "-") end
    if type(value) ~= "boolean" then argv[#argv + 1] = tostring(value) end
  end
  return argv
end

return M
