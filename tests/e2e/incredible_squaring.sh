#!/bin/bash
# incredible_squaring.sh BINARY: the example blueprint against a real Ethereum development node.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"

binary=$1
fixtures=$(cd "$(dirname "${BASH_SOURCE[0]}")/../fixtures" && pwd)
squares=$PWD/data/squares.log
mkdir -m 700 keystore

start_node() {
  coproc node { exec "$fixtures/ganache/start" --port "${1:-0}"; }
  node_pid=$!
  read -r node_url <&"${node[0]}"
}

stop_node() {
  kill "$node_pid"
  wait "$node_pid" || true
}

rpc() {
  curl -sS --fail -H 'Content-Type: application/json' \
    -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$1\",\"params\":$2}" "$node_url" >/dev/null
}

mine() { rpc evm_mine "[{\"blocks\":$1}]"; }

# start_service RPC-URL [OPTIONS...]: with a clean environment, as moonport gives it.
start_service() {
  local url=$1
  shift
  env -i HTTP_RPC_URL="$url" WS_RPC_URL= KEYSTORE_URI="file://$PWD/keystore" DATA_DIR="$PWD/data" \
    BLUEPRINT_ID=0 SERVICE_ID=3 PROTOCOL=eigenlayer CHAIN=local_testnet METRICS_ADDR=127.0.0.1:0 \
    "$binary" run --test-mode --pretty -vv "$@" 2>service.log &
  service=$!
  wait_for_line service.log 'listening on'
  address=$(sed -n 's/.*listening on \([0-9.:]*\),.*/\1/p' service.log)
}

stop_service() {
  local code=0
  kill "-$1" "$service"
  wait "$service" || code=$?
  check_equal "exit code after SIG$1" "$code" 0
}

status_of() { curl -s -o answer -w '%{http_code}' "http://$address$1"; }
metric() { curl -sS --fail "http://$address/metrics" | sed -n "s/^incredible_squaring_$1 //p"; }

it "squares each new block of a running node once"
start_node
mine 5
start_service "$node_url"
wait_for_line "$squares" '^5 25$'
mine 3
wait_for_line "$squares" '^8 64$'
check_equal "squares.log" "$(tr '\n' ';' <"$squares")" '5 25;6 36;7 49;8 64;'

it "answers health and readiness probes and shows metrics"
check_equal "/healthz" "$(status_of /healthz)" 200
check_equal "/readyz" "$(status_of /readyz)" 200
check_equal "/metrics" "$(status_of /metrics)" 200
check_equal "squares_total" "$(metric squares_total)" 4
check_equal "last_squared_block" "$(metric last_squared_block)" 8
check_equal "node_up" "$(metric node_up)" 1
check_equal "an unknown path" "$(status_of /other)" 404
check_equal "POST" "$(curl -s -o answer -w '%{http_code}' -d x "http://$address/healthz")" 405

it "shows metrics as Prometheus wants them"
curl -sS "http://$address/metrics" | promtool check metrics >promtool.log 2>&1 ||
  check_failed "$(<promtool.log)"

it "answers while many hold connections and say nothing"
silent=()
for _ in {1..40}; do
  exec {fd}<>"/dev/tcp/${address/://}"
  silent+=("$fd")
done
check_equal "/healthz" "$(status_of /healthz)" 200
for fd in "${silent[@]}"; do
  exec {fd}>&-
done

it "keeps one connection to the node"
check_equal "connections_total" "$(metric connections_total)" 1

it "refuses a second instance on the same data directory"
code=0
env -i HTTP_RPC_URL="$node_url" KEYSTORE_URI=keystore DATA_DIR=data METRICS_ADDR=127.0.0.1:0 \
  "$binary" run 2>second.log || code=$?
check_equal "exit code of the second" "$code" 1
check_matches second.log 'in use by another instance'

it "goes on where it ended after SIGTERM, with what it missed"
stop_service TERM
mine 2
start_service "$node_url"
wait_for_line "$squares" '^10 100$'

it "goes on after SIGKILL in the middle of a line"
kill -KILL "$service"
wait "$service" || true
printf '11 1' >>"$squares"
mine 1
start_service "$node_url"
wait_for_line "$squares" '^11 121$'
check_equal "lines" "$(awk '$1 != NR + 4 || $2 != $1 * $1' "$squares")" ''

it "outlives its node and finds it again"
port=${node_url##*:}
stop_node
wait_for_line service.log 'Connection refused; next try'
check_equal "/healthz without a node" "$(status_of /healthz)" 200
check_equal "node_up" "$(metric node_up)" 0
start_node "$port"
mine 12
wait_for_line "$squares" '^12 144$'
check_matches service.log 'the node answers again'
stop_service INT

it "is alive but not ready until the node answers"
start_service "http://127.0.0.1:1"
check_equal "/healthz" "$(status_of /healthz)" 200
check_equal "/readyz" "$(status_of /readyz)" 503
other=$service other_address=$address

it "takes an answer that is no JSON-RPC for a failure and stays up"
mv service.log first.log
start_service "http://$other_address/metrics" --dry-run
wait_for_line service.log 'HTTP status 405; next try'
check_equal "/readyz" "$(status_of /readyz)" 503
stop_service TERM
service=$other
stop_service TERM

it "writes nothing in a dry run"
rm -r data
start_service "$node_url" --dry-run
wait_for_line service.log 'dry run: 12 squared is 144'
stop_service INT
check_equal "data directory" "$(ls -d data 2>/dev/null || true)" ''

it "writes its registration and exits in registration mode"
env -i REGISTRATION_MODE_ON=true REGISTRATION_OUTPUT_PATH="$PWD/out.json" KEYSTORE_URI=keystore \
  DATA_DIR=data BLUEPRINT_ID=7 SERVICE_ID=3 PROTOCOL=$'qu"ote\n' CHAIN=local \
  "$binary" run 2>registration.log
check_equal "registration" "$(sed 's/"version":"[^"]*",//' out.json)" \
  '{"blueprint":"incredible-squaring","blueprint_id":7,"service_id":3,"protocol":"qu\"ote\u000a","chain":"local","inputs":[]}'

it "names a keystore that is missing"
code=0
env -i HTTP_RPC_URL="$node_url" KEYSTORE_URI=nowhere DATA_DIR=data "$binary" run 2>keystore.log ||
  code=$?
check_equal "exit code" "$code" 1
check_matches keystore.log 'keystore .nowhere.: No such file or directory'

stop_node
done_testing
