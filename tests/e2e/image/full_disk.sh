#!/bin/bash
# A file system that is full while an image is fetched, converted, laid under a VM or written to: clear errors,
# nothing that counts as done, and the next try goes on with what is there.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail

if [[ ${1-} != inside ]]; then
  unshare --mount --propagation private true 2>/dev/null || { echo "skipped: cannot mount here"; exit 77; }
  exec unshare --mount --propagation private "$0" inside
fi

# shellcheck source=tests/e2e/image/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# 6 MiB that no compression makes smaller, in a disk of 24 MiB.
cp "$IMAGES/disk.raw" "$SITE/big.raw"
head -c 6M /dev/urandom >noise
mkfs.ext4 -q -F -d "$(mkdir -p tree/etc tree/boot && cp noise tree/boot/vmlinuz-1 && echo tree)" fs 16M
dd if=fs of="$SITE/big.raw" bs=512 seek=4096 conv=notrunc status=none
qemu-img convert -q -c -O qcow2 "$SITE/big.raw" "$SITE/big.qcow2"
(cd "$SITE" && sha256sum big.qcow2 >SHA256SUMS)
publish

# limit SIZE: the state has this much room.
limit() { mount -o "remount,size=$1" "$MOONPORT_STATE"; }
mount -t tmpfs -o size=64m,mode=700 tmpfs "$MOONPORT_STATE"
# The database, and room for its log.
moonport image prune >/dev/null
used() { df --output=used -k "$MOONPORT_STATE" | tail -1; }
base=$(used)

it "says so where the download does not fit, and keeps nothing that counts as done"
limit $((base + 4000))k
check_exit 1 moonport image pull "$URL/big.qcow2" 2>err
check_matches err 'No space left on device|ENOSPC'
check_equal images "$(images)" 0

it "says so where the disk does not fit, and how to go on"
limit $((base + 10000))k
check_exit 1 moonport image pull "$URL/big.qcow2" 2>err
check_matches err 'could not be made a raw disk: .*No space left on device'
check_matches err 'hint: make room in `.*/images/.*; nothing has to be downloaded again'
check_equal images "$(images)" 0
check_equal "half an image" "$(find "$MOONPORT_STATE/images" -name '.new-*')" ''

it "goes on without a download once there is room"
before=$(asked big.qcow2)
limit 128m
moonport image pull "$URL/big.qcow2" >/dev/null
check_equal images "$(images)" 1
check_equal "requests for it" "$(($(asked big.qcow2) - before))" 0
check_equal downloads "$(find "$MOONPORT_STATE/images/downloads" -type f)" ''

disk=$(moonport image ls -o json | jq -r '.[0].path')
mkdir small && mount -t tmpfs -o size=2m tmpfs small
it "leaves no half of a layer"
check_exit 1 moonport run -e 'require("moonport.image.layer").make {
  base = ..., path = "small/root.img", size = 1 << 30, method = "copy" }' "$disk" 2>err
check_matches err 'No space left on device'
check_equal "what is there" "$(ls -A small)" ''

it "leaves no half of a FAT disk"
check_exit 1 moonport run -e 'require("moonport.image.fat").write("small/disk.img",
  { label = "X", entries = { { name = "noise", file = ... } } })' "$PWD/noise" 2>err
check_matches err 'mcopy` exited with code 1'
check_equal "what is there" "$(ls -A small)" ''

umount small "$MOONPORT_STATE"
done_testing
