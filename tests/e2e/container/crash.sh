#!/bin/bash
# moonport killed (SIGKILL) at every boundary of every step of deploy, update and removal: deploying the same goes on
# where it was, anything else (gc, rm, a changed manifest) takes it back, and nothing is left.
#
# Without an argument it runs all its parts at the same time, each in a sandbox with a store and a namespace of its own:
# most of their time is waiting for pods.
set -euo pipefail

PARTS=(resume gc_early gc_late rm_early rm_late changed
  update_resume update_gc update_gc_late removal removal_gc_0 removal_gc_1 set set_update)

if (($# == 0)); then
  # shellcheck source=tests/e2e/check.sh
  . "$(dirname "${BASH_SOURCE[0]}")/../check.sh"
  declare -A running
  for part in "${PARTS[@]}"; do
    MP_TEST_TIMEOUT=$((MP_TEST_TIMEOUT - 20)) "$MP_SOURCE_DIR/tests/sandbox" "$0" "$part" >"$part.log" 2>&1 &
    running[$part]=$!
  done
  for part in "${PARTS[@]}"; do
    it "part $part"
    wait "${running[$part]}" || check_failed "exit code $?"
    cat "$part.log"
  done
  done_testing
fi

# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"
SPACE=mp-crash-${1//_/-}-$$

# Steps that come before there is a pod, and from then on. `isolation` only looks, as `check` does.
early=(check namespace host keystore environment data)
late=(pod ready)

mkdir keys
echo key >keys/one
echo hidden >token
chmod -R go-rwx keys token

# version WORD [LIFE]: the manifest of a service of every kind of object. `serve` runs until it is stopped; `end` ends
# at once, so that its pod goes without being waited for; `set` is two pods.
version() {
  local life=${2:-serve} command=$IDLE more=
  if [[ $life == end ]]; then command="command = { 'true' }, restart = { policy = 'no' },"; fi
  if [[ $life == set ]]; then more="replicas = 2,"; fi
  manifest svc "$command env = { WORD = '$1', TOKEN = secret.file('$PWD/token') }, keystore = '$PWD/keys',
  http_rpc_url = 'http://127.0.0.1:18545'," \
    "$more data = { kind = 'claim', size = '1MiB', storage_class = '$SPACE' },"
}

# The namespace is there before, and volumes for so many claims.
prepare() {
  local index volumes=
  kubectl create namespace "$SPACE" >/dev/null
  mkdir volume
  chmod 777 volume
  for ((index = 1; index <= ${1:-0}; index++)); do
    volumes+='{ "apiVersion": "v1", "kind": "PersistentVolume",
      "metadata": { "name": "'$SPACE-$index'", "labels": { "space": "'$SPACE'" } },
      "spec": { "storageClassName": "'$SPACE'", "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": "'$PWD/volume'" } } }'
  done
  kubectl create -f - <<<"$volumes" >/dev/null
}

# dies_at POINT COMMAND...: moonport kills itself there.
dies_at() {
  local code=0
  MOONPORT_FAILPOINT=$1 moonport "${@:2}" >died.out 2>&1 || code=$?
  ((code == 137)) || check_failed "it did not die at $1, but exited with $code:" "$(<died.out)"
}

# objects: what this store has in the namespace.
objects() {
  kubectl get pods,statefulsets,services,endpointslices,secrets,persistentvolumeclaims --ignore-not-found \
    -o name -l "moonport/store=$(store)" | sort
}

check_none() {
  check_equal "objects" "$(objects)" ''
  check_equal "deployments after \`$(<next.out)\`" "$(moonport ps -o names)" ''
}

# words: what the pods of the service were told.
words() { kubectl get pods -l app.kubernetes.io/name=svc -o json |
  jq -r '.items[] | select(.metadata.deletionTimestamp == null) | .spec.containers[0].env[] | select(.name == "WORD").value' | sort -u; }

check_serves() {
  check_state svc running
  check_equal "what the service was told" "$(words)" "$1"
}

# points STEP...: where a deployment can be killed at these steps.
points() {
  local step point
  for step; do
    for point in journal.after_intent step.after_apply journal.after_result; do echo "$point:$step"; done
  done
}

mapfile -t first < <(points "${early[@]}")
mapfile -t last < <(points "${late[@]}")
first=(deploy.after_row:deploy deploy.after_revision:deploy "${first[@]}")
last+=(deploy.before_switch:deploy)

removals() {
  local step point
  for step in ready pod data environment keystore host namespace check; do
    for point in step.after_undo journal.after_undone; do echo "$point:$step"; done
  done
  printf '%s\n' remove.before_directory:remove remove.after_directory:remove
}

# undone_by COMMAND POINT...: a first deployment, killed at each.
undone_by() {
  local point
  version one end
  for point in "${@:2}"; do
    it "killed at $point of a first deployment: $1 undoes it"
    dies_at "$point" deploy svc.lua
    case $1 in
    gc) moonport gc >next.out 2>&1 || check_failed "$(<next.out)" ;;
    rm) moonport rm svc >next.out 2>&1 || check_failed "$(<next.out)" ;;
    esac
    check_none
  done
}

case $1 in
resume)
  it "killed at every point of a first deployment, one after the other: deploying again goes on each time"
  version one
  prepare 1
  kubectl delete namespace "$SPACE" >/dev/null # here it is moonport's own
  for point in "${first[@]}" "${last[@]}"; do
    dies_at "$point" deploy svc.lua
    check_state svc interrupted
  done
  deploy svc.lua
  check_serves one
  check_equal "pods" "$(pods svc | wc -l)" 1
  check_equal gc "$(moonport gc)" 'nothing to remove'
  it "killed after it served: it serves"
  version two
  dies_at deploy.after_switch:deploy deploy svc.lua
  check_equal "what the service was told" "$(words)" two
  deploy svc.lua
  check_serves two
  check_equal "pods" "$(pods svc | wc -l)" 1
  ;;
gc_early) prepare 4 && undone_by gc "${first[@]}" ;;
gc_late) prepare 8 && undone_by gc "${last[@]}" ;;
rm_early) prepare 4 && undone_by rm "${first[@]}" ;;
rm_late) prepare 8 && undone_by rm "${last[@]}" ;;
changed)
  it "killed at every point of a first deployment: a changed manifest takes it back and begins anew each time"
  prepare 12
  for point in "${first[@]}" "${last[@]}"; do
    version "at $point" end
    dies_at "$point" deploy svc.lua
  done
  version finally
  deploy svc.lua
  check_serves finally
  check_equal "pods" "$(pods svc | wc -l)" 1
  ;;
update_resume)
  it "killed at every point of an update, one after the other: deploying again goes on each time"
  prepare 1
  version one
  deploy svc.lua
  echo key >keys/two
  chmod 600 keys/two
  version two
  for point in "${first[@]:1}" "${last[@]}"; do
    dies_at "$point" deploy svc.lua
  done
  deploy svc.lua
  check_serves two
  check_equal "pods" "$(pods svc | wc -l)" 1
  check_equal "Secrets" "$(objects | grep -c ^secret/)" 2
  ;;
update_gc)
  prepare 1
  version one
  deploy svc.lua
  serving=$(objects)
  version two
  echo key >keys/two
  chmod 600 keys/two
  for point in "${first[@]:1}"; do
    it "killed at $point of an update: gc goes back to what serves, which goes on meanwhile"
    dies_at "$point" deploy svc.lua
    moonport gc >next.out 2>&1 || check_failed "$(<next.out)"
    check_equal "objects" "$(objects)" "$serving"
  done
  check_serves one
  ;;
update_gc_late)
  prepare 1
  version one
  deploy svc.lua
  version two
  for point in "${last[@]}"; do
    it "killed at $point of an update: gc has what served before serve again"
    dies_at "$point" deploy svc.lua
    moonport gc >next.out 2>&1 || check_failed "$(<next.out)"
    check_serves one
    check_equal "pods" "$(pods svc | wc -l)" 1
  done
  ;;
removal)
  it "killed at every point of a removal, one after the other: it is removed"
  version one
  prepare 1
  kubectl delete namespace "$SPACE" >/dev/null
  deploy svc.lua
  mapfile -t all < <(removals)
  for point in "${all[@]}"; do dies_at "$point" rm svc; done
  moonport rm --force svc >rm.out 2>&1 || check_failed "$(<rm.out)"
  check_nothing_left
  ;;
removal_gc_*)
  prepare 6
  version one end
  mapfile -t all < <(removals | awk -v part="${1##*_}" '/after_undone/ { next } n++ % 2 == part')
  for point in "${all[@]}"; do
    it "killed at $point of a removal: gc finishes it"
    deploy svc.lua
    dies_at "$point" rm svc
    moonport gc >next.out 2>&1 || check_failed "$(<next.out)"
    check_none
  done
  ;;
set)
  it "killed at every point of the first deployment of several pods: deploying again goes on each time"
  prepare 2
  version one set
  for point in "${first[@]}" "${last[@]}"; do dies_at "$point" deploy svc.lua; done
  deploy svc.lua
  check_serves one
  ;;
set_update)
  prepare 2
  version one set
  deploy svc.lua
  it "killed while several pods are updated: gc gives them back what they were told before"
  version two set
  dies_at step.after_apply:pod deploy svc.lua
  moonport gc >next.out 2>&1 || check_failed "$(<next.out)"
  check_serves one
  check_equal "pods" "$(pods svc | paste -sd' ')" "svc-$(store | cut -c-8)-0 svc-$(store | cut -c-8)-1"
  it "killed at every point of an update of several pods: deploying again goes on each time"
  for point in "${last[@]}"; do dies_at "$point" deploy svc.lua; done
  deploy svc.lua
  check_serves two
  ;;
*) give_up "there is no part $1" ;;
esac

it "leaves nothing"
if [[ $(moonport ps -o names) ]]; then moonport rm --quiet svc >rm.out 2>&1 || check_failed "$(<rm.out)"; fi
check_equal "left on the cluster" "$(left_by_label)" ''
check_equal gc "$(moonport gc)" 'nothing to remove'
kubectl delete persistentvolumes -l "space=$SPACE" >/dev/null

done_testing
