--- The account that a native service runs as.
-- @module moonport.native.account

local errors = require "moonport.errors"
local sys = require "moonport.sys"

local M = {}

local function refuse(message, hint)
  errors.raise { kind = "native", code = "refused", message = message, hint = hint }
end

--- The account of a service: what the manifest's `user` names, else the operator's own.
-- @tparam context ctx
-- @treturn table {name, uid, gid, groups, home}
-- @raise {kind="native", code="refused"} when root's manifest does not say it, or another account
--   than one's own is asked for without the right to it; {kind="user", code="unknown"}
function M.of(ctx)
  local wanted = ctx.manifest.user
  if not wanted and sys.euid() == 0 then
    refuse("the manifest does not say which account the service runs as",
      "set `user`; `user = \"root\"` if it has to be root")
  end
  local account = sys.user(wanted)
  if account.uid ~= sys.euid() and not sys.has_capability("setuid") then
    refuse(("running as `%s` needs CAP_SETUID, which you do not have"):format(wanted),
      "leave out `user`, or run moonport as root")
  end
  return account
end

--- Checks that there is such an account and that it may be used.
-- @tparam context ctx
function M.check(ctx)
  M.of(ctx)
end

return M
