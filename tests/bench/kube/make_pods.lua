--- Makes COUNT pods that no scheduler looks at, as a service's are.
local count = tonumber(arg[1])

local kube = require "moonport.kube"
local task = require "moonport.task"

local cluster = kube.connect()

local function pod(number)
  local probe = { httpGet = { path = "/healthz", port = 9464 } }
  return {
    apiVersion = "v1", kind = "Pod",
    metadata = {
      name = ("pod-%05d"):format(number),
      labels = {
        ["app.kubernetes.io/name"] = "bench", ["app.kubernetes.io/managed-by"] = "moonport",
        ["app.kubernetes.io/instance"] = "bench-" .. number % 100,
      },
      annotations = { ["moonport/revision"] = tostring(number) },
    },
    spec = {
      schedulerName = "nobody",
      containers = { {
        name = "service", image = "blueprint:1.0", args = { "run", "--test-mode", "--verbose" },
        env = {
          { name = "BLUEPRINT_ID", value = "1" }, { name = "SERVICE_ID", value = tostring(number) },
          { name = "CHAIN", value = "local_testnet" }, { name = "DATA_DIR", value = "/mnt/data" },
        },
        resources = {
          requests = { cpu = "100m", memory = "64Mi" }, limits = { cpu = "1", memory = "256Mi" },
        },
        livenessProbe = probe, readinessProbe = probe,
        volumeMounts = {
          { name = "keystore", mountPath = "/mnt/keystore", readOnly = true },
          { name = "data", mountPath = "/mnt/data" },
        },
      } },
      volumes = {
        { name = "keystore", secret = { secretName = "keystore" } },
        { name = "data", emptyDir = {} },
      },
    },
  }
end

local numbers = {}
for number = 1, count do numbers[number] = number end
task.map(numbers, 16, function(number) cluster:create(pod(number)) end)
