# shellcheck shell=bash
# What the tests of the container target share: `. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"`.
#
# They use moonport as an operator does, with the store and the site of the sandbox, on the cluster that
# $KUBECONFIG leads to. Others use that at the same time: a test keeps to namespaces that begin with $SPACE,
# and so do its names of what has no namespace. What it leaves is removed on the way out.
CONTAINER=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/check.sh
. "$CONTAINER/../check.sh"
need jq sqlite3

SPACE=mp-$(basename "$0" .sh | tr '_.' '--')-$$
IMAGE=moonport-test/base:1

moonport() { "$MOONPORT" "$@"; }
kubectl() { "$MP_CLUSTER" kubectl --namespace "$SPACE" "$@"; }

# manifest NAME FIELDS [CONTAINER-FIELDS]: writes NAME.lua, the manifest of a pod of that name. A command has
# to end at SIGTERM, or removing it takes the second of its grace.
manifest() {
  printf 'return {\n  name = "%s", target = "container", image = "%s", stop = { grace = "1s" },\n  %s\n' \
    "$1" "$IMAGE" "$2" >"$1.lua"
  printf '  container = { namespace = "%s", %s },\n}\n' "$SPACE" "${3-}" >>"$1.lua"
}

# What a pod can do that does nothing, and ends when it is asked to.
# shellcheck disable=SC2034 # the tests use it
IDLE="command = { 'sh', '-c', 'trap \"exit 0\" TERM; while :; do sleep 1 & wait \$!; done' },"

# deploy ARGS...: quietly; tells what went wrong where it should not.
deploy() {
  local code=0
  moonport deploy --quiet "$@" >deploy.out 2>deploy.err || code=$?
  ((code == 0)) || check_failed "\`moonport deploy $*\` exited with $code:" "$(cat deploy.out deploy.err)"
  return "$code"
}

# refused CODE REGEX ARGS...: the command fails so, and says so.
refused() {
  local want=$1 regex=$2 got=0
  shift 2
  moonport "$@" >refused.out 2>refused.err || got=$?
  check_equal "exit code of \`moonport $*\`" "$got" "$want"
  check_matches refused.err "$regex"
}

# field NAME EXPRESSION: of the status, as jq writes it.
field() { moonport status -o json "$1" | jq -r "$2"; }

check_state() { check_equal "state of $1" "$(field "$1" .state)" "$2"; }

store() { jq -r .uuid "$MOONPORT_STATE/store.json"; }

# pods NAME: the names of a deployment's pods.
pods() { kubectl get pods -l "app.kubernetes.io/name=$1" -o name | sed 's|^pod/||' | sort; }

# pod NAME EXPRESSION: of its (first) pod, as jq writes it.
pod() { kubectl get pods -l "app.kubernetes.io/name=$1" -o json | jq -r ".items[0]$2"; }

# in_pod NAME COMMAND: what a shell in its (first) pod says.
in_pod() { kubectl exec "$(pods "$1" | head -n 1)" -- sh -c "$2" 2>&1; }

# left_by_label: whatever of this store is on the cluster, of every kind that can be listed.
left_by_label() {
  local kinds
  kinds=$("$MP_CLUSTER" kubectl api-resources --verbs=list -o name | grep -v '^events' | paste -sd,)
  "$MP_CLUSTER" kubectl get "$kinds" --all-namespaces --ignore-not-found -o name \
    -l "moonport/store=$(store)" 2>warnings
}

# inventory: all that is in the test's namespace, of every kind that can be listed; and the namespace.
inventory() {
  local kinds
  kinds=$(kubectl api-resources --verbs=list --namespaced=true -o name 2>>warnings | paste -sd,)
  kubectl get "$kinds" --ignore-not-found -o name 2>>warnings | sort || true
  kubectl get "namespace/$SPACE" --ignore-not-found -o name
}

# make_image NAME PROGRAM: an image of a static program, with some words of a shell beside it. Its tag is the
# program's digest, so that it is loaded once. Prints the image.
make_image() {
  local image root=$PWD/root word
  image=$1:$(sha256sum "$2" | cut -c1-12)
  if ! "$MP_CLUSTER" images | grep -qF "$image"; then
    mkdir -p "$root/bin"
    cp "$2" "$root/program"
    cp "$(command -v busybox)" "$root/bin/busybox"
    for word in sh cat echo sleep env tr; do ln -sf busybox "$root/bin/$word"; done
    "$MP_CLUSTER" load "$image" "$root" --entrypoint /program --user 1000 >&2
  fi
  echo "$image"
}

# check_store_empty: no row, no directory and no lock is left in the store.
check_store_empty() {
  local table
  for table in deployments revisions journal resources leases shared shared_users; do
    check_equal "rows in $table" "$(sqlite3 "$MOONPORT_STATE/state.db" "SELECT COUNT(*) FROM $table")" 0
  done
  check_equal "what is left in the store" \
    "$(cd "$MOONPORT_STATE" && find deployments locks -mindepth 1 ! -name '.*')" ''
}

# check_nothing_left: what rm owes.
check_nothing_left() {
  check_equal "what is left on the cluster" "$(left_by_label)" ''
  check_equal "namespaces" "$("$MP_CLUSTER" kubectl get namespaces -o name | grep "/$SPACE" || true)" ''
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
  "$MP_CLUSTER" kubectl get namespaces,runtimeclasses,persistentvolumes -o name | { grep "/$SPACE" || true; } |
    while read -r name; do "$MP_CLUSTER" kubectl delete "$name" --ignore-not-found; done >>cleanup.log 2>&1
  exit "$code"
}
trap mp_remove_all EXIT
