-- cycles.lua MANIFEST COUNT: deploys and removes one service again and again, and fails when that
-- leaves descriptors, threads, children or memory behind in this process.
local deploy = require "moonport.deploy"
local fs = require "moonport.fs"
local manifest = require "moonport.manifest"
local site = require "moonport.site"
local state = require "moonport.state"

local env = { state = state.open(), site = site.open() }
deploy.register_targets(env)

local function count(dir) return #fs.list(dir) end

local function children()
  local list = fs.read("/proc/thread-self/children")
  return select(2, list:gsub("%d+", ""))
end

local function resident()
  collectgarbage()
  collectgarbage()
  return tonumber(fs.read("/proc/self/status"):match("VmRSS:%s+(%d+)"))
end

local function figures()
  return {
    descriptors = count("/proc/self/fd"), threads = count("/proc/self/task"), children = children(),
    lua = collectgarbage("count"), resident = resident(),
  }
end

local function cycle()
  deploy.run(env, manifest.load(arg[1], { site = env.site }))
  deploy.remove(env, "one")
end

local WARM_UP = 50
for _ = 1, WARM_UP do cycle() end
local before = figures()
for _ = 1, tonumber(arg[2]) - WARM_UP do cycle() end
local after = figures()

local failed = false
local function compare(name, most)
  print(("%-12s %8.0f before, %8.0f after"):format(name, before[name], after[name]))
  failed = failed or after[name] > before[name] + most
end
compare("descriptors", 0)
compare("threads", 0)
compare("children", 0)
compare("lua", 1024) -- KiB; its tables grow by doubling
compare("resident", 4096) -- KiB
env.state:close()
if failed then error("it grew", 0) end
