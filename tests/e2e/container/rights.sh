#!/bin/bash
# An account with few rights: with those of a Role in its own namespace it deploys and removes; what it lacks is told
# all at once, before anything is made.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

user=$SPACE-alice
read -r certificate key <<<"$("$MP_CLUSTER" cert "$user" | paste -sd' ')"
server=$("$MP_CLUSTER" kubectl config view --raw -o json | jq -r '.clusters[0].cluster.server')
jq -n --arg server "$server" --arg ca "$MP_CLUSTER_DIR/pki/ca.crt" --arg crt "$certificate" --arg key "$key" '{
  apiVersion: "v1", kind: "Config", "current-context": "alice",
  clusters: [{ name: "c", cluster: { server: $server, "certificate-authority": $ca } }],
  users: [{ name: "alice", user: { "client-certificate": $crt, "client-key": $key } }],
  contexts: [{ name: "alice", context: { cluster: "c", user: "alice" } }] }' >alice.json

echo hidden >token
mkdir keys
echo key >keys/one
chmod -R go-rwx keys token
alices() {
  manifest "$1" "$IDLE env = { TOKEN = secret.file('$PWD/token') }, keystore = '$PWD/keys',
    http_rpc_url = 'http://127.0.0.1:18545'," "kubeconfig = '$PWD/alice.json', ${2-}"
}
kubectl create namespace "$SPACE" >/dev/null
"$MP_CLUSTER" kubectl get namespace "$SPACE" -o json | jq -S '.metadata | {labels, annotations}' >before

# grant RULES: what she may do in the namespace.
grant() {
  kubectl delete role,rolebinding alice --ignore-not-found >/dev/null
  kubectl create -f - >/dev/null <<OBJECT
{ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "alice" }, "rules": $1 }
OBJECT
  kubectl create rolebinding alice --role=alice "--user=$user" >/dev/null
}
granted() {
  until kubectl auth can-i "$@" --as "$user" -q; do :; done
}

it "lists all the rights that are missing, before anything is made"
grant '[{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"] }]'
granted watch pods
alices single
for verb in plan deploy; do
  refused 1 'lacks: .*pods \(create, patch, delete\)' "$verb" single.lua
  check_matches refused.err 'secrets \(get, create, patch, delete\)'
  check_matches refused.err 'services \(get, create, update, delete\)'
  # Which of them is the server's is a question of its age.
  check_matches refused.err '(endpoints|endpointslices.discovery.k8s.io) \(get, create, update, delete\)'
  check_matches refused.err 'hint: an administrator grants it with a Role and a RoleBinding in `'"$SPACE"
done
check_equal "objects" "$(left_by_label)" ''

it "does with a Role in its own namespace"
grant '[
  { "apiGroups": [""], "resources": ["pods", "services", "secrets", "endpoints"],
    "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"] },
  { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
    "verbs": ["get", "list", "create", "update", "delete"] },
  { "apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"] },
  { "apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"] }]'
granted create pods --subresource=exec
deploy single.lua
it "warns of what will not work, and of nothing else"
check_matches deploy.err 'may not get pods/portforward: no port of it can be forwarded'
check_matches deploy.err 'may not list and watch events: what keeps it from getting ready'
check_equal "warnings" "$(grep -c 'the account may not' deploy.err)" 2
check_state single running
check_equal "who it was" "$(moonport exec single -- id -u)" 1000
moonport logs single >logs.out
moonport restart --quiet single >restart.out 2>&1 || check_failed "$(<restart.out)"
check_state single running

it "lacks the rights for several pods, which are others"
alices several "replicas = 2,"
refused 1 'lacks: statefulsets.apps \(get, list, watch, create, patch, delete\)' deploy several.lua

it "may not make a namespace"
alices elsewhere
sed -i "s/namespace = \"$SPACE\"/namespace = \"$SPACE-new\"/" elsewhere.lua
refused 1 'lacks' deploy elsewhere.lua

it "removes what it has made, and has gc look where it may"
moonport rm --quiet single >rm.out 2>&1 || check_failed "$(<rm.out)"
check_equal "objects" "$(left_by_label)" ''
moonport gc >gc.out 2>gc.err
check_equal gc "$(<gc.out)" 'nothing to remove'
check_matches gc.err "^not looked at: what may be in all namespaces but $SPACE on alice; there, each PersistentVolumeClaim, StatefulSet \(the account may not list it\)\$"

it "finds what lost its deployment in the namespaces that it has used"
kubectl create -f - >/dev/null <<OBJECT
{ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "lost",
  "labels": { "moonport/store": "$(store)", "moonport/deployment": "00000000" } } }
OBJECT
moonport gc >gc.out 2>gc.err
check_matches gc.out "Secret $SPACE/lost on alice\`? +removed"
check_equal "objects" "$(left_by_label)" ''
moonport gc -o json 2>gc.err | jq -r '.[].action' >gc.out
check_equal gc "$(<gc.out)" 'not looked at'

it "tells that it cannot look for a line of output where one may not read it"
manifest logs "$IDLE ready = { log = 'ready', timeout = '10s' }," "kubeconfig = '$PWD/alice.json',"
grant '[{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "patch", "delete"] }]'
until ! kubectl auth can-i get pods --subresource=log --as "$user" -q; do :; done
refused 1 'lacks: pods/log \(get\)' plan logs.lua
check_equal "the namespace" "$("$MP_CLUSTER" kubectl get namespace "$SPACE" -o json | jq -S '.metadata | {labels, annotations}')" "$(<before)"

done_testing
