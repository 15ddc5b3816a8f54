#!/bin/bash
# An image of 300 MiB is fetched, verified and converted without being held in memory.
set -euo pipefail
# shellcheck source=tests/e2e/image/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cp "$IMAGES/disk.raw" "$SITE/large.raw"
truncate -s 64M "$SITE/large.raw"
for _ in {1..9}; do head -c 26M /dev/urandom; done >>"$SITE/large.raw"
(cd "$SITE" && sha512sum large.raw >SHA512SUMS)
publish

it "takes less than 64 MiB of memory"
cat >measure.py <<'END'
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
END
kib=$(python3 measure.py "$MOONPORT" image pull "$URL/large.raw")
echo "  at most $((kib / 1024)) MiB"
check_equal "$kib KiB is little" "$((kib < 65536))" 1
check_equal verified "$(moonport image ls -o json | jq '.[0].sources[0].verified')" true
done_testing
