#!/bin/bash
# Listing 5,000 pods into a script's hands, beside `kubectl get pods -o json`: at most half the time and half
# the memory.
set -euo pipefail
# shellcheck source=tests/bench/kube/common.sh
. "$MP_SOURCE_DIR/tests/bench/kube/common.sh"

count=${COUNT:-5000}
start_cluster --control-plane
"$MOONPORT" run "$scripts/make_pods.lua" "$count"
# They take turns, so that whatever else the machine does hits all alike; the best of each counts, and of
# moonport's memory the most.
kubectl_ms='' kubectl_kib='' moonport_ms='' moonport_kib=''
for _ in 1 2 3; do
  timed "$kubectl" get pods -o json
  keep_less kubectl_ms "$ms"
  keep_less kubectl_kib "$kib"
  timed "$MOONPORT" run "$scripts/list.lua" "$count"
  keep_less moonport_ms "$ms"
  keep_more moonport_kib "$kib"
done

time_ratio=$(ratio "$moonport_ms" "$kubectl_ms")
memory_ratio=$(ratio "$moonport_kib" "$kubectl_kib")
printf 'kube-list  %d pods: moonport %d ms, %d MiB  kubectl %d ms, %d MiB' "$count" \
  "$moonport_ms" $((moonport_kib / 1024)) "$kubectl_ms" $((kubectl_kib / 1024))
printf '  ratio of time %s (at most 0.5), of memory %s (at most 0.5)\n' "$time_ratio" "$memory_ratio"
! less 0.5 "$time_ratio" && ! less 0.5 "$memory_ratio"
