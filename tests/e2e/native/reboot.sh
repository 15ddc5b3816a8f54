#!/bin/bash
# After a reboot: nothing runs, the runtime directory is empty, and what the records name is of another boot.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/e2e/rebooting.sh
. "$(dirname "${BASH_SOURCE[0]}")/../rebooting.sh"

manifest web "command = { '/bin/sh', '-c', 'echo web runs; exec sleep 1000' }, ready = { log = 'web runs' },
  limits = { memory = '32MiB' }"
manifest stopped "command = { '/bin/sleep', '1000' }"
manifest failing "command = { '/bin/sh', '-c', 'exit 1' }, restart = { policy = 'no' }"
manifest ended "command = { '/bin/true' }, restart = { policy = 'no' }"
deploy web.lua stopped.lua failing.lua ended.lua
moonport stop stopped >/dev/null
await failing "status.state == 'failed'"

it "restore starts again what ran, and not what was stopped"
reboot
check_state web 'lost supervisor'
check_state stopped stopped
moonport restore >restore.out 2>&1 || check_failed "$(<restore.out)"
check_matches restore.out '^web: started again$'
check_state web running
check_state stopped stopped
check_equal "lines about what was stopped" "$(grep -c '^stopped' restore.out || true)" 0
check_equal "output" "$(moonport logs --tail 1 web)" 'web runs'

it "its limits hold again"
if [[ -n $(cgroups '/*') ]]; then
  group=$(cgroups '/*' | while read -r group; do
    if grep -qx "$(field web .pid)" "$group/cgroup.procs"; then echo "$group"; fi
  done | while read -r group; do cat "$group"/memory.{limit_in_bytes,max} 2>/dev/null || true; done)
  check_equal "memory" "$group" $((32 << 20))
fi

it "a second restore does nothing"
pid=$(field web .pid)
moonport restore >restore.out 2>&1 || check_failed "$(<restore.out)"
check_equal "the process" "$(field web .pid)" "$pid"

it "a command before restore does what it says"
reboot
moonport stop web >/dev/null
check_state web stopped
moonport restore >restore.out 2>&1 || check_failed "$(<restore.out)"
check_state web stopped
moonport start web >/dev/null
check_state web running
reboot
moonport restart web >/dev/null
check_state web running

it "a deployment that the reboot interrupted is left to whoever goes on with it, and gc undoes it"
manifest slow "command = { '/bin/sleep', '1000' }, ready = { file = 'never', timeout = '60s' }"
MOONPORT_FAILPOINT=journal.after_intent:ready moonport deploy slow.lua >slow.out 2>&1 || true
check_state slow interrupted
reboot
moonport restore >restore.out 2>&1 || check_failed "$(<restore.out)"
check_equal "supervisors of it" "$(pgrep -f "moonport-shim run --dir $MOONPORT_STATE/deployments/slow" || true)" ''
check_state slow interrupted
moonport gc --older-than 1h >gc.out 2>&1 || check_failed "$(<gc.out)"
check_matches gc.out '^left for now: `slow`, interrupted while applying \(it was .* ago; deploy it again'
check_state slow interrupted
moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
check_matches gc.out '^`slow`, interrupted while applying +removed'

moonport rm --force web stopped failing ended slow >rm.out 2>&1 || check_failed "$(<rm.out)"
check_nothing_left
done_testing
