#!/bin/bash
# A virtual machine's manifest changes: the new revision's takes over, with the data.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version() {
  guest svc "command = { '/bin/sh', '-c', 'echo \$0 >>\$DATA_DIR/seen; echo \"\$0 runs\"; exec sleep 1000', '$1' },
    ready = { log = '${2:-runs}', timeout = '${3:-20s}' }, description = '$1'"
}
seen() { moonport exec svc -- /bin/cat /mnt/data/seen | tr '\n' ' '; }
check_one_machine() {
  check_equal "interfaces" "$(taps | wc -l)" 1
  check_equal "VMMs" "$(vmms | wc -l)" 1
  check_equal "disks of revisions" "$(ls "$MOONPORT_STATE/deployments/svc/vm")" "$1"
}

it "replaces the machine, and hands the data on"
version one
deploy svc.lua || give_up "it was not deployed"
version two
deploy svc.lua
check_equal "what deploy says" "$(tail -n 1 deploy.out)" 'svc: replaced by revision 2'
check_equal "data" "$(seen)" 'one two '
check_one_machine 2
check_equal gc "$(moonport gc)" 'nothing to remove'

it "goes back to the old revision when the new one does not become ready"
version three 'never said' 3s
check_exit 1 moonport deploy svc.lua >deploy.out 2>deploy.err
check_matches deploy.err '`svc` failed at step `ready`'
check_matches deploy.err 'three runs'
check_matches deploy.err 'revision 2 serves as before'
check_state svc running
check_equal "data" "$(seen)" 'one two three two '
check_one_machine 2

it "rolls back"
moonport rollback svc 1 >rollback.out 2>&1 || check_failed "$(<rollback.out)"
check_state svc running
check_equal "data" "$(seen)" 'one two three two one '
check_one_machine 4

it "keeps the data when the deployment goes, where the manifest says so"
guest kept "command = { '/bin/sh', '-c', 'echo once >>\$DATA_DIR/seen; exec sleep 1000' }"
sed -i 's/data = { size = "32MiB" }/data = { size = "32MiB", keep = true }/' kept.lua
deploy kept.lua
moonport rm kept >rm.out 2>&1 || check_failed "$(<rm.out)"
deploy kept.lua
check_equal "data" "$(moonport exec kept -- /bin/cat /mnt/data/seen | tr '\n' ' ')" 'once once '
moonport rm svc kept >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
check_equal "the disk" "$(ls "$MOONPORT_STATE/kept/kept")" data.img
done_testing
