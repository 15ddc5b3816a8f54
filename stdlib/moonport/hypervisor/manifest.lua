--- The schema of a manifest's `hypervisor` table.
-- @module moonport.hypervisor.manifest

local checks = require "moonport.hypervisor.checks"
local schema = require "moonport.schema"

local port = function(doc, required)
  return schema.integer { min = 1, max = 65535, required = required, doc = doc }
end

local sha256 = schema.string {
  pattern = "^" .. ("%x"):rep(64) .. "$", expected = "64 hexadecimal digits",
  doc = "its checksum; without it, the one that its publisher tells",
}

local image = schema.record({
  name = schema.string {
    pattern = "^[a-z0-9][a-z0-9.:-]*$", doc = "a cloud image by name, such as `debian:12`",
  },
  url = schema.string {
    pattern = "^https?://%S+$", expected = "a URL that begins with `http://` or `https://`",
    doc = "a cloud image to download",
  },
  path = schema.path { doc = "a disk image on this host: raw or qcow2" },
  sha256 = sha256,
}, { whole = checks.image, doc = "the disk that it boots; without `kernel`, `debian:12`" })

local disk = schema.record({
  size = schema.size {
    min = 1 << 26, default = 20 << 30, doc = "what the guest sees; it takes what is written",
  },
  method = schema.enum {
    "auto", "reflink", "overlay", "copy", default = "auto",
    doc = "how it is made of the image; `auto`: the cheapest that this host can",
  },
}, { default = {}, doc = "its root disk" })

local data = schema.record({
  size = schema.size {
    min = 1 << 24, doc = "of the disk at `/mnt/data`; without it, `limits.storage`, or 10GiB",
  },
  keep = schema.boolean {
    default = false, doc = "it stays when the deployment is removed, for the next one of its name",
  },
}, { default = {}, doc = "the disk with its data" })

local publish = schema.record({
  port = port("port of this host", true),
  guest_port = port "port of the guest; without it, the same",
  address = schema.string {
    default = "127.0.0.1", check = checks.address,
    doc = "address of this host; `0.0.0.0`: all, for everybody who reaches them",
  },
  protocol = schema.enum { "tcp", "udp", default = "tcp", doc = "of the port" },
}, { expected = "a table such as `{ port = 8080 }`" })

local network = schema.record({
  publish = schema.list(publish, {
    default = {}, doc = "ports of the guest that are reached at this host",
  }),
  host_ports = schema.list(port(), {
    default = {}, doc = "further TCP ports of this host that the guest may reach",
  }),
  egress = schema.boolean { default = true, doc = "it may reach what is beyond this host" },
  peers = schema.list(schema.string { pattern = "^[a-z0-9][a-z0-9-]*$" }, {
    default = {}, doc = "deployments whose VMs it may reach; without any, none",
  }),
  nameservers = schema.list(schema.string { check = checks.address }, {
    doc = "its name servers; without them, those of this host",
  }),
  forwarding = schema.enum {
    "check", "enable", default = "check",
    doc = "`enable`: moonport may switch on the kernel's IP forwarding; `check`: it refuses",
  },
  foreign = schema.enum {
    "refuse", "insert", default = "refuse",
    doc = "where another program's firewall drops its packets: refuse, or accept them there too",
  },
  rules = schema.list(schema.any {}, {
    default = {}, doc = "further rules for its packets, as `mp.nft` takes them",
  }),
}, { default = {}, doc = "whom it reaches, and who reaches it" })

local cloud_init = schema.record({
  user_data = schema.map(schema.any {}, {
    default = {}, doc = "merged into its cloud-config; lists are put after ours",
  }),
  packages = schema.list(schema.string { pattern = "^%S+$" }, {
    default = {}, doc = "packages that the guest installs",
  }),
  docker = schema.boolean { default = false, doc = "the guest installs its distribution's Docker" },
  instance_id = schema.string {
    pattern = "^[%w._-]+$",
    doc = "pins it; without it, a digest of what cloud-init is told, which runs again on changes",
  },
}, { default = {}, doc = "what cloud-init does in the guest" })

local share = schema.record({
  tag = schema.string {
    required = true, pattern = "^[a-z0-9][a-z0-9-]*$", max = 36, doc = "its name in the guest",
  },
  path = schema.path { required = true, doc = "directory of this host" },
  mount = schema.string {
    required = true, pattern = "^/", expected = "an absolute path",
    doc = "where it is in the guest",
  },
  readonly = schema.boolean { default = true, doc = "enforced on this host" },
}, { doc = "a directory over virtio-fs" })

local M = schema.record({
  driver = schema.enum {
    "auto", "cloud-hypervisor", "qemu", default = "auto",
    doc = "`auto`: cloud-hypervisor where it is there and KVM works, else QEMU",
  },
  machine = schema.enum {
    "q35", "microvm", "virt", doc = "QEMU's machine; without it, what suits the host and the needs",
  },
  accel = schema.enum {
    "auto", "kvm", "tcg", default = "auto",
    doc = "`auto`: KVM where it runs this kernel, else emulation (TCG), which is slow",
  },
  image = image,
  kernel = schema.path { doc = "kernel to boot; without it, the image's own" },
  initrd = schema.path { doc = "initramfs for `kernel`" },
  cmdline = schema.string { max = 2000, doc = "kernel command line; without it, what fits" },
  disk = disk,
  data = data,
  network = network,
  console = schema.enum {
    "log", "pty", default = "log",
    doc = "cloud-hypervisor has one of both: a console that is kept, or one to attach to",
  },
  cloud_init = cloud_init,
  ssh_keys = schema.list(schema.string { pattern = "^%S+ %S+" }, {
    default = {}, doc = "public keys that open the guest's account `moonport` over ssh",
  }),
  keystore = schema.enum {
    "auto", "disk", "virtiofs", default = "auto",
    doc = "as a copy on a disk, or the directory itself; `auto`: this where all can use it",
  },
  shares = schema.list(share, { default = {}, doc = "directories of this host in the guest" }),
  account = schema.string {
    pattern = "^[%w_.@-]+$",
    doc = "host account of the VMM; for a root operator, without it, a uid of its own for each VM",
  },
  confine = schema.boolean {
    default = true, doc = "the VMM's own seccomp filter and sandbox are used, where it has them",
  },
  overhead = schema.size {
    min = 1 << 24, default = 256 << 20,
    doc = "memory of this host that the VMM may take beyond the guest's; 1GiB more to emulate",
  },
  boot_timeout = schema.duration {
    min = 1, default = 300, doc = "the guest answers by then, cloud-init and all, or it has failed",
  },
  shutdown_timeout = schema.duration {
    default = 30, doc = "time for the guest to shut down, beyond `stop.grace` for the service",
  },
}, { default = {}, doc = "what belongs to the hypervisor target alone" })

M.manifest = checks.whole

return M
