--- What a virtual machine is made of, as plain data that no driver has a word in.
-- @module moonport.vm.spec

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local schema = require "moonport.schema"
local sys = require "moonport.sys"

local M = {}

-- sun_path has 108 bytes with its NUL (unix(7)).
local SOCKET_PATH_MAX = 107
-- What a guest reads of a virtio disk's serial number, and of a virtio-fs tag.
local SERIAL_MAX, TAG_MAX = 20, 36
-- IFNAMSIZ without the NUL.
local INTERFACE_MAX = 15

local ID = "^[%w][%w_.-]*$"
local ID_EXPECTED = "letters, digits, `_`, `.` and `-`"

local function id(max)
  return schema.string {
    required = true, pattern = ID, expected = ID_EXPECTED, max = max, doc = "its name",
  }
end

--- The schema of a disk.
M.disk = schema.record({
  id = id(SERIAL_MAX),
  path = schema.path { required = true, doc = "the image" },
  format = schema.enum { "raw", "qcow2", default = "raw", doc = "what the image is" },
  readonly = schema.boolean { default = false, doc = "the guest cannot write" },
  direct = schema.boolean { default = false, doc = "past the host's page cache" },
  backing = schema.boolean {
    default = false, doc = "a qcow2 image may name another one beneath it",
  },
}, { doc = "a disk; the guest finds it as /dev/disk/by-id/virtio-ID" })

local network = schema.record({
  id = id(SERIAL_MAX),
  tap = schema.string {
    required = true, pattern = "^[^%s/,=]+$", expected = "an interface's name",
    max = INTERFACE_MAX, doc = "the TAP on the host, which exists",
  },
  mac = schema.string {
    required = true, pattern = "^" .. ("%x%x:"):rep(5) .. "%x%x$",
    expected = 'a MAC address such as "52:54:00:12:34:56"', doc = "the guest's address",
  },
  queues = schema.integer { min = 1, max = 16, default = 1, doc = "pairs of queues" },
})

local filesystem = schema.record {
  tag = id(TAG_MAX),
  path = schema.path { required = true, doc = "a directory of the host" },
  readonly = schema.boolean { default = true, doc = "nothing can be changed, whoever tries" },
}

local user = schema.record {
  uid = schema.integer { required = true, min = 0, doc = "as whom the VMM runs" },
  gid = schema.integer { required = true, min = 0, doc = "its group" },
  groups = schema.list(schema.integer { min = 0 }, { default = {}, doc = "further groups" }),
}

local function check_whole(data, report)
  if data.max_cpus and data.max_cpus < data.cpus then
    report("max_cpus", "`max_cpus` is below `cpus`")
  end
  if data.max_memory and data.max_memory < data.memory then
    report("max_memory", "`max_memory` is below `memory`")
  end
end

--- The schema of a machine.
M.schema = schema.record({
  name = schema.string {
    required = true, pattern = ID, expected = ID_EXPECTED, max = 64, doc = "what it is called",
  },
  driver = schema.enum {
    "auto", "cloud-hypervisor", "qemu", default = "auto", doc = "which monitor runs it",
  },
  machine = schema.enum { "q35", "microvm", "virt", doc = "QEMU's machine type" },
  accel = schema.enum { "auto", "kvm", "tcg", default = "auto", doc = "what runs its code" },
  arch = schema.enum { "x86_64", "aarch64", doc = "its processor; the host's unless told" },
  cpus = schema.integer { min = 1, max = 255, default = 1, doc = "processors" },
  max_cpus = schema.integer { min = 1, max = 255, doc = "how many it may be resized to" },
  memory = schema.size { required = true, min = 16 << 20, doc = "its memory" },
  max_memory = schema.size { doc = "how much it may be resized to" },
  shared_memory = schema.boolean { default = false, doc = "other processes may map it" },
  kernel = schema.path { required = true, doc = "the kernel to boot" },
  initramfs = schema.path { doc = "its initial file system" },
  cmdline = schema.string { default = "", doc = "its command line" },
  disks = schema.list(M.disk, { default = {} }),
  networks = schema.list(network, { default = {} }),
  vsock = schema.record({
    cid = schema.integer { required = true, min = 3, max = 4294967294, doc = "its address" },
    socket = schema.path { doc = "cloud-hypervisor's socket for it" },
  }, { doc = "sockets between host and guest" }),
  channel = schema.list(
    schema.string { pattern = ID, expected = ID_EXPECTED, max = 32 },
    { default = {}, max = 16, doc = "QEMU: ports `moonport.NAME`, each a socket `NAME` in `dir`" }
  ),
  output = schema.boolean {
    default = true, doc = "the guest's port `moonport.output` (or hvc0) is the VMM's stdout",
  },
  console = schema.enum {
    "pty", "file", "off", doc = "the serial console: a terminal, or the VMM's stderr alone",
  },
  filesystems = schema.list(filesystem, { default = {}, doc = "directories shared by virtio-fs" }),
  hotplug = schema.integer { min = 0, max = 16, default = 4, doc = "disks that can be added" },
  on_reboot = schema.enum {
    "restart", "exit", default = "restart", doc = "when the guest reboots",
  },
  paused = schema.boolean { default = false, doc = "made, and not booted yet" },
  restore = schema.boolean { default = false, doc = "made to be filled from a snapshot" },
  dir = schema.path { required = true, doc = "for its sockets: a short path" },
  user = user,
  sandbox = schema.boolean { default = true, doc = "confined by what the VMM has for it" },
  programs = schema.map(schema.path {}, {
    default = {},
    doc = "where programs are that PATH does not lead to, or that `user` cannot get to: "
      .. "`qemu-system-x86_64`, `virtiofsd`, `moonport-shim`",
  }),
}, { whole = check_whole })

local function check_unique(list, field, what)
  local seen = {}
  for _, entry in ipairs(list) do
    if seen[entry[field]] then
      errors.raise {
        kind = "vm", code = "invalid",
        message = ("two %s are called `%s`"):format(what, entry[field]),
      }
    end
    seen[entry[field]] = true
  end
end

--- Refuses a path that the kernel would not take for a socket.
-- @tparam string path
-- @treturn string the path
-- @raise {kind="vm", code="socket-path"}
function M.check_socket(path)
  if #path > SOCKET_PATH_MAX then
    errors.raise {
      kind = "vm", code = "socket-path",
      message = ("`%s` is too long for a socket: %d bytes, and %d are allowed"):format(
        path, #path, SOCKET_PATH_MAX),
      hint = "use a `dir` with a shorter path, such as one in /run",
    }
  end
  return path
end

--- Checks a machine and fills in what it leaves open. Looks at no file.
-- @tparam table spec
-- @treturn table
-- @raise {kind="schema"}, {kind="vm"} that names what is wrong
function M.parse(spec)
  local data = schema.parse(M.schema, spec, { what = "virtual machine" })
  data.arch = data.arch or sys.uname().machine
  data.dir = fs.normalize(data.dir)
  data.shared_memory = data.shared_memory or #data.filesystems > 0
  check_unique(data.disks, "id", "disks")
  check_unique(data.networks, "id", "networks")
  check_unique(data.filesystems, "tag", "file systems")
  return data
end

return M
