#!/bin/bash
# The disks that we make, in a real Debian guest with systemd and cloud-init, emulated by QEMU: it finds its
# network by hardware address, its data disk formatted once and grown, its keystore, its service; and cloud-init
# runs again exactly when what it is told has changed. The service here is a script that tells what it sees.
set -euo pipefail
# shellcheck source=tests/e2e/image/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need qemu-system-x86_64 mcopy mkfs.vfat mmdebstrap
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest=$("$MP_SOURCE_DIR/tests/fixtures/debian-guest/debian-guest")

mkdir -m 700 keys
echo sesame >keys/Ecdsa.Key
cat >facts.sh <<'END'
#!/bin/sh
# Stands for moonport-shim in the guest. Tells on a port that no getty has, when cloud-init is done.
exec >/dev/ttyS1 2>/dev/null
until systemctl is-active cloud-final.service | grep -qx 'active\|failed'; do sleep 1; done
fact() { sed "s/^/FACT $1 /"; }
echo "$*" | fact agent
ip -o -4 address show scope global | awk '{ print $4 }' | fact address
ip route show default | cut -d' ' -f1-3 | fact route
grep -rh '^DNS=' /etc/systemd/network /run/systemd/network | fact resolver
findmnt -n -o SOURCE,FSTYPE /mnt/data | tr -s ' ' | fact data
findmnt -n -o OPTIONS /mnt/keystore | cut -d, -f1 | fact keystore
df -m --output=size /mnt/data | tail -n 1 | tr -d ' ' | fact data-size
df -m --output=size / | tail -n 1 | tr -d ' ' | fact root-size
cat /mnt/keystore/Ecdsa.Key | fact key
su nobody -s /bin/sh -c 'cat /mnt/keystore/Ecdsa.Key; ls /run/moonport/service' 2>&1 | fact nobody
lsblk -n -o PTTYPE /dev/disk/by-id/virtio-data | sort -u | fact table
cat /mnt/data/runs | fact runs
cat /mnt/data/boots | fact boots
echo boot >>/mnt/data/boots
hostname | fact host
{ base64 -w0 /etc/nasty; echo; } | fact nasty
ls -d /pwned /etc/pwned | fact pwned
cloud-init schema --system | fact schema
cloud-init status --long | grep -i error | fact trouble
echo "FACT end"
systemctl --no-block poweroff
END
chmod +x facts.sh

disk() {
  printf '%s\n' -drive "if=none,id=$1,file=$1.img,format=$2${3-}" -device "virtio-blk-pci,drive=$1,serial=$1"
}

# boot HOSTNAME DATA-MIB: makes the disks and runs the guest until it powers off; its words are in `console` and `facts`.
boot() {
  local format root arguments
  read -r format root < <(moonport run "$here/guest_disks.lua" "$guest" "$1" "$2")
  mapfile -t arguments < <(disk root "$format"; disk seed raw ,readonly=on; disk service raw ,readonly=on; disk data raw)
  rm -f console port
  timeout 600 qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -m 768 -smp 2 -display none \
    -monitor none -no-reboot -serial file:console -serial file:port -kernel "$guest/vmlinuz" -initrd "$guest/initrd" \
    -append "root=$root ro console=ttyS0 quiet" "${arguments[@]}" \
    -netdev user,id=net,restrict=on -device virtio-net-pci,netdev=net,mac=02:10:20:30:40:50 ||
    give_up "the guest did not power off:" "$(tail -n 30 console)"
  tr -d '\r' <port >facts
  grep -q '^FACT end' facts || give_up "the guest told nothing:" "$(tail -n 30 console)"
}
fact() { sed -n "s/^FACT $1 //p" facts; }

boot squaring 256
it "reaches the network by the hardware address, whatever the guest calls it (row 22)"
check_equal address "$(fact address)" 172.30.0.6/30
check_equal route "$(fact route)" "default via 172.30.0.5"
check_equal resolver "$(fact resolver)" DNS=192.0.2.53

it "has its data disk partitioned, formatted and mounted, and its root disk grown"
check_equal data "$(fact data)" "/dev/vdd1 ext4"
check_equal table "$(fact table)" gpt
check_equal "MiB of data" "$(($(fact data-size) > 200 && $(fact data-size) < 256))" 1
check_equal "MiB of the root" "$(($(fact root-size) > 3500))" 1

it "runs the service from its disk, with the keystore that only root reads"
check_equal agent "$(fact agent)" "agent --dir /run/moonport/agent --spec /run/moonport/service/service.spec"
check_equal key "$(fact key)" sesame
check_equal keystore "$(fact keystore)" ro
check_equal "what others see" "$(fact nobody | grep -c 'Permission denied')" 2

it "holds every value as it was written, and none became code"
check_equal nasty "$(fact nasty | base64 -d)" "$(<nasty)"
# shellcheck disable=SC2016 # text that must not be expanded
check_equal runs "$(fact runs)" 'ran for $(touch /pwned)'
check_equal pwned "$(fact pwned)" ''
check_matches facts '^FACT schema Valid cloud-config'

boot squaring 256
it "does not run cloud-init again on a second boot that changes nothing (row 22), and keeps the data"
check_equal boots "$(fact boots)" boot
check_equal runs "$(fact runs | wc -l)" 1
check_equal address "$(fact address)" 172.30.0.6/30

boot circling 512
it "runs it again when what it is told has changed (row 22); the data stays and grows"
check_equal host "$(fact host)" circling
check_equal runs "$(fact runs | wc -l)" 2
check_equal "MiB of data" "$(($(fact data-size) > 450 && $(fact data-size) < 512))" 1
check_equal boots "$(fact boots | wc -l)" 2
check_equal data "$(fact data)" "/dev/vdd1 ext4"
done_testing
