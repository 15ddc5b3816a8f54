#!/bin/bash
# Without the targets a site does not want, moonport builds and works.
source "$MP_SOURCE_DIR/tests/e2e/lib.sh"
need cmake ninja

build=$SANDBOX/build
cmake -S "$MP_SOURCE_DIR" -B "$build" -G Ninja -DMP_KUBE=OFF -DMP_VM=OFF -DMP_TESTS=OFF \
  -DMP_WERROR=ON >"$SANDBOX/tmp/log" 2>&1 || fail "cmake: $(cat "$SANDBOX/tmp/log")"
ninja -C "$build" >"$SANDBOX/tmp/log" 2>&1 || fail "ninja: $(cat "$SANDBOX/tmp/log")"

[[ $("$build/bin/moonport" run -e 'print(6 * 7)') == 42 ]] || fail "a script does not run"

# Installed elsewhere, with nothing of the build tree in reach, it still works.
DESTDIR=$SANDBOX/installed cmake --install "$build" --prefix /opt/moonport >/dev/null
rm -r "$build"
[[ $("$SANDBOX/installed/opt/moonport/bin/moonport" run -e 'print(6 * 7)') == 42 ]] ||
  fail "the installed program does not run a script"
