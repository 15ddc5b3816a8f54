#!/bin/bash
# Directories of this host in a guest: what is read-only is so by this host, what is not is written by the guest.
# shellcheck disable=SC2016 # the guest's shell expands it
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[[ -x /usr/libexec/virtiofsd || -x /usr/lib/qemu/virtiofsd ]] || need virtiofsd

mkdir -m 700 keystore
echo '{"key":1}' >keystore/one.json
chmod 600 keystore/one.json
mkdir models out
echo weights >models/model
guest svc "$(says runs), keystore = '$PWD/keystore', ready = { log = 'runs' },
  restart = { policy = 'on-failure', backoff = '0.1s' }" "keystore = 'virtiofs', shares = {
    { tag = 'models', path = '$PWD/models', mount = '/models' },
    { tag = 'out', path = '$PWD/out', mount = '/out', readonly = false } }" \
  'mp.fs=keystore,/mnt/keystore mp.fs=models,/models mp.fs=out,/out'

inside() { moonport exec svc -- /bin/sh -c "$1"; }
# The processes by which this host shares them.
daemons() { pgrep -f "^[^ ]*virtiofsd .*$(runtime_dir)/" || true; }

it "shows directories of this host in the guest, the keystore where the service looks for it"
deploy svc.lua || give_up "it was not deployed"
check_equal "the model" "$(inside 'cat /models/model')" weights
check_equal "the key" "$(inside 'cat $KEYSTORE_URI/one.json')" '{"key":1}'

it "a file that changes here is changed there"
echo more >models/more
check_equal "the new file" "$(inside 'cat /models/more')" more

it "what is read-only cannot be written by the guest's root, who mounted it to be written"
check_equal "how the guest mounted it" "$(inside 'grep " /models " /proc/mounts | grep -c rw,')" 1
for place in /models /mnt/keystore; do
  for try in "echo evil >$place/evil" "rm $place/*" "mkdir $place/dir" "chmod 777 $place"; do
    if inside "$try" >try.out 2>&1; then check_failed "the guest did \`$try\`"; fi
    check_matches try.out 'Read-only file system'
  done
done
check_equal "the models" "$(ls models)" $'model\nmore'
check_equal "the keystore" "$(ls keystore; cat keystore/one.json)" $'one.json\n{"key":1}'

it "what may be written is seen here at once"
inside 'echo result >/out/result && mkdir /out/dir && echo deep >/out/dir/deep'
check_equal "the result" "$(cat out/result out/dir/deep)" $'result\ndeep'

it "a VMM that was killed is started again by its supervisor, and finds them"
before=$(vmm svc)
kill -KILL "$before"
await svc "status.state == 'running' and status.pid ~= $before" 60
check_equal "the model, the key and the result" "$(inside 'cat /models/model $KEYSTORE_URI/one.json /out/result')" \
  $'weights\n{"key":1}\nresult'
if inside 'rm /models/model' >try.out 2>&1; then check_failed "the guest removed the model"; fi

it "shares them again after a stop and a start"
moonport stop svc >stop.out 2>&1 || check_failed "$(<stop.out)"
check_equal "daemons" "$(daemons)" ''
moonport start svc >start.out 2>&1 || check_failed "$(<start.out)"
check_equal "the result" "$(inside 'cat /out/result')" result

it "leaves the directories, and nothing of its own"
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
check_equal "daemons" "$(daemons)" ''
check_no_guest_left
check_equal "the result" "$(<out/result)" result
check_equal "the key" "$(<keystore/one.json)" '{"key":1}'
done_testing
