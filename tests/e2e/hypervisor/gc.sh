#!/bin/bash
# What has this store's mark and no deployment is found and removed: interfaces, rules, leases, VMMs, disks.
# What has another store's is left alone.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

guest lost "$(says runs), ready = { log = 'runs' }"
guest stays "$(says runs), ready = { log = 'runs' }"
deploy lost.lua stays.lua || give_up "they were not deployed"

it "finds nothing where nothing is lost"
check_equal gc "$(moonport gc)" 'nothing to remove'

it "removes all of a deployment that the database has forgotten, and nothing of another"
other=$(vmm stays)
ip link add other-tap type dummy 2>/dev/null || ip tuntap add dev other-tap mode tap
ip link set other-tap alias "moonport/00000000-0000-4000-8000-000000000000/12345678/1"
nft add table inet moonport-00000000
sqlite3 "$MOONPORT_STATE/state.db" "PRAGMA foreign_keys = ON; DELETE FROM deployments WHERE name = 'lost'"
rm -r "$MOONPORT_STATE/deployments/lost"
check_equal "interfaces before" "$(taps | grep -c ^mp-)" 2
moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
check_equal "interfaces" "$(taps | grep -c ^mp-)" 1
check_equal "VMMs" "$(vmms)" "$other"
check_state stays running
check_equal "gc again" "$(moonport gc)" 'nothing to remove'
ip link show other-tap >/dev/null || check_failed "another store's interface is gone"
nft list table inet moonport-00000000 >/dev/null || check_failed "another store's table is gone"
ip link delete other-tap
nft delete table inet moonport-00000000

it "an interface that somebody has deleted is made again by start"
moonport stop stays >stop.out 2>&1 || check_failed "$(<stop.out)"
ip link delete "$(taps)"
moonport start stays >start.out 2>&1 || check_failed "$(<start.out)"
check_state stays running

it "rules that somebody has flushed are made again by start"
moonport stop stays >stop.out 2>&1 || check_failed "$(<stop.out)"
nft flush ruleset
moonport start stays >start.out 2>&1 || check_failed "$(<start.out)"
check_equal "tables" "$(tables | grep -c 'inet moonport-')" 1

moonport rm stays >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
done_testing
