--- Kernel and initramfs out of an image, read by debugfs: without mounting it, and without root.
--
-- debugfs (e2fsprogs) reads ext2, ext3 and ext4, which cloud images of Debian and Ubuntu have. For
-- other file systems the manifest has to name a kernel.
-- @module moonport.image.kernel

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local partitions = require "moonport.image.partitions"
local tools = require "moonport.image.tools"

local M = {}

local READABLE = "^[%w.+_~-]+$" -- names that debugfs takes as they are
local GZIP = "\x1f\x8b"
local LIMITS = { cpu = 60, fsize = 1 << 30 } -- whatever an image says of itself

local function debugfs(disk, partition, request, cwd)
  return tools.run {
    "debugfs", "-R", request, ("%s?offset=%d"):format(disk, partition.start), cwd = cwd,
    rlimits = LIMITS, limit = 4 << 20,
  }.stdout
end

-- `/inode/mode/uid/gid/name/size/` for each.
local function list(disk, partition, directory)
  local names = {}
  local text = debugfs(disk, partition, "ls -p " .. directory)
  for mode, name in text:gmatch "/%d+/(%d+)/%d+/%d+/([^/\n]+)/%d*/" do
    if name:find(READABLE) then names[name] = mode:sub(1, 2) == "04" and "directory" or "file" end
  end
  return names
end

-- "6.1.0-9" is older than "6.1.0-18": digits count as numbers.
local function version_key(version)
  return (version:gsub("%d+", function(digits) return ("%010d"):format(tonumber(digits)) end))
end

local INITRDS = { "initrd.img-%s", "initramfs-%s.img", "initrd-%s" }

local function newest(names)
  local best
  for name in pairs(names) do
    local version = name:match "^vmlinuz%-(.+)$"
    if version and not version:find "rescue" then
      local found = { kernel = name, version = version, key = version_key(version) }
      for _, pattern in ipairs(INITRDS) do
        local initrd = pattern:format(version)
        if names[initrd] then found.initrd = found.initrd or initrd end
      end
      if not best or found.key > best.key then best = found end
    end
  end
  return best
end

-- Where kernels are: in /boot of the root file system, or at the top of a partition for /boot.
local function find(disk, all)
  local root, best
  for _, partition in ipairs(all) do
    if partition.fs == "ext4" then
      local top = list(disk, partition, "/")
      local is_root = top.etc == "directory"
      root = root or is_root and partition or nil
      local directory = is_root and "/boot/" or "/"
      local names = is_root and list(disk, partition, "/boot") or top
      local found = newest(names)
      if found and (not best or found.key > best.key) then
        best, found.partition, found.directory = found, partition, directory
      end
    end
  end
  return root, best
end

local function dump(disk, found, name, dir, to)
  debugfs(disk, found.partition, ("dump %s%s %s"):format(found.directory, name, to), dir)
  local path = fs.join(dir, to)
  if not fs.exists(path) or fs.stat(path).size == 0 then
    errors.raise {
      kind = "image", code = "kernel", message = ("`%s` could not be read from `%s`"):format(name,
        disk),
    }
  end
  fs.chmod(path, "0644")
  return path
end

-- arm64's kernels are often compressed, which not every VMM undoes.
local function unpack_kernel(path)
  if fs.read_at(path, 0, 2) ~= GZIP then return end
  local plain = path .. ".plain"
  tools.run { "gzip", "-dc", path, stdout = { file = plain, mode = "0644" }, rlimits = LIMITS }
  fs.rename(plain, path)
end

-- The partition that looks most like a root where none can be read.
local function likely_root(all)
  local best
  for _, partition in ipairs(all) do
    if partition.fs ~= "vfat" and (not best or partition.size > best.size) then best = partition end
  end
  return best
end

local function why_none(all)
  for _, partition in ipairs(all) do
    if partition.fs == "xfs" or partition.fs == "btrfs" then
      return ("its file system is %s, and only ext2, ext3 and ext4 are read"):format(partition.fs)
    end
  end
  return #all == 0 and "it has no partitions" or "there is no `vmlinuz-*` in /boot"
end

--- Finds out what an image boots from, and takes kernel and initramfs out of it.
-- @tparam string disk raw
-- @tparam string dir where `kernel` and `initrd` go
-- @tparam[opt=false] boolean only_root kernel and initramfs are there already
-- @treturn table {root, version, kernel, initrd, missing}: `root` for the kernel's command line;
--   `missing` says why there is no kernel
-- @raise {kind="image", code="truncated"}, {kind="process"}
function M.extract(disk, dir, only_root)
  local all = partitions.read(disk)
  local root, found = find(disk, all)
  root = root or likely_root(all)
  local result = { root = root and partitions.root_device(root) or "/dev/vda" }
  if only_root then return result end
  if not found then
    result.missing = why_none(all)
    return result
  end
  result.version = found.version
  result.kernel = dump(disk, found, found.kernel, dir, "kernel")
  unpack_kernel(result.kernel)
  result.initrd = found.initrd and dump(disk, found, found.initrd, dir, "initrd")
  return result
end

M.unpack_kernel = unpack_kernel

return M
