#!/bin/bash
# What an operator is told of a guest's packets: they are sent by the guest and by this host, and followed
# through whatever rules this host has.
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need iptables-nft iptables-legacy setpriv
uplink

guest one "command = { '/bin/sh', '-c', 'echo one >/tmp/index; exec httpd -f -p 8080 -h /tmp' },
  ready = { tcp = '127.0.0.1:8080', timeout = '60s' }" \
  'network = { host_ports = { 8545 }, publish = { { port = 18080, guest_port = 8080 } } },'
deploy one.lua || give_up "it was not deployed"

# look [EXIT-CODE]: what doctor says, in found.json; row WORDS FIELD: of the row that begins so.
look() {
  local code=0
  moonport doctor one -o json >found.json 2>doctor.err || code=$?
  check_equal "exit code" "$code" "${1-0}"
}
row() { jq -r --arg words "$1" "first(.[] | select(.found | startswith(\$words))).$2" found.json; }
out='from the guest out by the uplink:'
host="from the guest to this host's port 8545/tcp:"
published='to the published port 127.0.0.1:18080/tcp:'
ready="from this host to the guest's port 8080/tcp:"
closed="from the guest to this host's port 22/tcp, which it may not reach:"
ours="inet moonport-$(store_mark)"
# Without what is counted.
listed() { nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'; }

it "packets of the guest and of this host are followed to where they leave"
listed >before
look
check_equal "probe" "$(row '5 packets' result)" ok
check_equal "out" "$(row "$out" interface) $(row "$out" how)" "uplink packet"
check_equal "to the host" "$(row "$host" found)" "$host arrives"
check_equal "published" "$(row "$published" interface)" "$(taps)"
check_equal "ready" "$(row "$ready" interface)" "$(taps)"
check_equal "closed" "$(row "$closed" chain)" "$ours to_host"

it "nothing of it stays"
check_equal "rules" "$(listed)" "$(<before)"

it "the policy of another program's table is named, by iptables-nft too"
iptables-nft -P FORWARD DROP
look 1
check_equal "chain" "$(row "$out" chain)" "ip filter FORWARD"
check_equal "how" "$(row "$out" found)" "$out dropped by the chain \`ip filter FORWARD\`, by its policy"
check_equal "others" "$(row "$host" result)" ok
nft delete table ip filter

it "the rule that drops is shown as nft writes it"
nft add table inet theirs
nft add chain inet theirs ahead '{ type filter hook forward priority -5; }'
nft add rule inet theirs ahead tcp dport 443 counter drop
look 1
check_equal "rule" "$(row "$out" rule)" "tcp dport 443 counter drop"
nft delete table inet theirs

it "our own chain is named, where somebody has changed it"
nft insert rule "inet" "moonport-$(store_mark)" through tcp dport 443 drop
look 1
check_equal "chain" "$(row "$out" chain)" "$ours through"
moonport restore >restore.out 2>&1 || check_failed "$(<restore.out)"
look

it "where legacy iptables drops, its rules tell it"
iptables-legacy -P OUTPUT DROP
look 1
check_equal "published" "$(row "$published" chain)" null
check_equal "found" "$(row "$published" found | grep -c 'ip filter OUTPUT')" 1

it "a command that is killed leaves no table"
moonport run "$HYPERVISOR/kill_doctor.lua" one >killed.out
iptables-legacy -P OUTPUT ACCEPT
check_matches killed.out '^moonport-trace-'
check_equal "tables" "$(nft list tables | grep -c moonport-trace || true)" 0
check_equal "rules" "$(listed)" "$(<before)"
check_equal "leftovers" "$(moonport gc --dry-run 2>&1 | grep -c trace || true)" 0

it "without the right to, it says which"
setpriv --bounding-set -net_admin --inh-caps -net_admin "$MOONPORT" doctor one >denied.out 2>&1 ||
  check_failed "$(<denied.out)"
check_equal "hint" "$(grep -c CAP_NET_ADMIN denied.out)" 1

it "of a guest that is stopped the rules tell, and that is said"
moonport stop one >stop.out 2>&1 || check_failed "$(<stop.out)"
look
check_equal "how" "$(row "$out" how)" rules
check_equal "probe" "$(jq -r 'first(.[] | select(.check == "probe")).result' found.json)" warning
check_equal "hint" "$(jq -r 'first(.[] | select(.check == "probe")).hint' found.json | grep -c 'moonport start one')" 1

it "leaves nothing"
moonport rm one >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
done_testing
