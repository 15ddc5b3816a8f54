#!/bin/bash
# The end of the tests' cluster: what a test has removed may still be on its way out; what it left is told.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/../check.sh"

unset MP_CLUSTER_GIVEN
export MP_CLUSTER_DIR=$PWD/one
fixture=$(dirname "$MP_CLUSTER")/fixture
kubectl() { "$MP_CLUSTER" kubectl "$@"; }
trap '"$MP_CLUSTER" down; mp_end_jobs' EXIT

it "waits for a namespace that is being deleted when it ends"
"$fixture" up --control-plane
kubectl create namespace going >/dev/null
kubectl --namespace going create -f - >/dev/null <<'OBJECT'
{ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "held", "finalizers": ["example.com/holds"] } }
OBJECT
kubectl delete namespace going --wait=false >/dev/null
"$fixture" down >told 2>&1 &
ending=$!
wait_for_line told '^waiting for .*Namespace/going'
kubectl --namespace going patch configmap held --type=merge -p '{"metadata":{"finalizers":null}}' >/dev/null
wait "$ending" || check_failed "$(<told)"
check_equal "what is left" "$(find "$PWD" -maxdepth 1 -name 'one*')" ""

it "tells what was left in it"
"$fixture" up --control-plane
kubectl create namespace kept >/dev/null
check_exit 1 "$fixture" down >told 2>&1
check_matches told '^namespace/kept$'

done_testing
