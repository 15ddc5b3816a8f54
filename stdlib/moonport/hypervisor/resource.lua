--- How a virtual machine monitor is removed by kind, and how those of no deployment are found.
-- @module moonport.hypervisor.resource

local fs = require "moonport.fs"
local process = require "moonport.process"
local runtime = require "moonport.state.runtime"
local shim = require "moonport.shim"
local sys = require "moonport.sys"

local M = {}

-- The words of a process's command line.
local function words_of(pid)
  local file = io.open(("/proc/%s/cmdline"):format(pid), "rb")
  if not file then return {} end
  local text = file:read(8192) or ""
  file:close()
  local words = {}
  for word in text:gmatch "([^%z]*)%z" do words[#words + 1] = word end
  return words
end

--- The deployment that a supervisor's arguments belong to. Pure.
-- @tparam {string,...} words
-- @tparam string base the store's runtime directory
-- @treturn ?string its id
-- @treturn ?table identity {dir, socket}
function M.of_words(words, base)
  if not (words[1] or ""):find "moonport%-shim$" or words[2] ~= "run" then return nil end
  local found = {}
  for index = 3, #words do
    if words[index] == "--dir" then found.dir = words[index + 1] end
    if words[index] == "--socket" then found.socket = words[index + 1] end
  end
  local socket = found.socket or ""
  if not found.dir or socket:sub(1, #base + 1) ~= base .. "/" then return nil end
  return socket:sub(#base + 2):match "^([^/]+)/", found
end

-- Supervisors of this store are listed first: a deployment has its row before it has one.
local function supervisors(state)
  local base, list = runtime.base(state), {}
  for _, entry in ipairs(fs.list "/proc") do
    if entry.name:find "^%d+$" then
      local owner, identity = M.of_words(words_of(entry.name), base)
      if owner then
        identity.owner, identity.pid = owner, math.tointeger(tonumber(entry.name))
        list[#list + 1] = identity
      end
    end
  end
  return list
end

local function orphans(state)
  local found, known = supervisors(state), {}
  for _, deployment in ipairs(state:deployments()) do known[deployment.id] = true end
  local list = {}
  for _, one in ipairs(found) do
    local process_identity = not known[one.owner] and try(sys.identity, one.pid)
    if process_identity then
      list[#list + 1] = {
        identity = { dir = one.dir, socket = one.socket, process = process_identity },
        what = ("a VM or service of a deployment that is gone, in `%s`"):format(one.dir),
      }
    end
  end
  return list
end

-- Its record may be gone together with its directory: then by the process itself, and what it
-- supervises dies with it.
local function remove(identity)
  if identity.id then return shim.stop(identity, { grace = 0 }) end
  local alive = sys.is_alive(identity.process)
  if alive then
    process.signal(identity.process, "KILL")
    sys.wait_gone(identity.process)
  end
end

--- See `moonport.resources`.
M.resource = {
  remove = remove,
  describe = function(identity) return identity.dir end,
  orphans = orphans,
}

return M
