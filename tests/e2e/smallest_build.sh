#!/bin/bash
# Without the targets that a site does not want, moonport builds as for a release, and works.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"
need cmake ninja
build=$PWD/build

it "builds with nothing optional, and without a warning where the compiler looks hardest"
cmake -S "$MP_SOURCE_DIR" -B "$build" -G Ninja -DMP_KUBE=OFF -DMP_VM=OFF -DMP_TESTS=OFF \
  -DCMAKE_BUILD_TYPE=Release -DMP_WERROR=ON >log 2>&1 || give_up "cmake:" "$(cat log)"
ninja -C "$build" >log 2>&1 || give_up "ninja:" "$(cat log)"
check_equal "output" "$("$build/bin/moonport" run -e 'print(6 * 7)')" 42

it "guards what is left as a whole build guards it"
"$build/bin/moonport" run "$MP_SOURCE_DIR/tests/spec/run.lua" "$MP_SOURCE_DIR/tests/spec/gate_coverage_spec.lua" \
  >log 2>&1 || check_failed "$(cat log)"

it "works where it is installed, with nothing of the build in reach"
DESTDIR=$PWD/installed cmake --install "$build" --prefix /opt/moonport >log
rm -r "$build"
check_equal "output" "$(installed/opt/moonport/bin/moonport run -e 'print(6 * 7)')" 42

done_testing
