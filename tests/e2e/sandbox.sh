#!/bin/bash
# tests/sandbox itself: what a test leaves behind is found, told and taken away.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"
sandbox=$MP_SOURCE_DIR/tests/sandbox

it "passes on how the test ended"
check_exit 0 "$sandbox" true
check_exit 7 "$sandbox" sh -c 'exit 7'
check_exit 77 "$sandbox" sh -c 'exit 77'

it "fails a test that leaves a process, even one that shows the sandbox nowhere but as its folder"
# shellcheck disable=SC2016 # expanded in the sandbox
check_exit 1 "$sandbox" bash -c 'setsid env -i sleep 1000 & echo $! >"$1"' test "$PWD/pid" 2>told
check_matches told 'sleep 1000'
# A zombie, where nobody reaps it, has no arguments.
check_equal "what is left of it" "$(tr '\0' ' ' 2>/dev/null <"/proc/$(cat pid)/cmdline" || true)" ''

it "ends a test that takes too long"
MP_TEST_TIMEOUT=1 check_exit 124 "$sandbox" sleep 1000 2>told
check_matches told 'ended after 1 s'

it "takes its folder away"
# shellcheck disable=SC2016
inner=$("$sandbox" bash -c 'echo "$SANDBOX"')
check_equal "the folder" "$(ls -d "$inner" 2>/dev/null)" ''

done_testing
