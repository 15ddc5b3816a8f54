--- The forms that Kubernetes wants names, labels and addresses in.
--
-- Each checker is a `check` of `moonport.schema`: it returns nil, or the reason why not and a hint.
-- @module moonport.container.syntax

local endpoint = require "moonport.endpoint"

local M = {}

local LABEL = "^[a-z0-9][a-z0-9-]*$"

--- True for a DNS label (RFC 1123): what namespaces are named by.
-- @tparam string text
-- @tparam[opt=63] integer limit
-- @treturn boolean
function M.is_dns_label(text, limit)
  return #text <= (limit or 63) and text:find(LABEL) ~= nil and text:sub(-1) ~= "-"
end

--- True for a DNS subdomain (RFC 1123): what most objects are named by.
-- @tparam string text
-- @treturn boolean
function M.is_dns_name(text)
  if #text == 0 or #text > 253 then return false end
  for part in (text .. "."):gmatch("(.-)%.") do
    if not M.is_dns_label(part, 253) then return false end
  end
  return true
end

local function is_name_part(text)
  return #text <= 63 and text:find("^%w[%w._-]*$") ~= nil and text:find("%w$") ~= nil
end

--- True for the value of a label.
-- @tparam string text
-- @treturn boolean
function M.is_label_value(text)
  return text == "" or is_name_part(text)
end

--- True for the key of a label or an annotation: a name, or a DNS name, `/` and a name.
-- @tparam string text
-- @treturn boolean
function M.is_key(text)
  local prefix, name = text:match("^([^/]*)/([^/]*)$")
  return is_name_part(name or text) and (not prefix or M.is_dns_name(prefix))
end

--- Checks the name of an object.
-- @tparam string text
function M.object_name(text)
  if M.is_dns_name(text) then return nil end
  return ("must be a name that Kubernetes takes, not %q"):format(text),
    "lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit"
end

--- Checks the name of a namespace.
-- @tparam string text
function M.namespace(text)
  if M.is_dns_label(text) then return nil end
  return ("must be a namespace, not %q"):format(text),
    "up to 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit"
end

--- Checks the value of a label.
-- @tparam string text
function M.label_value(text)
  if M.is_label_value(text) then return nil end
  return ("cannot be the value of a label: %q"):format(text),
    "up to 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit"
end

local KEY = "up to 63 letters, digits, `-`, `_` and `.`; before them may stand a DNS name and `/`"

--- Checks the key of a label, as the `key` of a schema's map.
-- @tparam string key
-- @tparam string path where it stands
function M.label_key(key, path)
  if not M.is_key(key) then return ("`%s` is no key that Kubernetes takes"):format(path), KEY end
end

local OWN = { "^moonport/", "^moonport%.store/", "^app%.kubernetes%.io/name$",
  "^app%.kubernetes%.io/instance$", "^app%.kubernetes%.io/managed%-by$" }

--- As `label_key`, for what is put on objects of ours: our own marks are not to be set.
-- @tparam string key
-- @tparam string path
function M.own_key(key, path)
  for _, pattern in ipairs(OWN) do
    if key:find(pattern) then
      return ("`%s` belongs to moonport, which finds its own by it"):format(path), "choose another"
    end
  end
  return M.label_key(key, path)
end

--- Checks the name of a port, as the `key` of a schema's map.
-- @tparam string key
-- @tparam string path
function M.port_name(key, path)
  local fine = M.is_dns_label(key, 15) and key:find("%a") and not key:find("--", 1, true)
  if not fine then
    return ("`%s` is no name for a port"):format(path),
      "up to 15 lower-case letters, digits and single `-`, with a letter among them"
  end
end

--- True for an IPv4 address in dotted form.
M.is_ipv4 = endpoint.is_ipv4

--- True for what can only be an IPv6 address (its groups are not counted: the server does).
M.is_ipv6 = endpoint.is_ipv6

--- Checks an IP address.
-- @tparam string text
function M.address(text)
  if M.is_ipv4(text) or M.is_ipv6(text) then return nil end
  return ("must be an IP address, not %q"):format(text)
end

--- Checks an IP address or a host name.
-- @tparam string text
function M.host(text)
  if M.is_ipv4(text) or M.is_ipv6(text) or M.is_dns_name(text) then return nil end
  return ("must be an IP address or a host name, not %q"):format(text)
end

--- Checks a host name, as the `key` of a schema's map.
-- @tparam string key
-- @tparam string path
function M.host_key(key, path)
  if not M.is_dns_name(key) then return ("`%s` is no host name"):format(path) end
end

return M
