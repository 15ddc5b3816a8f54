#!/bin/bash
# crash_random.sh [ROUNDS]: moonport killed (SIGKILL) at moments that nobody chose, on a service with children.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

rounds=${1:-30}
seed=${MP_SEED:-$RANDOM}
RANDOM=$seed
echo "MP_SEED=$seed"

version() {
  manifest svc "command = { '/bin/sh', '-c', 'sleep 1000 & echo \"\$0 runs\"; wait', '$1' },
  ready = { log = 'runs', timeout = '20s' }, limits = { pids = 16 }, stop = { grace = '2s' }"
}

service_processes() {
  grep -lzs "^DATA_DIR=$MOONPORT_STATE" /proc/[0-9]*/environ | cut -d/ -f3 | sort -n || true
}
supervisors() { pgrep -f "moonport-shim run --dir $MOONPORT_STATE" || true; }

check_one_service() {
  check_equal "$1: state" "$(field svc .state)" running
  check_equal "$1: supervisors" "$(supervisors | wc -l)" 1
  check_equal "$1: processes" "$(service_processes | wc -l)" 2
  check_equal "$1: gc" "$(moonport gc)" 'nothing to remove'
}

check_no_service() {
  check_equal "$1: supervisors" "$(supervisors)" ''
  check_equal "$1: processes" "$(service_processes)" ''
  check_nothing_left
}

# kill_within MILLISECONDS COMMAND...: SIGKILL after a time of 0 up to that.
kill_within() {
  local after=$((RANDOM % $1))
  # The subshell is for the shell's own message about the kill.
  (timeout --signal=KILL "$((after / 1000)).$(printf %03d $((after % 1000)))" "$MOONPORT" "${@:2}" || true) \
    >killed.out 2>&1
}

# How long a whole run takes on this machine, so that the kills fall within.
version one
began=$(date +%s%3N)
deploy svc.lua
span=$(($(date +%s%3N) - began + 50))

it "whatever was killed when, the next command brings it to an end"
for ((round = 1; round <= rounds; round++)); do
  case $((RANDOM % 5)) in
  0) did='deploy anew' && version "v$round" && kill_within "$span" deploy svc.lua ;;
  1) did='restart' && kill_within "$span" restart svc ;;
  2) did='stop' && kill_within "$span" stop svc ;;
  3) did='rm' && kill_within "$span" rm svc ;;
  4) did='deploy --replace' && kill_within "$span" deploy --replace svc.lua ;;
  esac
  if ((RANDOM % 3 == 0)); then
    moonport rm --force svc >next.out 2>&1 || check_failed "round $round, $did, then rm: $(<next.out)"
    check_no_service "round $round, $did, then rm"
  fi
  deploy svc.lua || check_failed "round $round, $did"
  check_one_service "round $round, $did, then deploy"
done
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_service "the end"
done_testing
