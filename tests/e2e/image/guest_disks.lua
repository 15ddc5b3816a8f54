--- guest_disks.lua GUEST HOSTNAME DATA-MIB: the disks of a VM of the Debian guest, in the working
-- directory; a root disk that is there is kept. Prints the root disk's format and the kernel's
-- `root=`.
local cloudinit = require "moonport.hypervisor.cloudinit"
local data_disk = require "moonport.hypervisor.data_disk"
local fs = require "moonport.fs"
local image = require "moonport.image"
local layer = require "moonport.image.layer"
local seed = require "moonport.hypervisor.seed"
local service_disk = require "moonport.hypervisor.service_disk"

local guest, hostname, mib = ...

-- Text that shells, YAML and systemd would each make something else of.
local NASTY = "'\"; $(touch /pwned) `touch /pwned` %n \\ # \u{e9}: - *\nsecond line"

local state <close> = require("moonport.state").open()
local wanted = {
  path = guest .. "/debian-guest.qcow2", kernel = guest .. "/vmlinuz", initrd = guest .. "/initrd",
}
local got = image.ensure(wanted, { state = state })
local made = layer.make { base = got.path, path = "root.img", size = 4 << 30 }
local built = cloudinit.build {
  hostname = hostname, mac = "02:10:20:30:40:50", address = "172.30.0.6", gateway = "172.30.0.5",
  nameservers = { "192.0.2.53" }, keystore = "disk",
  user_data = {
    write_files = { { path = "/etc/nasty", content = NASTY } },
    runcmd = { { "sh", "-c", 'echo "$0" >>/mnt/data/runs', "ran for $(touch /pwned)" } },
  },
}
seed.write("seed.img", built)
service_disk.write("service.img", { shim = "facts.sh", keystore = "keys", spec = "none" })
data_disk.make("data.img", tonumber(mib) << 20)
fs.write("nasty", NASTY)
print(made.format, got.root)
