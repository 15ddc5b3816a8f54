--- moonport's modules, each loaded on first use.
--
--     local mp = require "moonport"
--     print(mp.http.get("http://127.0.0.1:9090/-/ready").status)
-- @module moonport

local M = {}

return setmetatable(M, {
  __index = function(self, name)
    if type(name) ~= "string" then return nil end
    local ok, module = pcall(require, "moonport." .. name)
    if not ok then
      local absent = string.format("module 'moonport.%s' not found", name)
      if type(module) == "string" and module:find(absent, 1, true) then
        error(string.format("moonport has no module `%s`", name), 2)
      end
      error(module, 0)
    end
    rawset(self, name, module)
    return module
  end,
})
