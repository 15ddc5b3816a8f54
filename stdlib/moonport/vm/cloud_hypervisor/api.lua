--- Requests to cloud-hypervisor's REST API, on its Unix socket.
-- @module moonport.vm.cloud_hypervisor.api

local errors = require "moonport.errors"
local http = require "moonport.http"
local json = require "moonport.json"

local M = {
  --- The first version that has all that is relied upon: distributions' kernels boot since.
  OLDEST = 39,
}

-- A snapshot writes all of the guest's memory before it answers.
local SECONDS = 3600

-- Error bodies are a list of messages, from what was attempted to why it failed; a text in older
-- versions.
local function explain(body)
  local messages = try(json.decode, body)
  if type(messages) == "table" and #messages > 0 then
    for i, message in ipairs(messages) do messages[i] = tostring(message) end
    return table.concat(messages, ": ")
  end
  return body ~= "" and body or "it does not say why"
end

local CODES = { [404] = "not-found", [405] = "state", [429] = "busy", [409] = "invalid" }

local function refuse(response, action)
  errors.raise {
    kind = "vm", code = CODES[response.status] or "rejected", status = response.status,
    message = ("cloud-hypervisor refused `%s`: %s"):format(action, explain(response.body)),
  }
end

--- Asks for something.
-- @tparam string socket
-- @tparam string method "GET" or "PUT"
-- @tparam string action such as "vm.boot"
-- @tparam[opt] table body
-- @return what it answered, if anything
-- @raise {kind="vm"} with its own words; {kind="http"} when it cannot be reached
function M.ask(socket, method, action, body)
  local response = http.request {
    method = method, url = "http://localhost/api/v1/" .. action, unix = socket, json = body,
    timeout = SECONDS, idle_timeout = false, connect_timeout = 5,
  }
  if response.status >= 400 then refuse(response, action) end
  if response.body ~= "" then return json.decode(response.body) end
end

--- The version of the one that answers, refused where it is too old.
-- @tparam string socket
-- @treturn string such as "51.0"
-- @raise {kind="vm", code="version"}
function M.version(socket)
  local answer = M.ask(socket, "GET", "vmm.ping")
  local version = tostring(answer.version or ""):gsub("^v", "")
  local major = tonumber(version:match "^%d+")
  if not major or major < M.OLDEST then
    errors.raise {
      kind = "vm", code = "version",
      message = ("cloud-hypervisor `%s` is too old: %d.0 is needed"):format(version, M.OLDEST),
      hint = "install a newer cloud-hypervisor, or use qemu",
    }
  end
  return version
end

return M
