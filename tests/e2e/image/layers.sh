#!/bin/bash
# Layers on a file system that shares blocks: XFS, in a file of its own.
set -euo pipefail

if [[ ${1-} != inside ]]; then
  unshare --mount --propagation private true 2>/dev/null || { echo "skipped: cannot mount here"; exit 77; }
  exec unshare --mount --propagation private "$0" inside
fi

# shellcheck source=tests/e2e/image/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need mkfs.xfs

truncate -s 400M xfs.img
mkfs.xfs -q -m reflink=1 xfs.img
mkdir xfs
mount -o loop xfs.img xfs 2>err || skip "cannot mount XFS: $(<err)"
trap 'umount xfs; mp_end_jobs' EXIT
head -c 30M /dev/urandom >xfs/base.raw
used() { df --output=used -k xfs | tail -1; }

# make PATH BASE [METHOD]
make() {
  moonport run -e 'local path, base, method = ...
    local made = require("moonport.image.layer").make {
      path = path, base = base, size = 20 << 30, method = method }
    print(made.method, made.format, made.passed[1] and made.passed[1].why)' "$@"
}

it "shares the blocks where the file system can: 10 disks take no room"
before=$(used)
for i in {1..10}; do
  check_equal "disk $i" "$(make "xfs/root$i.img" xfs/base.raw)" $'reflink\traw\tnil'
done
check_equal "10 disks take less than one" "$(($(used) - before < 20000))" 1
check_equal "size" "$(stat -c %s xfs/root1.img)" $((20 << 30))
cmp -n $((30 << 20)) xfs/base.raw xfs/root1.img || check_failed "the disk holds something else"

it "keeps the image as it is when a disk is written"
sum=$(sha256sum <xfs/base.raw)
head -c 1M /dev/zero | dd of=xfs/root1.img conv=notrunc status=none
check_equal image "$(sha256sum <xfs/base.raw)" "$sum"

it "lies over an image that is on another file system, and says why"
check_equal disk "$(make root.img xfs/base.raw)" $'overlay\tqcow2\tthe image is on another file system'
done_testing
