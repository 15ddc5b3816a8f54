# shellcheck shell=bash
# What the tests of native services share: `. "$(dirname "${BASH_SOURCE[0]}")/common.sh"`.
#
# They use moonport as an operator does, with the store and the site of the sandbox. What a test leaves
# deployed is removed on the way out, so that a failing one does not take the next one's ports.
NATIVE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/check.sh
. "$NATIVE/../check.sh"
need jq sqlite3

# A root operator has to say which account a service runs as.
if ((EUID == 0)); then MP_USER='user = "root",'; else MP_USER=; fi

moonport() { "$MOONPORT" "$@"; }

# manifest NAME FIELDS: writes NAME.lua, the manifest of a native service of that name.
manifest() {
  printf 'return {\n  name = "%s", target = "native", %s\n  %s\n}\n' "$1" "$MP_USER" "$2" >"$1.lua"
}

# deploy ARGS...: quietly; tells what went wrong where it should not.
deploy() {
  local code=0
  moonport deploy --quiet "$@" >deploy.out 2>deploy.err || code=$?
  ((code == 0)) || check_failed "\`moonport deploy $*\` exited with $code:" "$(cat deploy.out deploy.err)"
  return "$code"
}

# field NAME EXPRESSION: of the status, as jq writes it.
field() { moonport status -o json "$1" | jq -r "$2"; }

check_state() { check_equal "state of $1" "$(field "$1" .state)" "$2"; }

# await NAME CONDITION [SECONDS]: until the condition, Lua about `status`, holds. When it does not come to
# that the test ends: nothing after it could make sense.
await() {
  moonport run "$NATIVE/await.lua" "$@" ||
    give_up "\`$2\` did not come true of $1:" "$(moonport status -o json "$1" 2>&1)"
}

service_dir() { echo "$MOONPORT_STATE/deployments/$1/service"; }
store_mark() { jq -r '.uuid[0:8]' "$MOONPORT_STATE/store.json"; }
runtime_dir() { if ((EUID == 0)); then echo "/run/moonport/$(store_mark)"; else echo "$XDG_RUNTIME_DIR/moonport/$(store_mark)"; fi; }

# cgroups PATTERN: the directories of this store's control groups that match; `/*` are those of services.
cgroups() {
  find /sys/fs/cgroup -type d -path "*/moonport-$(store_mark)$1" 2>/dev/null | sort
}

# process_ended PID: waits until it has.
process_ended() { timeout "${2:-30}" tail -f /dev/null --pid="$1" || check_failed "process $1 still runs"; }

rows() { sqlite3 "$MOONPORT_STATE/state.db" "SELECT COUNT(*) FROM $1"; }

# check_nothing_left: what rm owes: no row, directory, socket, lock or control group, and gc finds nothing.
check_nothing_left() {
  local table
  for table in deployments revisions journal resources leases shared shared_users; do
    check_equal "rows in $table" "$(rows "$table")" 0
  done
  check_equal "what is left in the store" "$(cd "$MOONPORT_STATE" && find deployments locks -mindepth 1 ! -name '.*')" ''
  check_equal "what is left in the runtime directory" "$(find "$(runtime_dir)" -mindepth 1 2>/dev/null)" ''
  check_equal "control groups" "$(cgroups "*")" ''
  check_equal "gc" "$(moonport gc)" 'nothing to remove'
}

mp_remove_all() {
  local code=$? names
  mp_end_jobs || true
  if [[ -e $MOONPORT_STATE/state.db ]]; then
    mapfile -t names < <(moonport ps -o names)
    if ((${#names[@]})); then
      moonport rm --quiet --force "${names[@]}" >cleanup.log 2>&1 || cat cleanup.log >&2
    fi
  fi
  if [[ -e $MOONPORT_STATE/store.json && $EUID == 0 ]]; then rmdir "$(runtime_dir)" 2>/dev/null || true; fi
  exit "$code"
}
trap mp_remove_all EXIT
