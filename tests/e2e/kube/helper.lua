--- What the specs of the Kubernetes client share on a real cluster.
local crypto = require "moonport.crypto"
local fs = require "moonport.fs"
local json = require "moonport.json"
local kube = require "moonport.kube"
local process = require "moonport.process"

local M = {}

--- A name that no other test has.
function M.name(what) return ("%s-%s"):format(what, crypto.hex(crypto.random(4))) end

--- The cluster of $KUBECONFIG, in a namespace of its own, which `M.remove` removes.
function M.connect(what)
  local namespace = M.name(what)
  local cluster = kube.connect { cache = false, namespace = namespace }
  cluster:create { apiVersion = "v1", kind = "Namespace", metadata = { name = namespace } }
  return cluster
end

--- Removes the namespace, without waiting for its end.
function M.remove(cluster)
  cluster:delete("namespaces", cluster.namespace, { missing_ok = true })
end

--- What kubectl prints. `dir`: the cluster's, in place of the shared one's.
function M.kubectl(argv, dir)
  return M.cluster({ "kubectl", table.unpack(argv) }, dir)
end

--- What the script that manages clusters prints.
function M.cluster(argv, dir)
  local call = { os.getenv "MP_CLUSTER", check = true, env = { MP_CLUSTER_DIR = dir } }
  for _, word in ipairs(argv) do call[#call + 1] = word end
  return process.run(call).stdout
end

--- Applies an object with kubectl, who so owns its fields.
function M.kubectl_apply(object, namespace)
  local path, guard <close> = fs.temp_file() -- luacheck: ignore guard
  fs.write(path, json.encode(object))
  M.kubectl { "-n", namespace, "apply", "-f", path }
end

-- What the whole process holds at most, Lua's and all other memory; in KiB.
local MEMORY = [[
local kube, task = require "moonport.kube", require "moonport.task"
local function peak()
  local file <close> = io.open "/proc/self/status"
  return tonumber(file:read("a"):match "VmHWM:%s+(%d+)")
end
local function slowly() task.sleep(0.001) end
local cluster = kube.connect { cache = false, namespace = arg[1] }
cluster:list "pods"
local before = peak()
]]

--- By how much a process grows that does this with `cluster`, in KiB; `slowly` is a reader that
-- takes its time with each piece. A sanitizer keeps next to nothing of what was freed.
function M.growth(cluster, code)
  local path, guard <close> = fs.temp_file() -- luacheck: ignore guard
  fs.write(path, MEMORY .. code .. "\nprint(peak() - before)\n")
  local result = process.run {
    os.getenv "MOONPORT", "run", path, cluster.namespace, check = false,
    env = { ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":quarantine_size_mb=1" },
  }
  return tonumber(result.stdout) or error(result.stderr, 0)
end

--- A custom resource that has `status` and `scale`; cluster-scoped, so its name is unique.
function M.custom_resource(group)
  local schema = {
    type = "object",
    properties = {
      spec = {
        type = "object", ["x-kubernetes-preserve-unknown-fields"] = true,
        properties = { replicas = { type = "integer", minimum = 0 } },
      },
      status = {
        type = "object", ["x-kubernetes-preserve-unknown-fields"] = true,
        properties = { replicas = { type = "integer" } },
      },
    },
  }
  return {
    apiVersion = "apiextensions.k8s.io/v1", kind = "CustomResourceDefinition",
    metadata = { name = "gizmos." .. group },
    spec = {
      group = group, scope = "Namespaced",
      names = { plural = "gizmos", singular = "gizmo", kind = "Gizmo", shortNames = { "giz" } },
      versions = { {
        name = "v1", served = true, storage = true, schema = { openAPIV3Schema = schema },
        subresources = {
          status = {},
          scale = {
            specReplicasPath = ".spec.replicas", statusReplicasPath = ".status.replicas",
          },
        },
      } },
    },
  }
end

return M
