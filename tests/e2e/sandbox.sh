#!/bin/bash
# tests/sandbox itself: what a test leaves behind is found, told and taken away.
source "$MP_SOURCE_DIR/tests/e2e/lib.sh"
sandbox=$MP_SOURCE_DIR/tests/sandbox

expect_exit 0 "$sandbox" true
expect_exit 7 "$sandbox" sh -c 'exit 7'
expect_exit 77 "$sandbox" sh -c 'exit 77'

# A process that shows the sandbox neither in its arguments nor in its environment.
code=0
# shellcheck disable=SC2016 # expanded in the sandbox
"$sandbox" bash -c 'setsid env -i sleep 1000 & echo $! >"$1"' test "$PWD/pid" 2>told || code=$?
((code == 1)) || fail "a process was left behind, and the test passed"
grep -q 'sleep 1000' told || fail "the process was not told: $(cat told)"
# It may still be a zombie of an init that does not reap.
! grep -qs sleep "/proc/$(cat pid)/cmdline" || fail "the process lives on"

MP_TEST_TIMEOUT=1 expect_exit 124 "$sandbox" sleep 1000 2>told
grep -q 'ended after 1 s' told || fail "the time limit was not told: $(cat told)"

# shellcheck disable=SC2016
inner=$("$sandbox" bash -c 'echo "$SANDBOX"')
[[ $inner == /tmp/mp.* && ! -e $inner ]] || fail "the folder $inner is still there"
