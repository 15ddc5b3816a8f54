#!/bin/bash
# Two commands on one service, and Ctrl-C.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

data=$MOONPORT_STATE/deployments/svc/data
# Ready once `go` is there, which the test makes.
gated() {
  manifest svc "command = { '/bin/sh', '-c', 'echo \"\$0 runs\"; exec sleep 1000', '$1' },
  ready = { file = 'go-$1', timeout = '60s', interval = '50ms' }, description = '$1'"
}

# start_deploy ARGS...: in the background, with Ctrl-C as a terminal gives it; $deploying is its process.
start_deploy() {
  env --default-signal=INT "$MOONPORT" deploy "$@" >background.out 2>background.err &
  deploying=$!
}
# The step under way has begun.
at_step() { wait_for_line background.err "svc +$1 +done"; wait_for_line "$MOONPORT_STATE/deployments/svc/record.json" '"step":"ready"'; }

it "a second command on the same service is turned away, and says by whom it is kept"
gated one
start_deploy svc.lua
at_step service
for verb in 'deploy svc.lua' 'stop svc' 'restart svc' 'rm svc'; do
  # shellcheck disable=SC2086 # words
  check_exit 1 moonport $verb >busy.out 2>busy.err
  check_matches busy.err 'another command is working on `svc`'
done
check_equal "state meanwhile" "$(field svc .state)" applying

it "one that waits goes on when the first has ended"
moonport deploy --wait 60 svc.lua >waited.out 2>waited.err &
waiting=$!
touch "$data/go-one"
wait "$deploying" || check_failed "the first: $(<background.err)"
wait "$waiting" || check_failed "the second: $(<waited.err)"
check_equal "what the first says" "$(<background.out)" 'svc: deployed as revision 1'
check_equal "what the second says" "$(<waited.out)" 'svc: unchanged (revision 1)'

it "several services are deployed at once by one command, and one that fails keeps no other from it"
for name in a b c; do manifest "$name" "command = { '/bin/sleep', '1000' }"; done
manifest b "command = { '/bin/false' }, ready = { file = 'never' }, restart = { policy = 'no' }"
check_exit 1 moonport deploy --quiet a.lua b.lua c.lua >several.out 2>several.err
check_matches several.err '`b` failed at step `ready`'
check_state a running
check_state c running
check_exit 2 moonport deploy a.lua a.lua 2>several.err
check_matches several.err 'two manifests are named `a`'

it "Ctrl-C undoes, and the old revision serves again"
gated two
start_deploy svc.lua
at_step service
kill -INT "$deploying"
check_exit 130 wait "$deploying"
check_matches background.err 'interrupted'
check_state svc running
check_equal "revision" "$(field svc .revision)" 1
check_equal "output" "$(moonport logs --tail 1 svc)" 'one runs'
check_equal gc "$(moonport gc)" 'nothing to remove'

it "Ctrl-C of a first deployment leaves nothing"
moonport rm svc a b c >rm.out 2>&1 || check_failed "$(<rm.out)"
start_deploy svc.lua
at_step service
kill -INT "$deploying"
check_exit 130 wait "$deploying"
moonport rm --force svc >rm.out 2>&1
check_nothing_left

it "a second Ctrl-C leaves the journal, and says how to go on"
manifest svc "command = { '/bin/bash', '-c', 'trap \"\" TERM; echo runs; exec sleep 1000' },
  ready = { file = 'go', timeout = '60s' }, stop = { grace = '60s' }"
start_deploy svc.lua
at_step service
wait_for_line "$(service_dir svc)/log" runs
kill -INT "$deploying"
wait_for_line background.err 'interrupt again'
sleep 0.3 # two signals within 0.2 s are one key press
kill -INT "$deploying"
check_exit 130 wait "$deploying"
check_matches background.err 'moonport (deploy|rm)'
check_state svc interrupted
# What is still being stopped need not wait for its grace.
kill -KILL "$(jq .service.pid "$(service_dir svc)/state.json")"
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
check_nothing_left

done_testing
