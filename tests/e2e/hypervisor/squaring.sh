#!/bin/bash
# The example blueprint in a real Debian guest, against a real Ethereum development node on this host.
# squaring.sh BINARY
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
if [[ -z ${MP_IN_NAMESPACE-} ]]; then
  fixtures=$(dirname "${BASH_SOURCE[0]}")/../../fixtures
  "$fixtures/debian-guest/debian-guest" >/dev/null
  "$fixtures/ganache/start" --install >/dev/null
fi
# shellcheck source=tests/e2e/hypervisor/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need curl node npm mmdebstrap debugfs

binary=$1
image=$("$HYPERVISOR/../../fixtures/debian-guest/debian-guest")
mkdir -m 700 keystore
echo '{"key":"0x1"}' >keystore/operator.json
chmod 600 keystore/operator.json
port=$("$NATIVE/../manifests/prepare" ganache "$PWD/ganache")
sed -i "s|'{\"miner\":{\"blockTime\":1}}'|'{}'|" ganache/ganache.lua # blocks when the test says so

rpc() {
  curl -sS --fail -H 'Content-Type: application/json' \
    -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$1\",\"params\":$2}" "http://127.0.0.1:$port" >/dev/null
}
mine() { rpc evm_mine "[{\"blocks\":$1}]"; }
squares() { moonport exec incredible-squaring -- /bin/cat /mnt/data/squares.log; }

# squared LINE: waits until the service has written it to its data, as seen in the guest.
squared() {
  moonport exec incredible-squaring -- /usr/bin/timeout 120 /bin/bash -c \
    'exec grep -m1 -qxF -- "$0" < <(exec tail -n +1 -F /mnt/data/squares.log)' "$1" >squared.out 2>&1 ||
    give_up "it never squared to \`$1\`:" "$(<squared.out)" "$(moonport logs --tail 20 incredible-squaring)"
}

# The shipped manifest, with this test's addresses and a machine of its own.
sed -e "s|127.0.0.1:8545|127.0.0.1:$port|g" -e 's|METRICS_ADDR = "127.0.0.1:9464"|METRICS_ADDR = "0.0.0.0:9464"|' \
  -e "s|\"./incredible-squaring\"|\"$binary\"|" -e 's|target = "native"|target = "hypervisor"|' \
  -e 's|limits = { memory = "64MiB", cpus = 0.5 }|limits = { memory = "512MiB", cpus = 2 }|' \
  -e 's|timeout = "30s"|timeout = "300s"|' \
  "$MP_SOURCE_DIR/docs/examples/incredible-squaring/blueprint.lua" >blueprint.lua
sed -i '$d' blueprint.lua
cat >>blueprint.lua <<MANIFEST
  hypervisor = {
    driver = "qemu", accel = "tcg", boot_timeout = "900s", shutdown_timeout = "240s",
    image = { path = "$image/debian-guest.qcow2" }, kernel = "$image/vmlinuz", initrd = "$image/initrd",
    data = { size = "256MiB" },
    network = { publish = { { port = 19464, guest_port = 9464 } } },
  },
}
MANIFEST
deploy ganache/ganache.lua || give_up "no node"
mine 5

it "boots a Debian guest by cloud-init, and the service gets ready in it"
deploy blueprint.lua || give_up "no blueprint"
check_state incredible-squaring running
moonport logs --console incredible-squaring >console.out
check_matches console.out 'Cloud-init v|cloud-init\['

it "squares each new block of a node on this host's loopback, through the cable and the firewall"
squared '5 25'
mine 3
squared '8 64'
check_equal "squares.log" "$(squares | tr '\n' ';')" '5 25;6 36;7 49;8 64;'
check_equal "metrics, published" "$(curl -sS --fail http://127.0.0.1:19464/metrics |
  sed -n 's/^incredible_squaring_squares_total //p')" 4
moonport logs --tail 100 incredible-squaring >logs.out
check_matches logs.out 'listening on'

it "got what the contract says, and nothing of the operator's"
SECRET_OF_OPERATOR=1 moonport exec incredible-squaring -- /usr/bin/env >exec.out
check_equal "variables" "$(cut -d= -f1 exec.out | grep -vE '^(PATH|HOME|PWD|SHLVL|_)$' | sort | tr '\n' ' ')" \
  "BLUEPRINT_ID CHAIN DATA_DIR HTTP_RPC_URL KEYSTORE_URI METRICS_ADDR PROTOCOL SERVICE_ID WS_RPC_URL "
check_equal "keystore" "$(moonport exec incredible-squaring -- /bin/cat /mnt/keystore/operator.json)" '{"key":"0x1"}'
check_exit 1 moonport exec incredible-squaring -- /usr/bin/touch /mnt/keystore/x 2>touch.err
if [[ -x /usr/libexec/virtiofsd || -x /usr/lib/qemu/virtiofsd ]]; then
  check_matches <(moonport exec incredible-squaring -- /bin/cat /proc/mounts) '^keystore /mnt/keystore virtiofs ro,'
fi

it "reaches nothing else of this host"
"$HYPERVISOR/../../fixtures/ganache/start" --host 0.0.0.0 --port $((port + 2)) >other.out &
wait_for_line other.out 'http://'
check_exit 0 curl -s -o node.out "http://127.0.0.1:$((port + 2))"
check_exit 7 moonport exec incredible-squaring -- /usr/bin/python3 -c 'import os, socket, sys, urllib.parse
url = urllib.parse.urlparse(os.environ["HTTP_RPC_URL"])
socket.create_connection((url.hostname, url.port), 5)
try: socket.create_connection((url.hostname, url.port + 2), 5)
except OSError: sys.exit(7)' 2>reach.err

it "keeps its data over a restart, shut down by its power button, and squares no block twice"
moonport restart incredible-squaring >restart.out 2>&1 || give_up "$(<restart.out)"
mine 2
squared '10 100'
check_equal "squares.log" "$(squares | cut -d' ' -f1 | tr '\n' ' ')" '5 6 7 8 9 10 '
check_equal "rungs" "$(moonport run "$HYPERVISOR/rungs.lua" incredible-squaring)" power-button

it "is stopped, removed, and leaves nothing"
moonport stop incredible-squaring >stop.out 2>&1 || check_failed "$(<stop.out)"
check_state incredible-squaring stopped
moonport rm incredible-squaring ganache >rm.out 2>&1 || check_failed "$(<rm.out)"
check_no_guest_left
done_testing
