#!/bin/bash
# The supervisor is killed, and what its record names has become somebody else's process.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

manifest svc "command = { '/bin/sh', '-c', 'sleep 1000 & echo runs; wait' },
  ready = { log = 'runs' }, restart = { policy = 'always' }"
record() { echo "$(service_dir svc)/state.json"; }
shim_pid() { jq .shim.pid "$(record)"; }
shows_lost() {
  check_state svc 'lost supervisor'
  check_equal "exit" "$(field svc '.exit | "\(.unknown) \(.code) \(.signal)"')" 'true null null'
  moonport ps >ps.out
  check_matches ps.out '^svc +native +lost supervisor .* unknown$'
}

it "the service dies with its supervisor, and status says so"
deploy svc.lua
service=$(field svc .pid)
mapfile -t children < <(pgrep -P "$service")
kill -KILL "$(shim_pid)"
process_ended "$service"
shows_lost

it "status and gc change nothing about it"
check_equal gc "$(moonport gc)" 'nothing to remove'
shows_lost

it "restore starts it again, and clears what the old one left"
moonport restore >restore.out 2>&1 || check_failed "$(<restore.out)"
check_matches restore.out '^svc: started again$'
check_state svc running
for pid in "${children[@]}"; do process_ended "$pid"; done

it "deploy starts it again"
kill -KILL "$(shim_pid)"
process_ended "$(jq .service.pid "$(record)")"
deploy svc.lua
check_matches deploy.out 'started again'
check_state svc running

it "stop, start, restart and rm work too"
for verb in stop start restart; do
  kill -KILL "$(shim_pid)"
  process_ended "$(jq .service.pid "$(record)")"
  moonport "$verb" svc >verb.out 2>&1 || check_failed "$verb: $(<verb.out)"
  if [[ $verb == stop ]]; then
    check_state svc stopped
    moonport start svc >/dev/null
  fi
  check_state svc running
done

it "a supervisor that was stopped (SIGSTOP) is got rid of"
moonport restart svc >/dev/null
kill -STOP "$(shim_pid)"
moonport restart --grace 100ms svc >verb.out 2>&1 || check_failed "$(<verb.out)"
check_state svc running

# The record of a supervisor that died, naming processes that have its numbers by now.
sleep 1000 &
innocent=$!
take_numbers() {
  kill -KILL "$(shim_pid)"
  process_ended "$(jq .service.pid "$(record)")"
  jq -c --argjson pid "$innocent" --arg state "$1" \
    '.shim.pid = $pid | .service.pid = $pid | .state = $state' "$(record)" >changed
  cp changed "$(record)"
}
for verb in stop restart deploy restore gc rm; do
  it "$verb never touches a stranger that has got a process's number"
  for state in running starting stopping backoff; do
    deploy svc.lua
    take_numbers "$state"
    [[ $(field svc .state) == 'lost supervisor' ]] || check_failed "$state reads $(field svc .state)"
    case $verb in
    deploy) deploy svc.lua ;;
    restore | gc) moonport "$verb" >verb.out 2>&1 ;;
    *) moonport "$verb" svc >verb.out 2>&1 ;;
    esac || check_failed "$verb: $(<verb.out)"
    kill -0 "$innocent" || give_up "$verb killed an innocent process"
  done
done

it "the same numbers of another boot are nobody's"
deploy svc.lua
kill -KILL "$(shim_pid)"
process_ended "$(jq .service.pid "$(record)")"
start=$(awk '{ print $22 }' "/proc/$innocent/stat")
jq -c --argjson pid "$innocent" --argjson start "$start" '
  .shim = { pid: $pid, start_time: $start, boot_id: "00000000-0000-4000-8000-000000000000" } |
  .service = .shim' "$(record)" >changed
cp changed "$(record)"
check_state svc 'lost supervisor'
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
kill -0 "$innocent" || check_failed "rm killed an innocent process"
check_nothing_left

it "a record that is no JSON stops nobody from removing the service"
deploy svc.lua
pid=$(field svc .pid)
echo 'not { JSON' >"$(record)"
moonport ps >ps.out 2>&1 || check_failed "$(<ps.out)"
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
process_ended "$pid"
check_nothing_left

kill "$innocent"
done_testing
