#!/bin/bash
# The test guest itself: what later tests in it rely on.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"

run=$(cd "$(dirname "${BASH_SOURCE[0]}")/../fixtures/guest" && pwd)/run

# guest CODE ARGS...: runs one; its output is in `out` and `err`.
guest() {
  local expected=$1 code=0
  shift
  "$run" "$@" >out 2>err || code=$?
  check_equal "exit code" "$code" "$expected"
  if ((code != expected)); then cat err >&2; fi
}

it "has cgroup v2 with memory, cpu and pids as its only hierarchy, and takes files and variables"
cat >inside <<'SCRIPT'
#!/bin/sh
read -r controllers </sys/fs/cgroup/cgroup.controllers
for name in memory cpu pids; do
  case " $controllers " in *" $name "*) echo "has $name" ;; esac
done
mkdir /sys/fs/cgroup/mine
for file in memory.max memory.peak cpu.max pids.max cgroup.kill; do
  [ -e "/sys/fs/cgroup/mine/$file" ] && echo "has $file"
done
while read -r _ where type _; do
  case $type in cgroup*) echo "$type on $where" ;; esac
done </proc/mounts
cat /etc/given
echo "$GREETING from process 1's child, user $(id -u)"
exit 7
SCRIPT
chmod 755 inside
echo 'a given file' >given
guest 7 --file "$PWD/given:/etc/given" --file /bin/sh:/bin/sh --file /bin/cat:/bin/cat \
  --file /bin/mkdir:/bin/mkdir --file /usr/bin/id:/bin/id --env GREETING="hello;'" -- "$PWD/inside"
check_equal "output" "$(<out)" "has memory
has cpu
has pids
has memory.max
has memory.peak
has cpu.max
has pids.max
has cgroup.kill
cgroup2 on /sys/fs/cgroup
a given file
hello;' from process 1's child, user 0"

it "loads modules with what they need, gives output byte for byte and tells of a signal"
guest 137 --module virtio_net --qemu -netdev --qemu hubport,id=n,hubid=0 \
  --qemu -device --qemu virtio-net-pci,netdev=n,romfile= \
  -- /bin/sh -c '[ -e /sys/class/net/eth0 ] && printf "eth0\r\n\001\n\n"; kill -KILL $$'
check_equal "output" "$(od -An -c out | tr -d ' ')" 'eth0\r\n001\n\n'

it "shows output while it runs, and ends with whoever runs it"
"$run" --file "$(command -v sleep):/bin/sleep" -- /bin/sh -c 'echo begun; sleep 1000' >live &
vm=$!
wait_for_line live '^begun$'
code=0
kill "$vm"
wait "$vm" || code=$?
check_equal "exit code" "$code" 143

it "ends a program that takes too long"
guest 124 --timeout 4 -- /bin/sh -c 'read -r _ </dev/ttyS2; while :; do :; done'
check_matches err 'ended after 4 s'

it "tells a guest that failed from a program that failed, with the console"
guest 125 --append rdinit=/nowhere -- /bin/true
check_matches err 'ended without a result'
check_matches err 'Kernel panic'

done_testing
