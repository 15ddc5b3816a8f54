-- What servers told about their API, kept on disk: one file a server.
--
-- It is only ever a guess that saves a question, so whatever is wrong with it is no error.

local clock = require "moonport.core.clock"
local crypto = require "moonport.crypto"
local fs = require "moonport.fs"
local json = require "moonport.json"
local sys = require "moonport.sys"

local M = {}

local VERSION = 1
local LARGEST = 16 << 20

local function environment(name)
  local value = not sys.secure and os.getenv(name) or nil
  return value ~= "" and value or nil
end

-- $MOONPORT_CACHE, /var/cache/moonport for root, else $XDG_CACHE_HOME/moonport; nil without a home.
local function base()
  local named = environment "MOONPORT_CACHE"
  if named then return named end
  if sys.euid() == 0 then return "/var/cache/moonport" end
  local home = environment "HOME"
  local dir = environment "XDG_CACHE_HOME" or home and home .. "/.cache"
  return dir and dir .. "/moonport"
end

local function path_of(server)
  local dir = base()
  local digest = crypto.hash("sha256", server):sub(1, 32)
  return dir and dir .. "/discovery/" .. digest .. ".json"
end

local function load(path)
  local info = fs.stat(path)
  if not info or info.size > LARGEST or info.uid ~= sys.euid() then return nil end
  return json.decode(fs.read(path))
end

-- The catalog of a server as it was kept, when that was within `seconds`; nil otherwise.
function M.read(server, seconds)
  local path = path_of(server)
  local kept = path and try(load, path)
  if type(kept) ~= "table" or kept.version ~= VERSION or kept.server ~= server then return nil end
  local age = clock.now() - (tonumber(kept.at) or 0)
  if age < 0 or age > seconds then return nil end
  local catalog = kept.catalog
  if type(catalog) ~= "table" or type(catalog.groups) ~= "table" or
    type(catalog.lists) ~= "table" then
    return nil
  end
  return { complete = catalog.complete == true, groups = catalog.groups, lists = catalog.lists,
    failures = {}, at = kept.at }
end

local function save(path, text)
  fs.mkdirs(fs.dirname(path), "0700")
  fs.write(path, text, { mode = "0600", sync = false })
end

-- Keeps a catalog. A group that did not answer is left out, so that it is asked for again.
function M.write(server, catalog)
  local path = path_of(server)
  if not path then return end
  catalog.at = catalog.at or clock.now()
  try(save, path, json.encode {
    version = VERSION, server = server, at = catalog.at,
    catalog = { complete = catalog.complete, groups = catalog.groups, lists = catalog.lists },
  })
end

return M
