#!/bin/bash
# Debian's nginx: a service of several processes, followed across the rotation of its log.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need nginx curl

port=$("$NATIVE/../manifests/prepare" nginx "$PWD/nginx")
manifest=$PWD/nginx/nginx.lua
url=http://127.0.0.1:$port
answer() { curl -sS "$url/"; }

it "serves its page when deploy says that it is ready"
deploy "$manifest"
check_equal "the page" "$(answer)" 'moonport serves nginx'
check_equal "processes: a master and two workers" "$(field nginx .processes)" 3

it "follows the log across rotation without losing or doubling a line"
env --default-signal=INT "$MOONPORT" logs -f --tail 0 nginx >follow.out 2>follow.err &
follower=$!
# Until it follows, it may begin with an older line: ask until it sees one.
for ((ask = 0; ask < 100; ask++)); do
  curl -s -o /dev/null "$url/?warm"
  if [[ -s follow.out ]]; then break; fi
  timeout 1 tail -n0 -f follow.out --pid="$follower" >/dev/null || true
done
requests=4000
seq -f "url = \"$url/?n=%06.0f\"
output = \"/dev/null\"" "$requests" | curl -s --parallel --parallel-max 4 -K - 2>/dev/null
curl -s -o /dev/null "$url/?last"
wait_for_line follow.out '\?last'
kill -INT "$follower"
check_exit 130 wait "$follower"
sed -n 's/.*?n=\([0-9]*\).*/\1/p' follow.out | sort >seen
seq -f '%06.0f' "$requests" | diff - seen >difference || check_failed "lines differ:" "$(head -n 5 difference)"
[[ -e $(service_dir nginx)/log.1 ]] || check_failed "the log was not rotated"
check_equal "what the follower says" "$(<follow.err)" ''

it "keeps as many log files as the manifest says"
check_equal "log files" "$(cd "$(service_dir nginx)" && echo log*)" 'log log.1'

it "starts again after kill -9 of its master, and no worker of the old one is left"
for count in 1 2 3; do
  mapfile -t old < <(pgrep -P "$(field nginx .pid)"; field nginx .pid)
  kill -KILL "$(field nginx .pid)"
  await nginx "status.state == 'running' and status.restarts == $count"
  for pid in "${old[@]}"; do process_ended "$pid"; done
done
curl -sS --retry 20 --retry-delay 1 --retry-connrefused -o /dev/null "$url/"
check_equal "the page" "$(answer)" 'moonport serves nginx'
check_equal "restarts" "$(field nginx .restarts)" 3

it "stops by the signal that the manifest names"
moonport stop nginx >/dev/null
check_equal "exit code" "$(field nginx .exit.code)" 0
check_matches "$(service_dir nginx)/shim.log" 'SIGQUIT|QUIT'

it "restarts on request"
moonport start nginx >/dev/null
pid=$(field nginx .pid)
moonport restart nginx >/dev/null
process_ended "$pid"
check_equal "the page" "$(answer)" 'moonport serves nginx'

it "leaves nothing"
moonport rm nginx >rm.out 2>&1
if curl -s "$url/" -o /dev/null; then check_failed "something still serves"; fi
check_nothing_left

done_testing
