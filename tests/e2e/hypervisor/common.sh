# shellcheck shell=bash
# What the tests of services in virtual machines share: `. "$(dirname "${BASH_SOURCE[0]}")/common.sh"`.
#
# Each test runs in a network namespace of its own, so that its interfaces and rules are nobody else's.
# The guests are the tests' small one (fixtures/microvm), emulated by QEMU, unless a test says otherwise.
if [[ -z ${MP_IN_NAMESPACE-} ]]; then
  if ((EUID != 0)) || ! unshare --net --mount true 2>/dev/null; then
    echo "skipped: a network namespace of one's own needs root"
    exit 77
  fi
  # What is downloaded once is downloaded here: in there is no way out.
  "$(dirname "${BASH_SOURCE[0]}")/../../fixtures/microvm/microvm" initramfs >/dev/null
  MP_IN_NAMESPACE=1 exec unshare --net --mount -- "$0" "$@"
fi
# As udev has it; here it may be root's alone.
if [[ $(stat -c %a /dev/net/tun) != 666 ]]; then
  mknod "$SANDBOX/tun" c 10 200
  chmod 666 "$SANDBOX/tun"
  mount --bind "$SANDBOX/tun" /dev/net/tun
fi
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../native/common.sh"
HYPERVISOR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
need qemu-system-x86_64 qemu-img mcopy ip nft

ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward

# An uplink, as hosts have one: its other end is the world.
uplink() {
  ip link add world type veth peer name uplink
  ip address add 198.51.100.1/24 dev world
  ip address add 198.51.100.2/24 dev uplink
  ip link set world up
  ip link set uplink up
  ip route add default via 198.51.100.1 dev uplink
}

MICROVM=$HYPERVISOR/../../fixtures/microvm/microvm
mp_guest_kernel=$("$MICROVM" kernel)
mp_guest_initramfs=$("$MICROVM" initramfs)
mp_guest_cmdline="$("$MICROVM" cmdline) console=ttyS0 mp.net={mac},{address}/{prefix},{gateway}"

# guest NAME FIELDS [HYPERVISOR-FIELDS] [KERNEL-ARGUMENTS]: writes NAME.lua, the manifest of a service in
# the small guest. Its programs are busybox's.
guest() {
  printf 'return {\n  name = "%s", target = "hypervisor", limits = { memory = "160MiB" },\n  %s,\n' "$1" "$2"
  printf '  hypervisor = {\n    driver = "qemu", accel = "tcg", boot_timeout = "90s", shutdown_timeout = "20s",\n'
  printf '    kernel = "%s", initrd = "%s", cmdline = "%s",\n' "$mp_guest_kernel" "$mp_guest_initramfs" \
    "$mp_guest_cmdline ${4-}"
  printf '    data = { size = "32MiB" },\n    %s\n  },\n}\n' "${3-}"
} >"$1.lua"

# What says that it runs, and sleeps: `says WORDS`.
says() { printf "command = { '/bin/sh', '-c', 'echo \"\$0\"; exec sleep 1000', '%s' }" "$1"; }

# await FILE NAME CONDITION is native's. vmm NAME: the process of a service's VMM.
vmm() { field "$1" .pid; }
taps() { ip -o link show type tun 2>/dev/null | sed 's/^[0-9]*: //; s/:.*//' | sort; }
tables() { nft list tables 2>/dev/null | sort; }
vmms() { pgrep -f "^[^ ]*qemu-system[^ ]* .*$(runtime_dir)/" || true; }

# check_no_guest_left: check_nothing_left, and nothing in the kernel either.
check_no_guest_left() {
  check_nothing_left
  check_equal "interfaces" "$(taps)" ''
  check_equal "rules" "$(tables)" ''
  check_equal "VMMs" "$(vmms)" ''
}
