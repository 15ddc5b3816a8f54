#!/bin/bash
# The Lua API reference is made without a warning, and has a page for each module that scripts use.
# reference.sh BUILD/lua
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"
need ldoc lua5.4

it "is made without a warning"
here=$PWD
mkdir from-c
sed "s|$1/ldoc|$here/from-c|" "$1/ldoc/config.ld" >from-c/config.ld
(cd "$MP_SOURCE_DIR" && lua5.4 lua/apidoc.lua "$1/apidoc.list" --ldoc "$here/from-c" &&
  ldoc --quiet --fatalwarnings --config "$here/from-c/config.ld" --dir "$here/reference" .) >ldoc.out 2>&1 ||
  give_up "$(<ldoc.out)"

it "has a page for each module that scripts use, which the first page leads to"
for module in http process fs net task recipe service kube vm netlink nft image; do
  check_matches "reference/modules/moonport.$module.html" "<code>moonport.$module</code>"
  check_matches reference/index.html "modules/moonport.$module.html"
done
done_testing
