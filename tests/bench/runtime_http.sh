#!/bin/bash
# 20,000 GETs of 1 KiB from a local nginx, 64 at once, from Lua: at least 0.75 of the same loop in C
# on libcurl and libuv, a third of wrk, and no memory that grows with the count.
set -euo pipefail

count=${COUNT:-20000}
at_once=64
bench=$MP_SOURCE_DIR/tests/bench
cc -O2 -D_GNU_SOURCE -o serve "$MP_SOURCE_DIR"/tests/fixtures/{serve,nginx}.c
coproc SERVE { ./serve 2>serve.log; }
serve_input=${SERVE[1]}
stop_serving() {
  exec {serve_input}>&-
  wait
}
trap stop_serving EXIT
read -r _ _ port _ <&"${SERVE[0]}" || { cat serve.log >&2; exit 1; }
url=http://127.0.0.1:$port/small

# shellcheck disable=SC2046 # pkg-config gives several words
cc -O2 -o http_get "$bench/http_get.c" $(pkg-config --cflags --libs libcurl libuv)
# They take turns, so that whatever else the machine does hits all alike; the best of each counts.
best_lua=0 best_c=0 best_wrk=0 growth=0
for _ in 1 2 3 4 5; do
  c=$(./http_get "$url" "$count" $at_once)
  read -r lua grown < <("$MOONPORT" run "$bench/http_get.lua" "$url" "$count" $at_once)
  wrk=$(wrk -t1 -c$at_once -d1 "$url" | awk '/^Requests\/sec/ { printf "%d", $2 }')
  if ((c > best_c)); then best_c=$c; fi
  if ((lua > best_lua)); then best_lua=$lua; fi
  if ((wrk > best_wrk)); then best_wrk=$wrk; fi
  if ((grown > growth)); then growth=$grown; fi
done

awk -v lua="$best_lua" -v c="$best_c" -v wrk="$best_wrk" -v growth="$growth" 'BEGIN {
  printf "http-get  moonport %d req/s  c-libcurl %d req/s  ratio %.2f (at least 0.75)", lua, c, lua / c
  printf "  wrk -t1 -c64 %d req/s  ratio %.2f (at least 0.33)", wrk, lua / wrk
  printf "  rss-growth %d KiB (at most 4096)\n", growth
  exit lua < 0.75 * c || lua < wrk / 3 || growth > 4096
}'
