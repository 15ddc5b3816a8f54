--- Which kubeconfig the container target reads, and what it says where none is.
local fs = require "moonport.fs"
local json = require "moonport.json"
local process = require "moonport.process"

local CONFIG = [[
current-context: here
contexts: [{name: here, context: {cluster: one}}]
clusters: [{name: one, cluster: {server: "https://127.0.0.1:1"}}]
]]

describe("the kubeconfig of a deployment", function()
  local dir

  before_each(function()
    dir = fs.temp_dir { name = "mp-kubeconfig-" }
    for _, name in ipairs { "there", "site" } do fs.mkdirs(dir .. "/" .. name) end
    fs.write(dir .. "/there/config.yaml", CONFIG)
  end)
  after_each(function() fs.remove_tree(dir) end)

  local function moonport(env, ...)
    local all = { HOME = dir, MOONPORT_SITE = dir .. "/site", MOONPORT_STATE = dir .. "/state" }
    for name, value in pairs(env) do all[name] = value end
    local argv = { os.getenv "MOONPORT", ... }
    argv.env, argv.check = all, false
    return process.run(argv)
  end

  -- What planning a manifest says.
  local function plan(settings, env)
    local path = dir .. "/w.lua"
    fs.write(path, ([[return { name = "w", target = "container", image = "busybox",
      command = { "true" }, container = { %s } }]]):format(settings))
    local result = moonport(env or {}, "plan", path)
    assert.equal(1, result.code)
    return result.stderr
  end

  local function says(text, part)
    assert.truthy(text:find(part, 1, true), ("`%s` is not in: %s"):format(part, text))
  end

  it("must be there where the manifest names it, which hints at what may be meant", function()
    local path = dir .. "/there/config.yml"
    local said = plan(("kubeconfig = %q"):format(path))
    says(said, "could not read the kubeconfig `" .. path .. "`")
    says(said, "hint: `container.kubeconfig` of the manifest names it; did you mean `" .. dir
      .. "/there/config.yaml`?")
    says(plan(("kubeconfig = %q"):format(dir .. "/nowhere/config")),
      "there is no folder `" .. dir .. "/nowhere`")
  end)

  it("must be there where the site names it, which hints at kubectl's own", function()
    fs.mkdirs(dir .. "/.kube")
    fs.write(dir .. "/.kube/config", CONFIG)
    fs.write(dir .. "/site/config.lua",
      ("return { kube = { kubeconfig = %q } }"):format(dir .. "/there/other"))
    says(plan "", "hint: `kube.kubeconfig` of the site names it; `" .. dir
      .. "/.kube/config` is there")
  end)

  it("is passed over where it is missing in KUBECONFIG, which is named when all are", function()
    local none, other = dir .. "/none", dir .. "/other"
    says(plan("", { KUBECONFIG = none }),
      "there is no Kubernetes configuration: KUBECONFIG is " .. none)
    says(plan("", { KUBECONFIG = none .. ":" .. other }),
      "there is no Kubernetes configuration: KUBECONFIG is " .. none .. ":" .. other)
    says(plan('context = "here"', { KUBECONFIG = none }),
      "hint: no kubeconfig was found: KUBECONFIG is " .. none)
    says(plan("", { KUBECONFIG = none .. ":" .. dir .. "/there/config.yaml" }),
      "https://127.0.0.1:1")
  end)

  it("is missed by doctor only where something names one", function()
    local function about_the_cluster(env)
      local result = moonport(env, "doctor", "-o", "json")
      for _, row in ipairs(json.decode(result.stdout)) do
        if row.check == "cluster" then return row end
      end
    end
    assert.equal("ok", about_the_cluster({ KUBECONFIG = "" }).result)
    local row = about_the_cluster { KUBECONFIG = dir .. "/none" }
    assert.equal("warning", row.result)
    says(row.found, "KUBECONFIG is " .. dir .. "/none")
  end)
end)
