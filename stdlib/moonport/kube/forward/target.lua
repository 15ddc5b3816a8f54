-- Which pod a connection goes to, and to which of its ports: found anew for each connection, since
-- pods come and go.

local conditions = require "moonport.kube.conditions"
local errors = require "moonport.errors"
local options_of = require "moonport.kube.options"
local selector = require "moonport.kube.selector"
local task = require "moonport.task"

local M = {}

local function raise(code, format, ...)
  errors.raise { kind = "kube", code = code, message = string.format(format, ...) }
end

-- Pods.

local function is_usable(pod)
  return not pod.metadata.deletionTimestamp and conditions.ready(pod)
end

local function newer(a, b)
  return not b or a.metadata.creationTimestamp > b.metadata.creationTimestamp
end

local function newest_of(pods)
  local best
  for _, pod in ipairs(pods) do
    if is_usable(pod) and newer(pod, best) then best = pod end
  end
  return best
end

-- As soon as one is ready.
local function await_ready(self, which)
  for event in self.cluster:watch("pods", which) do
    if event.type ~= "DELETED" and is_usable(event.object) then return event.object end
  end
end

local function by_labels(self, labels)
  local which = { labels = labels, namespace = self.namespace }
  local found = newest_of(self.cluster:list("pods", which).items)
  if found then return found end
  local ok, pod = pcall(task.timeout, self.patience, await_ready, self, which)
  if ok then return pod end
  if not errors.is(pod, "task", "timeout") then error(pod, 0) end
  raise("no_pod", "%s has no pod that is ready", self.what)
end

-- Ports.

local function named_port(pod, name)
  for _, container in ipairs(pod.spec.containers) do
    for _, port in ipairs(container.ports or {}) do
      if port.name == name then return port.containerPort end
    end
  end
  raise("no_port", "pod `%s` has no port named `%s`", pod.metadata.name, name)
end

local function port_of(pod, port)
  return type(port) == "string" and named_port(pod, port) or port
end

local function service_port(self, service)
  for _, port in ipairs(service.spec.ports or {}) do
    if port.port == self.port or port.name == self.port then
      return port.targetPort or port.port
    end
  end
  raise("no_port", "%s has no port `%s`", self.what, tostring(self.port))
end

-- Kinds of targets: each finds the pod's name and the port.

local kinds = {}

function kinds.pod(self)
  if type(self.port) == "number" then return self.target, self.port end
  local pod = self.cluster:get("pods", self.target, { namespace = self.namespace })
  return self.target, port_of(pod, self.port)
end

function kinds.labels(self)
  local pod = by_labels(self, self.target.labels)
  return pod.metadata.name, port_of(pod, self.port)
end

function kinds.service(self)
  local service = self.cluster:get("services", self.target.service, { namespace = self.namespace })
  local labels = service.spec.selector
  if not labels or next(labels) == nil then
    raise("no_pod", "%s selects no pods", self.what)
  end
  local port = service_port(self, service)
  local pod = by_labels(self, labels)
  return pod.metadata.name, port_of(pod, port)
end

local function kind_of(target)
  if type(target) == "string" then return "pod" end
  if type(target) == "table" and target.service and not target.labels then return "service" end
  if type(target) == "table" and target.labels and not target.service then return "labels" end
  options_of.bad("cluster:forward: the target is a pod's name, {service = NAME} or {labels = ...}")
end

local function describe(kind, target)
  if kind == "labels" then
    return ("`%s`"):format(selector.labels("cluster:forward", target.labels))
  end
  return ("%s `%s`"):format(kind, kind == "pod" and target or target.service)
end

local function check_port(port)
  local is_number = math.type(port) == "integer" and port > 0 and port < 65536
  if not is_number and (type(port) ~= "string" or port == "") then
    options_of.bad("cluster:forward: a port is a number from 1 to 65535 or a name, got %s",
      tostring(port))
  end
end

-- A target with `find()`, which gives the name of a pod and a port's number.
--   patience: seconds to wait for a pod that is ready
function M.new(cluster, target, port, namespace, patience)
  local kind = kind_of(target)
  check_port(port)
  if kind ~= "labels" then
    options_of.check_name("cluster:forward", "the target", target.service or target)
  end
  return {
    cluster = cluster, target = target, port = port, namespace = namespace, patience = patience,
    what = describe(kind, target), find = kinds[kind],
    -- Whether it is there at all.
    check = function(self)
      if kind == "pod" then
        self.cluster:get("pods", target, { namespace = namespace })
      elseif kind == "service" then
        service_port(self,
          self.cluster:get("services", target.service, { namespace = namespace }))
      end
    end,
  }
end

return M
