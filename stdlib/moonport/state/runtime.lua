--- Where sockets live: a path that the kernel accepts and that a reboot empties.
--
-- @module moonport.state.runtime
local errors = require "moonport.errors"
local sys = require "moonport.sys"

local M = {}

-- sun_path has 108 bytes with its NUL (unix(7)).
M.SOCKET_PATH_MAX = 107

local function base(state)
  local store = state.uuid:sub(1, 8)
  if sys.euid() == 0 then
    return "/run/moonport/" .. store
  end
  local runtime = os.getenv "XDG_RUNTIME_DIR"
  if runtime and runtime ~= "" then
    return ("%s/moonport/%s"):format(runtime, store)
  end
  return state.dir .. "/run"
end

--- The runtime directory of a store.
-- @tparam state state
-- @treturn string
M.base = base

--- The runtime directory of a deployment.
-- @tparam state state
-- @tparam string id
-- @treturn string
function M.dir(state, id)
  return base(state) .. "/" .. id
end

local PRIVATE <const> = 448 -- 0700
local PASS <const> = 457 -- 0711: who is no owner gets through, and lists nothing

--- Makes the runtime directory of a deployment.
-- @tparam state state
-- @tparam string id
-- @tparam[opt] boolean pass other accounts get through: the deployment's directory, the store's,
-- and the one of all stores, which hold nothing but sockets
function M.make(state, id, pass)
  local fs = require "moonport.fs"
  local dir = M.dir(state, id)
  fs.mkdirs(dir, PRIVATE)
  for _ = 1, pass and 3 or 0 do
    fs.chmod(dir, PASS)
    dir = fs.dirname(dir)
  end
end

--- Refuses a path that is too long for a socket.
-- @tparam string path
-- @treturn string path
-- @raise {kind = "state", code = "refused"}
function M.check_socket(path)
  if #path > M.SOCKET_PATH_MAX then
    errors.raise {
      kind = "state",
      code = "refused",
      message = ("`%s` is too long for a socket: %d bytes, and %d are allowed"):format(
        path,
        #path,
        M.SOCKET_PATH_MAX
      ),
      hint = "set XDG_RUNTIME_DIR, or use a --state with a shorter path",
    }
  end
  return path
end

return M
