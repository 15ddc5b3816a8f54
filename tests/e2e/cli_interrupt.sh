#!/bin/bash
# Ctrl-C while a deployment is under way, once and twice.
set -uo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"

need jq

# shellcheck disable=SC2317 # called by the trap
leave() { "$MOONPORT" rm --all --yes --force --quiet >/dev/null 2>&1; }
trap leave EXIT

# It takes no notice of SIGTERM, so that undoing takes as long as its grace; and it is never ready.
cat >slow.lua <<END
return {
  name = "slow", target = "native", user = "$(id -un)",
  command = { "/bin/sh", "-c", "trap '' TERM; while true; do sleep 1; done" },
  ready = { file = "never", timeout = "10m" },
  stop = { grace = "3s" },
}
END

state_of() { "$MOONPORT" ps -o json | jq -r '.[].state' | xargs; }

# begin: starts to deploy and waits until the service is what is waited for. A shell ignores SIGINT
# for what it runs in the background, and moonport would go along with that.
begin() {
  env --default-signal=INT "$MOONPORT" deploy slow.lua >out 2>err &
  deploy=$!
  wait_for_line err '^slow +service +done'
}

it "undoes what was done on the first, and exits with 130"
begin
kill -INT "$deploy"
wait "$deploy"
check_equal "exit code" "$?" 130
check_matches err '^slow: interrupted; undoing what was done'
check_matches err '^slow +service +undone'
check_matches err '^slow +storage +undone'
check_equal "standard output" "$(cat out)" ""
check_equal "the last line" "$(tail -n 1 err)" "moonport: interrupted"
check_equal "state" "$(state_of)" failed
check_equal "what is left over" "$("$MOONPORT" gc --dry-run)" "nothing to remove"
check_exit 0 "$MOONPORT" rm -q slow >out

it "leaves everything as it is on the second, and the next command undoes it"
begin
kill -INT "$deploy"
wait_for_line err '^slow: interrupted; undoing'
sleep 0.3 # what comes within 0.2 s is the same keystroke
kill -INT "$deploy"
wait "$deploy"
check_equal "exit code" "$?" 130
check_equal "the last line" "$(tail -n 1 err)" "moonport: interrupted again; what was begun is left\
 as it is, and the next command goes on from there"
check_equal "state" "$(state_of)" interrupted
check_matches <("$MOONPORT" status slow) '^hint: +was interrupted at step'
check_exit 10 "$MOONPORT" plan slow.lua >planned
check_matches planned '^slow was interrupted at step'
check_exit 0 "$MOONPORT" rm -q slow >out
check_equal "what is left over" "$("$MOONPORT" gc --dry-run)" "nothing to remove"

done_testing
