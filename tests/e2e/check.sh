# shellcheck shell=bash
# What end-to-end tests in shell share: `. "$(dirname "${BASH_SOURCE[0]}")/check.sh"`.
#
# `it "does this"` names what the lines after it show; a check that fails tells what it saw, and the
# test goes on; done_testing ends it. On the way out whatever was started in the background ends too.

MP_FAILED=0
MP_CURRENT=
MP_STDERR=$(readlink "/proc/$$/fd/2")
MP_UNTOLD=

it() {
  MP_CURRENT=$1
  printf -- '- %s\n' "$1"
}

# Tells what failed; when stderr is redirected where it is called, on the way out.
check_failed() {
  local text
  MP_FAILED=1
  text=$(printf 'FAILED: %s\n' "$MP_CURRENT" "$@")
  if [[ $(readlink "/proc/$$/fd/2") == "$MP_STDERR" ]]; then
    printf '%s\n' "$text" >&2
  else
    MP_UNTOLD+=$text$'\n'
  fi
}

# check_equal WHAT ACTUAL EXPECTED
check_equal() {
  [[ $2 == "$3" ]] || check_failed "$1 is" "  $2" "and should be" "  $3"
}

# check_matches FILE REGEX: some line of FILE matches the extended regular expression.
check_matches() {
  grep -qE -- "$2" "$1" || check_failed "$1 has no line that matches \`$2\`:" "$(tail -n 20 "$1")"
}

# wait_for_line FILE REGEX [SECONDS]: until FILE, which need not exist yet, has a matching line. When
# none comes the test ends: nothing after it could make sense.
wait_for_line() {
  local found=0 lines tail_pid
  exec {lines}< <(exec tail -n +1 --follow=name --retry -- "$1" 2>/dev/null)
  tail_pid=$!
  timeout "${3:-60}" grep -m1 -qE -- "$2" <&"$lines" && found=1
  # grep ended at the match; tail would notice only at its next write.
  kill "$tail_pid" 2>/dev/null || true
  wait "$tail_pid" 2>/dev/null || true
  exec {lines}<&-
  if ((!found)); then
    check_failed "no line in $1 matched \`$2\`:" "$(tail -n 20 "$1" 2>&1)"
    exit 1
  fi
}

# check_exit CODE COMMAND...: the command exits with CODE; its output stays visible.
check_exit() {
  local want=$1 got=0
  shift
  "$@" || got=$?
  check_equal "exit code of \`$*\`" "$got" "$want"
}

# give_up WHY: ends the test where nothing after it could make sense.
give_up() {
  check_failed "$@"
  exit 1
}

# need COMMAND...: a machine that lacks one of them cannot run the test, which CTest shows as skipped.
need() {
  local command
  for command; do
    command -v "$command" >/dev/null || skip "there is no \`$command\`"
  done
}

skip() {
  printf 'skipped: %s\n' "$1"
  exit 77
}

done_testing() { exit "$MP_FAILED"; }

# Tells what is untold, and ends what the test still has running. Jobs are its own children, so no other process is meant.
mp_end_jobs() {
  local code=$? pids
  printf '%s' "$MP_UNTOLD" >&2
  mapfile -t pids < <(jobs -p)
  if ((${#pids[@]})); then
    kill "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
  fi
  return "$code"
}
trap mp_end_jobs EXIT
