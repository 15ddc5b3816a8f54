--- The host, moonport's own process, and processes by identity.
--
--     if not sys.has_capability "CAP_NET_ADMIN" then ... end
--
--     local hups <close> = sys.signals { "SIGHUP" }
--     for _ in hups do reload() end
--
-- A pid alone is not a name: once its process has ended, another gets it. An identity, `{pid,
-- start, boot_id}`, can be stored and means one process for ever.
-- @module moonport.sys

local clock = require "moonport.core.clock"
local core = require "moonport.core.sys"
local terminal = require "moonport.core.terminal"

local M = {}

--- True when the program was started with more rights than its caller has (setcap, set-user-ID):
-- then nothing from the environment is to be trusted.
M.secure = core.secure

--- The name of this host.
-- @function hostname
-- @treturn string
M.hostname = core.hostname

--- What kernel on what machine.
-- @function uname
-- @treturn table `system`, `release`, `version`, `machine`, `hostname`
M.uname = core.uname

--- A UUID that differs after each boot.
-- @function boot_id
-- @treturn string
M.boot_id = core.boot_id

--- How many processors moonport may use.
-- @function cpus
-- @treturn integer
M.cpus = core.cpus

--- The memory of the machine.
-- @function memory
-- @treturn table `total` and `available`, in bytes
M.memory = core.memory

--- The room on the file system that a path is on.
-- @function disk
-- @tparam string path
-- @treturn table `total` and `available` (for us) in bytes; `inodes`, how many files can still be
-- made, nil where there is no limit; `network`, true when it is, or may be, on another machine
-- @raise {kind="sys"}
M.disk = core.disk

--- How long the machine has been up.
-- @function uptime
-- @treturn number seconds
M.uptime = core.uptime

--- The size of a page of memory.
-- @function page_size
-- @treturn integer bytes
M.page_size = core.page_size

--- The version of the Landlock ABI that the kernel has and that is switched on.
-- @function landlock
-- @treturn integer 0: none; see landlock_create_ruleset(2)
M.landlock = core.landlock

--- Which control groups the machine has.
-- @function cgroup_mode
-- @treturn string "v2", "v1", "hybrid" (controllers on v1) or "none"
M.cgroup_mode = core.cgroup_mode

--- Makes sure that `/dev/kvm` can be used. Whether a guest boots is another matter.
-- @function check_kvm
-- @raise {kind="sys"} with what to do about it
M.check_kvm = core.check_kvm

--- The user that moonport was started by.
-- @function uid
-- @treturn integer
M.uid = core.uid

--- The user whose rights moonport has.
-- @function euid
-- @treturn integer
M.euid = core.euid

--- The group that moonport was started by.
-- @function gid
-- @treturn integer
M.gid = core.gid

--- The group whose rights moonport has.
-- @function egid
-- @treturn integer
M.egid = core.egid

--- The capabilities in effect.
-- @function capabilities
-- @treturn {string,...} such as `"CAP_NET_ADMIN"`
M.capabilities = core.capabilities

--- Whether moonport has a capability in effect.
-- @function has_capability
-- @tparam string name `"CAP_NET_ADMIN"` or `"net_admin"`
-- @treturn boolean
M.has_capability = core.has_capability

--- The pid of moonport.
-- @function pid
-- @treturn integer
M.pid = core.pid

--- The pid of whoever started moonport.
-- @function ppid
-- @treturn integer
M.ppid = core.ppid

--- Who a process is.
-- @function identity
-- @tparam[opt] integer pid moonport itself when not given
-- @treturn table `pid`, `start`, `boot_id`
-- @raise {kind="process", code="ESRCH"}
M.identity = core.identity

--- Whether the very process runs. A zombie does not.
-- @function is_alive
-- @tparam table identity
-- @treturn boolean
M.is_alive = core.is_alive

--- Waits until the very process has ended; returns at once when it has already.
-- @function wait_gone
-- @tparam table identity
M.wait_gone = core.wait_gone

--- Looks up an account.
-- @function user
-- @tparam[opt] string name or decimal id; the account that moonport runs as when not given
-- @tparam[opt] string group in place of the account's own
-- @treturn table `name`, `uid`, `gid`, `groups` (ids, `gid` among them), `home`
-- @raise {kind="user", code="unknown"}
M.user = require("moonport.core.user").lookup

--- Signals as a sequence. While the object is open they do not have their usual effect. SIGINT and
-- SIGTERM cannot be had: they cancel the tasks.
-- @function signals
-- @tparam {string,...} names
-- @treturn signals `:wait()` gives the next one's name; a `for` loop goes through them; `:close()`
-- ends both
M.signals = core.signals

--- A variable of moonport's environment.
-- @function env
-- @tparam string name
-- @treturn string nil where it is not set
M.env = os.getenv

--- The time.
-- @function time
-- @treturn number seconds since 1970, with their fraction
M.time = clock.now

--- A clock for durations, which nobody sets.
-- @function monotonic
-- @treturn number seconds
M.monotonic = clock.monotonic

--- Whether a standard stream leads to a terminal.
-- @tparam[opt=1] integer fd 0, 1 or 2
-- @treturn boolean
function M.is_terminal(fd)
  return terminal.is_terminal(fd or 1)
end

--- The size of the terminal that a standard stream leads to.
-- @tparam[opt=1] integer fd
-- @treturn integer columns; nothing where it leads to none
-- @treturn integer rows
function M.terminal_size(fd)
  return terminal.size(fd or 1)
end

return M
