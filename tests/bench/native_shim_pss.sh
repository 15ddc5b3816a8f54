#!/bin/bash
# The memory that supervising one idle service costs: the shim's PSS, at most 200 KiB. The service has
# started, written a line, and been asked about, so that what is touched once is counted.
set -euo pipefail

shim=${MOONPORT%/*}/moonport-shim
dir=$PWD/service
mkdir -p "$dir"
"$shim" run --dir "$dir" --socket "$dir/sock" --spec-fd 3 3< <(
  printf '%s\0' version=1 name=idle restart=on-failure \
    arg=/bin/sh arg=-c 'arg=echo ready; exec sleep 1000' end=1
)
pid=$(grep -o '"shim":{"pid":[0-9]*' "$dir/state.json" | grep -o '[0-9]*$')
trap 'kill "$pid"; tail -f /dev/null --pid="$pid"' EXIT

# An answered request means that it has been idle since.
python3 - "$dir/sock" <<'PYTHON'
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
lines = client.makefile("rw")
lines.readline()
lines.write("status\n")
lines.flush()
assert lines.readline().startswith("ok ")
PYTHON

awk '
  /^Pss:/ { pss = $2 }
  END {
    printf "shim-pss %d KiB (limit 200)\n", pss
    exit pss > 200
  }' "/proc/$pid/smaps_rollup"
