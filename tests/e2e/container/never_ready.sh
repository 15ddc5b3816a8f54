#!/bin/bash
# A pod that will never be ready ends the wait when that is clear, not when the time is over: with the reason, what the
# service said last, and a hint. What was made is undone.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

# Longer than this test may take: a wait for the time to be over fails it.
LATE="ready = { tcp = '127.0.0.1:8080', timeout = '300s' },"
CRASH="command = { 'sh', '-c', 'echo about to fail; exit 3' },"
declare -A failing

# begin NAME FIELDS [CONTAINER-FIELDS]: deploys it in the background.
begin() {
  manifest "$1" "$2 $LATE" "${3-}"
  moonport deploy "$1.lua" >"$1.out" 2>"$1.err" &
  failing[$1]=$!
}

# ends NAME REGEX...: it has failed, and says so. Nothing of it is left.
ends() {
  local regex code=0
  wait "${failing[$1]}" || code=$?
  check_equal "exit code of $1" "$code" 1
  for regex in "${@:2}"; do check_matches "$1.err" "$regex"; done
  check_equal "objects of $1" "$(kubectl get pods,statefulsets,secrets --ignore-not-found -o name \
    -l "app.kubernetes.io/name=$1")" ''
}

# The namespace is there, so that nobody waits for it.
kubectl create namespace "$SPACE" >/dev/null

echo hidden >token
mkdir keys
echo key >keys/one
chmod -R go-rwx keys token
# lost NAME FIELDS KIND: a Secret that somebody deletes before its pod is made.
lost() {
  manifest "$1" "$IDLE $2 $LATE"
  MOONPORT_FAILPOINT=journal.after_intent:pod moonport deploy "$1.lua" >"$1.out" 2>&1 || true
  kubectl delete secrets -l "app.kubernetes.io/name=$1" >/dev/null
  moonport deploy "$1.lua" >"$1.out" 2>"$1.err" &
  failing[$1]=$!
}

begin image "$IDLE"
sed -i "s|image = \"[^\"]*\"|image = \"127.0.0.1:1/none:1\"|" image.lua
begin never "$IDLE" "image_pull_policy = 'Never',"
sed -i "s|image = \"[^\"]*\"|image = \"127.0.0.1:1/never:1\"|" never.lua
begin nowhere "$IDLE" "node_selector = { ['example.com/none'] = 'x' },"
begin large "$IDLE limits = { memory = '2TiB' },"
begin crashing "$CRASH"
begin several "$CRASH" "replicas = 2,"
begin once "$CRASH restart = { policy = 'no' },"
begin program "command = { '/none' },"
begin mount "$IDLE" "data = { kind = 'host', path = '/etc/hostname' },"
lost variable "env = { TOKEN = secret.file('$PWD/token') },"
lost keystore "keystore = '$PWD/keys',"

it "tells that an image cannot be pulled"
ends image 'ErrImagePull|ImagePullBackOff' '127\.0\.0\.1:1/none:1' 'hint: is `image` right'

it "tells that an image is not on the node, where it may not be pulled"
ends never 'ErrImageNeverPull' 'hint: .*load it into the node'

it "tells that no node takes a pod, and why"
ends nowhere 'Unschedulable: .*(affinity|selector)' 'hint: no node fits `container.node_selector`'
ends large 'Unschedulable: .*Insufficient memory' 'hint: no node has so much left: lower `limits`'

it "tells that a pod ends again and again, how, and what it said last"
ends crashing 'CrashLoopBackOff: it ends again and again; last it exited with 3' 'about to fail' 'hint: its last lines say why'

it "tells that of one of several"
ends several 'several-.*-[01]`: CrashLoopBackOff' 'about to fail'

it "tells that a pod has ended which is not started again"
ends once 'exited with 3' 'about to fail'

it "tells that the image has no such program"
ends program '/none' 'hint: the image has no such program'

it "tells that a directory of the node cannot be mounted"
ends mount 'FailedMount|CreateContainerError' '/etc/hostname'

it "tells that a Secret with variables is missing"
ends variable 'CreateContainerConfigError: .*not found' 'hint: something that the pod names is missing'

it "tells that the Secret with the keystore is missing"
ends keystore 'FailedMount: .*not found'

it "leaves nothing"
mapfile -t names < <(moonport ps -o names)
if ((${#names[@]})); then moonport rm --quiet "${names[@]}"; fi
check_equal "left on the cluster" "$(left_by_label)" ''

done_testing
