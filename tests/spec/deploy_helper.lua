--- What the specs of the engine share: a store, a site with a target of files, and manifests.
local deploy = require "moonport.deploy"
local fs = require "moonport.fs"
local json = require "moonport.json"
local manifest = require "moonport.manifest"
local service = require "moonport.service"
local site = require "moonport.site"
local state = require "moonport.state"

local M = {}

local FIXTURE = os.getenv "MP_SOURCE_DIR" .. "/tests/fixtures/engine"

--- Copies the fixture to a directory that nobody else can write to.
local function copy_site(dir)
  fs.mkdirs(dir .. "/recipes/targets")
  local name = "/recipes/targets/native.lua"
  fs.write(dir .. name, fs.read(FIXTURE .. name))
end

--- The directory of one test with `state`, `site` and `base` in it.
function M.sandbox()
  local dir = fs.temp_dir()
  local box = { dir = dir, state = dir .. "/state", site = dir .. "/site", base = dir .. "/base" }
  copy_site(box.site)
  fs.mkdirs(box.base)
  return box
end

--- An environment on the sandbox's store. Its events are kept in `events`.
function M.open(box)
  local env = { events = {}, site = site.open { dir = box.site } }
  env.notices = {}
  env.state = state.open {
    dir = box.state,
    notice = function(text)
      env.notices[#env.notices + 1] = text
    end,
  }
  function env.observer(event)
    env.events[#env.events + 1] = event
  end
  deploy.register_targets(env)
  return env
end

--- A manifest's raw data.
function M.raw(box, changes)
  local raw = {
    name = "svc",
    target = "native",
    command = { "/bin/true" },
    description = "one",
    native = { base = box.base },
  }
  for key, value in pairs(changes or {}) do
    if key == "native" then
      for name, inner in pairs(value) do
        raw.native[name] = inner
      end
    else
      raw[key] = value
    end
  end
  return raw
end

--- A loaded manifest.
function M.manifest(box, changes)
  local loaded = manifest.build { { name = "manifest", file = "m.lua", raw = M.raw(box, changes) } }
  loaded.file = "m.lua"
  return loaded
end

--- Writes a manifest as JSON; returns its path.
function M.write_manifest(box, changes)
  local path = box.dir .. "/m.json"
  fs.write(path, json.encode(M.raw(box, changes)))
  return path
end

--- The lines that the target's functions left, and forgets them.
function M.trace(box)
  local path, lines = box.base .. ".trace", {}
  if fs.exists(path) then
    for line in fs.read(path):gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    fs.remove(path)
  end
  return lines
end

--- The names below a directory, without those that are expected to be there.
function M.names(dir)
  local names = {}
  for index, entry in ipairs(fs.list(dir)) do
    names[index] = entry.name
  end
  return names
end

--- What is left of deployments in the store's tables.
function M.rows(env)
  local counts = {}
  for _, name in ipairs {
    "deployments",
    "revisions",
    "journal",
    "resources",
    "shared",
    "shared_users",
    "leases",
  } do
    local count = env.state.db:row(("SELECT COUNT(*) AS n FROM %s"):format(name)).n
    if count > 0 then
      counts[name] = count
    end
  end
  return counts
end

--- Raises unless `fn` raises; returns what it raised.
function M.refusal(fn, ...)
  local ok, failure = pcall(fn, ...)
  if ok then
    error("nothing was raised", 2)
  end
  return failure
end

function M.holds(text, part)
  text = tostring(text)
  if not text:find(part, 1, true) then
    error(("`%s` is not in: %s"):format(part, text), 2)
  end
end

--- For a `describe`: gives each of its tests a sandbox, `box`, and an environment on it, `env`, and
-- functions that use them. The helper has to be loaded in the spec's own environment.
function M.given()
  local at = {}

  before_each(function()
    at.box = M.sandbox()
    at.env = M.open(at.box)
  end)

  after_each(function()
    at.env.state:close()
    fs.remove_tree(at.box.dir)
  end)

  --- Deploys.
  function at.run(changes)
    return deploy.run(at.env, M.manifest(at.box, changes))
  end

  --- As another command finds it.
  function at.reopen()
    at.env.state:close()
    at.env = M.open(at.box)
  end

  function at.state_of()
    return service.open(at.env, "svc"):status().state
  end

  return at
end

return M
