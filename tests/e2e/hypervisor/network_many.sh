#!/bin/bash
# The networks of 100 virtual machines made and removed by 8 moonports at once, and by moonports that are
# killed (SIGKILL) at every step and anywhere: no collision, and nothing is left. In a network namespace.
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../native/common.sh"
need ip nft
cp -r "$MP_SOURCE_DIR/tests/fixtures/hypervisor/recipes" "$MOONPORT_SITE/"

PROCESSES=8 MACHINES=100

machine() {
  printf 'return { name = "%s", target = "hypervisor", command = { "/bin/true" },
  hypervisor = { kernel = "/bin/true", initrd = "/bin/true", network = { publish = { { port = %d, guest_port = 80 } } } } }\n' "$1" "$2" >"$1.lua"
}

interfaces() { ip -o link show type tun | sed 's/^[0-9]*: //; s/:.*//' | sort; }
subnets() { ip -o -4 address show | awk '$2 ~ /^mp-/ { print $4 }' | sort; }

check_no_network_left() {
  check_equal "interfaces" "$(interfaces)" ''
  check_equal "tables" "$(nft list tables)" ''
  check_nothing_left
}

names=()
for ((i = 1; i <= MACHINES; i++)); do
  names+=("vm-$i")
  machine "vm-$i" $((20000 + i))
done

# share N: the names that the Nth process works on.
share() {
  local i
  for ((i = $1; i < MACHINES; i += PROCESSES)); do echo "${names[i]}"; done
}

# at_once COMMAND...: as many moonports with their share of the machines; tells what one that failed said.
at_once() {
  local n pids=() part
  for ((n = 0; n < PROCESSES; n++)); do
    mapfile -t part < <(share "$n")
    if [[ $1 == deploy ]]; then part=("${part[@]/%/.lua}"); fi
    moonport "$@" "${part[@]}" >"process-$n.out" 2>&1 &
    pids+=($!)
  done
  for n in "${!pids[@]}"; do
    wait "${pids[n]}" || check_failed "process $n:" "$(tail -n 5 "process-$n.out")"
  done
}

it "makes the networks of 100 machines by 8 processes at once, and no two share anything"
at_once deploy --quiet
check_equal "interfaces" "$(interfaces | wc -l)" "$MACHINES"
check_equal "addresses" "$(subnets | wc -l)" "$MACHINES"
# The host's end is the second address of a /30: what differs in it never overlaps.
check_equal "subnets that two have" "$(subnets | uniq -d)" ''
check_equal "lengths of prefixes" "$(subnets | sed 's/.*\///' | uniq)" 30
check_equal "hosts' ends" "$(subnets | sed 's/\/.*//; s/.*\.//' | awk '$1 % 4 != 1' | wc -l)" 0
check_equal "marks" "$(ip -o link show type tun | grep -o 'alias moonport/[^ \\]*' | sort -u | wc -l)" "$MACHINES"
check_equal "leases" "$(rows "leases WHERE pool = '172.30.0.0/16'")" "$MACHINES"
check_equal "gc" "$(moonport gc)" 'nothing to remove'
nft list ruleset >ruleset.txt
for name in "${names[@]}"; do
  tap=$(sqlite3 "$MOONPORT_STATE/state.db" "SELECT json_extract(intent, '\$.tap') FROM journal
    JOIN deployments d ON d.id = deployment WHERE d.name = '$name' AND journal.step = 'lease'")
  grep -q "$tap" ruleset.txt || check_failed "the firewall does not know $tap of $name"
done

it "removes them by 8 processes at once"
at_once rm --quiet
check_no_network_left

it "replaces the networks of machines while others are made and removed"
deploy vm-1.lua vm-2.lua
at_once deploy --quiet
for name in vm-3 vm-4; do machine "$name" 30000; sed -i "s/30000/3000${name#vm-}/" "$name.lua"; done
moonport deploy --quiet vm-3.lua vm-4.lua >replaced.out 2>&1 &
replacing=$!
moonport rm --quiet vm-1 vm-2
wait "$replacing" || check_failed "$(<replaced.out)"
check_equal "interfaces" "$(interfaces | wc -l)" $((MACHINES - 2))
check_equal "leases" "$(rows "leases WHERE pool = '172.30.0.0/16'")" $((MACHINES - 2))
mapfile -t rest < <(moonport ps -o names)
moonport rm --quiet "${rest[@]}"
check_no_network_left

# dies_at POINT COMMAND...: a moonport that kills itself there.
dies_at() {
  local code=0
  MOONPORT_FAILPOINT=$1 moonport "${@:2}" >died.out 2>&1 || code=$?
  check_equal "exit code at $1 of \`${*:2}\`" "$code" 137
}

for step in lease tap firewall; do
  for point in journal.after_intent step.after_apply; do
    it "killed at $point of $step: gc undoes it"
    dies_at "$point:$step" deploy vm-1.lua
    moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
    moonport rm --force --quiet vm-1 >rm.out 2>&1 || true
    check_no_network_left

    it "killed at $point of $step: deploying again completes it"
    dies_at "$point:$step" deploy vm-1.lua
    deploy vm-1.lua
    check_equal "interfaces" "$(interfaces | wc -l)" 1
    check_equal "leases" "$(rows "leases WHERE pool = '172.30.0.0/16'")" 1
    moonport rm --quiet vm-1
    check_no_network_left
  done
  it "killed in the undo of $step: gc finishes the removal"
  deploy vm-1.lua
  dies_at "step.after_undo:$step" rm vm-1
  moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
  check_no_network_left
done

# killed_somewhere COUNT COMMAND...: 8 moonports, all killed once the kernel has told of COUNT changes.
killed_somewhere() {
  local n pids=() part watcher
  rm -f watching.out
  "$MOONPORT" run -e '
    local netlink, task = require "moonport.netlink", require "moonport.task"
    local events <close> = netlink.monitor { "link" }
    print "watching"
    io.stdout:flush()
    task.timeout(60, function() for _ = 1, tonumber(arg[1]) do events:next() end end)' "$1" >watching.out &
  watcher=$!
  wait_for_line watching.out watching
  for ((n = 0; n < PROCESSES; n++)); do
    mapfile -t part < <(share "$n")
    if [[ $2 == deploy ]]; then part=("${part[@]/%/.lua}"); fi
    "$MOONPORT" "${@:2}" "${part[@]}" >"process-$n.out" 2>&1 &
    pids+=($!)
  done
  wait "$watcher" || check_failed "too little happened"
  kill -KILL "${pids[@]}" 2>/dev/null || true
  for n in "${pids[@]}"; do wait "$n" 2>/dev/null || true; done
}

for count in 5 40; do
  it "8 processes killed somewhere in deploying, after $count events: gc undoes the rest"
  killed_somewhere "$count" deploy --quiet
  moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
  check_equal "interfaces and leases" "$(interfaces | wc -l)" "$(rows "leases WHERE pool = '172.30.0.0/16'")"
  check_equal "gc again" "$(moonport gc)" 'nothing to remove'

  it "8 processes killed somewhere in removing: gc finishes it"
  at_once deploy --quiet
  killed_somewhere "$count" rm --quiet
  moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
  check_equal "interfaces and leases" "$(interfaces | wc -l)" "$(rows "leases WHERE pool = '172.30.0.0/16'")"
  mapfile -t rest < <(moonport ps -o names)
  if ((${#rest[@]})); then moonport rm --quiet "${rest[@]}"; fi
  check_no_network_left
done
done_testing
