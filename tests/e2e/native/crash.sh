#!/bin/bash
# moonport killed (SIGKILL) at every boundary of every step: the next command completes or undoes, and
# nothing is left. tests/spec/engine_spec.lua shows the same of a made-up target; here it is real services.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

steps=(check storage limits service ready)

version() {
  manifest svc "command = { '/bin/sh', '-c', 'echo \"\$0 runs\"; exec sleep 1000', '$1' },
  ready = { log = 'runs', timeout = '20s' }, limits = { pids = 16 }, stop = { grace = '2s' }"
}

# dies_at POINT COMMAND...: runs moonport, which kills itself there. False when it does not come there.
dies_at() {
  local code=0
  MOONPORT_FAILPOINT=$1 moonport "${@:2}" >died.out 2>&1 || code=$?
  ((code == 137))
}

# Nobody knows of a process that is not of the service which status tells.
check_only_known() {
  local known found
  known=$(moonport status -o json svc 2>/dev/null | jq -r '.pid // empty')
  found=$(pgrep -f '^sleep 1000$' | while read -r pid; do
    if grep -qzs "^DATA_DIR=$MOONPORT_STATE" "/proc/$pid/environ"; then echo "$pid"; fi
  done)
  check_equal "processes of the service" "$found" "$known"
}

deploy_points=(deploy.after_row:deploy deploy.after_revision:deploy)
for step in "${steps[@]}"; do
  for point in journal.after_intent step.after_apply journal.before_result journal.after_result; do
    deploy_points+=("$point:$step")
  done
done
deploy_points+=(deploy.before_switch:deploy deploy.after_switch:deploy)

visited=0
version one
for point in "${deploy_points[@]}"; do
  if ! dies_at "$point" deploy svc.lua; then moonport rm svc >/dev/null 2>&1; continue; fi
  visited=$((visited + 1))

  it "killed at $point of a first deployment: deploying again completes it"
  if moonport status svc >status.out 2>&1; then
    state=$(field svc .state)
    [[ $state == interrupted || $point == deploy.after_switch:deploy ]] || check_failed "the state is $state"
  fi
  deploy svc.lua && check_state svc running
  check_only_known
  check_equal gc "$(moonport gc)" 'nothing to remove'
  moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
  check_nothing_left

  it "killed at $point of a first deployment: gc undoes it"
  dies_at "$point" deploy svc.lua || check_failed "it did not come there again"
  moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
  if [[ $point != deploy.after_switch:deploy ]]; then
    check_equal "processes of the service" "$(check_only_known)" ''
  fi
  moonport rm --force svc >rm.out 2>&1 || check_failed "$(<rm.out)"
  check_nothing_left
done
((visited >= 2 + 3 * ${#steps[@]})) || check_failed "only $visited points were visited"

visited=0
for point in "${deploy_points[@]:1}"; do
  version one
  deploy svc.lua
  version two
  if ! dies_at "$point" deploy svc.lua; then moonport rm svc >/dev/null 2>&1; continue; fi
  visited=$((visited + 1))

  it "killed at $point of a replacement: gc goes back to what served, or finishes"
  moonport gc >gc.out 2>&1 || check_failed "$(<gc.out)"
  check_state svc running
  want=one
  if [[ $point == deploy.after_switch:deploy ]]; then want=two; fi
  check_equal "output" "$(moonport logs --tail 1 svc)" "$want runs"
  check_only_known

  it "killed at $point of a replacement: deploying again completes it"
  if [[ $want == one ]]; then dies_at "$point" deploy svc.lua || check_failed "it did not come there again"; fi
  deploy svc.lua
  check_equal "output" "$(moonport logs --tail 1 svc)" "two runs"
  check_only_known
  check_equal gc "$(moonport gc)" 'nothing to remove'
  moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
  check_nothing_left
done
((visited >= 2 + 3 * ${#steps[@]})) || check_failed "only $visited points were visited"

remove_points=()
for step in "${steps[@]}"; do
  for point in step.after_undo journal.before_undone journal.after_undone; do
    remove_points+=("$point:$step")
  done
done
remove_points+=(remove.before_directory:remove remove.after_directory:remove)

visited=0
version one
for point in "${remove_points[@]}"; do
  for next in rm gc; do
    deploy svc.lua
    if ! dies_at "$point" rm svc; then continue; fi
    visited=$((visited + 1))
    it "killed at $point of a removal: $next finishes it"
    if [[ $next == rm ]]; then moonport rm --force svc; else moonport gc; fi >next.out 2>&1 ||
      check_failed "$(<next.out)"
    check_nothing_left
  done
done
((visited >= 4 + 4 * ${#steps[@]})) || check_failed "only $visited points were visited"

done_testing
