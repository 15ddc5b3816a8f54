--- FAT disks, written without mounting them and without root, by dosfstools and mtools.
--
-- Equal contents give equal bytes on a host: the volume's number and all times are given, and the
-- order of files depends on nothing but their names. A disk appears whole or not at all, with mode
-- 0600.
-- @module moonport.image.fat

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local text = require "moonport.text"
local tools = require "moonport.image.tools"
local units = require "moonport.units"

local M = {}

local PRIVATE = "0600"
local LARGEST_FILE = (1 << 32) - 1
local LONGEST_NAME = 255
local LARGE = 512 << 20 -- from here on, FAT32
local SMALL_CLUSTER, LARGE_CLUSTER = 16 << 10, 32 << 10 -- the largest that mkfs.vfat takes
local LEAST = 1 << 20
local EPOCH = 315532800 -- 1980-01-01, the first day that FAT knows

-- Devices of DOS, which mtools makes no files of.
local RESERVED = { con = true, prn = true, aux = true, nul = true, ["clock$"] = true }
for number = 0, 9 do
  RESERVED["com" .. number], RESERVED["lpt" .. number] = true, true
end

local function refuse(name, why, hint)
  errors.raise {
    kind = "image", code = "name",
    message = ("`%s` cannot be put on a FAT disk: %s"):format(text.visible(name), why), hint = hint,
  }
end

local function why_not(part)
  if part:find "[\128-\255]" then return "its name has letters beyond ASCII" end
  local bad = part:match '[%c"*:<>?\\|]'
  if bad then return ("its name holds `%s`"):format(text.visible(bad)) end
  if part:find "[ .]$" then return "its name ends with a space or a dot" end
  if #part > LONGEST_NAME then return ("its name has more than %d letters"):format(LONGEST_NAME) end
  if RESERVED[part:lower()] then return "its name is that of a device" end
end

--- Checks that FAT can hold a path as it is.
-- @tparam string path relative, such as `keystore/ecdsa`
-- @raise {kind="image", code="name"} naming it
function M.check_name(path)
  for part in path:gmatch "[^/]+" do
    local why = why_not(part)
    if why then refuse(path, why, "rename it") end
  end
end

-- FAT tells names apart without regard to case.
local function check_clashes(entries)
  local known = {}
  for _, entry in ipairs(entries) do
    local folded = entry.name:lower()
    if known[folded] then
      refuse(entry.name, ("FAT does not tell it from `%s`"):format(known[folded]),
        "rename one of them")
    end
    known[folded] = entry.name
  end
end

local function check_size(entry)
  local size = entry.file and fs.stat(entry.file).size or 0
  if size <= LARGEST_FILE then return end
  refuse(entry.name, ("it has %s, and a file on FAT less than 4 GiB"):format(
    units.short_size(size)))
end

local function round_up(number, to)
  return (number + to - 1) // to * to
end

-- What mkfs.vfat has to be told: the room for the files, their names and the tables. The file is
-- sparse, so that what is left over costs nothing.
local function disk_size(entries, staged)
  local exact, names = 0, 0
  for _, entry in ipairs(entries) do
    if not entry.directory then exact = exact + fs.stat(fs.join(staged, entry.name)).size end
    names = names + #entry.name * 2 + 128
  end
  local cluster = exact + names < LARGE // 2 and SMALL_CLUSTER or LARGE_CLUSTER
  local rounded = names + #entries * cluster
  return round_up(LEAST + exact + exact // 100 + rounded, 1 << 20)
end

local function parent_of(name)
  return name:match "^(.*)/" or ""
end

-- The directories that entries are in, those above first.
local function directories_of(entries)
  local known, list = {}, {}
  local function add(name)
    if name == "" or known[name] then return end
    add(parent_of(name))
    known[name], list[#list + 1] = true, name
  end
  for _, entry in ipairs(entries) do
    add(entry.directory and entry.name or parent_of(entry.name))
  end
  return list
end

-- mtools names a file after its source: a directory of links gives every source its name. What is
-- text becomes a file there, which nobody else can read.
local function stage(dir, entries, directories)
  for _, name in ipairs(directories) do fs.mkdirs(fs.join(dir, name), "0700") end
  for _, entry in ipairs(entries) do
    local path = fs.join(dir, entry.name)
    if entry.file then
      fs.symlink(fs.absolute(entry.file), path)
    elseif entry.text then
      fs.write(path, entry.text, { mode = PRIVATE, sync = false })
    end
  end
end

-- All of it in one call, since programs are what preparing a VM waits for. Directories are read in
-- an order that the file system settles by the names.
local function copy(disk, staged)
  local call = { "mcopy", "-Q", "-s", "-i", disk }
  for _, entry in ipairs(fs.list(staged)) do call[#call + 1] = fs.join(staged, entry.name) end
  call[#call + 1] = "::"
  call.env = { SOURCE_DATE_EPOCH = EPOCH, MTOOLSRC = "/dev/null" }
  if #call > 6 then tools.run(call) end
end

local function format(disk, spec, size)
  fs.remove(disk, { if_exists = true })
  fs.sparse(disk, size, { mode = PRIVATE, sync = false })
  tools.run {
    "mkfs.vfat", "--invariant", "-n", spec.label, "-i", spec.serial or "6d6f6f6e", disk,
  }
end

local function sorted(entries)
  local list = table.move(entries, 1, #entries, 1, {})
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- Checks that FAT can hold entries.
-- @tparam {table,...} entries as for @{write}
-- @raise {kind="image", code="name"} naming the first that it cannot hold
function M.check(entries)
  for _, entry in ipairs(entries) do
    M.check_name(entry.name)
    check_size(entry)
  end
  check_clashes(entries)
end

--- Writes a disk.
-- @tparam string path of the disk, which is replaced where there is one
-- @tparam table spec `label` (11 letters at most), `serial` (8 hexadecimal digits), `entries`: a
--   list of `{name=, text=}` (a string or a secret), `{name=, file=}`, `{name=, directory=true}`; a
--   name is a path on the disk, and directories above it are made
-- @treturn table {size} of the disk
-- @raise {kind="image", code="name"} for what FAT cannot hold; {kind="process"} where a program
--   fails, as on a full file system; the disk that was there before stays then
function M.write(path, spec)
  local entries = sorted(spec.entries)
  M.check(entries)
  local directories, part = directories_of(entries), path .. ".part"
  local staged, guard <close> = -- luacheck: ignore guard
    fs.temp_dir { parent = fs.dirname(path), prefix = ".fat-" }
  stage(staged, entries, directories)
  local size = disk_size(entries, staged)
  local _ <close> = setmetatable({}, {
    __close = function(_, err)
      if err ~= nil then fs.remove(part, { if_exists = true }) end
    end,
  })
  format(part, spec, size)
  copy(part, staged)
  fs.rename(part, path)
  fs.sync(path)
  return { size = size }
end

return M
