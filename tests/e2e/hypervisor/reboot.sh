#!/bin/bash
# After a reboot: nothing runs, interfaces, rules and sockets are gone; restore makes them again.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/e2e/rebooting.sh
. "$(dirname "${BASH_SOURCE[0]}")/../rebooting.sh"

# The machine's interfaces and rules are gone too.
reboot_machine() {
  reboot
  taps | xargs -rn1 ip link delete
  nft flush ruleset
}

guest web "command = { '/bin/sh', '-c', 'echo up >>\$DATA_DIR/ups; sync; exec httpd -f -p 80 -h /mnt/data' },
  ready = { tcp = '127.0.0.1:80' }" 'network = { publish = { { port = 18081, guest_port = 80 } } },'
guest stopped "$(says runs)"
deploy web.lua stopped.lua || give_up "they were not deployed"
moonport stop stopped >/dev/null

it "restore starts again what ran, with its address, its rules and its data"
address=$(field web .address)
reboot_machine
check_state web 'lost supervisor'
moonport restore >restore.out 2>&1 || check_failed "$(<restore.out)"
check_matches restore.out '^web: started again$'
check_state web running
check_state stopped stopped
check_equal "address" "$(field web .address)" "$address"
check_equal "data, by the published port" "$(curl -sS -m 10 http://127.0.0.1:18081/ups | tr '\n' ' ')" 'up up '

it "a second restore does nothing"
pid=$(vmm web)
moonport restore >restore.out 2>&1 || check_failed "$(<restore.out)"
check_equal "the VMM" "$(vmm web)" "$pid"

it "restore puts right the rules of what runs, and says so"
nft flush ruleset
moonport doctor >doctor.out || true
check_matches doctor.out 'not as it is to be'
moonport restore >restore.out 2>&1 || check_failed "$(<restore.out)"
check_matches restore.out 'was not as it is to be, and is again'
check_equal "the VMM" "$(vmm web)" "$pid"
check_matches <(curl -sS -m 10 http://127.0.0.1:18081/ups) up
moonport doctor >doctor.out || true
check_equal "what doctor says against the rules" "$(grep -c 'not as it is to be' doctor.out || true)" 0

moonport rm web stopped >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
done_testing
