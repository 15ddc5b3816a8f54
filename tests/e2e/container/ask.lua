-- ask.lua NAME PORT PATH: what a service answers through a forwarded port: status, then body.
local http = require "moonport.http"
local service = require "moonport.service"

local name, port, path = arg[1], tonumber(arg[2]), arg[3]
local forwarded <close> = service.open(name):forward(port)
local answer = http.get(("http://%s:%d%s"):format(forwarded.address, forwarded.port, path))
print(answer.status)
print(answer.body)
