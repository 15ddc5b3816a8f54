--- Follows ConfigMaps (`app=bench`) until one is called `end`: from now, which it says by
-- `ready`, or from VERSION.
-- LOG gets a line per change, `apply NAME VERSION` or `delete NAME`. Prints changes per second, and
-- by how many KiB the process grew after the first quarter of COUNT.
local log, count, version = io.open(arg[1], "w"), tonumber(arg[2]), arg[3]

local clock = require "moonport.core.clock"
local kube = require "moonport.kube"

local function resident()
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^VmRSS:%s+(%d+)")
    if kib then return tonumber(kib) end
  end
end

local seen, first, quarter = 0, nil, nil

local function note(event)
  local metadata = event.object.metadata
  if event.type == "DELETED" then
    log:write("delete ", metadata.name, "\n")
  else
    log:write("apply ", metadata.name, " ", metadata.resourceVersion, "\n")
  end
  first = first or clock.monotonic()
  seen = seen + 1
  if seen == count // 4 then quarter = resident() end
  return metadata.name == "end"
end

local options = { labels = "app=bench", resource_version = version, sync = not version or nil }
for event in kube.connect():watch("configmaps", options) do
  if event.type == "SYNC" then
    io.stdout:write("ready\n"):flush()
  elseif note(event) then
    break
  end
end
log:close()
print(("%.0f %d"):format(seen / (clock.monotonic() - first), resident() - (quarter or 0)))
