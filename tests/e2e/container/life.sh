#!/bin/bash
# The full life of the example blueprint on a real cluster, computing squares from a real development node
# on this host. life.sh BINARY: the example's static program.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"
need node npm busybox curl

image=$(make_image moonport-e2e/incredible-squaring "$1")
mkdir -m 700 keystore keystore/nested
install -m 600 /dev/stdin keystore/operator.json <<<'{"key":"0x1"}'
install -m 600 /dev/stdin keystore/nested/second.json <<<'{"key":"0x2"}'

start_node() {
  coproc node { exec "$MP_SOURCE_DIR/tests/fixtures/ganache/start" --port "${1:-0}" --host "$2"; }
  node_pid=$!
  read -r node_url <&"${node[0]}"
  node_port=${node_url##*:}
}
stop_node() {
  kill "$node_pid"
  wait "$node_pid" || true
}
rpc() {
  curl -sS --fail -H 'Content-Type: application/json' \
    -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$1\",\"params\":$2}" "http://127.0.0.1:$node_port" >/dev/null
}
mine() { rpc evm_mine "[{\"blocks\":$1}]"; }

# blueprint SED-EXPRESSION...: the shipped manifest with this test's node, image and namespace.
blueprint() {
  sed -e "s|127.0.0.1:8545|127.0.0.1:$node_port|g" -e "s|127.0.0.1:9464\" }|0.0.0.0:9464\" }|" \
    -e "s|incredible-squaring:latest|$image|" -e 's|target = "native"|target = "container"|' \
    -e 's|max = 5|max = 0|' -e 's|timeout = "30s"|timeout = "120s"|' \
    -e "s|^  limits = |  container = { namespace = '$SPACE', image_pull_policy = 'Never', requests = { cpus = 0.01 } },\n&|" \
    "$@" "$MP_SOURCE_DIR/docs/examples/incredible-squaring/blueprint.lua" >blueprint.lua
}
ask() { moonport run "$CONTAINER/ask.lua" incredible-squaring 9464 "$1"; }
metric() { ask /metrics | sed -n "s/^incredible_squaring_$1 //p"; }
# await_metric NAME VALUE: until the service says so.
await_metric() {
  local found
  for _ in {1..100}; do
    found=$(metric "$1" 2>/dev/null) && [[ $found == "$2" ]] && return
    sleep 0.2
  done
  check_failed "$1 is ${found:-nothing} and should be $2"
}

before=$(inventory)

it "a node that listens on loopback alone is named, before anything is made"
start_node 0 127.0.0.1
blueprint
check_exit 1 moonport plan blueprint.lua >plan.out 2>plan.err
check_matches plan.err 'listens on 127.0.0.1'
check_exit 1 moonport deploy --quiet blueprint.lua >deploy.out 2>deploy.err
check_matches deploy.err '`node` \(pid [0-9]+\) listens on 127.0.0.1:[0-9]+ alone; pods reach this host at'
check_matches deploy.err 'hint: let it listen on'
stop_node
moonport rm --quiet incredible-squaring >rm.out 2>&1 || check_failed "$(<rm.out)"
check_equal "inventory" "$(inventory)" "$before"

it "a plan tells what would be made, and makes nothing"
start_node "$node_port" 0.0.0.0
mine 5
code=0
moonport plan blueprint.lua >plan.out 2>&1 || code=$?
check_equal "exit code of the plan" "$code" 10
check_matches plan.out '^  \+ namespace +namespace mp-life-'
check_matches plan.out '^  \+ host +service to this host: to [0-9.]+, ports [0-9]+/TCP'
check_matches plan.out '^  \+ keystore +keystore: Secret incredible-squaring-'
check_matches plan.out '^  \+ pod +pod: image moonport-e2e/incredible-squaring'
check_equal "inventory" "$(inventory)" "$before"

it "one command deploys it"
deploy blueprint.lua || give_up "no blueprint"
check_state incredible-squaring running
check_equal "condition" "$(field incredible-squaring .condition)" Running
check_equal "pods" "$(pods incredible-squaring | wc -l)" 1
check_equal "deploying again" "$(moonport deploy --quiet blueprint.lua)" 'incredible-squaring: unchanged (revision 1)'

it "it answers /healthz through a forwarded port"
check_equal "/healthz" "$(ask /healthz | head -n 1)" 200

it "it squares each new block of the node on this host"
mine 3
await_metric last_squared_block 8

it "it finds its keystore, nested paths too, and cannot write there"
moonport exec incredible-squaring -- cat /mnt/keystore/nested/second.json >exec.out
check_equal "a key" "$(<exec.out)" '{"key":"0x2"}'
check_exit 1 moonport exec incredible-squaring -- sh -c 'echo x >/mnt/keystore/x' 2>exec.err

it "it got what the contract says"
moonport exec incredible-squaring -- env >exec.out
check_matches exec.out '^KEYSTORE_URI=/mnt/keystore$'
check_matches exec.out '^DATA_DIR=/mnt/data$'
check_matches exec.out "^HTTP_RPC_URL=http://[0-9.]+:$node_port\$"
check_equal "arguments" "$(moonport exec incredible-squaring -- cat /proc/1/cmdline | tr '\0' ' ')" \
  "/program run --test-mode -v "

it "a command inside tells its exit code"
check_exit 7 moonport exec incredible-squaring -- sh -c 'exit 7'

it "its output is followed over a restart"
moonport logs -f incredible-squaring >followed.out 2>followed.err &
follower=$!
wait_for_line followed.out 'listening on'
moonport restart incredible-squaring >restart.out 2>&1 || check_failed "$(<restart.out)"
check_state incredible-squaring running
mine 1
await_metric last_squared_block 9
wait_for_line followed.out 'stopp'
kill "$follower"
wait "$follower" || true
check_equal "starts in the followed output" "$(grep -c 'listening on' followed.out)" 2

it "it is stopped and started, and everything else stays"
moonport stop incredible-squaring >stop.out 2>&1 || check_failed "$(<stop.out)"
check_state incredible-squaring stopped
check_equal "secrets" "$(kubectl get secrets -l moonport/name=incredible-squaring -o name | wc -l)" 1
moonport start incredible-squaring >start.out 2>&1 || check_failed "$(<start.out)"
check_state incredible-squaring running

it "an update of its environment replaces it"
blueprint -e 's|env = { |env = { RUST_LOG = "debug", |'
moonport plan blueprint.lua >plan.out 2>&1 || true
check_matches plan.out '\+ pod +env RUST_LOG: debug'
deploy blueprint.lua
check_equal "revision" "$(field incredible-squaring .revision)" 2
check_state incredible-squaring running
moonport exec incredible-squaring -- env >exec.out
check_matches exec.out '^RUST_LOG=debug$'
mine 1
await_metric last_squared_block 10

it "one that cannot run is taken back, and the former one serves"
blueprint -e "s|$image|$image-missing|" -e 's|env = { |env = { RUST_LOG = "debug", |'
check_exit 1 moonport deploy --quiet blueprint.lua >deploy.out 2>deploy.err
check_matches deploy.err 'ErrImageNeverPull'
check_state incredible-squaring running
check_equal "revision" "$(field incredible-squaring .revision)" 2

it "it is scaled to three by one field"
blueprint -e 's|env = { |env = { RUST_LOG = "debug", |' -e 's|policy = "on-failure"|policy = "always"|' \
  -e "s|image_pull_policy|replicas = 3, &|"
deploy blueprint.lua
check_state incredible-squaring running
check_equal "ready" "$(field incredible-squaring .replicas.ready)" 3
check_equal "pods" "$(pods incredible-squaring | wc -l)" 3
mine 1
await_metric last_squared_block 11

it "several are updated one after the other"
blueprint -e 's|env = { |env = { RUST_LOG = "trace", |' -e 's|policy = "on-failure"|policy = "always"|' \
  -e "s|image_pull_policy|replicas = 3, &|"
deploy blueprint.lua
moonport exec incredible-squaring -- env >exec.out
check_matches exec.out '^RUST_LOG=trace$'
check_equal "ready" "$(field incredible-squaring .replicas.ready)" 3

it "the former revision can be had again"
moonport rollback --quiet incredible-squaring >rollback.out 2>&1 || check_failed "$(<rollback.out)"
moonport exec incredible-squaring -- env >exec.out
check_matches exec.out '^RUST_LOG=debug$'

it "it is removed, and nothing is left"
moonport rm incredible-squaring >rm.out 2>&1 || check_failed "$(<rm.out)"
check_equal "inventory" "$(inventory)" "$before"
check_store_empty
check_nothing_left
stop_node
done_testing
