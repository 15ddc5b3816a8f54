--- A connection to one cluster.
-- @submodule moonport.kube

local errors = require "moonport.errors"
local methods = require "moonport.kube.methods"

local M = {}

--- A connection to one cluster. Fields: `server` (its URL), `namespace`, `field_manager`, `config`.
-- Its methods may be called by several tasks at once; they share connections and credentials.
-- @type Cluster
local Cluster = {}

-- A method is loaded from its module when it is first called.
setmetatable(Cluster, {
  __index = function(self, name)
    local module = methods[name]
    if not module then return nil end
    local method = require("moonport.kube." .. module)[name]
    rawset(self, name, method)
    return method
  end,
})

local class = { __index = Cluster, __name = "moonport.kube.cluster" }

function class:__tostring()
  return string.format("kube cluster %s (namespace %s)", self.server, self.namespace)
end

-- Our own options, and what they have to be. All others are the configuration's.
local own = {
  cache = "boolean", compressed = "boolean", field_manager = "string", on_wait = "function",
  on_warning = "function", retries = "number", timeout = "number",
}

local function bad_option(name, wanted, value)
  errors.raise {
    kind = "argument", code = "invalid",
    message = string.format("kube.connect: `%s` is a %s, got a %s", name, wanted, type(value)),
  }
end

-- Ours and the configuration's.
local function split(options)
  local ours, theirs = {}, {}
  if options ~= nil and type(options) ~= "table" then bad_option("options", "table", options) end
  for name, value in pairs(options or {}) do
    local wanted = own[name]
    if wanted and type(value) ~= wanted then bad_option(name, wanted, value) end
    if wanted then ours[name] = value else theirs[name] = value end
  end
  return ours, theirs
end

-- What is said across the network is worth squeezing, what stays on the machine is not.
local function is_local(server)
  local host = server:match("^%a+://([^/]*)") or ""
  host = host:gsub(":%d+$", "")
  return host == "localhost" or host == "[::1]" or host:find("^127%.") ~= nil
end

-- A cluster on a client of `moonport.core.kube`, or on whatever else has :request and .config.
function M.new(client, options)
  local compressed = options.compressed
  if compressed == nil then compressed = not is_local(client.config.server) end
  return setmetatable({
    client = client,
    config = client.config,
    server = client.config.server,
    namespace = client.config.namespace or "default",
    field_manager = options.field_manager or "moonport",
    timeout = options.timeout,
    retries = options.retries,
    on_wait = options.on_wait,
    on_warning = options.on_warning,
    compressed = compressed,
    -- What all views of this connection share.
    shared = { answered = false, warned = {}, cache = options.cache ~= false },
  }, class)
end

-- See kube.connect.
function M.connect(options)
  local ours, theirs = split(options)
  local core = require "moonport.core.kube"
  local client, awaited = core.open(core.config(theirs)), package.loaded["moonport.kube.awaited"]
  return M.new(awaited and awaited.counted(client) or client, ours)
end

-- See kube.explain.
function M.explain(options)
  local _, theirs = split(options)
  return require("moonport.core.kube").config(theirs):explain()
end

--- The same connection with other defaults.
--
--     local shop = cluster:with { namespace = "shop" }
-- @tparam table options any of `namespace`, `field_manager`, `timeout`, `retries`, `on_wait`,
--   `on_warning`
-- @treturn Cluster
function Cluster:with(options)
  local view = setmetatable({}, class)
  for name, value in pairs(self) do view[name] = value end
  for name, value in pairs(options) do
    local wanted = name == "namespace" and "string" or own[name]
    if not wanted or name == "cache" or name == "compressed" then
      errors.raise {
        kind = "argument", code = "invalid",
        message = string.format("cluster:with: there is no option `%s`", tostring(name)),
      }
    end
    if type(value) ~= wanted then bad_option(name, wanted, value) end
    view[name] = value
  end
  return view
end

--- Where the parts of this connection's configuration come from: see @{explain}.
-- @treturn {table,...}
function Cluster:explain()
  return self.config:explain()
end

--- Ends the connection: what waits for credentials fails, and later calls do. Requests that are
-- under way may end.
function Cluster:close()
  self.client:close()
end

class.__close = Cluster.close

return M
