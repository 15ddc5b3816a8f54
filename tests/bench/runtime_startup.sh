#!/bin/bash
# An empty script, from spawn to exit, beside other interpreters: at most 2.5 times lua5.4, 10 times
# faster than node, 3 times faster than Debian's python3.
set -euo pipefail

: >empty.lua
: >empty.js
: >empty.py
names=() commands=()
add() {
  if [[ -x $2 ]]; then
    names+=("$1")
    commands+=("${*:2}")
  fi
}
add moonport "$MOONPORT" run empty.lua
add lua5.4 /usr/bin/lua5.4 empty.lua
add python3 /usr/bin/python3 empty.py
node=$(command -v node || true)
if [[ -n $node ]]; then add node "$node" empty.js; fi

cc -O2 -o spawn_time "$MP_SOURCE_DIR/tests/bench/spawn_time.c"
mapfile -t times < <(./spawn_time "${ROUNDS:-100}" "${commands[@]}")

paste <(printf '%s\n' "${names[@]}") <(printf '%s\n' "${times[@]}") | awk '
  { us[$1] = $2 }
  END {
    printf "startup: empty script in %.2f ms", us["moonport"] / 1000
    printf "; %.2f times lua5.4 (%.2f ms, limit 2.5)", us["moonport"] / us["lua5.4"], us["lua5.4"] / 1000
    bad = us["moonport"] > 2.5 * us["lua5.4"]
    if ("python3" in us) {
      printf "; python3 takes %.1f times as long (at least 3)", us["python3"] / us["moonport"]
      bad = bad || us["python3"] < 3 * us["moonport"]
    }
    if ("node" in us) {
      printf "; node %.1f times (at least 10)", us["node"] / us["moonport"]
      bad = bad || us["node"] < 10 * us["moonport"]
    }
    print ""
    exit bad
  }'
