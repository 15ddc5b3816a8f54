--- Runs /bin/true COUNT times, PARALLEL at once.
--
--     moonport run spawn_true.lua [COUNT [PARALLEL]]

local process = require "moonport.process"
local task = require "moonport.task"

local left = tonumber((...)) or 2000
local workers = {}
for i = 1, tonumber((select(2, ...))) or 16 do
  workers[i] = function()
    while left > 0 do
      left = left - 1
      process.run { "/bin/true" }
    end
  end
end
task.all(workers)
