#!/bin/bash
# From `moonport deploy` to a running pod to `moonport rm`: how much of that time is moonport's own, in which
# it awaits neither an answer of the API server nor an event of a watch. Both commands together, from their
# start to their end: at most 100 ms.
set -euo pipefail
# shellcheck source=tests/bench/kube/common.sh
. "$MP_SOURCE_DIR/tests/bench/kube/common.sh"

if ((EUID != 0)); then
  echo "kube-lifecycle  left out: a cluster's node needs root"
  exit
fi
start_cluster --scheduler
cat >life.lua <<'MANIFEST'
return {
  name = "life", target = "container", image = "moonport-test/base:1", stop = { grace = "1s" },
  command = { "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done" },
  container = { namespace = "bench-life", image_pull_policy = "Never" },
}
MANIFEST

# of COMMAND...: runs moonport with it; adds to $all and $own the milliseconds it took, and those that were its own.
of() {
  local awaited
  timed "$MOONPORT" run "$scripts/traced.lua" awaited "$@"
  awaited=$(<awaited)
  all=$(awk -v all="$all" -v ms="$ms" 'BEGIN { print all + ms }')
  own=$(awk -v own="$own" -v ms="$ms" -v awaited="$awaited" 'BEGIN { printf "%.1f", own + ms - awaited }')
}

best_own='' best_all=''
for _ in 1 2 3 4 5; do
  all=0 own=0
  of deploy --quiet life.lua
  of rm --quiet life
  keep_less best_own "$own"
  keep_less best_all "$all"
done
echo "kube-lifecycle  deployed, running, removed in $best_all ms; moonport's own $best_own ms (at most 100)"
! less 100 "$best_own"
