#!/bin/bash
# crash.sh WHEN: moonport killed (SIGKILL) at the boundaries of every step of a machine's life; the next
# command completes or undoes, and nothing is left. WHEN is deploy, replace or remove.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

steps=(prerequisites image lease data tap disks firewall vmm boot ready)
makes=(lease data tap disks firewall vmm)

version() {
  guest svc "command = { '/bin/sh', '-c', 'echo \$0 runs; exec sleep 1000', '$1' },
    ready = { log = 'runs', timeout = '30s' }, stop = { grace = '1s' }" 'shutdown_timeout = "5s",'
  sed -i '0,/ shutdown_timeout = "20s",/s///' svc.lua
}

# dies_at POINT COMMAND...: runs moonport, which kills itself there. False when it does not come there.
dies_at() {
  local code=0
  MOONPORT_FAILPOINT=$1 moonport "${@:2}" >died.out 2>&1 || code=$?
  ((code == 137))
}

# What there is belongs to the one machine that runs, if any does.
check_one_of_all() {
  local count=0
  if [[ $(field svc .state 2>/dev/null) == running ]]; then count=1; fi
  check_equal "interfaces" "$(taps | wc -l)" "$count"
  check_equal "VMMs" "$(vmms | wc -l)" "$count"
}

points=()
for step in "${steps[@]}"; do points+=("journal.after_intent:$step"); done
for step in "${makes[@]}"; do points+=("step.after_apply:$step"); done

version one
case $1 in
deploy)
  for point in "${points[@]}"; do
    it "killed at $point of a first deployment: gc undoes it"
    dies_at "$point" deploy svc.lua || give_up "it did not come there" "$(<died.out)"
    check_state svc interrupted
    moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
    moonport rm --force svc >rm.out 2>&1 || true
    check_no_guest_left
  done
  for point in "${points[@]:6}"; do
    it "killed at $point of a first deployment: deploying again completes it"
    dies_at "$point" deploy svc.lua || give_up "it did not come there" "$(<died.out)"
    deploy svc.lua && check_state svc running
    check_one_of_all
    check_equal gc "$(moonport gc)" 'nothing to remove'
    moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
    check_no_guest_left
  done
  ;;
replace)
  deploy svc.lua || give_up "it was not deployed"
  for point in journal.after_intent:tap step.after_apply:firewall journal.after_intent:vmm step.after_apply:vmm \
    journal.after_intent:ready; do
    version "two at $point"
    it "killed at $point of a replacement: gc goes back to what served"
    dies_at "$point" deploy svc.lua || give_up "it did not come there" "$(<died.out)"
    moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
    check_state svc running
    check_equal "output" "$(moonport logs --tail 1 svc)" 'one runs'
    check_one_of_all
  done
  it "killed at deploy.after_switch of a replacement: the new revision serves, and gc removes the old one"
  version three
  dies_at deploy.after_switch:deploy deploy svc.lua || give_up "it did not come there" "$(<died.out)"
  moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
  check_equal "output" "$(moonport logs --tail 1 svc)" 'three runs'
  check_one_of_all
  moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
  check_no_guest_left
  ;;
remove)
  for step in "${makes[@]}"; do
    deploy svc.lua || give_up "it was not deployed"
    it "killed in the undo of $step: gc finishes the removal"
    dies_at "step.after_undo:$step" rm svc || give_up "it did not come there" "$(<died.out)"
    moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
    check_no_guest_left
  done
  ;;
esac
done_testing
