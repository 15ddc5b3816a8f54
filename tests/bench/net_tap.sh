#!/bin/bash
# TAPs with an address, switched on and off again: at least 10 times faster than the `ip` program does it.
# Removal, most of which is the kernel's waiting, is shown apart: 50 at once take less than 5 times one. In a
# network namespace of its own.
set -euo pipefail
if [[ -z ${MP_IN_NAMESPACE-} ]]; then
  MP_IN_NAMESPACE=1 exec "$MP_SOURCE_DIR/tests/netns" "$0" "$@"
fi

count=${COUNT:-50} rounds=${ROUNDS:-3}

milliseconds() { awk -v a="$1" -v b="$2" -v n="$count" 'BEGIN { printf "%.4f\n", (b - a) * 1000 / n }'; }

# What the program takes for one: made with its address and switched on and off, and removed.
by_ip() {
  local i begun=$EPOCHREALTIME between
  for ((i = 1; i <= count; i++)); do
    ip tuntap add dev "bench$i" mode tap
    ip address add "10.66.$i.1/30" dev "bench$i"
    ip link set "bench$i" up
    ip link set "bench$i" down
  done
  between=$EPOCHREALTIME
  for ((i = 1; i <= count; i++)); do ip link delete "bench$i"; done
  echo "ip $(milliseconds "$begun" "$between") $(milliseconds "$between" "$EPOCHREALTIME") 0"
}

# They take turns, so that whatever else the machine does hits all alike; the best of each counts.
for ((i = 0; i < rounds; i++)); do
  echo "moonport $("$MOONPORT" run "$MP_SOURCE_DIR/tests/bench/net_tap.lua" "$count" 2)"
  by_ip
done | awk -v count="$count" '
  function keep(key, value) { if (!(key in best) || value < best[key]) best[key] = value }
  { keep($1, $2); keep($1 ".one", $3); keep($1 ".all", $4) }
  END {
    faster = best["ip"] / best["moonport"]
    together = best["moonport.all"] / best["moonport.one"]
    printf "net-tap    TAP, address, up, down: moonport %.2f ms  ip %.2f ms  ratio %.0f (at least 10)\n",
      best["moonport"], best["ip"], faster
    printf "           removal: one %.1f ms (ip %.1f ms)  %d at once %.1f ms  ratio %.1f (below 5)\n",
      best["moonport.one"], best["ip.one"], count, best["moonport.all"], together
    exit faster < 10 || together >= 5
  }'
