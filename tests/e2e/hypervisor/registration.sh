#!/bin/bash
# A registration in a virtual machine: it runs once, its output comes to this host, and the machine is gone.
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# registers NAME SCRIPT: the manifest of a registration that runs it.
registers() {
  guest "$1" "command = { '/bin/sh', '-c', [[$2]] },
  registration = { output = '$PWD/$1.json', timeout = '90s' }"
}

# shellcheck disable=SC2016 # the guest's shell expands it
registers reg 'echo "mode $REGISTRATION_MODE_ON"; echo run >>$DATA_DIR/runs
    printf "{\"operator\":\"0x%s\"}" 1234 >"$REGISTRATION_OUTPUT_PATH"'

it "plans the output, and writes none"
echo stale >reg.json
chmod 644 reg.json
check_exit 10 moonport plan reg.lua >plan.out 2>plan.err
check_matches plan.out "registration output $PWD/reg.json"
check_equal "output" "$(<reg.json)" stale

it "runs it once and brings the output here, for its owner alone"
deploy reg.lua || give_up "it did not register"
check_equal "output" "$(<reg.json)" '{"operator":"0x1234"}'
check_equal "mode" "$(stat -c %a reg.json)" 600
moonport logs reg >logs.out
check_matches logs.out '^mode true$'

it "has completed, and its machine is gone"
check_state reg completed
for reached in ready running; do
  check_equal "waited until it was $reached, it is" "$(moonport run "$NATIVE/../wait.lua" reg "$reached" 2>&1)" completed
done
check_equal "VMMs" "$(vmms)" ''
check_equal "processes in its control group" "$(cgroups '/*' | xargs -r -I{} cat {}/cgroup.procs)" ''

it "is not done again when nothing has changed"
deploy reg.lua
check_equal "what deploy says" "$(<deploy.out)" 'reg: unchanged (revision 1)'
check_equal "VMMs" "$(vmms)" ''

it "does not register twice when the command is killed at its end"
check_exit 137 env MOONPORT_FAILPOINT=step.after_apply:ready "$MOONPORT" deploy --quiet --replace reg.lua >died.out 2>&1
registered=$(stat -c %Y.%i reg.json)
deploy reg.lua || give_up "it did not go on" "$(<died.out)"
check_state reg completed
check_equal "the output is" "$(stat -c %Y.%i reg.json)" "$registered"
check_equal "VMMs" "$(vmms)" ''

it "leaves its output when it is removed, and nothing else"
moonport rm reg >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
check_equal "output" "$(<reg.json)" '{"operator":"0x1234"}'

it "tells why a run failed, with what it said, and leaves nothing"
registers bad 'echo "the contract reverted" >&2; exit 9'
check_exit 1 moonport deploy bad.lua >bad.out 2>bad.err
check_matches bad.err 'the registration run failed: exited with 9'
check_matches bad.err 'the contract reverted'
check_equal "output" "$(ls bad.json 2>/dev/null || true)" ''
moonport rm bad >rm.out 2>&1 || true
check_no_guest_left

it "tells of a run that wrote nothing"
registers mute 'echo done'
check_exit 1 moonport deploy mute.lua >mute.out 2>mute.err
check_matches mute.err 'the registration run wrote no output'
moonport rm mute >rm.out 2>&1 || true
check_no_guest_left
done_testing
