#!/bin/bash
# Spawning and reaping /bin/true 2,000 times, 16 at once, from Lua with both outputs captured, beside
# `xargs -P16`: no slower. In turns, the best of each, since a busy machine only ever adds time.
set -euo pipefail

count=${COUNT:-2000} rounds=${ROUNDS:-7}

# seconds COMMAND...: how long it takes.
seconds() {
  local begun=$EPOCHREALTIME
  "$@"
  awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", b - a }'
}

moonport() { "$MOONPORT" run "$MP_SOURCE_DIR/tests/bench/spawn_true.lua" "$count" 16; }
xargs_true() { seq "$count" | xargs -P16 -n1 /bin/true; }

for ((i = 0; i < rounds; i++)); do
  echo "moonport $(seconds moonport)"
  echo "xargs $(seconds xargs_true)"
done | awk '
  !($1 in best) || $2 < best[$1] { best[$1] = $2 }
  END {
    ratio = best["moonport"] / best["xargs"]
    printf "spawn-true moonport %.2f s  xargs -P16 %.2f s  ratio %.2f\n", best["moonport"],
      best["xargs"], ratio
    exit ratio > 1
  }'
