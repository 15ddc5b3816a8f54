#!/bin/bash
# The ladder of a stop, restarts by policy with their delays, and services that do not want to end.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

it "kills what ignores the stop signal, after the grace, with everything it started"
manifest deaf "command = { '/bin/bash', '-c', [[
    trap '' TERM INT HUP
    setsid bash -c 'trap \"\" TERM; echo \$\$ >grandchild; exec sleep 1000' &
    echo \$! >child; while :; do sleep 1000; done]] },
  stop = { grace = '300ms' }, ready = { file = 'grandchild' }"
deploy deaf.lua
mapfile -t pids < <(cat "$MOONPORT_STATE"/deployments/deaf/data/{child,grandchild}; field deaf .pid)
moonport stop deaf >/dev/null
check_state deaf stopped
check_equal "exit" "$(field deaf '.exit.signal')" KILL
for pid in "${pids[@]}"; do process_ended "$pid" 5; done
check_matches "$(service_dir deaf)/shim.log" 'TERM'
check_matches "$(service_dir deaf)/shim.log" 'KILL'

it "takes a shorter grace on the command line"
moonport start deaf >/dev/null
moonport stop --grace 10ms deaf >/dev/null
check_state deaf stopped

it "waits longer each time before it starts a failing service again, and gives up at the limit"
manifest failing "command = { '/bin/sh', '-c', 'echo again; exit 4' },
  restart = { policy = 'on-failure', max = 3, backoff = '50ms' }"
deploy failing.lua
await failing "status.state == 'failed'"
check_equal "restarts" "$(field failing .restarts)" 3
check_equal "exit code" "$(field failing .exit.code)" 4
check_equal "runs" "$(moonport logs failing | grep -c again)" 4
moonport logs -t failing | awk '{ split($1, t, /[:Z]/); s = t[2] * 60 + t[3]; if (NR > 1) print s - last; last = s }' >gaps
awk 'NR > 1 && $1 < last * 1.2 { exit 1 } { last = $1 }' gaps || check_failed "the delays do not grow:" "$(<gaps)"
moonport ps >ps.out
check_matches ps.out '^failing +native +failed .* 4$'

it "does not start again what ended well, under on-failure"
manifest brief "command = { '/bin/true' }, restart = { policy = 'on-failure' }"
deploy brief.lua
await brief "status.state == 'exited'"
check_equal "restarts" "$(field brief .restarts)" 0
check_equal "exit code" "$(field brief .exit.code)" 0

it "starts again what ended well, under always"
manifest always "command = { '/bin/sh', '-c', 'test -e done && exec sleep 1000; touch done' },
  restart = { policy = 'always', backoff = '10ms' }"
deploy always.lua
await always "status.restarts == 1 and status.state == 'running'"

it "does not start again what was stopped, whatever the policy"
moonport stop always >/dev/null
check_state always stopped

it "says which program cannot be run, before anything is made"
manifest none "command = { '/no/such/program' }"
check_exit 3 moonport deploy none.lua >deploy.out 2>deploy.err
check_matches deploy.err 'the program `/no/such/program` does not exist'
manifest none "command = { '/etc/passwd' }"
check_exit 4 moonport deploy none.lua 2>deploy.err
check_matches deploy.err '`/etc/passwd` is not executable'

it "says which interpreter is missing"
printf '#!/no/such/interpreter\n' >script
chmod +x script
manifest none "command = { '$PWD/script' }"
check_exit 1 moonport deploy none.lua 2>deploy.err
check_matches deploy.err 'step `service`'
moonport rm --force none >/dev/null 2>&1

it "leaves nothing"
moonport rm deaf failing brief always >rm.out 2>&1 || check_failed "$(<rm.out)"
check_nothing_left

done_testing
