--- The container target's parts: what its recipe puts in order. Each is loaded when it is needed.
-- @module moonport.container

local M = {
  --- The schema of a manifest's `container` table.
  manifest = require "moonport.container.manifest",
}

local PARTS = {
  boundary = true, check = true, claims = true, host = true, namespace = true, pod = true,
  secrets = true, service = true,
}

--- The files that count as part of a manifest: a changed key is a changed service.
-- @tparam table manifest
-- @treturn {{field,path,sensitive},...}
function M.inputs(manifest)
  if not manifest.keystore or manifest.container.keystore == "host" then return {} end
  local inputs = require("moonport.container.keystore").inputs(manifest.keystore)
  for _, input in ipairs(inputs) do input.sensitive = true end
  return inputs
end

return setmetatable(M, {
  __index = function(_, name)
    return PARTS[name] and require("moonport.container." .. name) or nil
  end,
})
