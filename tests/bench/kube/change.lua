--- Makes COUNT changes to ConfigMaps, AT_ONCE at the same time, then one more of the name `end`.
-- LOG gets a line per change, `apply NAME VERSION` or `delete NAME`; for each name in their order.
local count, at_once = tonumber(arg[1]), tonumber(arg[2])
local log = io.open(arg[3], "w")

local kube = require "moonport.kube"
local task = require "moonport.task"

local LIFE = 10 -- changes of an object: made, changed, deleted

local cluster = kube.connect()

local function config_map(name, step)
  return {
    apiVersion = "v1", kind = "ConfigMap",
    metadata = { name = name, labels = { app = "bench" } },
    data = { step = tostring(step), settings = ("line of settings\n"):rep(30) },
  }
end

local function applied(object)
  log:write("apply ", object.metadata.name, " ", object.metadata.resourceVersion, "\n")
end

local function live(number)
  local name = "map-" .. number
  applied(cluster:create(config_map(name, 1)))
  for step = 2, LIFE - 1 do applied(cluster:replace(config_map(name, step))) end
  cluster:delete("configmaps", name)
  log:write("delete ", name, "\n")
end

local numbers = {}
for number = 1, count // LIFE do numbers[number] = number end
task.map(numbers, at_once, live)
applied(cluster:create(config_map("end", 1)))
log:close()
