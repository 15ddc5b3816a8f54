--- Runs `moonport WORDS...`. Writes to LOG for how many milliseconds a request to the API server or
-- a watch was awaited, or several of them.
local log = arg[1]

local clock = require "moonport.core.clock"
local core = require "moonport.core.kube"

local total, since, under_way = 0, nil, 0

local awaits = setmetatable({}, {
  __close = function()
    under_way = under_way - 1
    if under_way == 0 then total = total + clock.monotonic() - since end
  end,
})

local function awaited(fn, ...)
  if under_way == 0 then since = clock.monotonic() end
  under_way = under_way + 1
  local _ <close> = awaits
  return fn(...)
end

-- A client whose requests, and reading from whose streams, are noticed.
local open = core.open
function core.open(config)
  local client = open(config)
  local watched = { config = client.config }
  function watched.close(_) client:close() end
  function watched.request(_, options)
    local response = awaited(client.request, client, options)
    if options.stream then
      local read = response.read
      function response.read(self) return awaited(read, self) end
    end
    return response
  end
  return watched
end

local status = require("moonport.cli").main(table.move(arg, 2, #arg, 1, {}))
local file = assert(io.open(log, "w"))
file:write(("%.3f\n"):format(total * 1000))
file:close()
os.exit(status)
