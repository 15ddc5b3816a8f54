--- Which deployments use which images: a step records the image that its disks lie over.
-- @module moonport.image.uses

local json = require "moonport.json"

local M = {}

local KIND = "image"

--- Notes that the step which applies uses an image. It must hold `store:use()`.
-- @tparam context ctx
-- @tparam string digest
function M.record(ctx, digest)
  ctx:record(KIND, { digest = digest })
end

--- Lists who uses images.
-- @tparam state state
-- @treturn table from digests to lists of names of deployments, sorted
function M.by_digest(state)
  local rows = state.db and state.db:rows(
    [[SELECT DISTINCT d.name, r.identity FROM resources r JOIN deployments d ON d.id = r.deployment
      WHERE r.kind = ? ORDER BY d.name]], KIND) or {}
  local users = {}
  for _, row in ipairs(rows) do
    local digest = json.decode(row.identity).digest
    local list = users[digest] or {}
    if list[#list] ~= row.name then list[#list + 1] = row.name end
    users[digest] = list
  end
  return users
end

--- What `moonport.resources` knows of it: nothing goes with the deployment, for images are kept
-- until they are pruned.
M.resource = {
  remove = function() end,
  describe = function(identity) return identity.digest end,
}

return M
