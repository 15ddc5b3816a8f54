--- Kubernetes: a client for any cluster and any kind of object.
--
--     local cluster = kube.connect { context = "staging", namespace = "shop" }
--     for pod in cluster:each("pods", { labels = { app = "web" } }) do
--       print(pod.metadata.name, pod.status.phase)
--     end
--     cluster:apply {
--       apiVersion = "v1", kind = "ConfigMap", metadata = { name = "limits" },
--       data = { requests = "100" },
--     }
--     cluster:scale("deployments", "web", 3)
--
-- `kube.connect` finds the cluster as kubectl does and asks it nothing yet. Each method of a
-- @{Cluster} is also a function here that uses the cluster which kubectl would use:
-- `kube.get("pods", "web")`.
--
-- **Resources** are named as people name them: `"pods"`, `"pod"`, `"po"`, `"Pod"`,
-- `"deployments.apps"`, `"deployments.v1.apps"`, or by an object's `{apiVersion=, kind=}`. The
-- server is asked which it has; the answer is kept on disk for ten minutes, and asked for again
-- when a name is not in it. An API group whose own server is down takes no other with it.
--
-- **Objects** are plain tables, exactly what the server sent: written back they are the same
-- document. `{}` is an empty object; an empty list is `json.array {}`, and null is `json.null`. The
-- values in a Secret's `stringData` may be secrets (`secret.file(...)`), and those in its `data`
-- too (`crypto.base64(secret.file(...))`); nowhere else.
--
-- **Options of every method**, each in its last argument:
--
-- - `namespace`: in place of the connection's; nothing for what has no namespace
-- - `dry_run`: true has the server check and answer, and change nothing; allowed while nothing may
--   be changed (a plan)
-- - `subresource`: `"status"`, `"scale"` and others, in place of the object itself
-- - `timeout`: seconds for all of it, pages and waits included (none)
-- - `retries`: how often to try again what failed in passing (6); 0 for never
-- - `on_wait`: called before each such wait with `{seconds=, why=, attempt=, request=, error=}`, of
--   which it may change `seconds`; without it waits of more than a second are logged
--
-- **Trying again**: a server that has too much to do (429), or says that it did not begin
-- (ServerTimeout), is asked again after the time that it names, of which five minutes are heeded at
-- most, or else after a growing one. So is, where that cannot do a thing twice (reading, a dry run,
-- server-side apply), one that failed (500, 502, 503, 504) or was lost. A connection that was
-- refused carried nothing and is tried again for every verb. There is no other limit to how fast
-- requests are sent.
--
-- **Errors** are `{kind="kube"}` with what the server said: `code` is its reason in small letters
-- (`not_found`, `already_exists`, `conflict`, `forbidden`, `unauthorized`, `invalid`, `expired`,
-- `timeout`, `too_many_requests`, `internal_error`, `service_unavailable`, ...), `status` the HTTP
-- status, `reason`, `details` and `causes` (`{field=, message=, reason=}`) its own. What never
-- reached a server is `{kind="http"}`. Other codes: `unknown_resource`, `discovery` (its group does
-- not answer), `config`, `credentials`.
-- @module moonport.kube

local M = {}

local default

--- Connects to a cluster, as kubectl would with the same flags. Nothing is asked of it before the
-- first call.
-- @tparam[opt] table options which cluster, and as whom: `kubeconfig` (path), `context`, `cluster`,
--   `user`, `namespace`, `server` (URL), `token` (string or secret), `as`, `as_uid`, `as_groups`,
--   `ca` (path), `tls_server_name`, `insecure`, `proxy`, `in_cluster`; and `field_manager`
--   ("moonport"): the name under which apply owns fields; `timeout`, `retries` and `on_wait`: for
--   calls that are not given their own; `on_warning`: called with each new warning of the server
--   (without it they are logged); `compressed`: whether answers are (unless the server is on this
--   machine); `cache`: false keeps nothing on disk
-- @treturn Cluster
-- @raise {kind="kube", code="config"} with file, line and field
function M.connect(options)
  return require("moonport.kube.cluster").connect(options)
end

--- Tells where each part of the configuration comes from.
-- @tparam[opt] table options as for @{connect}
-- @treturn {table,...} rows `{field=, value=, file=, line=, from=}`; secrets are masked
-- @raise {kind="kube", code="config"}
function M.explain(options)
  return require("moonport.kube.cluster").explain(options)
end

--- The cluster that kubectl would use, which the functions of this module act on; connected at
-- first use.
-- @treturn Cluster
-- @raise {kind="kube", code="config"}
function M.default()
  default = default or M.connect()
  return default
end

--- Applies an object on the server's side. See @{Cluster:apply}.
-- @function apply
-- @tparam table object
-- @tparam[opt] table options

--- Asks whether one may do something. See @{Cluster:can}.
-- @function can
-- @tparam table what

--- Makes an object. See @{Cluster:create}.
-- @function create
-- @tparam table object
-- @tparam[opt] table options

--- Deletes one object. See @{Cluster:delete}.
-- @function delete
-- @tparam string|table resource
-- @tparam string name
-- @tparam[opt] table options

--- Deletes what a selector fits. See @{Cluster:delete_collection}.
-- @function delete_collection
-- @tparam string|table resource
-- @tparam table options

--- Goes through objects one by one. See @{Cluster:each}.
-- @function each
-- @tparam string|table resource
-- @tparam[opt] table options

--- Runs a program in a pod. See @{Cluster:exec}.
-- @function exec
-- @tparam string pod
-- @tparam table command

--- Tells what the cluster knows about a resource. See @{Cluster:find}.
-- @function find
-- @tparam string|table resource

--- Leads a local port to one of a pod. See @{Cluster:forward}.
-- @function forward
-- @tparam string|table target
-- @tparam integer port
-- @tparam[opt] table options

--- Gets one object. See @{Cluster:get}.
-- @function get
-- @tparam string|table resource
-- @tparam string name
-- @tparam[opt] table options

--- Lists objects. See @{Cluster:list}.
-- @function list
-- @tparam string|table resource
-- @tparam[opt] table options

--- Reads and follows what a pod's containers write. See @{Cluster:logs}.
-- @function logs
-- @tparam string|table whose
-- @tparam[opt] table options

--- Keeps a copy of objects that follows the cluster. See @{Cluster:mirror}.
-- @function mirror
-- @tparam string|table resource
-- @tparam[opt] table options

--- Changes parts of an object. See @{Cluster:patch}.
-- @function patch
-- @tparam string|table resource
-- @tparam string name
-- @tparam table|string patch
-- @tparam[opt] table options

--- The path of a resource in the API. See @{Cluster:path}.
-- @function path
-- @tparam string|table resource
-- @tparam[opt] string namespace
-- @tparam[opt] string name
-- @tparam[opt] string subresource

--- Sends a request of one's own. See @{Cluster:raw}.
-- @function raw
-- @tparam table request

--- Puts an object in the place of the one of its name. See @{Cluster:replace}.
-- @function replace
-- @tparam table object
-- @tparam[opt] table options

--- Tells all resources of the cluster. See @{Cluster:resources}.
-- @function resources
-- @tparam[opt] table options

--- Sets how many replicas there shall be. See @{Cluster:scale}.
-- @function scale
-- @tparam string|table resource
-- @tparam string name
-- @tparam integer replicas
-- @tparam[opt] table options

--- The server's version. See @{Cluster:version}.
-- @function version
-- @tparam[opt] table options

--- Waits until objects are as wanted. See @{Cluster:wait}.
-- @function wait
-- @tparam string|table resource
-- @tparam string|table which
-- @tparam function|string predicate
-- @tparam[opt] number|table options

--- Follows changes of objects. See @{Cluster:watch}.
-- @function watch
-- @tparam string|table resource
-- @tparam[opt] table options

--- Is an object ready for use? For @{Cluster:wait}. Goes by its kind: the replicas of what has
-- them, the completion of a job, the phase of a claim, else its condition `Ready` or `Available`;
-- what has neither is ready when it is there.
-- @tparam ?table object
-- @treturn boolean
-- @treturn ?string why not
-- @raise {kind="kube", code="failed"} for a job that has failed
function M.ready(object) return require("moonport.kube.conditions").ready(object) end

--- Is an object gone? For @{Cluster:wait}.
-- @tparam ?table object
-- @treturn boolean
-- @treturn ?string why not
function M.deleted(object) return require("moonport.kube.conditions").deleted(object) end

--- Makes a question for @{Cluster:wait}: does an object have this condition?
-- @tparam string name such as `Available`, in any case
-- @tparam[opt="True"] string status
-- @treturn function
function M.condition(name, status)
  return require("moonport.kube.conditions").condition(name, status)
end

for name in pairs(require("moonport.kube.methods")) do
  M[name] = function(...)
    local cluster = M.default()
    return cluster[name](cluster, ...)
  end
end

return M
