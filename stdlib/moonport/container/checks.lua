--- What the fields of a manifest must be among themselves to become a pod.
--
-- What Kubernetes cannot do is refused where the service would not run as the manifest says, and
-- named in a warning where it runs, but without what was asked for. Nothing is passed over in
-- silence.
-- @module moonport.container.checks

local fields = require "moonport.manifest.fields"
local units = require "moonport.units"

local M = {
  --- The uid of a service whose manifest names none.
  USER = 1000,
}

--- Checks `security.seccomp`.
-- @tparam string text
function M.seccomp(text)
  if text == "RuntimeDefault" or text == "Unconfined" then return nil end
  local profile = text:match("^localhost/(.+)$")
  if profile and not profile:find("..", 1, true) then return nil end
  return ("must be `RuntimeDefault`, `Unconfined` or `localhost/PROFILE`, not %q"):format(text),
    "PROFILE is a file below the kubelet's directory `seccomp`"
end

--- The uid that the service runs as.
-- @tparam table manifest the manifest's data
-- @treturn integer
function M.user(manifest)
  return manifest.container.security.run_as_user or math.tointeger(tonumber(manifest.user))
    or M.USER
end

--- True when a StatefulSet holds the pods.
-- @tparam table manifest
-- @treturn boolean
function M.is_set(manifest)
  return manifest.container.replicas > 1 or manifest.container.rolling
end

local function why_set(manifest)
  return manifest.container.replicas > 1 and "`container.replicas` above 1" or "`container.rolling`"
end

local function check_image(manifest, report)
  if manifest.image then return end
  report("image", "a pod needs `image`", "it is the container image that holds the blueprint")
end

local function check_restart(manifest, report, given)
  local restart = manifest.restart
  if M.is_set(manifest) and restart.policy ~= "always" and given("restart.policy") then
    report("restart.policy",
      ("`restart.policy` must be `always` with %s, not `%s`"):format(why_set(manifest),
        restart.policy),
      "a StatefulSet starts its pods again always; a single pod can do otherwise")
  end
  local again = not (restart.policy == "no" and given("restart.policy"))
  if again and restart.max > 0 and given("restart.max") then
    report("restart.max", "Kubernetes cannot limit how often it starts a service again",
      "leave out `restart.max`, or set it to 0: no limit")
  end
end

local function check_registration(manifest, report)
  if manifest.registration and M.is_set(manifest) then
    report("registration", ("`registration` runs once, and not with %s"):format(why_set(manifest)),
      "register with a manifest of its own")
  end
end

local POD_PROBES = { "http", "tcp", "exec", "file" }

local function check_ready(manifest, report)
  local ready = manifest.ready
  if not ready then return end
  if ready.notify then
    report("ready.notify", "Kubernetes does not listen to what a service says of itself",
      "use a probe of the pod: `ready.http`, `ready.tcp`, `ready.exec` or `ready.file`")
  end
  local first
  for _, kind in ipairs(POD_PROBES) do
    if ready[kind] and first then
      report("ready." .. kind,
        ("a pod has one readiness probe: `ready.%s` cannot stand beside `ready.%s`"):format(kind,
          first), "keep one of them; only `ready.log` goes with another")
    end
    first = first or ready[kind] and kind
  end
  if ready.http and ready.http:find("^%a[%w+.-]*://[^/?#]*@") then
    report("ready.http", "`ready.http` holds a password, which anyone who sees the pod could read",
      "let the service answer its readiness without one, or use `ready.tcp`")
  end
end

local function stray(report, field, kind)
  report("container.data." .. field,
    ("`container.data.%s` means nothing for the kind `%s`"):format(field, kind))
end

local function check_host_data(data, manifest, report)
  if not (data.path or manifest.data_dir) then
    report("container.data.path", "the kind `host` needs `container.data.path`")
  end
  if manifest.container.replicas > 1 then
    report("container.data.kind", "several replicas cannot share one directory of a host",
      "with the kind `claim`, each has a volume of its own")
  end
end

local function check_claim(data, manifest, report)
  if data.size or manifest.limits.storage then return end
  report("container.data.size", "the kind `claim` needs `container.data.size`",
    "such as \"20GiB\"; `limits.storage` does as well")
end

-- Which fields of `data` mean something for which kind.
local DATA_FIELDS = {
  path = { host = true }, size = { empty = true, claim = true }, storage_class = { claim = true },
}

local function check_data(manifest, report)
  local data = manifest.container.data
  local kind = data.kind or "empty"
  -- Who names a kind has seen that `data_dir` does not reach into pods.
  if not data.kind and manifest.data_dir then
    report("data_dir",
      "`data_dir` is a directory of a host: where a pod's data goes is said by `container.data`",
      "set `container.data.kind`: `host` for that directory, else `claim` or `empty`")
  end
  for field, kinds in pairs(DATA_FIELDS) do
    if data[field] ~= nil and not kinds[kind] then stray(report, field, kind) end
  end
  if data.keep and kind ~= "claim" then stray(report, "keep", kind) end
  if kind == "host" then check_host_data(data, manifest, report) end
  if kind == "claim" then check_claim(data, manifest, report) end
end

local function check_security(manifest, report)
  local security = manifest.container.security
  if M.user(manifest) == 0 and security.run_as_non_root then
    local field = security.run_as_user and "container.security.run_as_user" or "user"
    local text = "`%s` is root, and `container.security.run_as_non_root` forbids it"
    report(field, text:format(field), "set `run_as_non_root = false` if it has to be root")
  end
  for index, capability in ipairs(security.capabilities) do
    if capability:find("^CAP_") then
      report(("container.security.capabilities[%d]"):format(index),
        ("`%s` is written without `CAP_`"):format(capability), capability:sub(5))
    elseif capability == "SYS_ADMIN" and not security.allow_privilege_escalation then
      report("container.security.allow_privilege_escalation",
        "with the capability `SYS_ADMIN`, `allow_privilege_escalation` cannot be false")
    end
  end
end

local SHOWN = { memory = units.format_size, storage = units.format_size, cpus = tostring }

local function check_requests(manifest, report)
  for name, request in pairs(manifest.container.requests) do
    local limit = manifest.limits[name]
    if limit and request > limit then
      report("container.requests." .. name,
        ("`container.requests.%s` is %s, above `limits.%s` (%s)"):format(name, SHOWN[name](request),
          name, SHOWN[name](limit)))
    end
  end
end

local function check_ports(manifest, report)
  local taken = {}
  for name, port in pairs(manifest.container.ports) do
    local number = type(port) == "table" and port.port or port
    local key = ("%d/%s"):format(number, type(port) == "table" and port.protocol or "TCP")
    local other = taken[key]
    if other then
      local first, second = name, other
      if second < first then first, second = second, first end
      report("container.ports." .. second, ("the ports `%s` and `%s` are both %s"):format(first,
        second, key))
    end
    taken[key] = name
  end
end

local function check_tolerations(manifest, report)
  for index, toleration in ipairs(manifest.container.tolerations) do
    local path = ("container.tolerations[%d]"):format(index)
    if toleration.value and toleration.operator == "Exists" then
      report(path .. ".value", ("`%s` has a value, which `Exists` does not look at"):format(path))
    elseif toleration.value and not toleration.key then
      report(path .. ".key", ("`%s` has a value and no key"):format(path))
    end
    if toleration.seconds and toleration.effect ~= "NoExecute" then
      report(path .. ".seconds", ("`%s.seconds` is for the effect `NoExecute`"):format(path))
    end
  end
end

--- Checks a whole manifest whose target is `container`.
-- @tparam table manifest its data, in normal form
-- @tparam function report function(path, message, hint)
-- @tparam function given function(path) -> true when somebody has set the field: what Kubernetes
-- cannot do is refused only where it was asked for
function M.whole(manifest, report, given)
  check_image(manifest, report)
  check_restart(manifest, report, given)
  check_registration(manifest, report)
  check_ready(manifest, report)
  check_data(manifest, report)
  check_security(manifest, report)
  check_requests(manifest, report)
  check_ports(manifest, report)
  check_tolerations(manifest, report)
end

-- Fields without a counterpart in a pod, where their value says that they are meant.
local function differs(manifest, group, field)
  return manifest[group][field] ~= fields.default(group, field)
end

local IGNORED = {
  { "limits", "nofile", "a pod has the limit on open files of its node's container runtime" },
  { "limits", "pids", "the number of processes is limited by the node's kubelet alone" },
  { "restart", "backoff", "Kubernetes waits 10 s before a second start, then doubles it" },
  { "restart", "backoff_max", "Kubernetes waits at most 5 minutes between two starts" },
  { "restart", "reset", "Kubernetes counts anew after a service has run for 10 minutes" },
  { "stop", "signal", "a pod gets the STOPSIGNAL of its image: build it with that one" },
  { "log", "max_size", "the node's kubelet rotates the logs of pods" },
  { "log", "max_files", "the node's kubelet rotates the logs of pods" },
}

-- A node makes the directory as root's, and `fsGroup` leaves directories of nodes alone.
local function warn_of_host_data(manifest, found)
  local uid, path = M.user(manifest), manifest.container.data.path or manifest.data_dir
  if uid ~= 0 then
    found[#found + 1] = ("`%s` is root's where its node makes it: uid %d, as which the pod runs, "
      .. "writes there only after `chown %d` on each node"):format(path, uid, uid)
  end
  if manifest.limits.storage then
    found[#found + 1] = "`limits.storage` does not hold for a directory of a host"
  end
end

--- What a manifest asks for and a pod runs without.
-- @tparam table manifest its data, in normal form
-- @treturn {string,...} one sentence for each
function M.warnings(manifest)
  local found = {}
  for _, entry in ipairs(IGNORED) do
    local group, field, why = table.unpack(entry)
    if differs(manifest, group, field) then
      found[#found + 1] = ("`%s.%s` does not hold in a pod: %s"):format(group, field, why)
    end
  end
  if manifest.user and not tonumber(manifest.user)
    and not manifest.container.security.run_as_user then
    local text = "`user` is an account of a host: the pod runs as uid %d "
      .. "(`container.security.run_as_user`)"
    found[#found + 1] = text:format(M.user(manifest))
  end
  if manifest.container.data.kind == "host" then warn_of_host_data(manifest, found) end
  return found
end

return M
