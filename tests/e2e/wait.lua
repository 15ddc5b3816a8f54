-- wait.lua NAME STATE: waits until a service has reached a state, and tells which one it is then.
-- One that has reached it is not waited for, so a minute is far too long.
local service = require "moonport.service"

print(service.open(arg[1]):wait(arg[2], { timeout = 60 }).state)
