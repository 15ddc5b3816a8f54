--- Marks: by which what moonport made is found again, and told from what others made.
--
-- What a deployment has made bears labels (`moonport.container.names`). What several deployments
-- share bears no deployment: the namespace has a label of each store that uses it
-- (`moonport.store/<8 digits>`), the host service annotations of its users.
-- @module moonport.container.marks

local names = require "moonport.container.names"

local M = {
  --- Annotation of a namespace that moonport has made, with the store's UUID.
  MADE = "moonport/made-by",
}

--- The label of a store on a namespace that it uses.
-- @tparam string store its UUID
-- @treturn string
function M.store_label(store)
  return "moonport.store/" .. store:sub(1, 8)
end

local function labels_of(object)
  return (object.metadata or {}).labels or {}
end

--- True for what bears the mark of a store and, where `mark` names one, a deployment.
-- @tparam table object
-- @tparam table mark {store, deployment, revision}; with a revision, only what no other revision
-- has applied since: some objects pass from one revision to the next
-- @treturn boolean
function M.is_ours(object, mark)
  local labels = labels_of(object)
  return labels[names.STORE] == mark.store
    and (mark.deployment == nil or labels[names.DEPLOYMENT] == mark.deployment)
    and (mark.revision == nil or M.revision(object) == mark.revision)
end

--- The number of the revision that applied an object last.
-- @tparam table object
-- @treturn ?integer
function M.revision(object)
  return math.tointeger(tonumber((object.metadata.annotations or {})[names.REVISION]))
end

--- The mark of a deployment.
-- @tparam context ctx
-- @treturn table {store, deployment}
function M.of(ctx)
  return { store = ctx.store, deployment = ctx.id }
end

--- The selector of everything of a deployment.
-- @tparam table mark
-- @treturn table labels
function M.selector(mark)
  return { [names.STORE] = mark.store, [names.DEPLOYMENT] = mark.deployment }
end

--- Who made an object, as far as it tells, for messages.
-- @tparam table object
-- @treturn string
function M.owner(object)
  local labels = labels_of(object)
  if labels[names.STORE] and labels[names.NAME] then
    return ("deployment `%s` of the store %s"):format(labels[names.NAME], labels[names.STORE])
  elseif labels[names.STORE] then
    return ("the store %s"):format(labels[names.STORE])
  end
  local manager = labels["app.kubernetes.io/managed-by"]
  return manager and ("`%s`"):format(manager) or "somebody else"
end

return M
