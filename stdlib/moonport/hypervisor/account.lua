--- The account of this host that a virtual machine monitor runs as.
--
-- Where moonport is root, each VM has a uid of its own, which no account has and no other VM of
-- this store gets: a guest that breaks out of its VMM finds itself nobody.
-- @module moonport.hypervisor.account

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local sys = require "moonport.sys"

local M = {
  --- The pool that uids are leased from.
  POOL = "vm-uid",
}

-- systemd's range for accounts that are made as they are needed; distributions keep it free.
local FIRST, LAST = 61184, 65519
-- Stores take uids from different places, so that two of them on one host hardly meet.
local STRIDE = 97

local READ, SEARCH = 4, 1

local function candidates(store)
  local count = LAST - FIRST + 1
  local start = tonumber(store:sub(1, 6), 16) * STRIDE % count
  local tried = 0
  return function()
    while tried < count do
      local uid = FIRST + (start + tried) % count
      tried = tried + 1
      if not try(sys.user, tostring(uid)) then return tostring(uid) end
    end
  end
end

-- The group that may open /dev/kvm.
local function kvm_groups()
  local stat = try(fs.stat, "/dev/kvm")
  return stat and stat.gid ~= 0 and { stat.gid } or {}
end

--- Chooses the account. For `allocate`: what it takes is leased.
-- @tparam context ctx
-- @treturn ?table {uid, gid, groups}; nil: the operator's own
-- @raise {kind="hypervisor", code="refused"} when the account may not be used
function M.choose(ctx)
  local wanted = ctx.manifest.hypervisor.account
  if wanted then
    local user = sys.user(wanted)
    if user.uid == sys.euid() then return nil end
    if not sys.has_capability "setuid" then
      errors.raise {
        kind = "hypervisor", code = "refused",
        message = ("running a VMM as `%s` needs CAP_SETUID, which you do not have"):format(wanted),
        hint = "leave out `hypervisor.account`, or run moonport as root",
      }
    end
    local groups = kvm_groups()
    table.move(user.groups or {}, 1, #(user.groups or {}), #groups + 1, groups)
    return { uid = user.uid, gid = user.gid, groups = groups }
  end
  if sys.euid() ~= 0 or not sys.has_capability "setuid" then return nil end
  local uid = tonumber(ctx:lease(M.POOL, "vmm", candidates(ctx.store)))
  return { uid = uid, gid = uid, groups = kvm_groups() }
end

local function allows(stat, user, bit)
  local shift = stat.uid == user.uid and 6 or stat.gid == user.gid and 3 or 0
  return stat.mode >> shift & bit ~= 0
end

--- True when an account can read a file, and get to it.
-- @tparam string path
-- @tparam ?table user {uid, gid}; nil: the operator
-- @treturn boolean
function M.can_read(path, user)
  if not user or user.uid == 0 then return true end
  path = fs.realpath(path)
  local stat = try(fs.stat, path)
  if not stat or not allows(stat, user, READ) then return false end
  local dir = fs.dirname(path)
  while true do
    if not allows(fs.stat(dir), user, SEARCH) then return false end
    if dir == "/" then return true end
    dir = fs.dirname(dir)
  end
end

local PASS = 457 -- 0711: who is no owner gets through, and lists nothing

--- Lets the account through the directories above what it uses, up to the state's.
-- @tparam context ctx
-- @tparam ?table user
function M.let_through(ctx, user)
  if not user then return end
  for _, dir in ipairs { ctx.state.dir, fs.dirname(ctx.dir), ctx.dir } do fs.chmod(dir, PASS) end
end

--- Gives a file or directory to the account.
-- @tparam string path
-- @tparam ?table user
function M.give(path, user)
  if user then fs.chown(path, user.uid, user.gid) end
end

return M
