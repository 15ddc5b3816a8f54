#!/bin/bash
# JSON of 10 MB: moonport's exact codec against lua-cjson. Fails above 1.1 times its time.
set -euo pipefail
exec "$MOONPORT" run "$MP_SOURCE_DIR/tests/bench/json_10mb.lua"
