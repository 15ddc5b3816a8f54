#!/bin/bash
# Control groups v2: the unit test of core/cgroup in the test guest, which knows nothing but v2.
# cgroup_v2.sh TEST_CGROUP
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"

run=$(cd "$(dirname "${BASH_SOURCE[0]}")/../fixtures/guest" && pwd)/run

# in_guest OPTIONS...: all its tests pass there.
in_guest() {
  local code=0
  "$run" --file "$(command -v sleep):/bin/sleep" "$@" -- "$test_program" >out 2>&1 || code=$?
  check_equal "exit code" "$code" 0
  if ((code != 0)); then cat out >&2; fi
}

test_program=$1

it "limits, counts, kills and removes on cgroup v2"
in_guest

it "names the controller that the kernel was told to leave out"
in_guest --append cgroup_disable=memory

done_testing
