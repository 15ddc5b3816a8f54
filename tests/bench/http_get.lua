--- COUNT GETs, AT_ONCE at the same time, from URL. Prints requests per second, and by how many KiB
-- the process grew between the first quarter and the end.
local url, count, at_once = arg[1], tonumber(arg[2]), tonumber(arg[3])

local http = require "moonport.http"
local task = require "moonport.task"
local clock = require "moonport.core.clock"

local function resident()
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^VmRSS:%s+(%d+)")
    if kib then return tonumber(kib) end
  end
end

local left, quarter = count, nil
local function worker()
  while left > 0 do
    left = left - 1
    local res = http.get(url)
    if res.status ~= 200 or #res.body ~= 1024 then error("bad answer: " .. tostring(res)) end
    if not quarter and left <= count * 3 / 4 then quarter = resident() end
  end
end

local workers = {}
for i = 1, at_once do workers[i] = worker end
local start = clock.monotonic()
task.all(workers)
local seconds = clock.monotonic() - start
print(string.format("%.0f %d", count / seconds, resident() - quarter))
