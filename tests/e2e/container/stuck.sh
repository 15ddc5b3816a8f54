#!/bin/bash
# A namespace that is being deleted and does not go, since something in it has a finalizer: who has to do with it is
# told what holds it, and does not wait for ever.
# shellcheck disable=SC2016,SC2317 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

hold() {
  kubectl create -f - >/dev/null <<'OBJECT'
{ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "held", "finalizers": ["example.com/holds"] } }
OBJECT
}
let_go() { kubectl patch configmap held --type=merge -p '{"metadata":{"finalizers":null}}' >/dev/null 2>&1 || true; }
cleanup() {
  local code=$?
  let_go
  set +e
  (exit "$code")
  mp_remove_all
}
trap cleanup EXIT

manifest svc "command = { 'true' }, restart = { policy = 'no' },"

it "tells what holds a namespace that does not go, when it is to be deployed into"
kubectl create namespace "$SPACE" >/dev/null
hold
kubectl delete namespace "$SPACE" --wait=false >/dev/null
refused 1 'the namespace `'"$SPACE"'` is being deleted, and has not gone within' deploy --quiet svc.lua
check_matches refused.err 'example.com/holds'
check_equal "objects" "$(left_by_label)" ''

it "waits for one that goes after all"
moonport deploy --quiet svc.lua >deploy.out 2>&1 &
deploying=$!
let_go
wait "$deploying" || check_failed "$(<deploy.out)"
check_equal "the state that comes" "$(moonport run "$MP_SOURCE_DIR/tests/e2e/wait.lua" svc exited)" exited

it "tells what holds the namespace that it would remove, and removes it once nothing does"
kubectl delete pods --all >/dev/null
hold
kubectl delete namespace "$SPACE" --wait=false >/dev/null
moonport rm --quiet svc >rm.out 2>&1 || check_failed "$(<rm.out)"
let_go
kubectl wait --for=delete "namespace/$SPACE" --timeout=60s >/dev/null 2>&1 || true
check_nothing_left

it "keeps the namespace while the pod of one deployment is left, also when another goes; and takes it along in the end"
cp "$KUBECONFIG" kubeconfig
export KUBECONFIG=$PWD/kubeconfig
manifest other "command = { 'true' }, restart = { policy = 'no' },"
deploy svc.lua
cp kubeconfig kept
sed -i 's|server: .*|server: https://127.0.0.1:1|' kubeconfig
refused 1 'could not be removed whole: step `pod`' rm svc
check_matches refused.err 'not undone .*the cluster of context `[^`]*` at https://127.0.0.1:1 does not answer$'
cp kept kubeconfig
deploy other.lua
moonport rm --quiet other >rm.out 2>&1 || check_failed "$(<rm.out)"
check_equal "the namespace" "$("$MP_CLUSTER" kubectl get namespace "$SPACE" -o name)" "namespace/$SPACE"
moonport rm --quiet svc >rm.out 2>&1 || check_failed "$(<rm.out)"
check_nothing_left

done_testing
