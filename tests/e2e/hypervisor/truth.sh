#!/bin/bash
# The status of a virtual machine is what is true: of the supervisor, the VMM and the guest.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

guest svc "$(says runs), restart = { policy = 'on-failure', max = 3, backoff = '0.1s' }, ready = { log = 'runs' }"
deploy svc.lua || give_up "it was not deployed"

it "a VMM that was killed is started again by its supervisor, and the guest comes back"
before=$(vmm svc)
kill -KILL "$before"
await svc "status.state == 'running' and status.pid ~= $before" 60
check_equal "restarts" "$(field svc .restarts)" 1

it "a machine that is paused says so, and is stopped like any other"
moonport run "$HYPERVISOR/machine.lua" svc pause
check_state svc paused
moonport run "$HYPERVISOR/machine.lua" svc resume
check_state svc running

it "a guest whose kernel has panicked has failed"
timeout 60 "$MOONPORT" exec svc -- /bin/sh -c 'echo c >/proc/sysrq-trigger' >panic.out 2>&1 || true
if ! moonport run "$NATIVE/await.lua" svc "status.state == 'failed'" 60; then give_up 'it did not panic' "$(cat panic.out)" "$(moonport logs --console --tail 20 svc)"; fi
check_equal "reason" "$(field svc .reason)" guest-panic
moonport logs --console --tail 60 svc >console.out
check_matches console.out 'Kernel panic'

it "starts again after a panic"
moonport restart svc >restart.out 2>&1 || check_failed "$(<restart.out)"
check_state svc running

it "a guest that has shut down by itself has exited"
timeout 60 "$MOONPORT" exec svc -- /bin/poweroff -f >off.out 2>&1 || true
await svc "status.state == 'exited'" 60
check_equal "reason" "$(field svc .reason)" guest-shutdown

it "a supervisor that was killed is told as lost, and nothing of it is left"
moonport start svc >start.out 2>&1 || check_failed "$(<start.out)"
pid=$(vmm svc)
kill -KILL "$(jq .shim.pid "$(service_dir svc)/state.json")"
process_ended "$pid"
check_state svc 'lost supervisor'
moonport start svc >start.out 2>&1 || check_failed "$(<start.out)"
check_state svc running

it "a service that ends inside is told with its exit code"
guest once "command = { '/bin/sh', '-c', 'sleep 2; exit 3' }, restart = { policy = 'no' }"
deploy once.lua
moonport run -e 'mp.service.open("once"):wait("exited", { timeout = 100 })' || check_failed "it did not end"
check_state once failed
check_equal "exit code" "$(field once .exit.code)" 3

it "a kernel that never answers fails with its console in the report"
guest hangs "$(says runs)" '' mp.hang
sed -i 's/boot_timeout = "90s"/boot_timeout = "8s"/' hangs.lua
check_exit 1 moonport deploy hangs.lua >hangs.out 2>hangs.err
check_matches hangs.err 'failed at step `boot`: the guest did not answer within 8 s'
check_matches hangs.err "the console's last lines"
moonport rm hangs >rm.out 2>&1 || true

it "a guest whose disk has no room on this host fails at once, and says which"
mkdir "$MOONPORT_STATE/kept"
mount -t tmpfs -o size=200k none "$MOONPORT_STATE/kept"
guest full "$(says runs)"
sed -i 's/data = { size = "32MiB" }/data = { size = "32MiB", keep = true }/' full.lua
check_exit 1 timeout 60 "$MOONPORT" deploy full.lua >full.out 2>full.err
check_matches full.err 'failed at step `boot`: the machine is paused: this host has no room for its disk `data`'
moonport rm --force full >rm.out 2>&1 || true
umount "$MOONPORT_STATE/kept"
rmdir "$MOONPORT_STATE/kept"

it "a kernel that panics at boot fails with its console in the report"
guest panics "$(says runs)" '' mp.panic
check_exit 1 moonport deploy panics.lua >panics.out 2>panics.err
check_matches panics.err 'failed at step `boot`'
check_matches panics.err 'panic'
moonport rm panics >rm.out 2>&1 || true

moonport rm svc once >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
done_testing
