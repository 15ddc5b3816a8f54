#!/bin/bash
# The verbs by the command line, of a service of one pod and of one of three.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

SAY="command = { 'sh', '-c', 'trap \"echo goes; exit 0\" TERM; echo says \$HOSTNAME; echo twice >&2; while :; do sleep 1 & wait \$!; done' },"
manifest one "$SAY"
manifest three "$SAY" "replicas = 3,"

uids() { kubectl get pods -l "app.kubernetes.io/name=$1" -o json |
  jq -r '.items[] | select(.metadata.deletionTimestamp == null) | .metadata.uid' | sort | paste -sd' '; }
# ok ARGS...: the command does what it should.
ok() { moonport "$@" >ok.out 2>&1 || check_failed "\`moonport $*\`:" "$(<ok.out)"; }

it "deploys both, and lists them"
deploy one.lua three.lua
base=three-$(store | cut -c-8)
moonport ps >ps.out
check_matches ps.out '^one +container .*running'
check_matches ps.out '^three +container .*running'

it "tells how each is"
check_equal "status of one" "$(field one '"\(.state) \(.condition) \(.ready) \(.restarts) \(.namespace) \(.pod)"')" \
  "running Running true 0 $SPACE $(pods one)"
check_equal "status of three" "$(field three '"\(.state) \(.condition) \(.ready) \(.replicas.ready) \(.replicas.wanted) \(.namespace)"')" \
  "running Running true 3 3 $SPACE"
check_equal "pods of three" "$(field three '[.replicas.pods[].pod] | sort | join(" ")')" "$base-0 $base-1 $base-2"

it "shows what they say: each line once, of several pods by pod"
moonport logs one >one.log
check_equal "lines of one" "$(sort one.log | paste -sd,)" "says $(pods one),twice"
moonport logs --tail 1 one >tail.log
check_equal "lines of one" "$(wc -l <tail.log)" 1
moonport logs three >three.log
for ordinal in 0 1 2; do check_equal "lines" "$(grep -c "says $base-$ordinal\$" three.log)" 1; done
check_equal "lines" "$(wc -l <three.log)" 6
refused 4 'keeps what a pod writes to stdout and stderr as one' logs --stream stderr one

it "runs commands in them, with their output, variables and exit code"
check_equal "where" "$(moonport exec one -- sh -c 'echo $HOSTNAME $CHAIN')" "$(pods one)"
check_matches <(moonport exec three -- sh -c 'echo $HOSTNAME') "^$base-[012]\$"
check_exit 7 moonport exec one -- sh -c 'exit 7'
check_exit 127 moonport exec one -- /none 2>none.err
check_equal "stderr" "$(moonport exec one -- sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" err
check_equal "a variable" "$(moonport exec -e WORD=x one -- sh -c 'echo $WORD')" x

it "restarts them: other pods take the place of each"
before_one=$(uids one) before_three=$(uids three)
ok restart one three
check_state one running
check_equal "pods of three" "$(field three '"\(.replicas.ready) of \(.replicas.wanted)"')" "3 of 3"
for uid in $before_one $before_three; do
  [[ " $(uids one) $(uids three) " != *" $uid "* ]] || check_failed "the pod $uid is still there"
done

it "stops them; what is stopped already is fine"
ok stop one three
check_state one stopped
check_state three stopped
check_equal "pods" "$(uids one)$(uids three)" ''
ok stop one three
refused 4 '`one` has no pod that runs' exec one -- true
check_equal gc "$(moonport gc)" 'nothing to remove'

it "starts them"
ok start one three
check_state one running
check_equal "pods of three" "$(field three '"\(.replicas.ready) of \(.replicas.wanted)"')" "3 of 3"
ok start one three # what runs is fine

it "removes them; what is gone already is not missed"
kubectl delete statefulset "$base" >/dev/null
ok rm one three
check_equal "pods" "$(uids one)$(uids three)" ''
refused 3 'one' status one
check_nothing_left

done_testing
