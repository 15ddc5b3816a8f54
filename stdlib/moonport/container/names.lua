--- What the objects of a deployment are called, and the marks that they bear.
--
-- Every name begins with the deployment's name and the beginning of the store's UUID, so that two
-- stores can have a deployment of one name in one namespace. What lives as long as the deployment
-- (a StatefulSet, its Service, the claims) has a name of its own; what belongs to a revision has
-- the revision's number in its name, and what is known by its content, a digest of that.
--
-- By the labels `moonport/store` and `moonport/deployment` we know our own; people and other tools
-- find a service by the labels `app.kubernetes.io/*`.
-- @module moonport.container.names

local crypto = require "moonport.crypto"
local syntax = require "moonport.container.syntax"

local M = {
  --- The label with the store's UUID.
  STORE = "moonport/store",
  --- The label with the deployment's id, which no other deployment ever has.
  DEPLOYMENT = "moonport/deployment",
  --- The label with the tag of a revision, on what belongs to one.
  TAG = "moonport/tag",
  --- The label with the deployment's name, for people.
  NAME = "moonport/name",
  --- The annotation with the number of the revision.
  REVISION = "moonport/revision",
  --- The label of what stays when the deployment goes.
  KEEP = "moonport/keep",
}

-- A StatefulSet's pods have a label with its name, `-` and ten characters, in 63.
local SET_LIMIT = 52

local function short_store(ctx)
  return ctx.store:sub(1, 8)
end

-- A name that is too long is cut, and told from others that are cut alike by a digest.
local function shortened(name, limit)
  if #name <= limit then return name end
  return ("%s-%s"):format(name:sub(1, limit - 7), crypto.hash("sha256", name):sub(1, 6))
end

--- What all names of a deployment begin with; also its `app.kubernetes.io/instance`.
-- @tparam context ctx
-- @treturn string at most 52 bytes
function M.base(ctx)
  return ("%s-%s"):format(shortened(ctx.name, SET_LIMIT - 9), short_store(ctx))
end

--- The pod of a revision. Those of a StatefulSet end with `-` and a number.
-- @tparam context ctx
-- @treturn string
function M.pod(ctx)
  return ("%s-r%d"):format(M.base(ctx), ctx.revision)
end

--- The StatefulSet.
-- @tparam context ctx
-- @treturn string
function M.set(ctx)
  return M.base(ctx)
end

--- The headless Service of the StatefulSet. Names of Services begin with a letter.
-- @tparam context ctx
-- @treturn string
function M.service(ctx)
  local base = M.base(ctx)
  return base:find("^%a") and base or "s-" .. base
end

--- The volume with the data, in the pod.
M.DATA_VOLUME = "data"

--- The claim of one replica's data. It is called as a StatefulSet calls it, so that a service keeps
-- its data when it becomes one.
-- @tparam context ctx
-- @tparam[opt=0] integer ordinal
-- @treturn string
function M.claim(ctx, ordinal)
  return ("%s-%s-%d"):format(M.DATA_VOLUME, M.base(ctx), ordinal or 0)
end

--- A Secret that is known by its content. Its content never changes, so that pods of an earlier
-- revision keep theirs.
-- @tparam context ctx
-- @tparam string purpose "keystore" or "env"
-- @tparam string digest hexadecimal
-- @treturn string
function M.secret(ctx, purpose, digest)
  return ("%s-%s-%s"):format(M.base(ctx), purpose, digest:sub(1, 12))
end

-- A label's value cannot end with `-`, which a deployment's name can.
local function label_value(text)
  text = text:sub(1, 63):gsub("[^%w]+$", "")
  return syntax.is_label_value(text) and text or nil
end

--- The version that an image's name tells: its tag.
-- @tparam string image
-- @treturn string|nil
function M.version(image)
  local tag = image:gsub("@.*$", ""):match(":([^:/]+)$")
  return tag and label_value(tag)
end

--- What the selector of a StatefulSet or a Service looks for.
-- @tparam context ctx
-- @treturn table labels
function M.selector(ctx)
  return { [M.STORE] = ctx.store, [M.DEPLOYMENT] = ctx.id }
end

local function merge(into, from)
  for key, value in pairs(from) do into[key] = value end
  return into
end

--- The labels that a deployment's objects have as long as it is there.
-- @tparam context ctx
-- @tparam[opt] table more further labels
-- @treturn table
function M.own_labels(ctx, more)
  local labels = {
    ["app.kubernetes.io/name"] = label_value(ctx.name),
    ["app.kubernetes.io/instance"] = M.base(ctx),
    ["app.kubernetes.io/managed-by"] = "moonport",
    [M.NAME] = label_value(ctx.name),
  }
  return merge(merge(labels, M.selector(ctx)), more or {})
end

--- The labels of every object of a deployment: its own, and those of the manifest.
-- @tparam context ctx
-- @tparam[opt] table more further labels
-- @treturn table
function M.labels(ctx, more)
  local labels = merge({}, ctx.manifest.container and ctx.manifest.container.labels or {})
  return merge(labels, M.own_labels(ctx, more))
end

--- The annotations of every object of a deployment.
-- @tparam context ctx
-- @tparam[opt] table more further annotations
-- @treturn table|nil nil when there are none
function M.annotations(ctx, more)
  local annotations = merge({}, ctx.manifest.container and ctx.manifest.container.annotations or {})
  merge(annotations, more or {})
  return next(annotations) and annotations
end

--- Annotations that tell the revision, for what is applied anew with each.
-- @tparam context ctx
-- @tparam[opt] table annotations further ones; changed
-- @treturn table
function M.revised(ctx, annotations)
  return merge(annotations or {}, { [M.REVISION] = tostring(ctx.revision) })
end

--- The metadata of an object of a deployment.
-- @tparam context ctx
-- @tparam string name
-- @tparam string namespace
-- @tparam[opt] table more `labels`, `annotations`
-- @treturn table
function M.metadata(ctx, name, namespace, more)
  more = more or {}
  return {
    name = name,
    namespace = namespace,
    labels = M.labels(ctx, more.labels),
    annotations = M.annotations(ctx, more.annotations),
  }
end

return M
