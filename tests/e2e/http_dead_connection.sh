#!/bin/bash
# A kept HTTP/2 connection whose peer is gone without a word (here: its packets are dropped) fails the
# request that finds out, and no other after it.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"
need iptables ss unshare openssl nginx

# In a network of its own, where only this test's packets are dropped.
if [[ -z ${MP_IN_NETNS-} ]]; then
  user=()
  ((EUID == 0)) || user=(--map-root-user)
  unshare "${user[@]}" --net true 2>/dev/null || skip "no network namespace can be made"
  MP_IN_NETNS=1 exec unshare "${user[@]}" --net "${BASH_SOURCE[0]}" "$1"
fi
ip link set lo up

mkfifo ready hold
exec 8<>hold
"$1" <hold >ready 2>serve.log 8>&- &
read -r dir _ _ _ port <ready
export DIR=$dir PORT=$port

cat >drop.sh <<'SH'
set -e
peer=$(ss -tnH state established "dport = :$PORT" | awk '{ print $3 }' | head -n 1)
iptables -A INPUT -p tcp --sport "${peer##*:}" --dport "$PORT" -j DROP
SH

cat >ask.lua <<'LUA'
local http = require "moonport.http"
local process = require "moonport.process"
local dir, url = os.getenv "DIR", "https://127.0.0.1:" .. os.getenv "PORT" .. "/small"
local function ask()
  local res, err = try(http.get, url, { ca = dir .. "/ca.pem", idle_timeout = 3 })
  print(res and res.status or err.code)
end
ask()
process.run { "bash", "drop.sh" }
ask()
ask()
LUA

it "gives up the connection that is dead, and makes another"
check_equal "answers" "$("$MOONPORT" run ask.lua | xargs)" "200 timeout 200"

done_testing
