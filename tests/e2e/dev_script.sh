#!/bin/bash
# ./dev explains itself.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"
dev=$MP_SOURCE_DIR/dev

it "lists its commands"
"$dev" help >listed
for command in setup build run demo cluster test bench lint docs; do
  check_matches listed "^  $command "
done

it "tells about each with an example"
mapfile -t commands < <(sed -n 's/^  \([a-z]*\) .*/\1/p' listed)
for command in "${commands[@]}"; do
  "$dev" "$command" --help >help-of-one
  check_matches help-of-one "Example: \./dev $command"
done

it "knows what a mistyped command was meant to be"
check_exit 2 "$dev" tset 2>told
# shellcheck disable=SC2016 # the message has backticks
check_matches told 'did you mean `\./dev test`'

done_testing
