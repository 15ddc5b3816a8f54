#!/bin/bash
# What the kernels of some hosts lack, in the test guest: rules that refuse with an answer, and the bridges
# that a packet passes.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"

run=$(cd "$(dirname "${BASH_SOURCE[0]}")/../fixtures/guest" && pwd)/run
need nft

# Libraries that are opened by their names, so that nothing else says that they are needed.
libraries=()
for name in libnftnl.so.11 libmnl.so.0; do
  path=$(/sbin/ldconfig -p | awk -v name="$name" '$1 == name { print $NF; exit }')
  libraries+=(--file "$path:$path")
done

cat >rules.lua <<'LUA'
local nft = require "moonport.nft"
local process = require "moonport.process"

-- family -> {rule, as nft prints it}
local RULES = {
  inet = {
    { { reject = true }, "reject" },
    { { tcp = { dport = 5 }, reject = "tcp reset" }, "tcp dport 5 reject with tcp reset" },
    { { reject = "host-unreachable" }, "reject with icmpx host-unreachable" },
    { { reject = "icmp net-unreachable" }, "reject with icmp net-unreachable" },
    { { reject = "icmpv6 no-route" }, "reject with icmpv6 no-route" },
  },
  ip = {
    { { reject = true }, "reject" },
    { { ip = { saddr = "10.0.0.1" }, reject = "admin-prohibited" },
      "ip saddr 10.0.0.1 reject with icmp admin-prohibited" },
  },
  ip6 = { { { reject = "addr-unreachable" }, "reject with icmpv6 addr-unreachable" } },
  bridge = {
    { { ibrname = "br0", verdict = "accept" }, 'meta ibrname "br0" accept' },
    { { obrname = { ne = "br1" }, verdict = "drop" }, 'meta obrname != "br1" drop' },
    { { ip = { saddr = "10.0.0.0/8" }, verdict = "drop" }, "ip saddr 10.0.0.0/8 drop" },
    { { arp = { operation = "request" }, verdict = "accept" }, "arp operation request accept" },
  },
}

local failed = 0
local function same(what, got, wanted)
  if got ~= wanted then
    failed = failed + 1
    print(("%s: got `%s`, wanted `%s`"):format(what, tostring(got), wanted))
  end
end

local function show(value)
  if type(value) ~= "table" then return tostring(value) end
  local keys, parts = {}, {}
  for key in pairs(value) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  for _, key in ipairs(keys) do
    parts[#parts + 1] = key .. "=" .. show(value[key] ~= nil and value[key] or value[tonumber(key)])
  end
  return "{" .. table.concat(parts, " ") .. "}"
end

for family, rules in pairs(RULES) do
  local hook = family == "bridge" and "forward" or "input"
  nft.apply { { table = { family = family, name = "moon" } },
    { chain = { family = family, table = "moon", name = "c", hook = hook } } }
  for _, each in ipairs(rules) do
    local rule = { family = family, table = "moon", chain = "c" }
    for key, value in pairs(each[1]) do rule[key] = value end
    local _, why = try(nft.apply, { { rule = rule } })
    same(family .. ": " .. each[2], tostring(why), "nil")
  end
  local listed = nft.table("moon", family).chains[1].rules
  local printed = {}
  local text = process.run({ "/bin/nft", "list", "chain", family, "moon", "c" }).stdout
  for line in text:gmatch "\t\t([^\n]+)" do
    if not line:find "^type " then printed[#printed + 1] = line end
  end
  for i, each in ipairs(rules) do
    same(family, printed[i], each[2])
    listed[i].handle = nil
    same(family .. " listed", show(listed[i]), show(nft.normal(each[1], family)))
  end
end
assert(failed == 0, "something is not as it should be")
print "all as meant"
LUA

it "writes and lists rules that refuse, and bridges"
code=0
"$run" --memory 1024 "${libraries[@]}" \
  --file "$(command -v nft):/bin/nft" --file "$PWD/rules.lua:/rules.lua" \
  --file "$(dirname "$MOONPORT")/moonport-shim:/guest/moonport-shim" \
  --module nf_tables --module nft_reject_inet --module nft_reject_ipv4 --module nft_reject_ipv6 \
  --module nft_reject_bridge --module nft_meta_bridge \
  -- "$MOONPORT" run /rules.lua >out 2>err || code=$?
check_equal "exit code" "$code" 0
check_equal "output" "$(tail -n1 out)" "all as meant"
if ((code != 0)); then cat out err >&2; fi

done_testing
