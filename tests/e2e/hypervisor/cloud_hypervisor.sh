#!/bin/bash
# The life of a service in a machine of cloud-hypervisor's: every verb, through the recipe. A program of its name on
# PATH stands for it, which holds each request against the published API (fixtures/cloud_hypervisor_double.lua). The
# guest's agent and its channel, a vsock, are there; a kernel is not.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
FIXTURES=$HYPERVISOR/../../fixtures

# What a guest has, and the double's own notes: anybody's, as the VMM is nobody.
root=$SANDBOX/guest
mkdir -m 777 "$root" "$SANDBOX/bin"
mount -t tmpfs none /mnt
mkdir -m 777 /mnt/data
cat >"$SANDBOX/bin/cloud-hypervisor" <<END
#!/bin/sh
export DOUBLE_ROOT='$root' DOUBLE_VIOLATIONS='$root/violations' DOUBLE_REQUESTS='$root/requests' TMPDIR='$root'
exec '$MOONPORT' run '$FIXTURES/cloud_hypervisor_double.lua' "\$@"
END
chmod 755 "$SANDBOX/bin/cloud-hypervisor"
export PATH=$SANDBOX/bin:$PATH

# requests ACTION: how often it was asked for. body ACTION: of the last time.
requests() { grep -c "^[A-Z]* $1 " "$root/requests" || true; }
body() { grep "^[A-Z]* $1 " "$root/requests" | tail -n 1 | cut -d' ' -f3-; }
vmms() { pgrep -f "^[^ ]*moonport run .*cloud_hypervisor_double.lua .*$(runtime_dir)/" || true; }

# Whether KVM works here says nothing of the double; where there is none its kernel is not asked to print a line.
accel=kvm
if [[ -w /dev/kvm ]]; then
  accel=auto
  # As udev has it, for VMMs that are nobody.
  mknod "$SANDBOX/kvm" c 10 232
  chmod 666 "$SANDBOX/kvm"
  mount --bind "$SANDBOX/kvm" /dev/kvm
fi
service() {
  guest "$1" "command = { '/bin/sh', '-c', [[echo \"$2 \$GREETING\"; date >>\$DATA_DIR/starts
    trap 'echo \"$2 bye\"; exit 0' TERM; while :; do sleep 0.1; done]] }, env = { GREETING = 'a \"quoted\" \$(value)' },
    ready = { log = '$2' }, stop = { grace = '3s' }, http_rpc_url = 'http://127.0.0.1:8545'" "${3-}"
  sed -i "s/driver = \"qemu\", accel = \"tcg\"/driver = \"auto\", accel = \"$accel\"/; s/160MiB\" }/160MiB\", cpus = 2 }/" "$1.lua"
}

service svc one
it "is what a plan takes where it is there, and says why"
check_exit 10 moonport plan svc.lua >plan.out 2>plan.err
check_matches plan.out 'virtual machine svc.*cloud-hypervisor, kvm \((if KVM is found to work, else qemu|kvm: asked for)'
check_equal "interfaces" "$(taps)" ''
check_equal "what was started" "$(ls "$root")" ''

it "deploys it"
deploy svc.lua || give_up "it was not deployed"
check_state svc running
check_matches <(field svc .vmm) '^cloud-hypervisor, kvm'
check_equal "the machine, and its boot" "$(requests vm.create) $(requests vm.boot)" '1 1'
check_equal "interfaces" "$(taps | wc -l)" 1

it "makes the machine of the manifest"
body vm.create >config.json
config() { jq -r "$1" config.json; }
check_equal "processors and memory" "$(config '[.cpus.boot_vcpus, .memory.size] | @csv')" "2,$((160 << 20))"
check_equal "disks" "$(config '[.disks[] | "\(.serial) \(.readonly) \(.image_type)"] | join(", ")')" \
  'service true Raw, data false Raw'
check_equal "the interface" "$(config '.net[0].tap')" "$(taps)"
check_matches <(config .payload.cmdline) "mp.net=$(config '.net[0].mac'),$(field svc .address)/30,172"
check_equal "the guest's channel" "$(config .vsock.socket)" "$(find "$(runtime_dir)" -name vsock)"
check_equal "the console, and the service's output" "$(config '[.serial.file, .console.file] | join(" ")')" \
  "$(dirname "$(config .vsock.socket)")/stderr $(dirname "$(config .vsock.socket)")/stdout"

it "runs the VMM as nobody, within limits of the host"
check_matches "/proc/$(vmm svc)/status" '^Uid:.(6[1-5][0-9]{3})'

it "shows the service's output apart from the guest's console"
await svc "status.state == 'running'"
moonport logs svc >logs.out
check_matches logs.out '^one a "quoted" \$\(value\)$'
moonport logs --console svc >console.out
check_equal "the console" "$(<console.out)" "the double's console"

it "runs commands in it, with its environment, its input and their exit codes"
check_matches <(moonport exec svc -- /bin/sh -c 'echo $DATA_DIR $HTTP_RPC_URL') '^/mnt/data http://172\.30\.[0-9.]+:8545$'
check_equal "input" "$(echo words | moonport exec svc -- /bin/cat)" words
check_exit 7 moonport exec svc -- /bin/sh -c 'exit 7'

it "has a console to attach to where the manifest asks for one, and says so where it does not"
check_exit 4 moonport console svc >console.out 2>console.err
check_matches console.err 'the console of `svc` is kept, and cannot be attached to'
check_matches console.err 'hypervisor.console = "pty"'

it "does nothing when nothing has changed"
before=$(vmm svc)
deploy svc.lua
check_equal "what deploy says" "$(<deploy.out)" 'svc: unchanged (revision 1)'
check_equal "the VMM" "$(vmm svc)" "$before"

it "is replaced by what has changed, over the same data"
service svc two
deploy svc.lua
check_state svc running
check_matches <(moonport logs svc) '^one bye$'
check_matches <(moonport logs --tail 1 svc) '^two'
check_equal "VMMs" "$(vmms | wc -l)" 1
check_equal "interfaces" "$(taps | wc -l)" 1
check_equal "starts" "$(moonport exec svc -- /bin/grep -c . /mnt/data/starts)" 2

it "is paused and goes on"
moonport run "$HYPERVISOR/machine.lua" svc pause
check_state svc paused
moonport run "$HYPERVISOR/machine.lua" svc resume
check_state svc running

it "stops by the power button, and starts again"
moonport stop svc >stop.out 2>&1 || check_failed "$(<stop.out)"
check_state svc stopped
check_equal "rungs" "$(moonport run "$HYPERVISOR/rungs.lua" svc | tail -n 1)" power-button
check_equal "VMMs" "$(vmms)" ''
check_matches <(moonport logs --tail 1 svc) '^two bye$'
moonport start svc >start.out 2>&1 || check_failed "$(<start.out)"
check_state svc running
moonport restart svc >start.out 2>&1 || check_failed "$(<start.out)"
check_equal "starts" "$(moonport exec svc -- /bin/grep -c . /mnt/data/starts)" 4

it "is quit where its guest does not hear the button"
touch "$root/deaf"
moonport stop --grace 1s svc >stop.out 2>&1 || check_failed "$(<stop.out)"
check_state svc stopped
check_equal "rungs" "$(moonport run "$HYPERVISOR/rungs.lua" svc | tail -n 2 | tr '\n' ' ')" 'power-button shutdown '
rm "$root/deaf"

it "that was killed has failed, and is restored past the sockets that it left"
moonport start svc >start.out 2>&1 || check_failed "$(<start.out)"
kill -KILL "$(vmm svc)"
await svc "status.state == 'failed'"
check_equal "reason" "$(field svc .reason)" vmm-killed
moonport restore >start.out 2>&1 || check_failed "$(<start.out)"
check_state svc running

it "that refuses its machine is told with its words, and undone"
service bad three
sed -i "s|export |export DOUBLE_REFUSE=vm.boot |" "$SANDBOX/bin/cloud-hypervisor"
check_exit 1 moonport deploy bad.lua >bad.out 2>bad.err
check_matches bad.err 'failed at step `vmm`: cloud-hypervisor refused `vm.boot`: Error from API: The disk is full'
check_equal "VMMs" "$(vmms | wc -l)" 1
moonport rm --force bad >rm.out 2>&1 || true
sed -i "s|DOUBLE_REFUSE=vm.boot ||" "$SANDBOX/bin/cloud-hypervisor"

it "leaves nothing, and asked for nothing that the API has not"
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
check_equal "violations" "$(cat "$root/violations" 2>/dev/null)" ''
check_equal "the double's own" "$(sort -u "$root/violations.own")" fits
done_testing
