#!/bin/bash
# A watch through 10,000 changes, beside one of kube-rs that sees the same ones: as they are made, and then
# once more from the version before them, as fast as the server can send. None is lost, none comes twice,
# memory does not grow with their count, and moonport is no slower than kube-rs.
set -euo pipefail
# shellcheck source=tests/bench/kube/common.sh
. "$MP_SOURCE_DIR/tests/bench/kube/common.sh"

count=${COUNT:-10000}
at_once=16
watch=$scripts/watch.lua

# same LOG: the log tells what the changes' own log tells, for each object in the same order.
same() {
  sort -s -k2,2 "$1" >sorted
  if ! cmp -s sorted made.sorted; then
    echo "$1 differs from what was changed (<: only there, >: only changed):" >&2
    diff sorted made.sorted | head -n 20 >&2
    return 1
  fi
}

get_peer || peer=''
start_cluster --control-plane
use_namespace watched
version=$("$kubectl" get --raw /api/v1/namespaces/watched/configmaps | jq -r .metadata.resourceVersion)

# watcher NAME COMMAND...: starts it, its output at the descriptor $NAME, and waits until it says `ready`.
watchers=() ours='' theirs=''
watcher() {
  local said
  exec {fd}< <(exec "${@:2}")
  watchers+=($!)
  printf -v "$1" %s "$fd"
  read -r said <&"$fd"
  [[ $said == ready ]]
}
trap '((${#watchers[@]} == 0)) || kill "${watchers[@]}" 2>/dev/null || true; "$cluster" down' EXIT

watcher ours "$MOONPORT" run "$watch" moonport.log "$count"
if [[ $peer ]]; then watcher theirs "$peer" watch kube-rs.log; fi
"$MOONPORT" run "$scripts/change.lua" "$count" "$at_once" made.log
sort -s -k2,2 made.log >made.sorted
read -r live growth <&"$ours"
same moonport.log
line="kube-watch  $((count + 1)) changes, none lost, none twice: moonport $live/s as they are made"
if [[ $peer ]]; then
  read -r peer_live <&"$theirs"
  same kube-rs.log
  line+=", kube-rs $peer_live/s"
fi
watchers=()

# They take turns, so that whatever else the machine does hits all alike; the best of each counts.
moonport_rate='' peer_rate=''
for _ in 1 2 3 4 5; do
  read -r rate grown < <("$MOONPORT" run "$watch" moonport.log "$count" "$version")
  same moonport.log
  keep_more moonport_rate "$rate"
  keep_more growth "$grown"
  if [[ $peer ]]; then
    rate=$("$peer" replay "$version" kube-rs.log)
    same kube-rs.log
    keep_more peer_rate "$rate"
  fi
done

bad=0
line+="  again from the server's memory: moonport $moonport_rate/s"
if [[ $peer ]]; then
  part=$(ratio "$moonport_rate" "$peer_rate")
  line+=", kube-rs $peer_rate/s, ratio $part (at least 0.9)"
  if less "$part" 0.9; then bad=1; fi
else
  line+="  kube-rs left out: no cargo, or no crates"
fi
echo "$line  rss-growth $growth KiB (at most 4096)"
if ((growth > 4096)); then bad=1; fi
exit $bad
