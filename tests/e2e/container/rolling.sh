#!/bin/bash
# A StatefulSet that is changed in place: what its manifest does not have any more is gone from its pods, too.
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

rolling() { manifest rolling "$IDLE $1" "rolling = true, ${2-}"; }
# of_pods EXPRESSION: of the template of its pods, as jq writes it.
of_pods() { kubectl get statefulsets -l app.kubernetes.io/name=rolling -o json | jq -c ".items[0].spec.template.spec$1"; }
check_rolled() {
  check_state rolling running
  check_exit 0 moonport plan rolling.lua >plan.out
}

it "is asked no more where the manifest asks no more"
rolling "ready = { exec = { 'true' }, timeout = '20s' },"
deploy rolling.lua
check_equal "what is asked" "$(of_pods '.containers[0].startupProbe.exec.command')" '["true"]'
rolling ''
deploy rolling.lua
check_equal "probes" "$(of_pods '.containers[0] | [.startupProbe, .readinessProbe, .livenessProbe]')" '[null,null,null]'
check_rolled

it "is asked otherwise where the manifest asks otherwise"
rolling "ready = { exec = { 'true' }, timeout = '20s' },"
deploy rolling.lua
rolling "ready = { file = '/bin/sh', timeout = '20s' },"
deploy rolling.lua
check_equal "what is asked" "$(of_pods '.containers[0].readinessProbe.exec.command')" '["test","-e","/bin/sh"]'
check_rolled

it "is as it was when it has failed to answer what a new revision asks"
rolling ''
deploy rolling.lua
rolling "ready = { tcp = '127.0.0.1:1', timeout = '2s' },"
refused 1 'serves as before' deploy rolling.lua
check_equal "probe" "$(of_pods '.containers[0].startupProbe')" null
check_state rolling running

it "has its data elsewhere where the manifest has"
mkdir data
chmod 777 data
for kind in 'kind = "empty", size = "8MiB"' 'kind = "empty"' "kind = 'host', path = '$PWD/data'" 'kind = "empty"'; do
  rolling '' "data = { $kind },"
  deploy rolling.lua
  check_rolled
done
check_equal "volumes" "$(of_pods .volumes)" '[{"emptyDir":{},"name":"data"}]'

moonport rm --quiet rolling
check_nothing_left

done_testing
