#!/bin/bash
# Not root: what does not need root works, and what does says what is missing.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if ((EUID == 0)); then
  # As nobody, who has no rights at all, with everything where nobody gets at it.
  need setpriv
  mkdir "$SANDBOX/nobody"
  cp "$MOONPORT" "${MOONPORT%/*}/moonport-shim" "$SANDBOX/nobody/"
  cp -r "$NATIVE/.." "$SANDBOX/nobody/e2e"
  chown -R nobody:nogroup "$SANDBOX"/*
  trap - EXIT
  export MOONPORT=$SANDBOX/nobody/moonport
  exec setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --bounding-set=-all \
    --no-new-privs "$BASH" "$SANDBOX/nobody/e2e/native/${0##*/}"
fi

manifest svc "command = { '/bin/sh', '-c', 'id -u; exec sleep 1000' }, ready = { log = '^%d+\$' },
  restart = { policy = 'always', backoff = '10ms' }"

it "deploys, restarts, stops, starts and removes as oneself"
deploy svc.lua
check_state svc running
check_equal "the account" "$(moonport logs svc)" "$EUID"
old=$(field svc .pid)
kill -KILL "$old"
await svc "status.state == 'running' and status.restarts == 1"
moonport exec svc -- /bin/sh -c 'id -u' >exec.out
check_equal "the account of exec" "$(<exec.out)" "$EUID"
for verb in stop start restart; do moonport "$verb" svc >/dev/null; done
check_state svc running
check_exit 0 moonport plan svc.lua >plan.out

it "tells of limits that cannot be had, and what is missing, and deploys"
manifest limited "command = { '/bin/sleep', '1000' }, limits = { memory = '64MiB', pids = 8 }"
deploy limited.lua
if [[ -z $(cgroups '/*') ]]; then
  check_matches deploy.err 'warning: limited: the limits on memory, pids do not hold: .+'
  check_matches deploy.err '\(.+\)'
fi
check_state limited running

it "refuses another account, and names the capability"
printf 'return { name = "other", target = "native", user = "root", command = { "/bin/sleep", "9" } }\n' >other.lua
check_exit 4 moonport deploy other.lua 2>other.err
check_matches other.err 'needs CAP_SETUID'
check_exit 4 moonport plan other.lua 2>other.err
check_matches other.err 'needs CAP_SETUID'

it "refuses a priority that it may not give, and names the capability"
manifest nice "command = { '/bin/sleep', '1000' }, native = { nice = -5 }"
code=0
moonport deploy nice.lua >nice.out 2>nice.err || code=$?
((code != 0)) || check_failed "it was deployed"
check_matches nice.err 'CAP_SYS_NICE|nice'

it "keeps its sockets where it may, and refuses paths too long for them while planning"
deep=$PWD/$(printf 'directory%.0s/' {1..12})
mkdir -p "$deep"
check_exit 4 env -u XDG_RUNTIME_DIR "$MOONPORT" plan --state "$deep" svc.lua 2>long.err
check_matches long.err 'too long for a socket: [0-9]+ bytes, and 107 are allowed'
check_equal "what the plan made" "$(ls "$deep/deployments" 2>/dev/null)" ''

it "doctor says what is missing"
moonport doctor >doctor.out 2>&1 || true
check_matches doctor.out 'control groups'

it "leaves nothing"
moonport rm --force svc limited nice other >rm.out 2>&1 || check_failed "$(<rm.out)"
check_nothing_left
done_testing
