#!/bin/bash
# Others at work on a deployment's objects: fields that another manager owns, objects that were changed, pods that were
# evicted or deleted.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

manifest several "$IDLE env = { WORD = 'one' }," "replicas = 2,"
manifest single "$IDLE env = { WORD = 'one' },"
deploy several.lua single.lua
set=several-$(store | cut -c-8)
# more FIELDS: its next manifest.
more() { manifest several "$IDLE env = { WORD = 'two' }," "replicas = 3, $1"; }
set_json() { kubectl get statefulset "$set" -o json; }
# What others own: as if somebody had written a manifest of their own of it.
other_applies() {
  kubectl apply --validate=false --server-side --force-conflicts --field-manager=other -f - >/dev/null <<OBJECT
{ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "$set" }, "spec": $1 }
OBJECT
}

it "tells of a field that another manager has taken, and whose it is; and changes nothing"
other_applies '{ "replicas": 1, "template": { "spec": { "terminationGracePeriodSeconds": 7 } } }'
more ''
before=$(set_json | jq -cS '{spec, annotations: .metadata.annotations}')
refused 1 'spec.replicas \(other\)' deploy several.lua
check_matches refused.err 'terminationGracePeriodSeconds \(other\)'
check_matches refused.err 'container.force'
check_equal "the StatefulSet" "$(set_json | jq -cS '{spec, annotations: .metadata.annotations}')" "$before"

it "takes a field by force where its path is listed, and no other"
more "force = { 'spec.replicas' },"
refused 1 'terminationGracePeriodSeconds \(other\)' deploy several.lua
check_equal "replicas" "$(set_json | jq .spec.replicas)" 1
other_applies '{ "replicas": 1 }' # it gives up the grace
deploy several.lua
check_equal "replicas" "$(set_json | jq .spec.replicas)" 3
check_equal "who owns them" "$(set_json | jq -r '[.metadata.managedFields[] | select(.fieldsV1["f:spec"]["f:replicas"]?) | .manager] | unique | join(" ")')" moonport
check_state several running

it "tells of pods that somebody has scaled away, and has them back when it is deployed again"
kubectl scale statefulset "$set" --replicas=1 >/dev/null
kubectl wait --for=delete "pod/$set-1" "pod/$set-2" --timeout=60s >/dev/null 2>&1 || true
check_equal "replicas in the status" "$(field several '.replicas | "\(.ready) of \(.wanted)"')" "1 of 1"
deploy --replace several.lua
check_equal "replicas in the status" "$(field several '.replicas | "\(.ready) of \(.wanted)"')" "3 of 3"

it "keeps what others add beside it"
kubectl annotate statefulset "$set" other/note=kept >/dev/null
kubectl label statefulset "$set" other=kept >/dev/null
deploy --replace several.lua
check_equal "note" "$(set_json | jq -r '.metadata.annotations["other/note"] + .metadata.labels.other')" keptkept
moonport rm --quiet several

evict() {
  kubectl create --raw "/api/v1/namespaces/$SPACE/pods/$1/eviction" -f - >/dev/null <<EVICTION
{ "apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": { "name": "$1", "namespace": "$SPACE" } }
EVICTION
  kubectl wait --for=delete "pod/$1" --timeout=60s >/dev/null 2>&1 || true
}

it "tells that a pod was evicted, and has it back by start"
evict "$(pods single)"
check_state single failed
check_equal reason "$(field single .reason)" Gone
moonport status single >status.out 2>&1 || true
check_matches status.out 'moonport start single'
moonport start --quiet single >start.out 2>&1 || check_failed "$(<start.out)"
check_state single running

it "tells that a pod was deleted, and has it back by deploy"
kubectl delete pod "$(pods single)" >/dev/null
check_state single failed
moonport ps >ps.out
check_matches ps.out 'single.*failed'
deploy single.lua
check_state single running

it "has it back by restore as well, since a reboot may be why it is gone"
kubectl delete pod "$(pods single)" >/dev/null
moonport restore >restore.out 2>&1 || check_failed "$(<restore.out)"
check_state single running

it "removes what is gone already"
kubectl delete pod "$(pods single)" >/dev/null
moonport rm --quiet single
check_nothing_left

done_testing
