#!/bin/bash
# Services that say themselves when they are ready: `ready = { notify = true }`. $1 is tests/fixtures/notifier.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
notifier=$1
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# notifies NAME ARGUMENTS [FIELDS]: the manifest of a service that does what the arguments, Lua strings, say.
notifies() {
  manifest "$1" "command = { '$notifier', $2 }, ready = { notify = true, timeout = '60s' }, ${3-}"
}
go=$PWD/go

it "is deployed once it says that it is ready, and what it says is shown"
notifies svc "'say=STATUS=at block 7', 'barrier', 'print=asked', 'await=$go', 'say=READY=1\\nSTATUS=at block 9', 'stay'"
moonport deploy svc.lua >deploy.out 2>deploy.err &
deploying=$!
wait_for_line "$(service_dir svc)/log" asked
wait_for_line "$(service_dir svc)/state.json" '"notify":\{"ready":false,"stopping":false,"status":"at block 7"\}'
check_equal "the command runs" "$(kill -0 "$deploying" && echo yes)" yes
echo >go
wait "$deploying" || give_up "it was not deployed" "$(<deploy.err)"
await svc 'status.says == "at block 9"'
check_equal "ready" "$(field svc .ready)" true
moonport status svc >status.out
check_matches status.out '^state: +running$'
check_matches status.out '^says: +at block 9$'

it "has begun with nothing told when it was started again"
kill -KILL "$(field svc .pid)"
await svc 'status.restarts == 1 and status.says == "at block 7"'
moonport status svc >status.out
check_matches status.out '^state: +running \(not ready yet\)$'
echo >go
check_exit 0 moonport run -e 'require("moonport.service").open("svc"):wait("ready", { timeout = 60 })'
check_equal "ready" "$(field svc .ready)" true

it "gives what is run beside it no way to speak for it"
check_equal "variable" "$(moonport exec svc -- /bin/sh -c 'echo "${NOTIFY_SOCKET-none}"')" none
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"

it "fails with its own words when it does not become ready in time"
notifies svc "'say=STATUS=waits for a peer', 'barrier', 'stay'"
sed -i "s/timeout = '60s'/timeout = '1s'/" svc.lua
check_exit 1 moonport deploy --quiet svc.lua >late.out 2>late.err
check_matches late.err 'not ready after 1 s: notify: it has not said that it is ready \(it says: waits for a peer\)'
moonport rm --force svc >rm.out 2>&1 || true

it "fails at once when it ends before"
notifies svc "'exit=3'" "restart = { policy = 'no' }"
check_exit 1 moonport deploy --quiet svc.lua >ended.out 2>ended.err
check_matches ended.err 'the service ended before it was ready: exited with 3'
moonport rm --force svc >rm.out 2>&1 || true

if ((EUID == 0)); then
  it "speaks from another account, too"
  MP_USER='user = "nobody",' notifies other "'say=READY=1', 'stay'"
  chmod 755 "$(dirname "$notifier")"
  if setpriv --reuid 65534 --clear-groups test -x "$notifier"; then
    deploy other.lua || give_up "it was not deployed"
    check_equal "ready" "$(field other .ready)" true
    moonport rm other >rm.out 2>&1 || check_failed "$(<rm.out)"
  fi
fi

it "listens to systemd-notify"
if [[ -x /usr/bin/systemd-notify ]]; then
  manifest svc "command = { '/bin/sh', '-c', '/usr/bin/systemd-notify --ready --status=up; exec sleep 1000' },
    ready = { notify = true, timeout = '60s' }"
  deploy svc.lua || give_up "it was not deployed"
  await svc 'status.says == "up"'
  moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
fi

it "is refused where nobody would listen"
printf 'return { name = "pod", target = "container", image = "x", ready = { notify = true } }\n' >pod.lua
check_exit 1 moonport plan pod.lua >pod.out 2>pod.err
check_matches pod.err 'Kubernetes does not listen to what a service says of itself'
check_matches pod.err 'ready.http'

it "leaves nothing"
check_nothing_left
done_testing
