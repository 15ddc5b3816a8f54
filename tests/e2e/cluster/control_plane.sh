#!/bin/bash
# Control planes without a node, which a test may break as it likes: several at once, each with a server
# that can be stopped, certificates and tokens of any kind, and an etcd that can be compacted.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/../check.sh"

export MP_CLUSTER_DIR=$PWD/one
cluster() { "$MP_CLUSTER" "$@"; }
trap '"$MP_CLUSTER" down; "$MP_CLUSTER" down "$PWD/two"; mp_end_jobs' EXIT

# as USER KUBECTL-ARGS...: with the certificate of that user.
as() {
  local user=$1
  shift
  "$("$MP_CLUSTER" build)/kubectl" --server "$server" --certificate-authority "$MP_CLUSTER_DIR/pki/ca.crt" \
    --client-certificate "$MP_CLUSTER_DIR/pki/user-$user.crt" --client-key "$MP_CLUSTER_DIR/pki/user-$user.key" \
    --kubeconfig /dev/null "$@"
}

printf '%s\n' 'open-sesame,ali,1,"system:masters"' >tokens
cluster up --control-plane --token-file tokens
server=$(cluster kubectl config view -o 'jsonpath={.clusters[0].cluster.server}')

it "is there once: up again changes nothing, and other options are refused"
cluster up --control-plane --token-file tokens
check_exit 1 "$MP_CLUSTER" up --control-plane --scheduler 2>told
check_matches told 'other options'
check_exit 0 "$MP_CLUSTER" status >/dev/null

it "can be there several times"
cluster up "$PWD/two" --control-plane
cluster kubectl create namespace only-in-one >/dev/null
cluster kubectl --dir "$PWD/two" get namespaces -o name >names
check_equal "namespaces" "$(grep -c only-in-one names || true)" 0
cluster down "$PWD/two"
check_equal "what is left" "$(find "$PWD" -maxdepth 1 -name 'two*')" ""

it "knows users by certificate, by RBAC, and not by one that has expired"
cluster cert jane readers >/dev/null
cluster cert late system:masters --days 0 >/dev/null
cluster kubectl create clusterrolebinding readers --clusterrole view --group readers >/dev/null
as jane get configmaps >/dev/null || check_failed "jane may read"
check_exit 1 as jane create configmap mine 2>told
check_matches told 'User "jane" cannot create'
check_exit 1 as late get configmaps 2>told
check_matches told 'logged in|Unauthorized'

it "knows users by token"
check_equal "user of the token" "$(curl --silent --cacert "$MP_CLUSTER_DIR/pki/ca.crt" -o /dev/null -w '%{http_code}' \
  -H 'Authorization: Bearer open-sesame' "$server/api/v1/secrets")" 200
check_equal "user of another" "$(curl --silent --cacert "$MP_CLUSTER_DIR/pki/ca.crt" -o /dev/null -w '%{http_code}' \
  -H 'Authorization: Bearer open-barley' "$server/api/v1/secrets")" 401

it "has a server that goes away and comes back, with what it knew"
cluster stop-apiserver --kill
check_exit 1 "$MP_CLUSTER" status >/dev/null
check_exit 7 curl --silent --insecure "$server/readyz"
cluster start-apiserver
cluster kubectl get namespace only-in-one >/dev/null

it "has a server whose certificate has expired when that is asked for"
cluster server-cert --days 0
cluster restart-apiserver
check_exit 1 "$MP_CLUSTER" kubectl get namespaces 2>told
check_matches told 'certificate has expired'
cluster server-cert
cluster restart-apiserver
cluster kubectl get namespaces >/dev/null

it "forgets old revisions when etcd is compacted"
old=$(cluster kubectl get namespace only-in-one -o 'jsonpath={.metadata.resourceVersion}')
cluster kubectl label namespace only-in-one a=b >/dev/null
cluster etcdctl compact "$(cluster etcdctl endpoint status -w json | jq '.[0].Status.header.revision')" >/dev/null
# The server's own cache would still know; a new one does not.
cluster restart-apiserver --kill
cluster kubectl get --raw "/api/v1/namespaces?watch=1&resourceVersion=$old" >events 2>&1 || true
check_matches events 'too old resource version|Expired|required revision has been compacted'

it "ends even when all of it was killed"
for name in etcd kube-apiserver kube-controller-manager; do kill -KILL "$(<"$MP_CLUSTER_DIR/run/$name.pid")"; done
cluster down
check_equal "what is left" "$(find "$PWD" -maxdepth 1 -name 'one*')" ""

done_testing
