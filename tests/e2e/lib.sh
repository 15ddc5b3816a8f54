# Sourced by the end-to-end tests in bash. They run in tests/sandbox, which cleans up after them.
# shellcheck shell=bash
set -euo pipefail

# fail MESSAGE: ends the test.
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# skip REASON: this machine cannot run the test.
skip() {
  printf 'skipped: %s\n' "$*"
  exit 77
}

# need COMMAND...: skips the test where one is missing.
need() {
  local command
  for command; do
    command -v "$command" >/dev/null || skip "there is no \`$command\`"
  done
}

# expect_exit CODE COMMAND...: the command must exit with CODE; its output stays visible.
expect_exit() {
  local want=$1 got=0
  shift
  "$@" || got=$?
  ((got == want)) || fail "\`$*\` exited with $got, not $want"
}
