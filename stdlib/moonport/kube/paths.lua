--- Paths of the API.
-- @submodule moonport.kube

local options_of = require "moonport.kube.options"

local M = {}

local function escape_byte(char) return string.format("%%%02X", char:byte()) end

local function escape_segment(text)
  return (text:gsub("[^%w%-._~!$&'()*+,;=:@]", escape_byte))
end

local function escape_value(text)
  return (text:gsub("[^%w%-._~:,/]", escape_byte))
end

-- A value of a query.
M.escape = escape_value

-- A path with its query: parameters by name, in order of names; nil and false are left out.
function M.with_query(path, query)
  local names = {}
  for name, value in next, query or {} do
    if value then names[#names + 1] = name end
  end
  if #names == 0 then return path end
  table.sort(names)
  local parts = {}
  for index, name in ipairs(names) do
    parts[index] = escape_value(name) .. "=" .. escape_value(tostring(query[name]))
  end
  return path .. (path:find("?", 1, true) and "&" or "?") .. table.concat(parts, "&")
end

-- The path of a found resource (see discovery.lua), or of one object of it.
function M.of(resource, namespace, name, subresource)
  local group = resource.group == "" and "/api/" or "/apis/" .. resource.group .. "/"
  local parts = { group .. resource.version }
  if resource.namespaced and namespace then
    parts[#parts + 1] = "namespaces/" .. escape_segment(namespace)
  end
  parts[#parts + 1] = resource.name
  if name then parts[#parts + 1] = escape_segment(name) end
  if subresource then parts[#parts + 1] = escape_segment(subresource) end
  return table.concat(parts, "/")
end

local Cluster = M

--- The path of a resource, or of one object of it, such as
-- `/apis/apps/v1/namespaces/shop/deployments/web/scale`: for @{Cluster:raw}.
-- @function Cluster:path
-- @tparam string|table resource
-- @tparam[opt] string namespace the connection's without it; false for all
-- @tparam[opt] string name
-- @tparam[opt] string subresource
-- @treturn string
-- @raise {kind="kube", code="unknown_resource"}
function Cluster.path(self, resource, namespace, name, subresource)
  local found = self:find(resource)
  if namespace == nil then namespace = self.namespace end
  if namespace then options_of.check_name("cluster:path", "the namespace", namespace) end
  if name then options_of.check_name("cluster:path", "the name", name) end
  if subresource then options_of.check_name("cluster:path", "the subresource", subresource) end
  return M.of(found, namespace, name, subresource)
end

return M
