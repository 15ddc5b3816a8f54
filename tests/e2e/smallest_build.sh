#!/bin/bash
# Without the targets that a site does not want, moonport builds and works.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"
need cmake ninja
build=$PWD/build

it "builds with nothing optional"
cmake -S "$MP_SOURCE_DIR" -B "$build" -G Ninja -DMP_KUBE=OFF -DMP_VM=OFF -DMP_TESTS=OFF \
  -DMP_WERROR=ON >log 2>&1 || give_up "cmake:" "$(cat log)"
ninja -C "$build" >log 2>&1 || give_up "ninja:" "$(cat log)"
check_equal "output" "$("$build/bin/moonport" run -e 'print(6 * 7)')" 42

it "works where it is installed, with nothing of the build in reach"
DESTDIR=$PWD/installed cmake --install "$build" --prefix /opt/moonport >log
rm -r "$build"
check_equal "output" "$(installed/opt/moonport/bin/moonport run -e 'print(6 * 7)')" 42

done_testing
