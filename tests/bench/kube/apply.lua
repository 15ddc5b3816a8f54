--- Server-side applies the object of each FOLDER/*.yaml, AT_ONCE at the same time.
local folder, at_once = arg[1], tonumber(arg[2])

local fs = require "moonport.fs"
local kube = require "moonport.kube"
local task = require "moonport.task"
local yaml = require "moonport.yaml"

local cluster = kube.connect()

local function apply(path)
  local file <close> = io.open(path)
  cluster:apply(yaml.decode(file:read("a")))
end

local paths = {}
for entry in fs.walk(folder) do
  if entry.path:match("%.yaml$") then paths[#paths + 1] = entry.path end
end
task.map(paths, at_once, apply)
