#!/bin/bash
# The example blueprint deployed natively, against a real Ethereum development node.
# squaring.sh BINARY
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need curl node npm

binary=$1
mkdir -m 700 keystore
port=$("$NATIVE/../manifests/prepare" ganache "$PWD/ganache")
sed -i "s|'{\"miner\":{\"blockTime\":1}}'|'{}'|" ganache/ganache.lua # blocks when the test says so
metrics=$((port + 1))

rpc() {
  curl -sS --fail -H 'Content-Type: application/json' \
    -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$1\",\"params\":$2}" "http://127.0.0.1:$port" >/dev/null
}
mine() { rpc evm_mine "[{\"blocks\":$1}]"; }
metric() { curl -sS --fail "http://127.0.0.1:$metrics/metrics" | sed -n "s/^incredible_squaring_$1 //p"; }

# The shipped manifest, with this test's addresses and account.
sed -e "s|127.0.0.1:8545|127.0.0.1:$port|g" -e "s|127.0.0.1:9464|127.0.0.1:$metrics|g" \
  -e "s|\"./incredible-squaring\"|\"$binary\"|" -e "s|-- user = .*|$MP_USER|" \
  "$MP_SOURCE_DIR/docs/examples/incredible-squaring/blueprint.lua" >blueprint.lua
squares=$MOONPORT_STATE/deployments/incredible-squaring/data/squares.log

it "one command deploys the node, another the blueprint"
deploy ganache/ganache.lua || give_up "no node"
mine 5
deploy blueprint.lua || give_up "no blueprint"
check_state incredible-squaring running

it "it squares each new block into its data directory"
wait_for_line "$squares" '^5 25$'
mine 3
wait_for_line "$squares" '^8 64$'
check_equal "squares.log" "$(tr '\n' ';' <"$squares")" '5 25;6 36;7 49;8 64;'
check_equal "squares_total" "$(metric squares_total)" 4
moonport logs --tail 100 incredible-squaring >logs.out
check_matches logs.out 'listening on'

it "it got what the contract says, and nothing of the operator's"
SECRET_OF_OPERATOR=1 moonport exec incredible-squaring -- /usr/bin/env >exec.out
check_equal "variables" "$(cut -d= -f1 exec.out | sort | tr '\n' ' ')" \
  "BLUEPRINT_ID CHAIN DATA_DIR HTTP_RPC_URL KEYSTORE_URI METRICS_ADDR PROTOCOL SERVICE_ID WS_RPC_URL "
check_equal "arguments" "$(tr '\0' ' ' <"/proc/$(field incredible-squaring .pid)/cmdline")" \
  "$binary run --test-mode -v "

it "a restart keeps the data, and squares no block twice"
moonport restart incredible-squaring >/dev/null
mine 2
wait_for_line "$squares" '^10 100$'
check_equal "squares.log" "$(cut -d' ' -f1 "$squares" | tr '\n' ' ')" '5 6 7 8 9 10 '

it "kill -9 neither"
kill -KILL "$(field incredible-squaring .pid)"
mine 1
wait_for_line "$squares" '^11 121$'
check_equal "squares.log" "$(cut -d' ' -f1 "$squares" | tr '\n' ' ')" '5 6 7 8 9 10 11 '
check_equal "restarts" "$(field incredible-squaring .restarts)" 1

it "it ends cleanly"
moonport stop incredible-squaring >/dev/null
check_equal "exit code" "$(field incredible-squaring .exit.code)" 0

it "a registration run ends, and its output is kept after rm"
sed -e 's|name = "incredible-squaring"|name = "register"|' -e '/restart = /d; /ready = /d' \
  -e "s|^  limits = |  registration = { output = \"$PWD/registration.json\" },\n  limits = |" blueprint.lua >register.lua
deploy register.lua
check_state register completed
check_equal "exit code" "$(field register .exit.code)" 0
for reached in ready running; do
  check_equal "waited until it was $reached, it is" "$(moonport run "$NATIVE/../wait.lua" register "$reached" 2>&1)" completed
done
moonport rm register >rm.out 2>&1 || check_failed "$(<rm.out)"
jq -e . registration.json >/dev/null || check_failed "the output is no JSON: $(cat registration.json 2>&1)"

it "a keystore that others can read is refused"
chmod 755 keystore
check_exit 4 moonport deploy --replace blueprint.lua 2>keystore.err
check_matches keystore.err 'keystore'
chmod 700 keystore

it "leaves nothing"
moonport rm incredible-squaring ganache >rm.out 2>&1 || check_failed "$(<rm.out)"
check_nothing_left
done_testing
