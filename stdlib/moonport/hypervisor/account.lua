--- The account of this host that a virtual machine monitor runs as.
--
-- Where moonport is root, each VM has a uid of its own, which no account has and no other VM of
-- this store gets: a guest that breaks out of its VMM finds itself nobody.
-- @module moonport.hypervisor.account

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local sys = require "moonport.sys"

local function refuse(message, hint)
  errors.raise { kind = "hypervisor", code = "refused", message = message, hint = hint }
end

local M = {
  --- The pool that uids are leased from.
  POOL = "vm-uid",
}

-- systemd's range for accounts that are made as they are needed; distributions keep it free.
local FIRST, LAST = 61184, 65519
-- Stores take uids from different places, so that two of them on one host hardly meet.
local STRIDE = 97

local READ, WRITE, SEARCH = 4, 2, 1

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

local function allows(stat, user, bits)
  local shift = stat.uid == user.uid and 6 or stat.gid == user.gid and 3 or 0
  return stat.mode >> shift & bits == bits
end

-- What every VMM opens, and what one under KVM does. The VMM is put into the group of /dev/kvm.
local function closed_device(ctx, user)
  local tun = try(fs.stat, "/dev/net/tun")
  if tun and not allows(tun, user, READ | WRITE) then return "/dev/net/tun" end
  local kvm = (ctx.results.image or {}).accel == "kvm" and try(fs.stat, "/dev/kvm")
  if kvm and not allows(kvm, { uid = user.uid, gid = kvm.gid ~= 0 and kvm.gid }, READ | WRITE) then
    return "/dev/kvm"
  end
end

local function named(ctx, wanted)
  local user = sys.user(wanted)
  if user.uid == sys.euid() then return nil end
  if not sys.has_capability "setuid" then
    refuse(("running a VMM as `%s` needs CAP_SETUID, which you do not have"):format(wanted),
      "leave out `hypervisor.account`, or run moonport as root")
  end
  local closed = closed_device(ctx, user)
  if closed then
    refuse(("`%s` cannot open %s, which a VMM has to"):format(wanted, closed),
      "udev opens it to all, or to the group `kvm`: is that installed?")
  end
  return { uid = user.uid, gid = user.gid, groups = user.groups }
end

--- Chooses the account. For `allocate`: what it takes is leased.
-- @tparam context ctx
-- @treturn ?table {uid, gid, groups}; nil: the operator's own
-- @raise {kind="hypervisor", code="refused"} when the account may not be used
function M.choose(ctx)
  local wanted = ctx.manifest.hypervisor.account
  if wanted then return named(ctx, wanted) end
  if sys.euid() ~= 0 or not sys.has_capability "setuid" then return nil end
  local closed = closed_device(ctx, { uid = FIRST, gid = FIRST })
  if closed then
    ctx:warn("the VMM runs as root: nobody else may open %s; udev's own rules let VMMs open it",
      closed)
    return nil
  end
  local uid = tonumber(ctx:lease(M.POOL, "vmm", candidates(ctx.store)))
  return { uid = uid, gid = uid, groups = {} }
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

--- Lets everybody through a directory, and list nothing of it.
-- @tparam string dir
function M.let_pass(dir)
  fs.chmod(dir, PASS)
end

--- Lets the account through the directories above what it uses, up to the state's.
-- @tparam context ctx
-- @tparam ?table user
function M.let_through(ctx, user)
  if not user then return end
  for _, dir in ipairs { ctx.state.dir, fs.dirname(ctx.dir), ctx.dir } do M.let_pass(dir) end
end

--- Gives a file or directory to the account.
-- @tparam string path
-- @tparam ?table user
function M.give(path, user)
  if user then fs.chown(path, user.uid, user.gid) end
end

return M
