#!/bin/bash
# The guide's sessions (docs/hypervisor.md) print what it says: in the tests' small guest, which is published
# here as Debian's image is, with its kernel and initramfs in /boot.
# walkthrough.sh BINARY
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need python3 sgdisk debugfs curl
PATH=$PATH:/usr/sbin:/sbin
uplink

# An image with one ext4 partition, and the list of checksums that its publisher has beside it.
publish_image() {
  local dir=site/debian-publish/bookworm/latest file=debian-12-genericcloud-amd64.qcow2
  mkdir -p "$dir" root/{etc,boot}
  cp "$mp_guest_kernel" root/boot/vmlinuz-6.1.0-18-cloud-amd64
  cp "$mp_guest_initramfs" root/boot/initrd.img-6.1.0-18-cloud-amd64
  mkfs.ext4 -q -F -E root_owner=0:0 -d root root.fs 60M
  truncate -s 64M disk.raw
  sgdisk -n 1:4096:126975 -t 1:8304 disk.raw >/dev/null
  dd if=root.fs of=disk.raw bs=1M seek=2 conv=notrunc,sparse status=none
  qemu-img convert -q -c -O qcow2 disk.raw "$dir/$file"
  (cd "$dir" && sha512sum "$file" >SHA512SUMS)
  rm -r root root.fs disk.raw
}
publish_image
python3 "$HYPERVISOR/../../fixtures/image/publisher.py" site >publisher.port &
wait_for_line publisher.port '^[0-9]+$'
# As long as what it stands for: what is too long is cut where it is shown.
mirror=http://127.0.0.1:$(<publisher.port)/debian-publish
cat >"$MOONPORT_SITE/config.lua" <<SITE
return { image = { mirrors = { ["cloud.debian.org/images/cloud"] = "$mirror" } } }
SITE

# In root's home, say: where nobody else gets to, nor do the VMMs' accounts.
mkdir -p closed/bin
cp "$MOONPORT" "$(dirname "$MOONPORT")/moonport-shim" closed/bin/
chmod 700 closed
MOONPORT=$PWD/closed/bin/moonport

MP_GUEST_MIRROR=$mirror MP_GUEST_CMDLINE=$mp_guest_cmdline MP_EXAMPLE=$1 "$MOONPORT" run \
  "$MP_SOURCE_DIR/tests/spec/run.lua" "$HYPERVISOR/walkthrough_spec.lua"
check_no_guest_left
done_testing
