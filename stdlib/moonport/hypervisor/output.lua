--- What a virtual machine says: the service's output, and apart from it the guest's console.
--
-- The VMM's supervisor records both: the output is the VMM's stdout, the console its stderr, where
-- what the VMM itself complains about stands too. So they are there after the guest has gone.
-- @module moonport.hypervisor.output

local fs = require "moonport.fs"
local logs = require "moonport.logs"
local places = require "moonport.hypervisor.places"

local M = {
  --- The stream with the service's output.
  SERVICE = "stdout",
  --- The stream with the guest's console.
  CONSOLE = "stderr",
}

-- What QEMU says of its console, before any guest says a word.
local function is_vmms_own(line)
  return line.text:find "^char device redirected to /dev/pts/%d+ %(label %w+%)$" ~= nil
end

-- An iterator without what the VMM itself says among the output.
local function without_vmms_own(next_line, state, control, closing)
  local function pass()
    while true do
      local line = next_line(state, control)
      if not line or not line.text or not is_vmms_own(line) then return line end
    end
  end
  return pass, nil, nil, closing
end

--- Reads one of both.
-- @tparam context ctx
-- @tparam table options as for `moonport.logs.read`; `console`: the guest's console
-- @treturn function iterator of {time, stream, text}
function M.read(ctx, options)
  local call = {}
  for key, value in pairs(options) do call[key] = value end
  call.dir = places.supervisor(ctx)
  call.stream = options.console and M.CONSOLE or M.SERVICE
  if options.console then return logs.read(call) end
  return without_vmms_own(logs.read(call))
end

local function last_lines(ctx, options)
  local dir = places.supervisor(ctx)
  if not fs.exists(dir) then return {} end
  local list = {}
  for line in M.read(ctx, options) do
    list[#list + 1] = { time = line.time, stream = line.stream, text = line.text }
  end
  return list
end

--- The last lines of the service's output.
-- @tparam context ctx
-- @tparam integer count
-- @treturn {table,...}
function M.service_tail(ctx, count)
  return last_lines(ctx, { tail = count })
end

-- What drives a terminal says nothing in a report.
local function plain(text)
  return (text:gsub("\27%[[%d;?]*%a", ""):gsub("[%c]+", ""))
end

--- The last lines of the guest's console, as text.
-- @tparam context ctx
-- @tparam integer count
-- @treturn {string,...}
function M.console_tail(ctx, count)
  local list = {}
  for index, line in ipairs(last_lines(ctx, { tail = count, console = true })) do
    list[index] = plain(line.text)
  end
  return list
end

return M
