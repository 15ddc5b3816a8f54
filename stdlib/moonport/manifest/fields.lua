--- The fields that every manifest knows, whatever its target.
--
-- @module moonport.manifest.fields
local schema = require "moonport.schema"

local M = {}

-- What the blueprint contract puts into the environment. A manifest sets these through their
-- fields; a second way to set them would make two truths.
local CONTRACT = {
  HTTP_RPC_URL = "http_rpc_url",
  WS_RPC_URL = "ws_rpc_url",
  KEYSTORE_URI = "keystore",
  DATA_DIR = "data_dir",
  BLUEPRINT_ID = "blueprint_id",
  SERVICE_ID = "service_id",
  PROTOCOL = "protocol",
  CHAIN = "chain",
  BOOTNODES = "bootnodes",
  BRIDGE_SOCKET_PATH = false,
  REGISTRATION_MODE_ON = "registration",
  REGISTRATION_OUTPUT_PATH = "registration.output",
}

local NAME = "lower-case letters, digits and `-`, up to 63 of them, the first not `-`"

--- True when `name` can name a deployment. The rule keeps names safe as file names, host names,
-- cgroup names and labels alike.
-- @param name
-- @treturn boolean
function M.is_name(name)
  return type(name) == "string"
    and #name <= 63
    and name:find("^[a-z0-9][a-z0-9-]*$") ~= nil
end

--- What `is_name` wants, in words.
M.NAME_RULE = NAME

local function env_key(key, path)
  if not key:find("^[%a_][%w_]*$") then
    return ("`%s` is not a name for a variable"):format(path), "letters, digits and `_`"
  end
  local field = CONTRACT[key]
  if field ~= nil then
    return ("`%s` belongs to the blueprint contract"):format(path),
      field and ("set the field `%s`"):format(field) or "it is set by moonport alone"
  end
end

local function arg_key(key, path)
  if not key:find("^[%a_][%w_-]*$") then
    return ("`%s` is not a name for an argument"):format(path), "letters, digits, `_` and `-`"
  end
end

local function url(schemes, doc)
  local expected = ("a URL that begins with `%s://`"):format(table.concat(schemes, "://` or `"))
  return schema.string {
    doc = doc,
    expected = expected,
    check = function(value)
      local scheme, rest = value:match("^(%a[%w+.-]*)://([^%s%c]+)$")
      for _, known in ipairs(schemes) do
        if rest and scheme == known then
          return nil
        end
      end
      return "must be " .. expected
    end,
  }
end

local scalar = schema.one_of({
  schema.boolean {},
  schema.number {},
  schema.string {},
}, { expected = "text, a number, true or false" })

local word = schema.string {}

local limits = schema.record({
  memory = schema.size {
    min = 1 << 20,
    doc = "memory it may use; beyond it the kernel kills it",
  },
  cpus = schema.number {
    min = 0.01,
    max = 4096,
    doc = "processors it may keep busy; fractions are allowed",
  },
  pids = schema.integer { min = 1, doc = "processes and threads it may have" },
  storage = schema.size { min = 1 << 20, doc = "disk space, where the target can limit it" },
  nofile = schema.integer { min = 3, max = 1 << 30, doc = "file descriptors a process may open" },
}, { default = {}, doc = "what the service may use" })

local restart = schema.record({
  policy = schema.enum {
    "no",
    "on-failure",
    "always",
    default = "on-failure",
    doc = "when to start it again after it has ended",
  },
  max = schema.integer {
    min = 0,
    default = 5,
    doc = "starts again at most so often before giving up; 0: no limit",
  },
  backoff = schema.duration { min = 0.01, default = 1, doc = "wait before the first start again" },
  backoff_max = schema.duration { min = 0.01, default = 60, doc = "the wait doubles up to this" },
  reset = schema.duration {
    min = 0,
    default = 600,
    doc = "after running so long, counting begins anew",
  },
}, { default = {}, doc = "what happens when the service ends by itself" })

local stop = schema.record({
  signal = schema.enum {
    "TERM",
    "INT",
    "QUIT",
    "HUP",
    "USR1",
    "USR2",
    default = "TERM",
    doc = "the signal that asks the service to end",
  },
  grace = schema.duration { default = 10, doc = "time to end before SIGKILL" },
}, { default = {}, doc = "how it is stopped" })

local log = schema.record({
  max_size = schema.size { min = 4096, default = 16 << 20, doc = "size at which the log rotates" },
  max_files = schema.integer { min = 1, max = 1000, default = 5, doc = "log files that are kept" },
}, { default = {}, doc = "what is kept of its output" })

local PROBES = { "http", "tcp", "exec", "log", "file", "notify" }

local function ready_whole(data, report)
  for _, probe in ipairs(PROBES) do
    if data[probe] then
      return
    end
  end
  report(nil, "`ready` says nothing to wait for",
    "set `http`, `tcp`, `exec`, `log`, `file` or `notify`")
end

local ready = schema.record({
  http = url({ "http", "https" }, "ready when this answers with a status from 200 to 399"),
  tcp = schema.string {
    expected = "HOST:PORT",
    pattern = "^%S+:%d+$",
    doc = "ready when this accepts a connection",
  },
  exec = schema.list(word, { min = 1, doc = "ready when this command exits with 0" }),
  log = schema.string { doc = "ready when a line of output matches this Lua pattern" },
  file = schema.string { doc = "ready when this file exists; relative to the data directory" },
  notify = schema.boolean { doc = "ready when it says so itself: READY=1 of sd_notify(3)" },
  timeout = schema.duration { min = 0.01, default = 60, doc = "not ready by then is a failure" },
  interval = schema.duration { min = 0.01, default = 0.25, doc = "time between two checks" },
}, { whole = ready_whole, doc = "when the service counts as ready; all that is given must hold" })

local registration = schema.record({
  output = schema.path { required = true, doc = "where the registration's output is kept" },
  timeout = schema.duration { default = 300, doc = "time it may take" },
}, { doc = "run once, in registration mode" })

local common = {
  name = schema.string {
    required = true,
    doc = "the name of the deployment",
    expected = NAME,
    check = function(value)
      return not M.is_name(value) and "must be " .. NAME or nil
    end,
  },
  target = schema.enum {
    "native",
    "container",
    "hypervisor",
    required = true,
    doc = "where it runs: on the host, as a pod, or in a microVM",
  },
  description = schema.string { doc = "for people" },
  blueprint_id = schema.integer { min = 0, doc = "BLUEPRINT_ID" },
  service_id = schema.integer { min = 0, doc = "SERVICE_ID" },
  protocol = schema.string { pattern = "^[%w_-]+$", doc = "PROTOCOL, such as `eigenlayer`" },
  chain = schema.string { pattern = "^[%w_.-]+$", doc = "CHAIN, such as `local_testnet`" },
  http_rpc_url = url({ "http", "https" }, "HTTP_RPC_URL: the chain's RPC endpoint"),
  ws_rpc_url = url({ "ws", "wss" }, "WS_RPC_URL: the same over WebSocket"),
  keystore = schema.path { doc = "KEYSTORE_URI: directory of the operator's keys" },
  bootnodes = schema.list(word, { doc = "BOOTNODES" }),
  binary = schema.path { doc = "the blueprint's program" },
  image = schema.string { pattern = "^%S+$", doc = "the blueprint's container image" },
  command = schema.list(word, { min = 1, doc = "exact argv, in place of the contract's" }),
  args = schema.map(scalar, { key = arg_key, default = {}, doc = "arguments of the contract" }),
  env = schema.map(schema.secret { sensitive = true }, {
    key = env_key,
    default = {},
    doc = "further environment variables; values may be secrets by reference",
  }),
  user = schema.string { pattern = "^[%w_.@-]+$", doc = "account it runs as" },
  data_dir = schema.path { doc = "DATA_DIR; without it, a directory of the deployment" },
  isolation = schema.enum {
    "any",
    "preferred",
    "required",
    default = "any",
    doc = "whether it needs a VM boundary",
  },
  registration = registration,
  ready = ready,
  limits = limits,
  restart = restart,
  stop = stop,
  log = log,
}

--- The default of a field in one of the tables that all targets share.
-- @tparam string group such as `restart`
-- @tparam string field
-- @return what holds where nobody sets it
function M.default(group, field)
  return common[group].fields[field].default
end

--- The targets a manifest can name.
M.TARGETS = { "native", "container", "hypervisor" }

-- A target that is not built in still has its table accepted: what is inside it cannot be checked,
-- and the deployment is refused for the target itself.
local unchecked = schema.map(schema.any {}, { doc = "fields of another target" })

--- Where a field of a target's table belongs, if that is the manifest itself. For `stray` of such a
-- table's record.
-- @tparam string target
-- @treturn function(key) -> hint
function M.stray_of(target)
  return function(key)
    if not common[key] then return nil end
    return ("`%s` stands in the manifest itself, outside of `%s = {}`"):format(key, target)
  end
end

-- Where a field of the manifest belongs, if that is the table of a target.
local function stray_in(targets)
  return function(key)
    for _, target in ipairs(M.TARGETS) do
      local own = targets and targets[target]
      if own and own.fields and own.fields[key] then
        return ("it belongs into the target's table: `%s = { %s = ... }`"):format(target, key)
      end
    end
  end
end

--- The schema of a whole manifest.
-- @tparam ?table targets target name -> schema of its own table
-- @treturn table a record of `moonport.schema`
function M.schema(targets)
  local fields = {}
  for name, field in pairs(common) do
    fields[name] = field
  end
  for _, target in ipairs(M.TARGETS) do
    fields[target] = targets and targets[target] or unchecked
  end
  return schema.record(fields, { stray = stray_in(targets) })
end

return M
