--- What a pod may do on its node: nothing that it does not need.
-- @module moonport.container.security

local checks = require "moonport.container.checks"

local M = {}

local function seccomp(text)
  local profile = text:match("^localhost/(.+)$")
  return profile and { type = "Localhost", localhostProfile = profile } or { type = text }
end

--- The pod's `securityContext`.
-- @tparam table manifest
-- @treturn table
function M.pod(manifest)
  local security = manifest.container.security
  return {
    runAsNonRoot = security.run_as_non_root,
    runAsUser = checks.user(manifest),
    runAsGroup = security.run_as_group,
    fsGroup = security.fs_group,
    -- A large volume that is in order already is not gone through at every start.
    fsGroupChangePolicy = manifest.container.data.kind == "claim" and "OnRootMismatch" or nil,
    seccompProfile = seccomp(security.seccomp),
  }
end

--- The container's `securityContext`.
-- @tparam table manifest
-- @treturn table
function M.container(manifest)
  local security = manifest.container.security
  local add = security.capabilities
  return {
    allowPrivilegeEscalation = security.allow_privilege_escalation,
    readOnlyRootFilesystem = security.read_only_root,
    capabilities = {
      drop = { "ALL" }, add = #add > 0 and table.move(add, 1, #add, 1, {}) or nil,
    },
  }
end

return M
