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
check_matches refused.err 'revision 1 serves as before'
check_equal "the StatefulSet" "$(set_json | jq -cS '{spec, annotations: .metadata.annotations}')" "$before"

it "takes a field by force where its path is listed, and no other"
more "force = { 'spec.replicas' },"
refused 1 'terminationGracePeriodSeconds \(other\)' deploy several.lua
! grep -F 'spec.replicas (other)' refused.err || check_failed "what is listed is told as a conflict"
check_equal "replicas" "$(set_json | jq .spec.replicas)" 1
other_applies '{ "replicas": 1 }' # it gives up the grace
deploy several.lua
check_equal "replicas" "$(set_json | jq .spec.replicas)" 3
check_equal "who owns them" "$(set_json | jq -r '[.metadata.managedFields[] | select(.fieldsV1["f:spec"]["f:replicas"]?) | .manager] | unique | join(" ")')" moonport
check_state several running

it "tells of pods that somebody has scaled away, and has them back when it is deployed again"
replicas() { field several '.replicas | "\(.ready) of \(.wanted), \(.asked) asked"'; }
kubectl scale statefulset "$set" --replicas=1 >/dev/null
kubectl wait --for=delete "pod/$set-1" "pod/$set-2" --timeout=60s >/dev/null 2>&1 || true
check_equal "replicas in the status" "$(replicas)" "1 of 3, 1 asked"
moonport status several >status.out
check_matches status.out 'pods: +1 of 3 ready'
check_matches status.out 'somebody has set its StatefulSet to 1 of 3 replicas'
check_exit 10 moonport plan several.lua >plan.out
check_matches plan.out 'was changed by others'
check_matches plan.out '~ pod +replicas: 1 -> 3'
deploy several.lua
check_matches deploy.out 'as it was deployed again \(revision'
check_equal "replicas in the status" "$(replicas)" "3 of 3, 3 asked"
check_exit 0 moonport plan several.lua >plan.out

it "does so where somebody has scaled all away"
kubectl scale statefulset "$set" --replicas=0 >/dev/null
kubectl wait --for=delete "pod/$set-0" --timeout=60s >/dev/null 2>&1 || true
check_state several stopped
check_equal "replicas in the status" "$(replicas)" "0 of 3, 0 asked"
deploy several.lua
check_equal "replicas in the status" "$(replicas)" "3 of 3, 3 asked"

it "has another program back that somebody has put in the template's place"
kubectl patch statefulset "$set" --type=json --field-manager=moonport -p \
  '[{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "other"}]' >/dev/null
check_exit 10 moonport plan several.lua >plan.out
check_matches plan.out '~ pod +env [A-Z_]+: other -> '
deploy several.lua
check_exit 0 moonport plan several.lua >plan.out

it "leaves what another manager has taken meanwhile, and says whose it is"
more ''
deploy several.lua
other_applies '{ "replicas": 2 }'
for verb in plan deploy; do refused 1 'spec.replicas \(other\)' "$verb" several.lua; done
check_equal "replicas" "$(set_json | jq .spec.replicas)" 2
other_applies '{}' # it gives them up
deploy several.lua
check_equal "replicas in the status" "$(replicas)" "3 of 3, 3 asked"

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
