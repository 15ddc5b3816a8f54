--- Where images are kept: one directory for each, named after its SHA-256.
--
--    <state>/images/<sha256>/   image.json, disk.raw, kernel, initrd; appears whole or not at all
--    <state>/images/downloads/  what is being fetched, and what a cut connection left of it
--    <state>/images/locks/      one for each source and image, and `use`: shared by who is about to
--                               use an image, held alone by who removes some
--
-- It lies with the state and not in a cache that anybody may empty: the disks of VMs are layers
-- over these images. Images are no secret; a VMM under an account of its own reads them.
-- @module moonport.image.store

local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"

local M = {}

local Store = {}
Store.__index = Store

local VERSION = 1
local PASS = "0711"
local FOREVER = true

--- Opens the images of a state store. Nothing is made by this.
-- @tparam state|table state anything with the state's `dir`
-- @treturn store
function M.open(state)
  return setmetatable({ dir = fs.join(state.dir, "images") }, Store)
end

--- Makes the directories.
function Store:prepare()
  fs.mkdirs(self.dir, PASS)
  for _, name in ipairs { "downloads", "locks" } do fs.mkdirs(fs.join(self.dir, name), "0700") end
end

local function path_of(store, hash)
  return fs.join(store.dir, hash)
end

local function read(store, hash)
  local dir = path_of(store, hash)
  local text, why = try(fs.read, fs.join(dir, "image.json"))
  if errors.is(why, nil, "ENOENT") then return nil end
  if why then error(why, 0) end
  local record = json.decode(text)
  if record.version ~= VERSION then return nil end
  record.dir, record.path = dir, fs.join(dir, "disk.raw")
  record.kernel = record.has_kernel and fs.join(dir, "kernel") or nil
  record.initrd = record.has_initrd and fs.join(dir, "initrd") or nil
  return record
end

local KEPT = {
  "version", "digest", "size", "arch", "sources", "created", "root", "kernel_version",
  "kernel_from", "kernel_missing", "has_kernel", "has_initrd", "format",
}

local function write(dir, record)
  local kept = { version = VERSION }
  for _, name in ipairs(KEPT) do kept[name] = kept[name] or record[name] end
  fs.write(fs.join(dir, "image.json"), json.encode(kept, { sort_keys = true }) .. "\n", {
    mode = "0644",
  })
end

--- Lists the images, the newest first.
-- @treturn {table,...} see @{Store:get}
function Store:list()
  local list = {}
  for _, entry in ipairs(fs.exists(self.dir) and fs.list(self.dir) or {}) do
    local record = #entry.name == 64 and read(self, entry.name)
    if record then list[#list + 1] = record end
  end
  table.sort(list, function(a, b) return a.created > b.created end)
  return list
end

--- An image by its digest.
-- @tparam string digest "sha256:..." or its digits
-- @treturn ?table `digest`, `path` (raw), `size` that the guest sees, `kernel`, `initrd`, `root`,
--   `arch`, `created`, `sources`: list of {key, label, url, checksum, list, verified, added}
function Store:get(digest)
  return read(self, (digest:gsub("^sha256:", "")))
end

--- The image that came from a source last.
-- @tparam table source of `moonport.image.source`
-- @treturn ?table
function Store:find(source)
  if source.sha256 then return self:get(source.sha256) end
  local best, latest
  for _, record in ipairs(self:list()) do
    for _, known in ipairs(record.sources) do
      if known.key == source.key and (not latest or known.added > latest) then
        best, latest = record, known.added
      end
    end
  end
  return best
end

--- Notes that an image came from a source.
-- @tparam string digest
-- @tparam table known {key, label, url, checksum, list, verified, added}
function Store:note(digest, known)
  local lock <close> = self:lock(digest) -- luacheck: ignore lock
  local record = self:get(digest)
  local sources = { known }
  for _, other in ipairs(record.sources) do
    if other.key ~= known.key then sources[#sources + 1] = other end
  end
  record.sources = sources
  write(record.dir, record)
  return self:get(digest)
end

local function lock_file(store, what)
  return fs.join(store.dir, "locks", crypto.hash("sha256", what):sub(1, 32))
end

--- Takes the lock of a source or an image.
-- @tparam string what
-- @tparam[opt] function waiting called once when another has it
-- @treturn lock
function Store:lock(what, waiting)
  local path = lock_file(self, what)
  local lock, why = try(fs.lock, path)
  if lock then return lock end
  if not errors.is(why, nil, "held") then error(why, 0) end
  if waiting then waiting() end
  return fs.lock(path, { wait = FOREVER })
end

--- Keeps images from being removed, as long as the lock is held.
-- @treturn lock
function Store:use()
  self:prepare()
  return fs.lock(fs.join(self.dir, "locks", "use"), { shared = true, wait = FOREVER })
end

--- Waits until nobody is about to use an image, and keeps it so.
-- @treturn lock
function Store:alone()
  self:prepare()
  return fs.lock(fs.join(self.dir, "locks", "use"), { wait = FOREVER })
end

--- Where a source is downloaded to.
-- @tparam table source
-- @treturn string
function Store:download_path(source)
  return fs.join(self.dir, "downloads", crypto.hash("sha256", source.url):sub(1, 32))
end

--- Makes the directory that becomes an image; what a killed command left of one is removed.
-- @tparam string hash
-- @treturn string
function Store:begin(hash)
  local dir = path_of(self, ".new-" .. hash)
  fs.remove_tree(dir)
  fs.mkdirs(dir, "0755")
  return dir
end

--- Makes it an image.
-- @tparam string hash
-- @tparam table record
-- @treturn table as @{Store:get}
function Store:finish(hash, record)
  local dir = path_of(self, ".new-" .. hash)
  write(dir, record)
  self:remove(hash) -- one that this moonport cannot read
  fs.sync(fs.join(dir, "image.json"))
  fs.rename(dir, path_of(self, hash))
  fs.sync(self.dir)
  return read(self, hash)
end

--- Removes an image.
-- @tparam string digest
function Store:remove(digest)
  local hash = digest:gsub("^sha256:", "")
  -- In one step it is none any more; then its files go.
  local gone = path_of(self, ".gone-" .. hash)
  fs.remove_tree(gone)
  local _, why = try(fs.rename, path_of(self, hash), gone)
  if why and not errors.is(why, nil, "ENOENT") then error(why, 0) end
  fs.remove_tree(gone)
end

--- What a file or directory takes on the disk.
-- @tparam string path
-- @treturn integer bytes
function M.bytes(path)
  local bytes = 0
  local stat = fs.stat(path, { follow = false })
  if stat.type ~= "directory" then return stat.blocks * 512 end
  for entry in fs.walk(path) do
    local found = try(fs.stat, entry.path, { follow = false })
    bytes = bytes + (found and found.blocks * 512 or 0)
  end
  return bytes
end

--- Lists what killed commands and cut connections left. Only for who is `alone`.
-- @treturn {{path,bytes},...}
function Store:leftovers()
  local list = {}
  local function add(path) list[#list + 1] = { path = path, bytes = M.bytes(path) } end
  for _, entry in ipairs(fs.exists(self.dir) and fs.list(self.dir) or {}) do
    if entry.name:find "^%.new%-" or entry.name:find "^%.gone%-" then
      add(fs.join(self.dir, entry.name))
    end
  end
  local downloads = fs.join(self.dir, "downloads")
  for _, entry in ipairs(fs.exists(downloads) and fs.list(downloads) or {}) do
    add(fs.join(downloads, entry.name))
  end
  return list
end

return M
