#!/bin/bash
# Debian's prometheus: a program nobody here wrote, with limits, readiness, restarts and a clean end.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need prometheus curl

port=$("$NATIVE/../manifests/prepare" prometheus "$PWD/prometheus")
manifest=$PWD/prometheus/prometheus.lua
ready() { curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/-/ready" || true; }

it "is ready when deploy says so"
deploy "$manifest"
check_equal "what /-/ready answers" "$(ready)" 200
check_state prometheus running

it "has its limits in the control group, and no process outside"
group=$(cgroups '/*' | head -n1)
if [[ -z $group ]]; then
  echo "  no control groups here: limits are not looked at"
else
  limit() { cat "$(cgroups '/*' | grep -F -- "$1" | head -n1)/$2" 2>/dev/null; }
  if [[ -e $group/memory.max || -e $group/cpu.max ]]; then
    check_equal memory.max "$(limit '' memory.max)" $((512 << 20))
    check_equal pids.max "$(limit '' pids.max)" 256
    check_equal cpu.max "$(limit '' cpu.max)" "150000 100000"
  else
    check_equal memory.limit_in_bytes "$(limit /memory/ memory.limit_in_bytes)" $((512 << 20))
    check_equal pids.max "$(limit /pids/ pids.max)" 256
    quota=$(limit /cpu/ cpu.cfs_quota_us) period=$(limit /cpu/ cpu.cfs_period_us)
    check_equal "a period's CPU time in percent" $((quota * 100 / period)) 150
  fi
  while read -r group; do
    check_equal "processes in $group" "$(cat "$group/cgroup.procs")" "$(field prometheus .pid)"
  done < <(cgroups '/*')
fi
check_equal "open files" \
  "$(awk '/Max open files/ { print $4 }' "/proc/$(field prometheus .pid)/limits")" 4096

it "tells what it uses"
[[ $(field prometheus .memory) -gt $((8 << 20)) ]] || check_failed "memory is $(field prometheus .memory)"
moonport ps >ps.out
check_matches ps.out '^prometheus +native +running .*[0-9]MiB '

it "shows its output, all of it or the end"
moonport logs prometheus >logs.out
check_matches logs.out 'Server is ready to receive web requests'
check_equal "lines" "$(moonport logs --tail 2 prometheus | wc -l)" 2

it "sees no environment but its own"
tr '\0' '\n' <"/proc/$(field prometheus .pid)/environ" | cut -d= -f1 | sort >environ
check_equal "variables of the operator" "$(grep -E '^(HOME|PATH|SANDBOX|MOONPORT_STATE)$' environ || true)" ''
check_matches environ '^DATA_DIR$'

it "starts again after kill -9, and counts it"
for count in 1 2; do
  old=$(field prometheus .pid)
  kill -KILL "$old"
  await prometheus "status.state == 'running' and status.restarts == $count"
  process_ended "$old"
done
check_equal "restarts" "$(field prometheus .restarts)" 2
check_equal "kills that the supervisor noted" "$(grep -c KILL "$(service_dir prometheus)/shim.log")" 2

it "runs a command within its limits and its environment"
moonport exec prometheus -- /bin/sh -c 'echo "$DATA_DIR"; cat /proc/self/cgroup' >exec.out
check_equal "DATA_DIR" "$(head -n1 exec.out)" "$PWD/prometheus/data"
if [[ -n $(cgroups '/*') ]]; then check_matches exec.out "moonport-$(store_mark)/"; fi
check_exit 7 moonport exec prometheus -- /bin/sh -c 'exit 7'

it "ends cleanly when stopped, and its data stay"
moonport stop prometheus >/dev/null
check_state prometheus stopped
check_equal "exit code" "$(field prometheus .exit.code)" 0
moonport logs --tail 5 prometheus >logs.out
check_matches logs.out 'See you next time'
check_equal "what /-/ready answers" "$(ready)" 000
[[ -d prometheus/data/wal ]] || check_failed "the data directory is gone"

it "starts again, ready"
moonport start prometheus >/dev/null
check_equal "what /-/ready answers" "$(ready)" 200

it "leaves nothing but the data directory that the manifest names"
pid=$(field prometheus .pid)
moonport rm prometheus >rm.out 2>&1
process_ended "$pid"
[[ -d prometheus/data/wal ]] || check_failed "the data directory is gone"
check_nothing_left

done_testing
