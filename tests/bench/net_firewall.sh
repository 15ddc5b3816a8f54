#!/bin/bash
# A VM's rules into the firewall and out again on one socket, beside one `nft -j -f` for each, which is how
# the reference does it; and how it grows with the number of VMs. In a network namespace of its own.
set -euo pipefail

here=$MP_SOURCE_DIR/tests/bench
rounds=50

if [[ -z ${MP_BENCH_INSIDE-} ]]; then
  MP_BENCH_INSIDE=1 exec "$MP_SOURCE_DIR/tests/netns" "$0"
fi

# What one `nft -j -f` takes, in and out, in microseconds.
measure_nft() {
  local i began between ended in=0 out=0
  for ((i = 0; i < rounds; i++)); do
    began=$(date +%s%N)
    nft -j -f add.json
    between=$(date +%s%N)
    nft -j -f remove.json
    ended=$(date +%s%N)
    in=$((in + between - began)) out=$((out + ended - between))
  done
  echo $((in / rounds / 1000)) $((out / rounds / 1000))
}

"$MOONPORT" run "$here/net_firewall.lua" json "$PWD/add.json" "$PWD/remove.json"
read -r in out < <(measure_nft)
"$MOONPORT" run "$here/net_firewall.lua" "$in" "$out"
