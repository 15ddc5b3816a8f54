#!/bin/bash
# Two state stores, as two machines have them, with deployments of one name in one namespace of one cluster: each has
# what is its own, and the last one to go takes what they share.
# shellcheck disable=SC2016,SC2317 # backticks are text in what is matched; a trap calls a function
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

# of STORE COMMAND...: moonport as the one who has that store.
of() { MOONPORT_STATE=$SANDBOX/store-$1 "$MOONPORT" "${@:2}"; }
id_of() { jq -r .uuid "$SANDBOX/store-$1/store.json"; }

# objects STORE: what bears its label, with uid and version, so that a change of any of it shows.
objects() {
  kubectl get pods,services,endpointslices,secrets --ignore-not-found -l "moonport/store=$(id_of "$1")" -o json |
    jq -r '.items[] | "\(.kind)/\(.metadata.name) \(.metadata.uid)"' | sort
}
namespace() { "$MP_CLUSTER" kubectl get namespace "$SPACE" --ignore-not-found -o name; }
users() { "$MP_CLUSTER" kubectl get namespace "$SPACE" -o json | jq '[.metadata.labels | keys[] | select(startswith("moonport.store/"))] | length'; }

cleanup() {
  local code=$? one
  for one in a b; do
    if [[ -e $SANDBOX/store-$one/state.db ]]; then of "$one" rm --quiet --force svc other >cleanup.log 2>&1 || true; fi
  done
  set +e
  (exit "$code")
  mp_remove_all
}
trap cleanup EXIT

# Ends by itself, so that removing it takes no time.
END="command = { 'true' }, restart = { policy = 'no' }, http_rpc_url = 'http://127.0.0.1:18545',"
mkdir keys
echo key >keys/one
chmod -R go-rwx keys
manifest svc "$IDLE http_rpc_url = 'http://127.0.0.1:18545', keystore = '$PWD/keys',"
manifest other "$END"

it "lets two stores deploy the same name into one namespace at the same time"
of a deploy --quiet svc.lua >a.out 2>&1 &
first=$!
of b deploy --quiet svc.lua >b.out 2>&1 || check_failed "$(<b.out)"
wait "$first" || check_failed "$(<a.out)"
for one in a b; do
  check_equal "state of $one" "$(of "$one" status -o json svc | jq -r .state)" running
  check_equal "objects of $one" "$(objects "$one" | sed 's|/.*||' | paste -sd' ')" "EndpointSlice Pod Secret Service"
done
check_equal "stores that use the namespace" "$(users)" 2
check_equal "services to the hosts" "$(kubectl get services -l app.kubernetes.io/name=blueprint-service -o name | wc -l)" 2

it "has gc of the one, and rm of another deployment of it, leave alone what the other has"
before=$(objects b)
of a deploy --quiet other.lua
of a gc >gc.out
check_equal gc "$(<gc.out)" 'nothing to remove'
of a rm --quiet other
check_equal "objects of b" "$(objects b)" "$before"

it "has gc of a store find what it lost itself, and only that"
orphan() {
  kubectl create -f - >/dev/null <<OBJECT
{ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "orphan-$1",
  "labels": { "moonport/store": "$(id_of "$1")", "moonport/deployment": "gone", "moonport/name": "gone" } } }
OBJECT
}
orphan a
orphan b
of a gc >gc.out
check_matches gc.out 'orphan-a'
check_equal "ConfigMaps" "$(kubectl get configmaps -o name | grep orphan)" configmap/orphan-b
of b gc >gc.out
check_equal "ConfigMaps" "$(kubectl get configmaps -o name | grep orphan || true)" ''

it "has the namespace and its own service to the host go with the last of each"
of a rm --quiet svc
check_equal "objects of a" "$(objects a)" ''
check_equal "objects of b" "$(objects b)" "$before"
check_equal "the namespace" "$(namespace)" "namespace/$SPACE"
check_equal "stores that use the namespace" "$(users)" 1
check_equal "state of b" "$(of b status -o json svc | jq -r .state)" running
of b rm --quiet svc
check_equal "the namespace" "$(namespace)" ''

it "comes and goes at the same time as the other, again and again"
rounds() {
  for _ in 1 2 3; do
    of "$1" deploy --quiet other.lua || return 1
    of "$1" rm --quiet other || return 1
  done
}
rounds a >a.out 2>&1 &
first=$!
rounds b >b.out 2>&1 || check_failed "$(<b.out)"
wait "$first" || check_failed "$(<a.out)"
check_equal "the namespace" "$(namespace)" ''
for one in a b; do check_equal "gc of $one" "$(of "$one" gc)" 'nothing to remove'; done

it "leaves a namespace that was there before as it was"
kubectl create namespace "$SPACE" >/dev/null
metadata() { "$MP_CLUSTER" kubectl get namespace "$SPACE" -o json | jq -S '.metadata | {uid, labels, annotations}'; }
before=$(metadata)
of a deploy --quiet other.lua
check_equal "the namespace" "$(metadata)" "$before"
of a rm --quiet other
check_equal "the namespace" "$(metadata)" "$before"
kubectl delete namespace "$SPACE" >/dev/null

it "leaves a namespace that somebody else has come to use, and says so"
of a deploy --quiet other.lua
kubectl create configmap foreign >/dev/null
of a rm --quiet other >rm.out 2>&1 || check_failed "$(<rm.out)"
check_matches rm.out 'the namespace stays'
check_matches rm.out 'ConfigMap `foreign` is in it'
check_equal "what is in it" "$(kubectl get configmaps -o name | grep foreign)" configmap/foreign
check_equal "gc of a" "$(of a gc)" 'nothing to remove'

it "has one who uses it later take it along, once nothing foreign is in it"
kubectl delete configmap foreign >/dev/null
of b deploy --quiet other.lua
of b rm --quiet other
check_equal "the namespace" "$(namespace)" ''

done_testing
