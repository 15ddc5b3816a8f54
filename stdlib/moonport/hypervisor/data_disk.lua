--- The disk with a service's data: a sparse file, made once, which the guest partitions and formats
-- at its first boot.
--
-- It is never made anew: restarts and redeployments find it as it was. It grows with the manifest,
-- and its file system grows with it at the next boot; it never shrinks.
-- @module moonport.hypervisor.data_disk

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local units = require "moonport.units"

local M = {}

local PRIVATE = "0600"

local function present_size(path)
  local stat, why = try(fs.stat, path, { follow = false })
  if why and not errors.is(why, nil, "ENOENT") then error(why, 0) end
  return stat and stat.size
end

local function check(path, size, present)
  if not present or present <= size then return end
  errors.raise {
    kind = "hypervisor", code = "refused",
    message = ("the data disk `%s` has %s, and is not cut to %s"):format(path,
      units.short_size(present), units.short_size(size)),
    hint = "ask for as much as it has, or deploy under another name and move the data there",
  }
end

--- Tells what `make` would do.
-- @tparam string path
-- @tparam integer size bytes
-- @treturn {change,...}
-- @raise {kind="hypervisor", code="refused"} when the disk would have to shrink
function M.plan(path, size)
  local present = present_size(path)
  check(path, size, present)
  local what = "data disk " .. path
  if not present then return { { action = "create", what = what, to = units.short_size(size) } } end
  if present == size then return { { action = "keep", what = what } } end
  return { {
    action = "change", what = what, from = units.short_size(present), to = units.short_size(size),
  } }
end

--- Makes the disk, or grows it; one that has this size is left alone.
-- @tparam string path
-- @tparam integer size bytes that the guest sees
-- @treturn table {size, before}: `before` is nil for a new one
-- @raise {kind="hypervisor", code="refused"} when it would have to shrink
function M.make(path, size)
  check(path, size, present_size(path))
  fs.mkdirs(fs.dirname(path), "0700")
  local before = fs.sparse(path, size, { mode = PRIVATE })
  return { size = size, before = before > 0 and before or nil }
end

return M
