#!/bin/bash
# The life of a service in a virtual machine: every verb, from the first deployment to the removal.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

guest svc "command = { '/bin/sh', '-c', [[echo \"hello \$GREETING\"; echo trouble >&2; date >>\$DATA_DIR/starts
    echo ok >/tmp/index; exec httpd -f -p 8080 -h /tmp]] }, env = { GREETING = 'a \"quoted\" \$(value)' },
  http_rpc_url = 'http://127.0.0.1:8545', ready = { tcp = '127.0.0.1:8080', timeout = '30s' }" \
  'network = { publish = { { port = 18080, guest_port = 8080 } } },'

it "plans a machine without making anything, and tells every way that is opened"
check_exit 10 moonport plan svc.lua >plan.out 2>plan.err
check_matches plan.out 'virtual machine svc.*qemu.*tcg'
check_matches plan.out '127.0.0.1:18080/tcp -> guest port 8080, for this host alone'
check_matches plan.out "this host's port 8545/tcp"
check_equal "interfaces" "$(taps)" ''
check_equal "rules" "$(tables)" ''

it "names the field whose file is not there"
sed 's|initrd = "[^"]*"|initrd = "/nowhere/initrd"|' svc.lua >broken.lua
check_exit 1 moonport plan broken.lua 2>broken.err
check_matches broken.err '`hypervisor.initrd` of the manifest: .*`/nowhere/initrd`'

it "deploys it"
deploy svc.lua || give_up "it was not deployed"
check_state svc running
check_equal "interfaces" "$(taps | wc -l)" 1
check_equal "what deploy says" "$(tail -n 1 deploy.out)" 'svc: deployed as revision 1'

it "runs the VMM as nobody, within limits of the host"
check_matches "/proc/$(vmm svc)/status" '^Uid:.(6[1-5][0-9]{3})'

it "shows the service's output apart from the guest's console"
moonport logs svc >logs.out
check_matches logs.out '^hello a "quoted" \$\(value\)$'
check_matches logs.out '^trouble$'
check_equal "lines of the kernel" "$(grep -c 'microvm: up' logs.out || true)" 0
moonport logs --console svc >console.out
check_matches console.out 'microvm: up'
check_exit 4 moonport logs --stream stderr svc 2>stream.err

it "reaches its ports by the guest's address, and by the published one"
check_equal "at its address" "$(curl -sS -m 10 "http://$(field svc .address):8080/index")" ok
check_equal "published" "$(curl -sS -m 10 http://127.0.0.1:18080/index)" ok

it "runs commands in it, with its environment, its input and their exit codes"
check_equal "output" "$(moonport exec svc -- /bin/sh -c 'echo $DATA_DIR $HTTP_RPC_URL')" \
  "/mnt/data http://$(ip -o -4 address show | sed -n 's|.*inet \(172\.30\.[0-9.]*\)/30.*|\1|p'):8545"
check_equal "input" "$(echo words | moonport exec svc -- /bin/cat)" words
check_exit 7 moonport exec svc -- /bin/sh -c 'exit 7'

it "does nothing when nothing has changed"
before=$(vmm svc)
deploy svc.lua
check_equal "what deploy says" "$(<deploy.out)" 'svc: unchanged (revision 1)'
check_equal "the VMM" "$(vmm svc)" "$before"

it "stops by the power button, and tells each rung"
moonport stop svc >stop.out 2>&1 || check_failed "$(<stop.out)"
check_state svc stopped
moonport logs --console svc >console.out
check_matches console.out 'reboot: Power down|Power down'
check_equal "rungs" "$(moonport run "$HYPERVISOR/rungs.lua" svc)" power-button
check_equal "VMMs" "$(vmms)" ''

it "still tells what it has said"
moonport logs svc >logs.out
check_matches logs.out '^trouble$'

it "starts again with its data"
moonport start svc >start.out 2>&1 || check_failed "$(<start.out)"
check_state svc running
check_equal "starts" "$(moonport exec svc -- /bin/grep -c . /mnt/data/starts)" 2
moonport restart svc >start.out 2>&1 || check_failed "$(<start.out)"
check_equal "starts" "$(moonport exec svc -- /bin/grep -c . /mnt/data/starts)" 3

it "waits for it"
check_exit 0 moonport run -e 'local svc = require("moonport.service").open("svc")
  assert(svc:wait("ready", { timeout = 20 }).state == "running")
  local way = svc:forward(8080, { local_port = 0 })
  assert(mp.http.get(("http://%s:%d/index"):format(way.address, way.port)).status == 200)
  way:close()' >wait.out 2>&1
check_equal "what it says" "$(<wait.out)" ''

it "ends a guest that does not hear its power button"
guest deaf "command = { '/bin/sh', '-c', [[trap '' TERM; echo deaf; while :; do sleep 1; done]] }, ready = { log = 'deaf' }"
deploy deaf.lua
moonport stop --grace 1s deaf >stop.out 2>&1 || check_failed "$(<stop.out)"
check_state deaf stopped
check_matches stop.out '^warning: deaf: the guest did not shut down in time: the VMM was told to quit$'
moonport run "$HYPERVISOR/rungs.lua" deaf >rungs.out
check_equal "rungs" "$(tr '\n' ' ' <rungs.out)" 'power-button shutdown '
moonport rm deaf >rm.out 2>&1 || check_failed "$(<rm.out)"

it "leaves nothing"
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
done_testing
