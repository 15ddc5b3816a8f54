#!/bin/bash
# What is asked before anything is made: `plan` and `deploy --dry-run` show it and change nothing, and refuse what
# Kubernetes cannot do.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

mkdir keys
echo key >keys/one
chmod -R go-rwx keys

# world: every object of the store's name or of the namespace, with its version.
world() {
  local kinds
  kinds=$("$MP_CLUSTER" kubectl api-resources --verbs=list --namespaced -o name | grep -v '^events' | paste -sd,)
  "$MP_CLUSTER" kubectl get "$kinds" --all-namespaces --ignore-not-found -o json 2>warnings |
    jq -r --arg space "$SPACE" '.items[] | select((.metadata.namespace | startswith($space))
      or (.metadata.labels["moonport/name"] // "" | . == "planned")) | "\(.kind) \(.metadata.name) \(.metadata.resourceVersion)"' | sort
  "$MP_CLUSTER" kubectl get namespace "$SPACE" --ignore-not-found -o name
}

planned() {
  manifest planned "$IDLE env = { WORD = '$1' }, keystore = '$PWD/keys', http_rpc_url = 'http://127.0.0.1:18545'," \
    "${2-}"
}

it "shows what would be made, and makes nothing"
planned one
before=$(world)
for command in "plan" "deploy --dry-run"; do
  # shellcheck disable=SC2086 # a command and its option
  check_exit 10 moonport $command planned.lua >plan.out 2>plan.err
  check_matches plan.out '\+ namespace +namespace '"$SPACE"
  check_matches plan.out '\+ host +service to this host'
  check_matches plan.out '\+ keystore +keystore: a Secret, named once there is a store'
  check_matches plan.out '\+ pod +pod'
done
check_equal "what is on the cluster" "$(world)" "$before"
check_equal "deployments" "$(moonport ps -o names)" ''

it "shows what would change, and changes nothing"
deploy planned.lua
check_exit 0 moonport plan planned.lua >plan.out 2>plan.err
before=$(world)
planned two "replicas = 3,"
for command in "plan" "deploy --dry-run"; do
  # shellcheck disable=SC2086
  check_exit 10 moonport $command planned.lua >plan.out 2>plan.err
  check_matches plan.out 'env.WORD: one -> two'
  check_matches plan.out 'container.replicas: 1 -> 3'
done
check_equal "what is on the cluster" "$(world)" "$before"
check_state planned running

it "refuses what Kubernetes cannot do, by the name of the field"
no() { # FIELD REGEX FIELDS [CONTAINER-FIELDS]
  manifest no "$3" "${4-}"
  refused 1 "$2" plan no.lua
  check_matches refused.err "$1"
  refused 1 "$2" deploy no.lua
}
no restart.max 'cannot limit how often' "$IDLE restart = { max = 3 },"
no restart.max 'cannot limit how often' "$IDLE restart = { max = 3 }," "replicas = 3,"
no restart.policy 'must be `always` with `container.replicas` above 1' "$IDLE restart = { policy = 'on-failure' }," "replicas = 3,"
no restart.policy 'must be `always` with `container.rolling`' "$IDLE restart = { policy = 'no' }," "rolling = true,"
no registration 'runs once' "$IDLE registration = { output = '$PWD/out' }," "replicas = 2,"
no ready.tcp 'one readiness probe' "$IDLE ready = { tcp = '127.0.0.1:80', http = 'http://127.0.0.1:80/' },"
echo "return { name = 'no', target = 'container' }" >no.lua
refused 1 'a pod needs `image`' plan no.lua
check_equal "what is on the cluster" "$(world)" "$before"

it "warns of what would be without effect"
manifest no "$IDLE limits = { pids = 10 },"
moonport plan no.lua >plan.out 2>&1 || true
check_matches plan.out 'limits.pids'

it "leaves nothing"
moonport rm --quiet planned
check_nothing_left

done_testing
