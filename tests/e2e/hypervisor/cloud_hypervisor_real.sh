#!/bin/bash
# The recipe with the real cloud-hypervisor, where one is on PATH. On hosts whose KVM runs no kernel (the recipe's own
# trial tells) the guest never answers: what is shown then is that the VMM takes the machine as it is described, boots
# it with its interface, disks, vsock and outputs, answers every verb, and goes without a trace.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
if ! command -v cloud-hypervisor >/dev/null; then
  echo "skipped: no cloud-hypervisor on PATH"
  exit 77
fi
if [[ ! -w /dev/kvm ]]; then
  echo "skipped: no /dev/kvm"
  exit 77
fi
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
mknod "$SANDBOX/kvm" c 10 232
chmod 666 "$SANDBOX/kvm"
mount --bind "$SANDBOX/kvm" /dev/kvm

vmms() { pgrep -f "^[^ ]*cloud-hypervisor .*$(runtime_dir)/" || true; }

service() {
  guest "$1" "$(says runs), ready = { log = 'runs' }" "$2"
  sed -i 's/driver = "qemu", accel = "tcg", boot_timeout = "90s"/driver = "cloud-hypervisor", accel = "kvm", boot_timeout = "6s"/' "$1.lua"
}

service svc ''
it "takes the machine and boots it, as nobody, confined"
# moonport dies where it would wait for the guest: the machine stays, and is asked.
MOONPORT_FAILPOINT=journal.after_intent:boot moonport deploy svc.lua >deploy.out 2>&1 || true
vmm=$(vmms)
[[ -n $vmm ]] || give_up "it does not run" "$(<deploy.out)"
check_matches "/proc/$vmm/status" '^Uid:.(6[1-5][0-9]{3})'
check_equal "threads under a filter of system calls" "$(($(cat "/proc/$vmm"/task/*/status | grep -c '^Seccomp:.*2') > 0))" 1

it "answers what it is asked"
ask() { moonport run "$HYPERVISOR/machine.lua" svc "$1"; }
ask info >info.json
check_equal "the machine" "$(jq -r '[.state, .driver, .memory] | @csv' info.json)" "\"running\",\"cloud-hypervisor\",$((160 << 20))"
for verb in pause resume reboot power_button; do
  ask "$verb" >verb.out 2>&1 || check_failed "$verb: $(<verb.out)"
done

it "is waited for by the next command, and undone where its guest does not come"
code=0
moonport deploy svc.lua >deploy.out 2>deploy.err || code=$?
if ((code == 0)); then
  check_state svc running
else
  check_matches deploy.err 'failed at step `boot`: the guest did not answer within 6 s'
  check_equal "VMMs" "$(vmms)" ''
fi

it "leaves nothing"
moonport rm --force svc >rm.out 2>&1 || true
check_no_guest_left
done_testing
