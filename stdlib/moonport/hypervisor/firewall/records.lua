--- The records of VMs in the state: what the firewall is a function of.
--
-- A step that puts a VM into the firewall keeps its record in its intent, and records the resource
-- `firewall-vm`; so the journal is the only place where it stands.
--
-- @module moonport.hypervisor.firewall.records
local json = require "moonport.json"

local M = {}

M.KIND = "firewall-vm"

local SELECT = [[
  SELECT j.deployment, j.revision, j.intent FROM resources r JOIN journal j
    ON j.deployment = r.deployment AND j.revision = r.revision AND j.step = r.step
  WHERE r.kind = 'firewall-vm' AND j.state IN ('intent', 'done', 'left')]]

local function decode(rows)
  local list = {}
  for _, row in ipairs(rows) do
    local intent = json.decode(row.intent)
    local record = type(intent) == "table" and intent.record
    if record then
      record.deployment = record.deployment or row.deployment
      record.revision = record.revision or row.revision
      list[#list + 1] = record
    end
  end
  return list
end

--- All of a store.
-- @tparam state state
-- @treturn table
function M.all(state)
  return decode(state.db:rows(SELECT))
end

--- Those of one deployment.
-- @tparam state state
-- @tparam string deployment its id
-- @treturn table
function M.of(state, deployment)
  return decode(state.db:rows(SELECT .. " AND r.deployment = ?", deployment))
end

--- Those of other deployments that name one as a peer.
-- @tparam state state
-- @tparam string deployment its id
-- @treturn table
function M.naming(state, deployment)
  local list = {}
  for _, record in ipairs(decode(state.db:rows(SELECT
    .. " AND r.deployment != ?1 AND instr(j.intent, '\"' || ?1 || '\"') > 0", deployment))) do
    for _, peer in ipairs(record.peers or {}) do
      if peer == deployment then
        list[#list + 1] = record
        break
      end
    end
  end
  return list
end

--- The deployment that a record's id belongs to.
-- @tparam string id "<deployment>-<revision>"
-- @treturn string
function M.deployment_of(id)
  return id:match "^(.*)%-%d+$" or id
end

--- Forgets a record: from here on the table is to be without it.
-- @tparam state state
-- @tparam string id
function M.forget(state, id)
  local deployment, revision = id:match "^(.*)%-(%d+)$"
  if deployment then
    state.db:run(
      "DELETE FROM resources WHERE kind = 'firewall-vm' AND deployment = ? AND revision = ?",
      deployment,
      math.tointeger(tonumber(revision))
    )
  end
end

return M
