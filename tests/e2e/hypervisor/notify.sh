#!/bin/bash
# A service in a virtual machine that says itself when it is ready, on the guest's channel. $1 is
# tests/fixtures/notifier.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
notifier=$1
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

it "is deployed once it says that it is ready"
# A blueprint gets `run`, and its arguments in the order of their names, which notifier passes over.
guest svc "binary = '$notifier', ready = { notify = true, timeout = '90s' },
  args = { a = 'say=STATUS=at block 7', b = 'barrier', c = 'print=asked', d = 'await=/mnt/data/go',
    e = 'say=STATUS=at block 9', f = 'say=READY=1', g = 'stay' }"
moonport deploy svc.lua >deploy.out 2>deploy.err &
deploying=$!
wait_for_line "$(service_dir svc)/log" ' F asked$' 90
check_equal "the command runs" "$(kill -0 "$deploying" && echo yes)" yes
moonport exec svc -- /bin/sh -c 'echo >/mnt/data/go'
wait "$deploying" || give_up "it was not deployed" "$(<deploy.err)"
check_equal "ready" "$(field svc .ready)" true

it "has begun with nothing told when it was started again"
moonport exec svc -- /bin/sh -c 'kill -9 $(pidof blueprint)'
# What runs beside it speaks for nobody.
moonport exec svc -- /bin/sh -c 'NOTIFY_SOCKET=/run/moonport/notify /run/moonport/service/blueprint say=READY=1 barrier'
moonport exec svc -- /bin/sh -c 'until test -p /mnt/data/go && pidof blueprint >/dev/null; do sleep 0.1; done'
check_equal "ready" "$(field svc .ready)" false
moonport exec svc -- /bin/sh -c 'echo >/mnt/data/go'
check_exit 0 moonport run -e 'require("moonport.service").open("svc"):wait("ready", { timeout = 60 })'
check_equal "says" "$(field svc '[.ready, .says] | tostring')" '[true,"at block 9"]'
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"

it "fails at once when it ends before"
guest svc "binary = '$notifier', ready = { notify = true, timeout = '90s' }, restart = { policy = 'no' },
  args = { a = 'exit=3' }"
check_exit 1 moonport deploy --quiet svc.lua >ended.out 2>ended.err
check_matches ended.err 'the service ended before it was ready: exited with 3'
moonport rm --force svc >rm.out 2>&1 || true

it "leaves nothing"
check_no_guest_left
done_testing
