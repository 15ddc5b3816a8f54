--- Microseconds for a VM's rules into the firewall and out again, on one socket.
--
--    moonport run net_firewall.lua NFT-MICROSECONDS-IN NFT-MICROSECONDS-OUT
--    moonport run net_firewall.lua json ADD-FILE REMOVE-FILE     writes the same for `nft -j -f`
local changes = require "moonport.hypervisor.firewall.changes"
local clock = require "moonport.clock"
local fs = require "moonport.fs"
local json = require "moonport.json"
local layout = require "moonport.hypervisor.firewall.layout"
local nft = require "moonport.nft"

local STORE = "00000000-0000-0000-0000-000000000000"
local COUNTS = { 1, 10, 100, 1000 }
local ROUNDS, WINDOWS = 60, 5

local function record(n)
  return {
    id = ("bench%d-1"):format(n), deployment = "bench" .. n, revision = 1,
    tap = ("mp-%010x"):format(n), host = ("172.30.%d.%d"):format(n // 64, n % 64 * 4 + 1),
    guest = ("172.30.%d.%d"):format(n // 64, n % 64 * 4 + 2), egress = true,
    host_ports = { { protocol = "tcp", port = 8545, loopback = true } },
    published = { { protocol = "tcp", address = "127.0.0.1", port = 9000 + n, guest_port = 9090 } },
    peers = {}, rules = {},
  }
end

local function records(count)
  local list = {}
  for n = 1, count do list[n] = record(n) end
  return list
end

local function install(count)
  nft.apply {
    { op = "destroy", table = { name = layout.name(STORE) } },
    { op = "add", table = layout.table(STORE, records(count), { "up0" }) },
  }
end

-- The same elements in the form of libnftables' JSON.
local function value(key)
  return type(key) == "table" and { concat = key } or key
end

local function as_json(verb)
  local list = {}
  for _, element in ipairs(layout.elements(record(1001))) do
    local elem = value(element.key)
    if element.data then elem = { elem, value(element.data) } end
    list[#list + 1] = { [verb] = { element = { family = "inet", table = layout.name(STORE),
      name = element.set, elem = { elem } } } }
  end
  return json.encode { nftables = list }
end

local function quartile(list)
  table.sort(list)
  return list[#list // 4 + 1] * 1e6
end

local function measure_window(vm)
  local into, out = {}, {}
  for i = 1, ROUNDS do
    local begun = clock.monotonic()
    nft.apply(changes.add(STORE, vm))
    local between = clock.monotonic()
    nft.apply(changes.remove(STORE, vm))
    into[i], out[i] = between - begun, clock.monotonic() - between
  end
  return quartile(into), quartile(out)
end

-- Whatever else runs here only makes it slower: the lower quartile of the best of some windows.
local function measure(count)
  install(count)
  collectgarbage()
  local vm, best_in, best_out = record(1001), math.huge, math.huge
  for _ = 1, WINDOWS do
    local into, out = measure_window(vm)
    best_in, best_out = math.min(best_in, into), math.min(best_out, out)
  end
  return best_in, best_out
end

local first, second, third = ...
if first == "json" then
  install(100)
  fs.write(second, as_json "add")
  fs.write(third, as_json "delete")
  return
end

local into, out = {}, {}
for i, count in ipairs(COUNTS) do into[i], out[i] = measure(count) end
local function row(what, times, by_nft)
  local growth = math.max(table.unpack(times)) / math.min(table.unpack(times))
  print(("firewall-%s  moonport %.0f us  nft -j -f %.0f us  ratio %.1f  beside 1, 10, 100, 1000: "
    .. "%.0f %.0f %.0f %.0f us  (%.2f times)"):format(what, times[3], by_nft, by_nft / times[3],
    times[1], times[2], times[3], times[4], growth))
end
row("in", into, tonumber(first))
row("out", out, tonumber(second))
nft.apply { { op = "destroy", table = { name = layout.name(STORE) } } }
