--- net_tap.lua COUNT ROUNDS: TAPs with an address, up, down and removed, by mp.netlink. Prints the
-- milliseconds of the best round: one made and taken down, one removed, all removed at once.
local clock = require "moonport.clock"
local netlink = require "moonport.netlink"

local count = math.tointeger(tonumber(arg[1]))
local rounds = math.tointeger(tonumber(arg[2]))

local function milliseconds(fn)
  local begun = clock.monotonic()
  fn()
  return (clock.monotonic() - begun) * 1000
end

local names = {}
for index = 1, count do names[index] = "bench" .. index end

local function make()
  for index, name in ipairs(names) do
    netlink.add_link {
      name = name, kind = "tap", up = true,
      addresses = { ("10.66.%d.1/30"):format(index) },
    }
  end
end

local function take_down()
  for _, name in ipairs(names) do netlink.set_link(name, { up = false }) end
end

local best = { up_down = math.huge, one = math.huge, all = math.huge }
netlink.links() -- the connection is made once
for _ = 1, rounds do
  best.up_down = math.min(best.up_down, (milliseconds(make) + milliseconds(take_down)) / count)
  best.all = math.min(best.all, milliseconds(function() netlink.delete_links(names) end))
  for _ = 1, 5 do
    netlink.add_link { name = "bench", kind = "tap", up = true, addresses = { "10.66.0.1/30" } }
    best.one = math.min(best.one, milliseconds(function() netlink.delete_link "bench" end))
  end
end
print(("%.4f %.4f %.4f"):format(best.up_down, best.one, best.all))
