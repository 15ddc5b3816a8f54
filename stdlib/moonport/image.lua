--- Cloud images: found by name, fetched once, verified, made ready to boot from.
--
--     local got = image.ensure({ name = "debian:12" }, { state = state })
--     print(got.path, got.kernel, got.initrd, got.root)
--
-- An image is a raw disk, its kernel and its initramfs, under its SHA-256. However many commands
-- want one at the same time, it is fetched and converted once; a command that is killed leaves
-- nothing that counts as an image, and the next one goes on with what it had fetched.
-- @module moonport.image

local catalog = require "moonport.image.catalog"
local checksums = require "moonport.image.checksums"
local clock = require "moonport.clock"
local convert = require "moonport.image.convert"
local crypto = require "moonport.crypto"
local download = require "moonport.image.download"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local kernel = require "moonport.image.kernel"
local source_of = require "moonport.image.source"
local store_of = require "moonport.image.store"
local uses = require "moonport.image.uses"

local M = {}

--- Reads what people write.
-- @function parse
-- @tparam string text a name, a URL or a path
-- @treturn table {name=}, {url=} or {path=}, for @{ensure}
M.parse = source_of.parse

--- Lists the images that are known by name.
-- @function known
-- @treturn {{name,codename,arch,url},...}
M.known = catalog.list

local function quiet() end

local function resolve(wanted, env)
  local config = env.config and env.config.image or {}
  return source_of.resolve(wanted, config.mirrors)
end

--- Opens the images of a state store.
-- @tparam table env `state`
-- @treturn store
function M.store(env)
  return store_of.open(env.state)
end

-- What becomes of a download or a file.

-- Both or none: they belong together.
local function fetch_kernel(source, dir, progress)
  local unpacked = source.unpacked
  if not unpacked then return nil end
  progress("fetching the kernel of " .. source.label)
  local path = fs.join(dir, "kernel")
  if not download.beside(unpacked, "kernel", path, progress) then return nil end
  if not download.beside(unpacked, "initrd", fs.join(dir, "initrd"), progress) then
    fs.remove(path)
    return nil
  end
  kernel.unpack_kernel(path)
  return unpacked.kernel.url
end

local function add_kernel(source, dir, disk, progress)
  local from = fetch_kernel(source, dir, progress)
  local found = kernel.extract(disk, dir, from ~= nil)
  return {
    root = found.root, kernel_version = found.version, kernel_missing = found.missing,
    kernel_from = from or found.kernel and "the image" or nil,
    has_kernel = from ~= nil or found.kernel ~= nil,
    has_initrd = from ~= nil or found.initrd ~= nil,
  }
end

local function build(store, source, file, hash, progress)
  local dir = store:begin(hash)
  local _ <close> = setmetatable({}, {
    __close = function(_, err)
      if err ~= nil then fs.remove_tree(dir) end
    end,
  })
  local disk = fs.join(dir, "disk.raw")
  local made = convert.to_raw(file, disk, function(done)
    progress("converting " .. source.label, done, 100)
  end)
  local record = add_kernel(source, dir, disk, progress)
  record.digest, record.arch, record.created = "sha256:" .. hash, source.arch, clock.now()
  record.size, record.format, record.sources = made.size, made.format, {}
  return store:finish(hash, record)
end

local function hash_of(source, file, progress)
  progress("reading " .. source.label)
  local hash = crypto.hash_file("sha256", file)
  if not source.sha256 or source.sha256 == hash then return hash end
  errors.raise {
    kind = "image", code = "checksum",
    message = ("`%s` does not have the SHA-256 that is asked for, but %s"):format(source.label,
      hash),
    hint = "check the sha256, or where the image comes from",
  }
end

-- Makes an image of a file, unless there is that image.
local function take(store, source, file, progress)
  local hash = hash_of(source, file, progress)
  local lock <close> = store:lock("sha256:" .. hash, function() -- luacheck: ignore lock
    progress("waiting for another command, which makes the same image")
  end)
  return store:get(hash) or build(store, source, file, hash, progress)
end

local function note(store, source, record, expected)
  return store:note(record.digest, {
    key = source.key, label = source.label, url = source.url, added = clock.now(),
    checksum = expected.sha512 and "sha512:" .. expected.sha512
      or expected.sha256 and "sha256:" .. expected.sha256 or nil,
    list = expected.list,
    verified = expected.sha256 ~= nil or expected.sha512 ~= nil,
  })
end

-- Tells, on the way out of what was cancelled, with how much the next command goes on.
local function telling_kept(path, interrupted)
  return setmetatable({}, { __close = function(_, why)
    if errors.is(why, "task", "cancelled") then
      local kept = try(fs.stat, path .. ".part") or try(fs.stat, path)
      interrupted(kept and kept.size or 0)
    end
  end })
end

local function fetch(store, source, progress, interrupted)
  local path = store:download_path(source)
  local guard <close> = telling_kept(path, interrupted) -- luacheck: ignore guard
  local got = download.image(source, path, progress)
  local record = take(store, source, path, progress)
  fs.remove(path, { if_exists = true })
  return note(store, source, record, got.expected)
end

local function obtain(store, source, progress, interrupted)
  if source.url then return fetch(store, source, progress, interrupted) end
  local record = take(store, source, source.path, progress)
  return note(store, source, record, { sha256 = source.sha256 })
end

-- The image that has the checksum that the publisher tells now.
local function present_one(store, source)
  local expected = checksums.expected(source)
  local sum = expected.sha512 and "sha512:" .. expected.sha512
    or expected.sha256 and "sha256:" .. expected.sha256
  for _, record in ipairs(sum and store:list() or {}) do
    for _, known in ipairs(record.sources) do
      if known.checksum == sum then return note(store, source, record, expected) end
    end
  end
end

-- Finds or makes the image, as the only command that does so for this source.
local function provide(store, source, env)
  local progress = env.progress or quiet
  local lock <close> = -- luacheck: ignore lock
    store:lock(source.url or source.key, function()
      progress(("waiting for another command, which fetches %s"):format(source.label))
    end)
  local record
  if env.refresh and source.url then
    record = present_one(store, source)
  else
    record = store:find(source)
  end
  local fetched = not record
  record = record or obtain(store, source, progress, env.interrupted or quiet)
  record.fetched = fetched
  return record
end

local function own_kernel(record, wanted)
  record.kernel = wanted.kernel or record.kernel
  if wanted.kernel then record.initrd = wanted.initrd end
  if record.kernel then return record end
  errors.raise {
    kind = "image", code = "kernel",
    message = ("the image `%s` has no kernel that can be taken out: %s"):format(
      record.sources[1].label, record.kernel_missing),
    hint = "name one: `hypervisor.kernel` and `hypervisor.initrd` in the manifest",
  }
end

--- Tells what `ensure` would do, and does nothing.
-- @tparam table wanted as for @{ensure}
-- @tparam table env as for @{ensure}
-- @treturn table `name`, `source` (URL or path), `cached`, and of an image that is there `digest`
--   and `size`
-- @raise {kind="image"} for an unknown name, or a file that is not there
function M.plan(wanted, env)
  local source = resolve(wanted, env)
  local record = M.store(env):find(source)
  return {
    name = source.label, source = source.url or source.path, cached = record ~= nil,
    digest = record and record.digest, size = record and record.size,
  }
end

--- Sees to it that an image is there, ready to boot from.
-- @tparam table wanted `name` ("debian:12"), `url` or `path`; `sha256` of what is published;
--   `arch`; `kernel` and `initrd` to boot in place of the image's own
-- @tparam table env `state`; `config` of the site, for its mirrors; `progress`: a function that is
--   called with a text and, where they are known, how much is done and of how much; `refresh=true`
--   asks the publisher whether there is a newer one; `interrupted`: a function that is called,
--   where a download is cancelled, with how many bytes of it are kept for the next command; `ctx`:
--   that of the step which is going to use the image, which keeps it from being removed as long as
--   the deployment has it
-- @treturn table `digest`, `path` of the raw disk, `format` it came in, `size` that the guest sees,
--   `kernel`, `initrd`, `root` for the kernel's command line, `arch`, `created`, `sources`, and
--   `fetched`: whether anything was to be done
-- @raise {kind="image"}: "not_found", "checksum", "truncated", "invalid", "kernel", "ENOSPC",
--   "program"; {kind="http"}; {kind="gate"} in a plan, where the image is not there
function M.ensure(wanted, env)
  local source, store = resolve(wanted, env), M.store(env)
  local found = not env.refresh and store:find(source)
  if found and not env.ctx then return own_kernel(found, wanted) end
  local use <close> = store:use() -- luacheck: ignore use
  local record = own_kernel(provide(store, source, env), wanted)
  if env.ctx then uses.record(env.ctx, record.digest) end
  return record
end

--- Keeps an image from being removed as long as a step's deployment has it. `ensure` does so itself
-- where it gets the step's `ctx`.
-- @tparam context ctx
-- @tparam table record as @{ensure} gives it
-- @raise {kind="image", code="not_found"} when it was removed meanwhile
function M.use(ctx, record)
  local store = M.store { state = ctx.state }
  local use <close> = store:use() -- luacheck: ignore use
  if not store:get(record.digest) then
    errors.raise {
      kind = "image", code = "not_found",
      message = ("the image %s was removed meanwhile"):format(record.digest:sub(8, 19)),
      hint = "deploy again",
    }
  end
  uses.record(ctx, record.digest)
end

--- Lists the images, the newest first.
-- @tparam table env `state`
-- @treturn {table,...} as @{ensure} gives them, with `bytes` on the disk and `used_by`: the names
--   of deployments
function M.list(env)
  local store, users, rows = M.store(env), uses.by_digest(env.state), {}
  for index, record in ipairs(store:list()) do
    record.bytes, record.used_by = store_of.bytes(record.dir), users[record.digest] or {}
    rows[index] = record
  end
  return rows
end

-- By a name or URL that it came from, or by the beginning of its digest.
local function is_called(record, name)
  local hash = record.digest:match "^sha256:(.*)$"
  local digits = name:gsub("^sha256:", ""):lower()
  if #digits >= 4 and hash:sub(1, #digits) == digits then return true end
  local dashed = name:gsub("^(%l+)-", "%1:", 1)
  for _, known in ipairs(record.sources) do
    if known.label == name or known.label == dashed or known.url == name then return true end
  end
  return false
end

local function refuse_used(record, users)
  errors.raise {
    kind = "image", code = "refused",
    message = ("the image `%s` is used by %s"):format(record.sources[1].label,
      table.concat(users, ", ")),
    hint = "its disks are layers over it: remove or redeploy them first",
  }
end

--- Removes images by name.
-- @tparam string name a name, URL or path that they came from, or the beginning of a digest
-- @tparam table env `state`
-- @treturn {table,...} those removed
-- @raise {kind="image"} "not_found"; "refused" when one is used by a deployment
function M.remove(name, env)
  local store = M.store(env)
  local alone <close> = store:alone() -- luacheck: ignore alone
  local rows = {}
  for _, record in ipairs(M.list(env)) do
    if is_called(record, name) then rows[#rows + 1] = record end
  end
  if #rows == 0 then
    errors.raise {
      kind = "image", code = "not_found", message = ("there is no image `%s` here"):format(name),
      hint = "`moonport image ls` lists them",
    }
  end
  for _, record in ipairs(rows) do
    if #record.used_by > 0 then refuse_used(record, record.used_by) end
  end
  for _, record in ipairs(rows) do store:remove(record.digest) end
  return rows
end

--- Removes the images that no deployment uses, and what killed commands left.
-- @tparam table env `state`
-- @tparam[opt] table options `dry`: only tell
-- @treturn {{what,bytes,action},...} action is "removed" or "would be removed"
function M.prune(env, options)
  local dry, store, rows = options and options.dry, M.store(env), {}
  if not fs.exists(store.dir) then return rows end
  local alone <close> = not dry and store:alone() or nil -- luacheck: ignore alone
  local function act(what, bytes, fn)
    if not dry then fn() end
    rows[#rows + 1] = {
      what = what, bytes = bytes, action = dry and "would be removed" or "removed",
    }
  end
  for _, record in ipairs(M.list(env)) do
    if #record.used_by == 0 then
      act(("image %s (%s)"):format(record.sources[1].label, record.digest:sub(8, 19)),
        record.bytes, function() store:remove(record.digest) end)
    end
  end
  for _, left in ipairs(store:leftovers()) do
    act(left.path, left.bytes, function() fs.remove_tree(left.path) end)
  end
  return rows
end

return M
