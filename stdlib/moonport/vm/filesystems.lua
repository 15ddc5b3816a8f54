--- Directories of the host in a guest, by virtio-fs. Each has a supervisor of its own, which
-- listens from before its machine's monitor starts, and runs a `virtiofsd` for each of that one's
-- runs: so a machine that is started again after a crash finds its directories. It ends some time
-- after the monitor has ended for good.
-- @module moonport.vm.filesystems

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local process = require "moonport.process"
local shim = require "moonport.shim"
local sys = require "moonport.sys"
local task = require "moonport.task"

local M = {}

-- Where Debian puts it: one in Rust of its own, and one in C that came with QEMU up to 7.2.
local PLACES = { "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd" }
local START_SECONDS = 30
-- Longer than it takes until a monitor that has crashed is started again.
local IDLE_SECONDS = 300

--- The program.
-- @tparam ?table programs as in a spec
-- @treturn ?string nil where there is none
function M.program(programs)
  local path = programs and programs.virtiofsd or process.which "virtiofsd"
  if path then return path end
  for _, place in ipairs(PLACES) do
    if fs.exists(place) then return place end
  end
end

--- The program, for a machine that needs it.
-- @tparam table spec
-- @treturn string
-- @raise {kind="vm", code="no-virtiofsd"}
function M.require_program(spec)
  local path = M.program(spec.programs)
  if path then return path end
  errors.raise {
    kind = "vm", code = "no-virtiofsd",
    message = ("the file system `%s` cannot be shared: there is no `virtiofsd`"):format(
      spec.filesystems[1].tag),
    hint = "install `virtiofsd` (part of Debian 12's qemu-system-common), or give it as a disk",
  }
end

--- The supervisors of a machine's file systems: where they are found again, and what they share.
-- @tparam table spec
-- @tparam table intent {id, dir, socket} of the machine's own supervisor
-- @treturn {table,...} intents
function M.intents(spec, intent)
  local list = {}
  for i, shared in ipairs(spec.filesystems) do
    list[i] = {
      id = intent.id, dir = fs.join(intent.dir, "fs-" .. shared.tag),
      socket = ("%s.f%d"):format(intent.socket, i),
    }
  end
  return list
end

--- Where a file system is offered to the machine's monitor.
-- @tparam table spec
-- @tparam table shared
-- @treturn string
function M.socket(spec, shared)
  return fs.join(spec.dir, "fs-" .. shared.tag)
end

-- The two programs are told by what they say of themselves.
local function options_of(program)
  local help = process.run { program, "--help", check = false }
  local text = (help.stdout or "") .. (help.stderr or "")
  return { rust = text:find("--shared-dir", 1, true), readonly = text:find("--readonly", 1, true) }
end

-- The socket that listens is its third file.
local function own_words(program, known, shared)
  if not known.rust then return { program, "-f", "--fd=3", "-o", "source=" .. shared.path } end
  local words = { program, "--fd=3", "--shared-dir=" .. shared.path }
  -- It makes its own namespaces as root, and needs a user namespace else.
  if sys.euid() ~= 0 then words[#words + 1] = "--sandbox=none" end
  if shared.readonly and known.readonly then words[#words + 1] = "--readonly" end
  return words
end

-- What is read-only is so on the host's side: neither guest nor virtiofsd can change it.
local function argv(program, known, spec, shared)
  local socket = M.socket(spec, shared)
  local words = {
    shim.program(), "exec", "--remove", socket, "--serve", socket, "--idle", tostring(IDLE_SECONDS),
  }
  if shared.readonly and sys.euid() == 0 then
    words[#words + 1], words[#words + 2] = "--readonly", shared.path
  elseif shared.readonly and not known.readonly then
    errors.raise {
      kind = "vm", code = "unsupported",
      message = ("`%s` cannot be shared read-only: `%s` has no option for it"):format(
        shared.path, program),
      hint = "use a newer virtiofsd, run as root, or give it as a disk",
    }
  end
  words[#words + 1] = "--"
  local own = own_words(program, known, shared)
  return table.move(own, 1, #own, #words + 1, words)
end

local function wait_listening(intent, path, watch)
  local ended
  task.timeout(START_SECONDS, task.race, {
    function()
      while not fs.exists(path) do watch:next() end
    end,
    function() ended = shim.wait_end(intent) end,
  })
  if not ended then return end
  errors.raise {
    kind = "vm", code = "start",
    message = ("virtiofsd ended at once: %s"):format(shim.describe_end(ended)),
    hint = ("its last words are in `%s`"):format(fs.join(intent.dir, "log")),
  }
end

local function start(program, known, spec, shared, intent)
  local path = M.socket(spec, shared)
  fs.mkdirs(intent.dir, "0700")
  fs.remove(path, { if_exists = true })
  local watch <close> = fs.watch(spec.dir)
  shim.start {
    dir = intent.dir, socket = intent.socket,
    spec = {
      name = "fs-" .. shared.tag, id = intent.id, argv = argv(program, known, spec, shared),
      env = { PATH = "/usr/sbin:/usr/bin:/sbin:/bin" }, cwd = "/",
    },
  }
  wait_listening(intent, path, watch)
end

--- Starts what a machine's file systems need.
-- @tparam table spec
-- @tparam table intent of the machine's own supervisor
-- @raise {kind="vm", code="no-virtiofsd", "unsupported" or "start"}
function M.start(spec, intent)
  if #spec.filesystems == 0 then return end
  local program = M.require_program(spec)
  local known = options_of(program)
  for i, own in ipairs(M.intents(spec, intent)) do
    shim.stop(own, { grace = 0 }) -- one that a command which was killed has left
    start(program, known, spec, spec.filesystems[i], own)
  end
end

--- Ends what is left of a machine's file systems. Fine when nothing is.
-- @tparam table intent of the machine's own supervisor
function M.stop(intent)
  for _, entry in ipairs(try(fs.list, intent.dir) or {}) do
    if entry.type == "directory" and entry.name:find "^fs%-" then
      -- The socket is told by the record: that one answers to no other.
      shim.stop({ id = intent.id, dir = fs.join(intent.dir, entry.name), socket = "" },
        { grace = 0 })
    end
  end
end

return M
