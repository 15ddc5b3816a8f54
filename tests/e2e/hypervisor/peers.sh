#!/bin/bash
# Whom guests reach, with packets: each other only where the manifest says so, this host where it says so, and
# this host them at what they publish.
# shellcheck disable=SC2016 # the guest's shell expands it
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
uplink

# serves NAME [HYPERVISOR-FIELDS]: answers with its name at its port 8080.
serves() {
  guest "$1" "command = { '/bin/sh', '-c', 'echo $1 >/tmp/index; exec httpd -f -p 8080 -h /tmp' },
  ready = { tcp = '127.0.0.1:8080', timeout = '60s' }" "${2-}"
}

serves one 'network = { publish = { { port = 18080, guest_port = 8080 } } },'
serves two
serves friend "network = { peers = { 'one' } },"

# ask FROM ADDRESS PORT: what a guest gets from there; nothing when it reaches nobody.
ask() {
  moonport exec "$1" -- /bin/sh -c "printf 'GET /index HTTP/1.0\\r\\n\\r\\n' | nc -w 3 $2 $3" 2>/dev/null |
    tail -n 1 || true
}

deploy one.lua || give_up "it was not deployed"
deploy two.lua friend.lua || give_up "they were not deployed"
one=$(field one .address) two=$(field two .address) friend=$(field friend .address)

it "a published port is reached at this host's loopback"
check_equal "published" "$(curl -sS -m 10 http://127.0.0.1:18080/index)" one

it "it is reached at no other address of this host"
check_exit 7 curl -s -m 10 http://198.51.100.2:18080/index

it "guests that are no peers do not reach each other, neither directly nor by what is published"
check_equal "two from one" "$(ask one "$two" 8080)" ''
check_equal "one from two" "$(ask two "$one" 8080)" ''
check_equal "friend from two" "$(ask two "$friend" 8080)" ''
check_equal "one by the published port" "$(ask two 198.51.100.2 18080)" ''

it "a peer reaches whom its manifest names, and is not reached for that"
check_equal "one from friend" "$(ask friend "$one" 8080)" one
check_equal "friend from one" "$(ask one "$friend" 8080)" ''
check_equal "two from friend" "$(ask friend "$two" 8080)" ''

it "it reaches the next revision of its peer too"
serves one 'cloud_init = {}, network = { publish = { { port = 18081, guest_port = 8080 } } },'
deploy one.lua || give_up "it was not replaced"
one=$(field one .address)
check_equal "one from friend" "$(ask friend "$one" 8080)" one
check_equal "one from two" "$(ask two "$one" 8080)" ''
check_equal "published" "$(curl -sS -m 10 http://127.0.0.1:18081/index)" one
check_exit 7 curl -s -m 5 http://127.0.0.1:18080/index

it "leaves nothing"
moonport rm one two friend >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
done_testing
