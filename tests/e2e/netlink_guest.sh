#!/bin/bash
# Kinds of links that the kernels of some hosts lack, in the test guest: VLANs and dummies.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"

run=$(cd "$(dirname "${BASH_SOURCE[0]}")/../fixtures/guest" && pwd)/run
need ip

cat >links.lua <<'LUA'
local netlink = require "moonport.netlink"
local process = require "moonport.process"

local function ip(name)
  return process.run({ "/bin/ip", "-d", "-o", "link", "show", name }).stdout
end

local function check(what, got, wanted)
  if not got:find(wanted) then error(("%s: `%s` in:\n%s"):format(what, wanted, got), 2) end
end

netlink.add_link { name = "trunk", kind = "dummy", up = true, mtu = 1400 }
local vlan = netlink.add_link {
  name = "trunk.42", kind = "vlan", link = "trunk", id = 42, up = true, alias = "of a test",
  addresses = { "10.42.0.1/24" },
}
assert(vlan.kind == "vlan" and vlan.id == 42 and vlan.parent == "trunk" and vlan.up)
check("a vlan as ip shows it", ip "trunk.42", "trunk%.42@trunk:.* vlan protocol 802%.1Q id 42 ")
check("its alias", ip "trunk.42", "alias of a test")
check("a dummy as ip shows it", ip "trunk", " dummy ")
assert(netlink.addresses { link = "trunk.42", family = "inet" }[1].address == "10.42.0.1/24")
assert(netlink.link("trunk").kind == "dummy" and #netlink.links { kind = "vlan" } == 1)

-- One id stands on a link once, and an id has 12 bits.
local _, twice = try(netlink.add_link, { name = "again", kind = "vlan", link = "trunk", id = 42 })
assert(twice.code == "EEXIST", tostring(twice))
assert(not pcall(netlink.add_link, { name = "v", kind = "vlan", link = "trunk", id = 4096 }))
assert(not try(netlink.link, "again") and not try(netlink.link, "v"))

netlink.delete_link "trunk" -- and what stands on it
assert(not try(netlink.link, "trunk.42"))
print "all as meant"
LUA

it "makes, lists and deletes VLANs and dummies"
code=0
"$run" --memory 1024 --file "$(command -v ip):/bin/ip" --file "$PWD/links.lua:/links.lua" \
  --file "$(dirname "$MOONPORT")/moonport-shim:/guest/moonport-shim" \
  --module dummy --module 8021q -- "$MOONPORT" run /links.lua >out 2>err || code=$?
check_equal "exit code" "$code" 0
check_equal "output" "$(tail -n1 out)" "all as meant"
if ((code != 0)); then cat out err >&2; fi

done_testing
