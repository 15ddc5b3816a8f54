--- Lists all pods, which must be COUNT.
local count = tonumber(arg[1])

local pods = require("moonport.kube").connect():list("pods")
if #pods.items ~= count then error(("%d pods instead of %d"):format(#pods.items, count)) end
