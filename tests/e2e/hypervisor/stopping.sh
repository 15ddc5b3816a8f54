#!/bin/bash
# The rungs by which a machine is stopped, down to the last: a VMM that hears nothing is killed.
#
#   stopping.sh HOLD    the program that has a process hang
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
HOLD=$1

guest svc "$(says up), ready = { log = 'up' }, restart = { policy = 'always' }"

# hangs NAME: its VMM does, from here on.
hangs() {
  "$HOLD" "$(vmm "$1")" >held 2>hold.err &
  holder=$!
  wait_for_line held held || give_up "its VMM could not be held" "$(cat hold.err)"
}

# rungs COUNT: the last ones, on one line.
rungs() { moonport run "$HYPERVISOR/rungs.lua" svc | tail -n "$1" | tr '\n' ' '; }

it "wakes a VMM that was only stopped, and its guest shuts down"
deploy svc.lua || give_up "it was not deployed"
kill -STOP "$(vmm svc)"
moonport stop svc >stop.out 2>&1 || check_failed "$(<stop.out)"
check_state svc stopped
check_equal "what it says" "$(<stop.out)" 'svc: stopped'
check_equal "rungs" "$(rungs 9)" 'power-button '
moonport logs --console svc >console.out
check_matches console.out 'Power down'

it "kills one that hears neither the button nor that it shall quit, and tells so"
moonport start svc >start.out 2>&1 || check_failed "$(<start.out)"
hangs svc
# Far less than the grace: no time is given to a guest whose button could not be pressed.
timeout 100 "$MOONPORT" stop --grace 10m svc >stop.out 2>&1 || check_failed "$(<stop.out)"
check_equal "rungs" "$(rungs 3)" 'power-button shutdown kill '
check_matches stop.out '^warning: svc: the VMM did not quit: it is killed \((it has not answered within 5 s|qemu does not answer on .*)\)$'
wait "$holder" || check_failed "it did not end by a signal"

it "has stopped for good, whatever its policy is, and leaves no process"
check_state svc stopped
check_equal "VMMs" "$(vmms)" ''
check_equal "processes in its control group" "$(cgroups '/*' | xargs -r -I{} cat {}/cgroup.procs)" ''

it "starts again after that"
moonport start svc >start.out 2>&1 || check_failed "$(<start.out)"
check_state svc running

it "is removed while its VMM hangs, and leaves nothing"
hangs svc
timeout 100 "$MOONPORT" rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
check_matches rm.out '^warning: svc: the VMM did not quit: it is killed'
wait "$holder" || check_failed "it did not end by a signal"
check_no_guest_left
done_testing
