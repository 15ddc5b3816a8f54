#!/bin/bash
# `./dev demo` from its first line to the commands that it says to go on with.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need node npm

# It builds into build/; a test must not do so under somebody's hands.
if [[ $MOONPORT != "$MP_SOURCE_DIR/build/bin/moonport" ]]; then skip "build/ is not what is tested"; fi
demo=$XDG_STATE_HOME/moonport-demo
mkdir -p "$demo"
ln -s "$MP_TEST_CACHE" "$demo/cache" # the node is not fetched again
export MOONPORT_STATE=$demo/state    # where common.sh looks, too

it "deploys a node and the example, and shows them at work"
"$MP_SOURCE_DIR/dev" demo >demo.out 2>demo.err || give_up "it failed:" "$(tail -n 20 demo.err)"
check_matches demo.out '^incredible-squaring: deployed as revision 1'
check_matches demo.out '^incredible-squaring +native +running'
check_matches demo.out '^node +native +running'
check_matches demo.out 'listening on'
wait_for_line "$demo/state/deployments/incredible-squaring/data/squares.log" '^2 4$'

it "finds nothing to do when run again"
"$MP_SOURCE_DIR/dev" demo >demo.out 2>demo.err || give_up "it failed:" "$(tail -n 20 demo.err)"
check_matches demo.out '^incredible-squaring: unchanged \(revision 1\)'

it "says how to go on, in commands that work"
unset MOONPORT_STATE
sed -n 's/^  \(export MOONPORT_STATE=.*\)/\1/p; s/^  \(.* status .*\)/\1/p' demo.out >go_on
check_equal "commands" "$(wc -l <go_on)" 2
bash go_on >status.out 2>&1 || check_failed "$(<status.out)"
check_matches status.out '^state: +running'

it "goes as it came"
export MOONPORT_STATE=$demo/state
moonport rm incredible-squaring node >rm.out 2>&1 || check_failed "$(<rm.out)"
check_nothing_left
done_testing
