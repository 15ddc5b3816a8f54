--- What a service finds in its environment and among its arguments, as the guest sees it.
-- @module moonport.hypervisor.environment

local contract = require "moonport.contract"
local endpoint = require "moonport.endpoint"
local places = require "moonport.hypervisor.places"
local ready = require "moonport.ready"
local secret = require "moonport.secret"

local M = {}

local function translated(text, host)
  return text and host and endpoint.translate(text, { address = host }) or text
end

-- The manifest with boot nodes as the guest sees them.
local function with_bootnodes(manifest, host)
  if not manifest.bootnodes then return manifest end
  local bootnodes = {}
  for index, node in ipairs(manifest.bootnodes) do bootnodes[index] = translated(node, host) end
  return setmetatable({ bootnodes = bootnodes }, { __index = manifest })
end

--- The variables. Those that are secrets are references still.
-- @tparam table manifest the manifest's data
-- @tparam ?string host this host's address as the guest sees it
-- @treturn table name -> text or {["$secret"]=...}
function M.variables(manifest, host)
  return contract.environment(with_bootnodes(manifest, host), {
    data_dir = places.DATA,
    keystore = manifest.keystore and places.KEYSTORE,
    registration_output = manifest.registration and places.REGISTRATION,
    http_rpc_url = translated(manifest.http_rpc_url, host),
    ws_rpc_url = translated(manifest.ws_rpc_url, host),
  })
end

--- The same with what secrets refer to.
-- @tparam table manifest
-- @tparam ?string host
-- @treturn table name -> text or secret
function M.resolved(manifest, host)
  local env = M.variables(manifest, host)
  for name, value in pairs(env) do
    if type(value) == "table" then env[name] = secret.resolve(value["$secret"]) end
  end
  return env
end

--- The argv: the manifest's `command` as it stands, or the program with the contract's arguments.
-- @tparam table manifest
-- @treturn {string,...}
function M.argv(manifest)
  if manifest.command then return table.move(manifest.command, 1, #manifest.command, 1, {}) end
  return table.move(contract.arguments(manifest), 1, 99, 2, { places.PROGRAM })
end

--- The service as the guest's supervisor is told of it (`moonport.shim.encode`).
-- @tparam context ctx
-- @tparam ?string host this host's address as the guest sees it
-- @treturn table
function M.service(ctx, host)
  local manifest = ctx.manifest
  local uid = require("moonport.hypervisor.checks").uid(manifest)
  return {
    name = ctx.name,
    id = ctx.tag,
    argv = M.argv(manifest),
    env = M.resolved(manifest, host),
    cwd = places.DATA,
    user = uid ~= 0 and { uid = uid, gid = uid } or nil,
    restart = manifest.registration and { policy = "no" } or manifest.restart,
    stop = manifest.stop,
    log = manifest.log,
    nofile = manifest.limits.nofile,
    notify = ready.is_told(manifest) and places.NOTIFY or nil,
  }
end

return M
