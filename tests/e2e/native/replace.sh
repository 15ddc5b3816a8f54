#!/bin/bash
# A service's manifest changes: what `deploy` does about it, and the way back.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# A service that says which version it is, and is ready at once, or never.
version() {
  manifest svc "command = { '/bin/sh', '-c', 'echo \"\$0 runs\"; exec sleep 1000', '$1' },
  ready = { log = '${2:-runs}', timeout = '${3:-20s}' }, stop = { grace = '2s' }, description = '$1'"
}
output() { moonport logs --tail 1 svc; }

it "creates what is not there"
version one
check_exit 10 moonport plan svc.lua >plan.out
check_matches plan.out 'svc will be created'
deploy svc.lua
check_equal "what deploy says" "$(<deploy.out)" 'svc: deployed as revision 1'
check_state svc running
check_equal "output" "$(output)" 'one runs'

it "does nothing when nothing has changed"
pid=$(field svc .pid)
check_exit 0 moonport plan svc.lua >plan.out
check_matches plan.out 'svc is as wanted'
deploy svc.lua
check_equal "what deploy says" "$(<deploy.out)" 'svc: unchanged (revision 1)'
check_equal "the process" "$(field svc .pid)" "$pid"

it "shows what a changed manifest changes, and replaces the service"
version two
check_exit 10 moonport plan svc.lua >plan.out
check_matches plan.out 'svc will be replaced'
check_matches plan.out 'description: one -> two'
deploy svc.lua
check_equal "what deploy says" "$(<deploy.out)" 'svc: replaced by revision 2'
check_equal "output" "$(output)" 'two runs'
process_ended "$pid"
check_equal "control groups" "$(cgroups '/*' | sed 's|.*-||' | sort -u)" 2

it "goes back to the old revision when the new one does not become ready"
version three 'never said' 1s
check_exit 1 moonport deploy svc.lua >deploy.out 2>deploy.err
check_matches deploy.err '`svc` failed at step `ready`'
check_matches deploy.err 'not ready after 1 s: log: no line of output matched `never said`'
check_matches deploy.err 'three runs'
check_matches deploy.err 'revision 2 serves as before'
check_matches deploy.err "to go on: moonport deploy .*svc.lua"
check_state svc running
check_equal "revision" "$(field svc .revision)" 2
check_equal "output" "$(output)" 'two runs'
check_equal "control groups" "$(cgroups '/*' | sed 's|.*-||' | sort -u)" 2

it "goes back when the new one ends at once, and tells how it ended"
manifest svc "command = { '/bin/sh', '-c', 'echo no such thing >&2; exit 3' },
  restart = { policy = 'no' }, ready = { file = 'never' }"
check_exit 1 moonport deploy svc.lua >deploy.out 2>deploy.err
check_matches deploy.err 'the service ended before it was ready: exited with 3'
check_matches deploy.err 'no such thing'
check_equal "output" "$(output)" 'two runs'

it "knows the history, and goes back to any revision in it"
moonport history svc >history.out
check_matches history.out '^ +4 +failed'
check_matches history.out '^ +3 +failed'
check_matches history.out '^ +2 +active'
check_matches history.out '^ +1 +retired'
moonport rollback svc >rollback.out 2>/dev/null
check_matches rollback.out 'svc: replaced as revision 5'
check_equal "output" "$(output)" 'one runs'
moonport rollback svc 2 >rollback.out 2>/dev/null
check_equal "output" "$(output)" 'two runs'
check_exit 3 moonport rollback svc 77 2>rollback.err
check_matches rollback.err 'no revision 77'
check_matches rollback.err 'there are: 6, 5, 4, 3, 2, 1'

it "starts what is as wanted but was stopped"
moonport stop svc >/dev/null
check_state svc stopped
check_equal "exit" "$(field svc .exit.signal)" TERM
version two
check_exit 10 moonport plan svc.lua >plan.out
check_matches plan.out 'will be started'
deploy svc.lua
check_state svc running

it "leaves nothing once removed"
moonport rm svc >rm.out 2>&1
check_nothing_left
check_exit 3 moonport status svc 2>status.err
check_matches status.err 'there is no deployment `svc`'

done_testing
