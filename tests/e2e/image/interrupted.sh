#!/bin/bash
# Ctrl-C while `moonport image pull` downloads.
set -euo pipefail
# shellcheck source=tests/e2e/image/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SENT=100000
cp "$IMAGES/disk.qcow2" "$SITE/x.qcow2"
(cd "$SITE" && sha256sum x.qcow2 >SHA256SUMS)
publish
downloads() { find "$MOONPORT_STATE/images/downloads" -type f; }

# interrupt COMMAND...: begins it, and interrupts it once there is something of the image and no more comes. A shell
# ignores SIGINT for what it runs in the background, and moonport would go along with that.
interrupt() {
  echo "$SENT" >"$SITE/x.qcow2.hold"
  env --default-signal=INT "$MOONPORT" "$@" >out 2>err &
  local command=$! code=0 part
  wait_for_line "$SITE/requests" '^GET /x.qcow2 '
  part=$MOONPORT_STATE/images/downloads/$(printf %s "$URL/x.qcow2" | sha256sum | head -c 32).part
  wait_for_line "$part" '^QFI'
  kill -INT "$command"
  wait "$command" || code=$?
  check_equal "exit code of $1" "$code" 130
  check_equal "the last line" "$(tail -n 1 err)" "moonport: interrupted"
  rm "$SITE/x.qcow2.hold"
}

it "ends with 130 on Ctrl-C, and tells what is kept"
interrupt image pull "$URL/x.qcow2"
check_matches err '^[0-9.]+ ?[KM]iB of it are kept: the same command goes on from there'
check_equal "images" "$(images)" 0

it "goes on from there in the next command"
moonport image pull "$URL/x.qcow2" >/dev/null
check_matches "$SITE/requests" '^GET /x.qcow2 bytes=[1-9]'
cmp "$(moonport image ls -o json | jq -r '.[0].path')" "$IMAGES/disk.raw" || check_failed "the image is not whole"
check_equal "what is left of the download" "$(downloads)" ''
moonport image prune >/dev/null

it "removes by prune what was kept, and then begins anew"
: >"$SITE/requests"
interrupt image pull "$URL/x.qcow2"
moonport image prune >/dev/null
check_equal "what is left of the download" "$(downloads)" ''
moonport image pull "$URL/x.qcow2" >/dev/null
check_matches "$SITE/requests" '^GET /x.qcow2 -$'
check_equal "how often it was asked for" "$(grep -c "^GET /x.qcow2 " "$SITE/requests")" 2
moonport image prune >/dev/null

done_testing
