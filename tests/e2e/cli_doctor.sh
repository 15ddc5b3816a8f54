#!/bin/bash
# shellcheck disable=SC2016
# What doctor finds, on a machine in order and with one trouble after the other.
set -uo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"

need jq

# shellcheck disable=SC2317 # called by the trap
leave() { "$MOONPORT" rm --all --yes --force --quiet >/dev/null 2>&1; }
trap leave EXIT

# doctor_says CHECK RESULT REGEX: as text, and the same as JSON.
doctor_says() {
  "$MOONPORT" doctor >told 2>err
  check_matches told "^$1 +$2 +.*$3"
  check_equal "$1 in JSON" "$("$MOONPORT" doctor -o json | jq -r ".[] | select(.check == \"$1\") | .result")" "$2"
}

it "finds nothing wrong where nothing is, and makes no store"
rm -rf "$MOONPORT_STATE"
check_exit 0 "$MOONPORT" doctor >told 2>err
check_equal "what doctor says to standard error" "$(cat err)" ""
check_equal "failures" "$(grep -cE '^[a-z ]+ failed ' told)" 0
check_matches told '^supervisor +ok +/.*/moonport-shim, version [0-9.]+$'
check_matches told '^http +ok +libcurl [0-9.]+$'
check_matches told '^state +ok +.*, which the first deployment will make$'
check_matches told '^disk +ok +.* free of .*$'
check_matches told '^services +ok +0 services, nothing wrong$'
check_matches told '^leftovers +ok +none$'
check_equal "the state directory" "$(ls "$MOONPORT_STATE" 2>/dev/null)" ""
check_equal "fields in JSON" "$("$MOONPORT" doctor -o json | jq -r '.[] | .check, .result, .found' | grep -c null)" 0

it "tells of a service that lost its supervisor, and what to do"
cat >web.lua <<END
return {
  name = "web", target = "native", user = "$(id -un)",
  command = { "/bin/sleep", "infinity" },
}
END
check_exit 0 "$MOONPORT" deploy -q web.lua >out
doctor_says services ok '1 service, nothing wrong$'
shim=$(jq .shim.pid "$MOONPORT_STATE/deployments/web/service/state.json")
kill -KILL "$shim"
timeout 10 tail -f /dev/null --pid="$shim"
doctor_says services warning 'without their supervisor: web$'
check_matches told '^ +hint: `moonport start web` starts it again$'
check_exit 0 "$MOONPORT" start web >out
doctor_says services ok '1 service, nothing wrong$'
check_exit 0 "$MOONPORT" rm -q web >out

it "tells of what killed commands left"
mkdir -m 700 "$MOONPORT_STATE/deployments/ghost"
doctor_says leftovers warning '1 leftover of killed commands, such as directory'
check_matches told '^ +hint: .*moonport gc'
check_equal "what a look leaves as it is" "$(ls "$MOONPORT_STATE/deployments")" ghost
check_exit 0 "$MOONPORT" gc >out
doctor_says leftovers ok none

it "fails where others could change the site, and says so"
chmod 777 "$MOONPORT_SITE"
check_exit 1 "$MOONPORT" doctor >out
doctor_says site failed 'is not safe to use$'
check_matches told '^ +hint: .*only you and root'
chmod 700 "$MOONPORT_SITE"

it "fails for a recipe that does not load"
mkdir -p "$MOONPORT_SITE/recipes/targets"
echo 'return {' >"$MOONPORT_SITE/recipes/targets/native.lua"
check_exit 1 "$MOONPORT" doctor >out
doctor_says site failed 'these recipes do not load: targets.native$'
rm -r "$MOONPORT_SITE/recipes"

it "fails for a supervisor of another version, and for one that is missing"
mkdir parts
cp "$MOONPORT" parts/moonport
printf '#!/bin/sh\necho "moonport-shim 0.0.9 (protocol 1)"\n' >parts/moonport-shim
chmod +x parts/moonport-shim
check_exit 1 parts/moonport doctor >out
check_matches out '^supervisor +failed +.* is version 0\.0\.9, and moonport is '
rm parts/moonport-shim
check_exit 1 parts/moonport doctor >out
check_matches out '^supervisor +failed +moonport-shim is not where it belongs'

done_testing
