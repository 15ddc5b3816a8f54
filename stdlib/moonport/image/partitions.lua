--- What a raw disk holds: its partitions and file systems, read from the bytes that describe them.
--
-- GPT as the UEFI specification has it, the older table of PCs, or a file system alone. An image
-- that is cut short is recognised by a table or a file system that goes beyond its end.
-- @module moonport.image.partitions

local errors = require "moonport.errors"
local fs = require "moonport.fs"

local M = {}

local SECTOR = 512
local MOST = 128 -- partitions; more than any image has
local LAST = 1 << 50 -- sectors; more than any disk has
local EXTENDED = { [0x05] = true, [0x0f] = true, [0x85] = true }

local function cut_short(path)
  errors.raise {
    kind = "image", code = "truncated",
    message = ("`%s` is cut short: its disk is larger than the file"):format(path),
    hint = "fetch it again, and give its sha256 so that this is noticed at once",
  }
end

-- A GUID is written with its first three parts in little-endian order.
local function guid(bytes)
  local a, b, c, rest = ("<I4I2I2c8"):unpack(bytes)
  local tail = rest:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
  return ("%08x-%04x-%04x-%s-%s"):format(a, b, c, tail:sub(1, 4), tail:sub(5))
end

local function gpt_entry(bytes, number)
  local kind, id, first, last = ("<c16c16I8I8"):unpack(bytes)
  if kind == ("\0"):rep(16) or first < 0 or last < first or last > LAST then return nil end
  return {
    number = number, type = guid(kind), partuuid = guid(id), start = first * SECTOR,
    size = (last - first + 1) * SECTOR,
  }
end

local function read_gpt(path, size)
  local header = fs.read_at(path, SECTOR, 92)
  if #header < 92 or header:sub(1, 8) ~= "EFI PART" then return nil end
  local backup, at, count, length = ("<I8"):unpack(header, 33), ("<I8I4I4"):unpack(header, 73)
  if backup < 0 or backup > LAST or (backup + 1) * SECTOR > size then cut_short(path) end
  if length < 128 or length > 4096 or count > MOST then return {} end
  if at < 0 or at > LAST or at * SECTOR >= size then return {} end
  local table_bytes, list = fs.read_at(path, at * SECTOR, count * length), {}
  for number = 1, #table_bytes // length do
    local entry = gpt_entry(table_bytes:sub((number - 1) * length + 1, number * length), number)
    list[#list + 1] = entry
  end
  return list
end

local function read_pc(path)
  local sector = fs.read_at(path, 0, SECTOR)
  if #sector < SECTOR or sector:sub(511, 512) ~= "\x55\xaa" then return nil end
  local signature, list = ("<I4"):unpack(sector, 441), {}
  for number = 1, 4 do
    local status, kind, first, count = ("<Bxxx Bxxx I4I4"):unpack(sector, 447 + (number - 1) * 16)
    if status & 0x7f ~= 0 then return nil end -- a boot sector of a file system
    if kind ~= 0 and not EXTENDED[kind] then
      list[#list + 1] = {
        number = number, type = ("%02x"):format(kind), start = first * SECTOR,
        size = count * SECTOR, partuuid = ("%08x-%02x"):format(signature, number),
      }
    end
  end
  return #list > 0 and list or nil
end

local function uuid_text(bytes)
  local hex = bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
  return (hex:gsub("^(%x%x%x%x%x%x%x%x)(%x%x%x%x)(%x%x%x%x)(%x%x%x%x)", "%1-%2-%3-%4-"))
end

-- Kinds of file systems by what stands where: {name, offset, bytes}.
local SIGNATURES = {
  { "ext4", 0x438, "\x53\xef" }, { "xfs", 0, "XFSB" }, { "btrfs", 0x10040, "_BHRfS_M" },
  { "vfat", 82, "FAT32   " }, { "vfat", 54, "FAT1" }, { "squashfs", 0, "hsqs" },
}

-- Bytes of an ext file system, from its superblock.
local function ext_size(path, start)
  local block = fs.read_at(path, start + 1024, 1024)
  if #block < 1024 then return math.huge end
  local low, shift, incompatible = ("<I4"):unpack(block, 5), ("<I4"):unpack(block, 25),
    ("<I4"):unpack(block, 97)
  local high = incompatible & 0x80 ~= 0 and ("<I4"):unpack(block, 337) or 0
  return (high << 32 | low) * (1024 << (shift & 15))
end

local function look_at(path, size, partition)
  for _, signature in ipairs(SIGNATURES) do
    local name, at, bytes = table.unpack(signature)
    if fs.read_at(path, partition.start + at, #bytes) == bytes then partition.fs = name break end
  end
  if partition.fs == "ext4" then
    partition.uuid = uuid_text(fs.read_at(path, partition.start + 1024 + 0x68, 16))
    if partition.start + ext_size(path, partition.start) > size then cut_short(path) end
  end
  return partition
end

--- Lists the partitions of a raw disk.
-- @tparam string path
-- @treturn {table,...} each `number` (0 for a file system without a table), `start` and `size` in
--   bytes, `type`, `partuuid`, and where it is known `fs` ("ext4" for ext2 and ext3, too) and its
--   `uuid`
-- @raise {kind="image", code="truncated"} when the disk goes beyond the file's end
function M.read(path)
  local size = fs.stat(path).size
  local whole = look_at(path, size, { number = 0, start = 0, size = size })
  if whole.fs then return { whole } end
  local list = read_gpt(path, size) or read_pc(path) or {}
  for _, partition in ipairs(list) do
    if partition.start + partition.size > size then cut_short(path) end
    look_at(path, size, partition)
  end
  return list
end

--- How the kernel is told which partition to mount.
-- @tparam table partition
-- @treturn string for `root=`
function M.root_device(partition)
  if partition.partuuid then return "PARTUUID=" .. partition.partuuid end
  return partition.uuid and "UUID=" .. partition.uuid or "/dev/vda"
end

return M
