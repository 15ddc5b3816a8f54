--- A disk of one VM's own, made of an image that stays as it is.
--
-- Three ways, the cheapest that the host can first; which one it was, and how long it took, is part
-- of the result:
--
-- - `reflink`: the file system shares the blocks until one is written (btrfs, XFS); raw
-- - `overlay`: a qcow2 file over the image, which holds what differs; any file system
-- - `copy`: the data is copied, holes stay holes; raw
-- @module moonport.image.layer

local clock = require "moonport.core.clock"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local tools = require "moonport.image.tools"
local units = require "moonport.units"

local M = {
  --- In the order in which they are tried.
  METHODS = { "reflink", "overlay", "copy" },
}

local PRIVATE = "0600"

-- What says that blocks cannot be shared here.
local CANNOT_SHARE = { EOPNOTSUPP = true, EXDEV = true, EINVAL = true, ENOTTY = true }

local ways = {}

-- Each returns the format of what it made, or nil and why it could not.

function ways.reflink(options, path)
  local options_of_copy = { mode = PRIVATE, reflink_only = true, size = options.size }
  local copied, why = try(fs.copy, options.base, path, options_of_copy)
  if copied then return "raw" end
  if not CANNOT_SHARE[why.code] then error(why, 0) end
  return nil, why.code == "EXDEV" and "the image is on another file system"
    or "the file system shares no blocks"
end

function ways.overlay(options, path)
  if options.overlay == false then return nil, "the VMM takes no overlay" end
  local program, why = try(tools.find, "qemu-img")
  if not program then return nil, why.message end
  -- Made beforehand, so that it is private from the first instant.
  fs.sparse(path, 0, { mode = PRIVATE, sync = false })
  tools.run {
    "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", fs.absolute(options.base), path,
    tostring(options.size),
  }
  fs.sync(path, { name = false })
  return "qcow2"
end

function ways.copy(options, path)
  fs.copy(options.base, path, { mode = PRIVATE, size = options.size })
  return "raw"
end

local function check_size(options)
  local least = fs.stat(options.base).size
  if options.size >= least then return end
  errors.raise {
    kind = "image", code = "size",
    message = ("the image `%s` needs a disk of %s, and %s is asked for"):format(options.base,
      units.short_size(least), units.short_size(options.size)),
    hint = "make the VM's disk larger",
  }
end

-- What was made is remembered beside the disk. It cannot be learnt from the disk, whose first bytes
-- are the guest's: one that writes there what a qcow2 file begins with would have the VMM open any
-- file of the host as its backing file.
local function record_path(path) return path .. ".json" end

--- Reads how a disk was made.
-- @tparam string path of the disk
-- @treturn ?table as `make` gives it; nil where there is no disk that is whole
function M.describe(path)
  if not (fs.exists(path) and fs.exists(record_path(path))) then return nil end
  return json.decode(fs.read(record_path(path)))
end

-- The record comes last, and once it is on the disk so is the disk's name.
local function finish(path, part, made)
  fs.rename(part, path)
  fs.write(record_path(path), json.encode(made, { sort_keys = true }) .. "\n", { mode = PRIVATE })
  return made
end

-- In milliseconds, to a hundredth.
local function since(started)
  return math.floor((clock.monotonic() - started) * 100000 + 0.5) / 100
end

--- Makes a disk. One that is there already is kept: it may be in use.
-- @tparam table options `base`: the image, raw; `path` of the disk; `size` in bytes that the guest
--   sees; `method`: "auto" or one of `METHODS`; `overlay=false`: the VMM takes no qcow2 with a
--   backing file
-- @treturn table `method`, `format` ("raw" or "qcow2"), `backing` (the image, of an overlay), `ms`
--   that it took, `size`, and `passed`: {method, why} of the ways that this host cannot
-- @raise {kind="image"} when the size is too small, or the method asked for cannot be had
function M.make(options)
  local made = M.describe(options.path)
  if made then return made end
  check_size(options)
  local part, passed = options.path .. ".part", {}
  local wanted = options.method or "auto"
  for _, method in ipairs(wanted == "auto" and M.METHODS or { wanted }) do
    fs.remove(part, { if_exists = true })
    local started = clock.monotonic()
    local format, why = ways[method](options, part)
    if format then
      return finish(options.path, part, {
        method = method, format = format, ms = since(started), size = options.size,
        backing = format == "qcow2" and fs.absolute(options.base) or nil, passed = passed,
      })
    end
    passed[#passed + 1] = { method = method, why = why }
  end
  fs.remove(part, { if_exists = true })
  local last = passed[#passed]
  errors.raise {
    kind = "image", code = "unsupported",
    message = ("`%s` cannot be made by %s: %s"):format(options.path, last.method, last.why),
    hint = "leave the method to moonport",
  }
end

--- Removes a disk, and what is remembered of it.
-- @tparam string path
function M.remove(path)
  for _, each in ipairs { path, path .. ".part", record_path(path) } do
    fs.remove(each, { if_exists = true })
  end
end

return M
