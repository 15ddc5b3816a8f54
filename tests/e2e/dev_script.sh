#!/bin/bash
# ./dev explains itself: every command has help with an example, and a mistyped one gets the nearest.
source "$MP_SOURCE_DIR/tests/e2e/lib.sh"
dev=$MP_SOURCE_DIR/dev

commands=$("$dev" help | sed -n 's/^  \([a-z]*\) .*/\1/p')
for command in setup build run demo test bench lint docs; do
  grep -qx "$command" <<<"$commands" || fail "./dev help does not list $command"
done
for command in $commands; do
  "$dev" "$command" --help | grep -q 'Example: \./dev' || fail "./dev $command --help has no example"
done

expect_exit 2 "$dev" tset 2>"$SANDBOX/tmp/error"
# shellcheck disable=SC2016 # the message has backticks
grep -q 'did you mean `./dev test`' "$SANDBOX/tmp/error" || fail "$(cat "$SANDBOX/tmp/error")"
