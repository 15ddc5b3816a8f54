#!/bin/bash
# killed.sh [ROUNDS]: `moonport image pull` killed (SIGKILL) at moments that nobody chose. Each time there is a
# whole image or none, and at the end one, of which nothing is left over.
set -euo pipefail
# shellcheck source=tests/e2e/image/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

rounds=${1:-15}
RANDOM=${MP_SEED:-$RANDOM}
echo "MP_SEED=$RANDOM"
cp "$IMAGES/disk.qcow2" "$SITE/x.qcow2"
(cd "$SITE" && sha256sum x.qcow2 >SHA256SUMS)
publish

check_image() {
  local path
  path=$(moonport image ls -o json | jq -r '.[0].path // empty')
  [[ -z $path ]] || cmp "$path" "$IMAGES/disk.raw" || check_failed "$1: the image is not whole"
}

it "is whole or not there after each kill"
for ((round = 0; round < rounds; round++)); do
  after=$((RANDOM % 700))
  (timeout --signal=KILL "0.$(printf %03d "$after")" "$MOONPORT" image pull "$URL/x.qcow2" || true) >/dev/null 2>&1
  check_image "round $round, killed after $after ms"
  if ((round % 5 == 4)); then moonport image prune >/dev/null; fi
done

it "is there after one that is not killed, and nothing else is"
moonport image pull "$URL/x.qcow2" >/dev/null
check_image "at the end"
moonport image prune --dry-run -o json | jq -r '.[].what' | grep -v "^image " >left || true
moonport image prune >/dev/null
check_equal "images" "$(images)" 0
check_equal "files" "$(find "$MOONPORT_STATE/images" -type f -not -path '*/locks/*')" ''
done_testing
