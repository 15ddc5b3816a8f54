--- The cluster that a deployment is on: connections, and how one is found again.
--
-- What the journal and resources keep of a cluster is its identity:
--
--   {kubeconfig, context, server, uid}
--
-- It is opened again by kubeconfig and context. Where these lead to another address by then, only
-- the uid (that of the namespace `kube-system`, which lives as long as the cluster) can tell that
-- it is the same one: on any other nothing of ours is, and looking there for it would mean to take
-- it for gone.
-- @module moonport.container.cluster

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local nearest = require "moonport.nearest"

local M = {
  --- The namespace where nothing says another one.
  NAMESPACE = "blueprints",
  --- The field manager where the site names none.
  FIELD_MANAGER = "moonport",
}

local _state = { open = {} } -- what opens it -> cluster; a connection serves all that needs it

-- Like kubectl, no list where none of it is there: then it is not these files that lead anywhere.
local function absolute_list(text)
  local paths, found = {}, false
  for path in text:gmatch "[^:]+" do
    paths[#paths + 1] = fs.absolute(path)
    found = found or fs.exists(paths[#paths])
  end
  return found and table.concat(paths, ":") or nil
end

local function default_kubeconfig()
  local home = os.getenv "HOME"
  local default = home and home ~= "" and home .. "/.kube/config"
  return default and fs.exists(default) and default or nil
end

local function listed_kubeconfig()
  local listed = os.getenv "KUBECONFIG"
  return listed and listed ~= "" and listed or nil
end

-- The files that kubectl would read. In full: a later command may be run from elsewhere.
local function kubeconfig_of(wanted)
  if wanted then return fs.absolute(wanted) end
  local listed = listed_kubeconfig()
  if listed then return absolute_list(listed) end
  return default_kubeconfig()
end

-- What may have been meant by a path where no file is.
local function instead_of(path)
  local folder, name = path:match "^(.*)/([^/]*)$"
  local entries = try(fs.list, folder == "" and "/" or folder)
  if not entries then return ("there is no folder `%s`"):format(folder) end
  local names = {}
  for _, entry in ipairs(entries) do names[#names + 1] = entry.name end
  local near = nearest.find(name, names)
  if near then return ("did you mean `%s/%s`?"):format(folder, near) end
  local default = default_kubeconfig()
  return default and ("`%s` is there"):format(default) or nil
end

-- `named_by` says in a hint who names a kubeconfig that is not there.
local function connect(kubeconfig, context, named_by)
  local key = ("%s\n%s"):format(kubeconfig or "", context or "")
  local entry = _state.open[key]
  if not entry then
    local cluster, why = try(require("moonport.kube").connect, {
      kubeconfig = kubeconfig, context = context, field_manager = M.FIELD_MANAGER,
    })
    if errors.is(why, "kube", "ENOENT") then
      local instead = instead_of(kubeconfig)
      why.hint = named_by .. (instead and "; " .. instead or "")
    end
    if why then error(why, 0) end
    entry = { cluster = cluster, kubeconfig = kubeconfig }
    _state.open[key] = entry
  end
  return entry.cluster, entry
end

-- The uid of the cluster; nil where one may not look.
local function uid_of(entry)
  if entry.uid == nil then
    local found, why = try(entry.cluster.get, entry.cluster, "namespaces", "kube-system")
    if why and not (errors.is(why, "kube", "forbidden") or errors.is(why, "kube", "not_found")) then
      error(why, 0)
    end
    entry.uid = found and found.metadata.uid or false
  end
  return entry.uid or nil
end

local function settings(ctx)
  local kube, own = ctx.config.kube or {}, ctx.manifest.container or {}
  return own.kubeconfig or kube.kubeconfig, own.context or kube.context,
    own.kubeconfig and "`container.kubeconfig` of the manifest names it"
      or "`kube.kubeconfig` of the site names it"
end

local function connect_for(ctx)
  local wanted, context, named_by = settings(ctx)
  return connect(kubeconfig_of(wanted), context, named_by)
end

--- Whether anything says which cluster, or where to look for it.
-- @tparam context ctx
-- @treturn boolean
function M.is_named(ctx)
  local wanted, context = settings(ctx)
  return (wanted or context or listed_kubeconfig() or default_kubeconfig()) ~= nil
end

--- The name under which fields of a deployment's objects are owned.
-- @tparam context ctx
-- @treturn string
function M.field_manager(ctx)
  return (ctx.config.kube or {}).field_manager or M.FIELD_MANAGER
end

--- The namespace of a deployment.
-- @tparam context ctx
-- @treturn string
function M.namespace(ctx)
  return ctx.manifest.container.namespace or (ctx.config.kube or {}).namespace or M.NAMESPACE
end

--- Connects to the cluster that manifest and site name. Makes no request.
-- @tparam context ctx
-- @treturn cluster
-- @raise {kind="kube", code="config"}
function M.open(ctx)
  return (connect_for(ctx))
end

--- The identity of the cluster that manifest and site name. Asks it for its uid.
-- @tparam context ctx
-- @treturn table {kubeconfig, context, server, uid}
function M.identity(ctx)
  local cluster, entry = connect_for(ctx)
  local config = cluster.config
  return {
    kubeconfig = entry.kubeconfig,
    context = config.context,
    server = config.server,
    uid = uid_of(entry),
  }
end

--- Where a deployment's objects go: what the intent of each of its steps begins with.
-- @tparam context ctx
-- @treturn table {cluster, namespace}
function M.place(ctx)
  local identity = M.identity(ctx)
  local namespace = M.namespace(ctx)
  if not ctx.planning then
    require("moonport.container.known").remember(ctx.state, identity, namespace)
  end
  return { cluster = identity, namespace = namespace }
end

--- The identity of the cluster of a site's configuration, for looking through it.
-- @tparam table config of the site
-- @treturn ?table nil where the site names none
function M.identity_of_site(config)
  local kube = config and config.kube or {}
  if not (kube.kubeconfig or kube.context) then return nil end
  return M.identity { config = config, manifest = {} }
end

local function another(identity, config, uid)
  errors.raise {
    kind = "container", code = "cluster",
    message = ("context `%s` leads to %s now, and this was made on %s"):format(
      identity.context or "(none)", config.server, identity.server),
    hint = uid and identity.uid and "they are two clusters: let the context lead to the former one"
      or "whether that is the same cluster cannot be told; let the context lead there",
  }
end

-- Failures of the way to a server: it was not asked.
local AWAY = { connect = true, resolve = true, timeout = true, proxy = true }

--- A failure of the way to a cluster told as that; every other as it is.
-- @tparam table config `context` and `server` of the cluster
-- @param why
-- @tparam[opt] string hint
function M.explain(config, why, hint)
  if not (errors.is(why, "net") or errors.is(why, "http") and AWAY[why.code]) then return why end
  return errors.new {
    kind = "container", code = "unreachable", cause = why, hint = hint,
    message = ("the cluster%s at %s does not answer"):format(
      config.context and (" of context `%s`"):format(config.context) or "", config.server),
  }
end

local FOUND_BY_IT = "what was deployed through it is found by it; put it there again"

--- Connects to a cluster again.
-- @tparam table identity
-- @treturn cluster
-- @raise {kind="container", code="cluster"} where kubeconfig and context lead to another one now
function M.reopen(identity)
  local cluster, entry = connect(identity.kubeconfig, identity.context, FOUND_BY_IT)
  local config = cluster.config
  if config.server ~= identity.server then
    local uid, why = try(uid_of, entry)
    if why then error(M.explain(config, why), 0) end
    if not uid or uid ~= identity.uid then another(identity, config, uid) end
  end
  return cluster
end

--- What is done on a cluster, telling so when that does not answer.
-- @tparam function act
-- @tparam[opt] function place_of gives of the same arguments what has the `cluster`: `M.of_service`
-- unless told
-- @treturn function
function M.explaining(act, place_of)
  return function(...)
    local results = table.pack(pcall(act, ...))
    if results[1] then return table.unpack(results, 2, results.n) end
    local place = (place_of or M.of_service)(...)
    error(place and place.cluster and M.explain(place.cluster, results[2]) or results[2], 0)
  end
end

--- For `explaining`: where the service of a context is.
-- @tparam context ctx
-- @treturn ?table
function M.of_service(ctx) return ctx.intents.pod end

--- For `explaining`: where a step acts.
-- @tparam context _
-- @tparam table intent
-- @treturn table
function M.of_step(_, intent) return intent end

--- For `explaining`: where a resource is.
-- @tparam table identity
-- @treturn table
function M.of_resource(identity) return identity end

--- The cluster as people know it.
-- @tparam table identity
-- @treturn string
function M.describe(identity)
  return identity.context or identity.server
end

--- What identifies a cluster among several: two contexts may lead to one.
-- @tparam table identity
-- @treturn string
function M.key(identity)
  return identity.uid or identity.server
end

return M
