#!/bin/bash
# Ctrl-C while the node pulls the image of a pod, from a registry that takes connections and says nothing.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"
need python3

exec {silent}< <(exec python3 -c '
import signal, socket
registry = socket.create_server(("127.0.0.1", 0))
print(registry.getsockname()[1], flush=True)
signal.pause()')
registry=$!
# shellcheck disable=SC2317 # the trap calls it
end() {
  local code=$?
  kill "$registry" 2>/dev/null || true
  (exit "$code") || true
  mp_remove_all
}
trap 'end' EXIT
read -r port <&"$silent"

# shellcheck disable=SC2034 # of pods.sh
IMAGE=127.0.0.1:$port/none:1
manifest svc "$IDLE"
kubectl create namespace "$SPACE" >/dev/null
follow() { exec "$MP_CLUSTER" kubectl --namespace "$SPACE" get --watch "$@" 2>/dev/null; }
follow events -o 'jsonpath={.reason}{"\n"}' >reasons &

it "ends with 130, and nothing is left of the pod"
env --default-signal=INT "$MOONPORT" deploy svc.lua >out 2>err &
deploying=$!
wait_for_line reasons '^Pulling$' 60
kill -INT "$deploying"
wait_for_line err '^svc: interrupted; undoing what was done'
# The kubelet of 1.20 keeps a pod without an image for a minute after that. Whoever removed it by force could find it
# started afterwards.
code=0
wait "$deploying" || code=$?
check_equal "exit code" "$code" 130
check_matches err '^svc +pod +undone'
check_equal "the last line" "$(tail -n 1 err)" "moonport: interrupted"
check_equal "pods" "$(pods svc)" ''
moonport rm --quiet svc >rm.out 2>&1 || check_failed "$(<rm.out)"
kubectl delete namespace "$SPACE" >/dev/null
check_nothing_left

done_testing
