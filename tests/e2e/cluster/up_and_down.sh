#!/bin/bash
# A node of its own, beside whichever runs, and then none: the machine is as it was, also when the node was
# killed rather than ended.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/../check.sh"
((EUID == 0)) || skip "a node needs root"

export MP_CLUSTER_DIR=$PWD/node
trap '"$MP_CLUSTER" down; mp_end_jobs' EXIT

# What a machine has that a node could change.
machine() {
  echo "# links, addresses, routes"
  ip -o link | sed 's/^[0-9]*: //; s/ state.*//'
  ip -o address
  ip route show table all
  for save in iptables-{nft,legacy}-save ip6tables-{nft,legacy}-save; do
    echo "# $save"
    "$save" 2>/dev/null | sed '/^#/d; s/\[[0-9:]*\]//' || true
  done
  echo "# mounts"
  cut -d' ' -f5- /proc/self/mountinfo
  echo "# control groups"
  find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d | sort
  echo "# settings"
  sysctl -a 2>/dev/null | grep -E '^(vm\.overcommit|vm\.panic|kernel\.(panic|keys)|net\.(bridge|netfilter|ipv4\.(ip_forward|conf\.all)))' |
    grep -vE 'nf_conntrack_count'
  echo "# folders"
  find / /etc /opt /run /run/netns /var/lib /var/lib/cni /var/log "$PWD" -mindepth 1 -maxdepth 1 2>/dev/null |
    grep -vE "^$PWD/(before|after|difference)" | sort
  echo "# results of CNI, but for those of other nodes"
  find "$results" -type f -printf '%f\n' 2>/dev/null | { grep -vFf <(others) || true; } | sort
}

# The sandboxes of other nodes that run at the time.
results=/var/lib/cni/results
others() {
  echo none
  find "$results" -name "mp-test-cluster-*" ! -name "mp-test-cluster-$(cksum <<<"$MP_CLUSTER_DIR" | cut -d' ' -f1)-*" 2>/dev/null |
    grep -oE '[0-9a-f]{64}'
}

check_same() {
  machine >after
  diff before after >difference || check_failed "this is not as it was:" "$(cat difference)"
  check_equal "processes of it" "$(pgrep -fc -- "$MP_CLUSTER_DIR/" || true)" 0
}

run_pod() {
  "$MP_CLUSTER" kubectl run pod --image moonport-test/base:1 -- sleep 1000 >/dev/null
  "$MP_CLUSTER" kubectl wait --for=condition=Ready pod/pod --timeout=60s >/dev/null
}

machine >before

it "is ready to run pods when up returns"
"$MP_CLUSTER" up
run_pod
check_exit 0 "$MP_CLUSTER" status >/dev/null

it "leaves nothing on the machine, though a pod still ran"
"$MP_CLUSTER" down
check_same

it "leaves nothing when its first process was killed, and all others with it"
"$MP_CLUSTER" up
run_pod
kill -KILL "$(<"$MP_CLUSTER_DIR/run/node.pid")"
flock "$MP_CLUSTER_DIR/run/node.alive" true
check_exit 1 "$MP_CLUSTER" status >/dev/null
"$MP_CLUSTER" down
check_same

it "does nothing when there is nothing, and nothing to a folder that is not its own"
"$MP_CLUSTER" down
mkdir other
touch other/file
check_exit 1 "$MP_CLUSTER" down "$PWD/other" 2>told
check_matches told "no cluster's folder"
[[ -e other/file ]] || check_failed "other/file is gone"

done_testing
