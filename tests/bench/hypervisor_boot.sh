#!/bin/bash
# From the start of a VMM to the service's first word: what moonport adds to the very same command line started by
# hand: the median of boots in turn. Under 100 ms. In a network namespace of its own.
set -euo pipefail
if ((EUID != 0)); then
  echo "hypervisor-boot  left out: interfaces and rules need root"
  exit
fi
if [[ -z ${MP_IN_NAMESPACE-} ]]; then
  MP_IN_NAMESPACE=1 exec "$MP_SOURCE_DIR/tests/netns" "$0" "$@"
fi

rounds=${ROUNDS:-15} # an emulated guest takes a tenth more or less from one boot to the next
echo 1 >/proc/sys/net/ipv4/ip_forward
export MOONPORT_STATE=$PWD/state
guest=$MP_SOURCE_DIR/tests/fixtures/microvm/microvm
cat >vm.lua <<MANIFEST
return {
  name = "vm", target = "hypervisor", limits = { memory = "160MiB" }, ready = { log = "it runs" },
  command = { "/bin/sh", "-c", "echo it runs; exec sleep 1000" },
  hypervisor = {
    driver = "qemu", accel = "tcg", kernel = "$("$guest" kernel)", initrd = "$("$guest" initramfs)",
    cmdline = "$("$guest" cmdline) console=ttyS0 mp.net={mac},{address}/{prefix},{gateway}",
    data = { size = "32MiB" }, confine = false,
  },
}
MANIFEST
trap '"$MOONPORT" rm --quiet --force vm >/dev/null 2>&1 || true' EXIT

median() { printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", (b - a) * 1000 }'; }

# Each boot finds the same disk: one that was not left in order takes the guest longer to mount. And the same memory:
# on a machine that is virtual itself, and gives back to its host what has lain free for 2 s, a boot is 100 ms slower
# where it takes such pages than where it takes those that were just used.
settle() {
  cp --sparse=always data.img "$data"
  dd if=/dev/zero of=/dev/null bs=400M count=1 status=none
}

# Sets $ms: from the start of the command to the service's word.
by_hand() {
  local begun=$EPOCHREALTIME words
  exec {words}< <(exec "${argv[@]}" 2>/dev/null </dev/null)
  grep -m1 -q 'it runs' <&"$words"
  ms=$(since "$begun")
  kill "$!"
  wait "$!" || true
  exec {words}<&-
}
by_moonport() {
  local begun=$EPOCHREALTIME
  "$MOONPORT" start vm >out 2>&1 || { cat out >&2 && exit 1; }
  ms=$(since "$begun")
}

"$MOONPORT" deploy --quiet vm.lua >out 2>&1 || { cat out && exit 1; } # the data disk is formatted now
mapfile -d '' -t argv <"/proc/$("$MOONPORT" status -o json vm | jq .pid)/cmdline"
"$MOONPORT" stop --grace 0s vm >/dev/null
ours=() bare=()
data=$MOONPORT_STATE/deployments/vm/data/data.img
cp --sparse=always "$data" data.img
for ((i = 0; i < rounds; i++)); do
  settle
  by_moonport
  ours+=("$ms")
  "$MOONPORT" stop --grace 0s vm >/dev/null
  settle
  by_hand
  bare+=("$ms")
done
awk -v a="$(median "${ours[@]}")" -v b="$(median "${bare[@]}")" 'BEGIN {
  printf "hypervisor-boot  to the service that is ready: moonport start %.0f ms  the same VMM by hand %.0f ms  ", a, b
  printf "moonport adds %.0f ms (below 100)\n", a - b
  exit !(a - b < 100)
}'
