#!/bin/bash
# The recipes of the guide (docs/hypervisor.md) do what it says: a site's own rules, and a site's own image.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
uplink

# recipe_of_guide N: the Nth recipe in the guide becomes the site's.
recipe_of_guide() {
  mkdir -p "$MOONPORT_SITE/recipes/targets"
  awk -v wanted="$1" '
    /^```lua \/etc\/moonport\/recipes\/targets\/hypervisor.lua$/ { inside = ++count == wanted; next }
    /^```$/ { inside = 0 }
    inside' "$MP_SOURCE_DIR/docs/hypervisor.md" | sed "s|/srv/images/golden|$PWD/golden|" \
    >"$MOONPORT_SITE/recipes/targets/hypervisor.lua"
}

it "a site's rules stand in a chain of the VM's own, and drop what they say"
recipe_of_guide 1
guest svc "$(says runs), ready = { log = 'runs' }"
deploy svc.lua || give_up "it was not deployed"
moonport exec svc -- /bin/ping -c 2 -W 1 10.1.2.3 >ping.out 2>&1 || true
nft list ruleset >rules.out
check_matches rules.out 'ip daddr 10.0.0.0/8 counter packets [1-9][0-9]* .*drop comment "the site.s own networks"'

it "they are put back when somebody flushes the rules"
nft flush ruleset
moonport stop svc >stop.out 2>&1 || check_failed "$(<stop.out)"
moonport start svc >start.out 2>&1 || check_failed "$(<start.out)"
nft list ruleset >rules.out
check_matches rules.out 'the site.s own networks'
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left

it "a site's image is booted where the manifest names none, as a layer of the VM's own"
recipe_of_guide 2
mkdir golden
truncate -s 64M golden/disk.img
mke2fs -q -t ext4 -L golden golden/disk.img
before=$(sha256sum <golden/disk.img)
cp "$mp_guest_kernel" golden/vmlinuz
cp "$mp_guest_initramfs" golden/initrd
guest svc "$(says runs), ready = { log = 'runs' }"
sed -i '/^ *kernel = /s/kernel = "[^"]*", initrd = "[^"]*",//' svc.lua
deploy svc.lua || give_up "it was not deployed"
check_equal "the root disk" "$(moonport exec svc -- /bin/sh -c 'for disk in /sys/block/vd*; do
  if [ "$(cat $disk/serial)" = root ]; then dd if=/dev/${disk##*/} bs=1 skip=1144 count=6 2>/dev/null; fi; done')" golden
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
check_equal "the site's image" "$(sha256sum <golden/disk.img)" "$before"
done_testing
