--- A site's `config.lua`: a table of defaults.
--
--    return {
--      defaults = { limits = { memory = "1GiB" }, native = { ... } },   -- for every manifest
--      network = { pool = "10.90.0.0/16", uplink = "eth0" },
--      kube = { namespace = "blueprints" },
--      image = { builder = "docker", mirrors = { ["docker.io"] = "mirror.example" } },
--    }
--
-- @module moonport.site.config
local errors = require "moonport.errors"
local catalog = require "moonport.recipe.catalog"
local locate = require "moonport.manifest.locate"
local manifest = require "moonport.manifest"
local schema = require "moonport.schema"

local M = {}

local function cidr(value)
  local a, b, c, d, bits = value:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)/(%d+)$"
  for _, part in ipairs { a, b, c, d } do
    if tonumber(part) > 255 then
      a = nil
    end
  end
  return not (a and tonumber(bits) <= 30) and "must be an IPv4 network such as `10.90.0.0/16`"
    or nil
end

local network = schema.record({
  pool = schema.string { check = cidr, doc = "network that microVMs' subnets are leased from" },
  max_taps = schema.integer {
    min = 1,
    doc = "TAPs of moonport's on this host beyond which no more are made (default: 1000)",
  },
  forwarding = schema.enum {
    "check",
    "enable",
    doc = "`enable`: moonport may switch on the kernel's IP forwarding for microVMs",
  },
  uplink = schema.string { pattern = "^[^%s/]+$", doc = "interface that leads outside" },
  foreign = schema.enum {
    "refuse",
    "insert",
    doc = "where another program's firewall drops microVMs' packets: refuse, or accept them there",
  },
}, { default = {} })

local kube = schema.record({
  namespace = schema.string { pattern = "^[a-z0-9-]+$", doc = "namespace that pods run in" },
  context = schema.string { doc = "context of the kubeconfig" },
  kubeconfig = schema.path { doc = "the kubeconfig" },
  field_manager = schema.string {
    pattern = "^[%w._/-]+$",
    doc = "name under which moonport owns fields of objects (default: `moonport`)",
  },
  host_address = schema.string {
    pattern = "^%S+$",
    doc = "address by which pods reach this host; without it, moonport finds it",
  },
  runtime_classes = schema.list(schema.string { pattern = "^[a-z0-9.-]+$" }, {
    doc = "RuntimeClasses that give a VM boundary, the best first, beside those that say so",
  }),
}, { default = {} })

local image = schema.record({
  builder = schema.string { doc = "how images are built" },
  mirrors = schema.map(schema.string {}, {
    default = {},
    doc = "registry, or beginning of the URLs of cloud images -> its mirror",
  }),
}, { default = {} })

local function whole()
  return schema.record {
    defaults = schema.any { doc = "defaults for every manifest" },
    network = network,
    kube = kube,
    image = image,
  }
end

local function evaluate(text, file)
  local env = { secret = M.secret_references }
  for _, name in ipairs { "assert", "error", "ipairs", "math", "next", "os", "pairs", "select" } do
    env[name] = _G[name]
  end
  for _, name in ipairs { "string", "table", "tonumber", "tostring", "type", "utf8" } do
    env[name] = _G[name]
  end
  local ok, value = pcall(catalog.run, text, file, env)
  if ok and type(value) == "table" then
    return value
  end
  errors.raise {
    kind = "site",
    code = "invalid",
    message = ok and ("`%s` must return a table"):format(file)
      or ("`%s` does not load: %s"):format(file, tostring(value)),
    hint = ok and "begin it with `return {`" or nil,
  }
end

local function reference(source)
  return function(argument)
    return { ["$secret"] = { [source] = argument } }
  end
end

--- `secret.file(...)` and so on as config.lua and manifests have them: they give references.
M.secret_references =
  { file = reference "file", env = reference "env", command = reference "command" }

-- The layer of manifest defaults: checked with the manifest's schema, but nothing is required.
local function defaults_layer(raw, file, find, problems)
  if raw == nil then
    return nil
  end
  local base = file:match "^(.*)/[^/]*$"
  local layer = { name = "site", file = file, base = base, raw = raw }
  layer.locate = function(path)
    local joint = path:sub(1, 1) == "[" and "" or "."
    return find(path == "" and "defaults" or "defaults" .. joint .. path)
  end
  local _, found =
    schema.check(manifest.schema(), raw, { locate = layer.locate, base = base })
  table.move(found, 1, #found, #problems + 1, problems)
  if type(raw) == "table" and raw.name ~= nil then
    local place, line = layer.locate "name"
    problems[#problems + 1] = {
      path = "defaults.name",
      file = place,
      line = line,
      message = "`defaults.name` cannot have a default: names are unique",
      order = 0,
    }
  end
  return layer
end

--- Reads a configuration.
-- @tparam ?string text of config.lua; nil gives the built-in configuration
-- @tparam ?string file
-- @treturn table configuration in normal form: {network, kube, image}
-- @treturn ?table layer of manifest defaults
-- @raise {kind = "schema", code = "invalid"} with all problems; {kind = "site", code = "invalid"}
function M.load(text, file)
  if not text then
    return (schema.fill(whole(), {}))
  end
  local find = locate.finder(file, locate.lua(text))
  local raw = evaluate(text, file)
  local options = { locate = find, base = file:match "^(.*)/[^/]*$" }
  local data, problems = schema.check(whole(), raw, options)
  local layer = defaults_layer(raw.defaults, file, find, problems)
  schema.refuse(problems, "site configuration")
  data.defaults = nil
  return (schema.fill(whole(), data, options)), layer
end

--- Documents config.lua: rows as `schema.describe` gives them.
function M.describe()
  return schema.describe(whole())
end

return M
