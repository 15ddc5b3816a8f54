-- kill_doctor.lua NAME: kills `moonport doctor NAME` while it follows packets, and prints which
-- table it had made for that.
local nft = require "moonport.nft"
local process = require "moonport.process"

local HOSTS = 2 -- packets that the host sends, the last of all

local trace <close> = nft.trace()
local doctor <close> = process.spawn { os.getenv "MOONPORT", "doctor", (...), stdout = "null",
  stderr = "null" }
local name, seen, count = nil, {}, 0
while count < HOSTS do
  local step = trace:next()
  name = name or step.table
  if step.table == name and step.chain == "out" and not seen[step.id] then
    seen[step.id], count = true, count + 1
  end
end
assert(nft.table(name), "its table is there")
doctor:kill "SIGKILL"
doctor:wait()
print(name)
