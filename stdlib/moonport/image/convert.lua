--- From what a publisher gives to a raw disk, once per image.
--
-- What an image's header says is not trusted: one that names other files of this host is refused,
-- its format is told by its first bytes and given to qemu-img, which does not guess, and looking at
-- it has limits.
-- @module moonport.image.convert

local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local partitions = require "moonport.image.partitions"
local process = require "moonport.process"
local text = require "moonport.text"
local tools = require "moonport.image.tools"
local units = require "moonport.units"

local M = {}

local LOOK = { as = 1 << 30, cpu = 30 }
local LARGEST_DISK = 4 << 40

-- What people download that is no disk yet: by its first bytes, and how to make one of it.
local WRAPPED = {
  { "\xfd7zXZ\0", "compressed by xz", "xz -d" }, { "\x1f\x8b", "compressed by gzip", "gzip -d" },
  { "\x28\xb5\x2f\xfd", "compressed by zstd", "zstd -d" }, { "PK\3\4", "a zip archive", "unzip" },
  { "BZh", "compressed by bzip2", "bzip2 -d" }, { "KDMV", "a VMDK", "qemu-img convert -O qcow2" },
  { "vhdxfile", "a VHDX", "qemu-img convert -O qcow2" },
  { "<!DOCTYPE", "a web page" }, { "<html", "a web page" }, { "hsqs", "a squashfs" },
}

local function invalid(path, what, hint)
  errors.raise {
    kind = "image", code = "invalid", message = ("`%s` is %s"):format(path, what), hint = hint,
  }
end

--- Tells the format of an image by its first bytes.
-- @tparam string path
-- @treturn string "qcow2" or "raw"
-- @raise {kind="image", code="invalid"} for what is neither, and says what it is
function M.format(path)
  local first = fs.read_at(path, 0, 16)
  if first:sub(1, 4) == "QFI\xfb" then return "qcow2" end
  for _, known in ipairs(WRAPPED) do
    local bytes, what, command = table.unpack(known)
    if first:sub(1, #bytes) == bytes then
      invalid(path, what .. ", not a disk image in qcow2 or raw form",
        command and ("make one of it first: %s"):format(command))
    end
  end
  if #partitions.read(path) > 0 then return "raw" end
  invalid(path, "no disk image: neither qcow2, nor raw with partitions or a file system",
    "give the URL or path of a cloud image in qcow2 or raw form")
end

local function check_self_contained(path, found)
  local data = (found["format-specific"] or {}).data or {}
  local other = found["backing-filename"] or data["data-file"]
  if other then
    invalid(path, ("an image that holds only a part, and leads to the file `%s`"):format(
      text.visible(other)), "make it whole first: qemu-img convert -O qcow2")
  elseif found.encrypted then
    invalid(path, "encrypted", "decrypt it first: qemu-img convert")
  elseif found["virtual-size"] > LARGEST_DISK then
    invalid(path, "a disk of " .. units.short_size(found["virtual-size"]))
  end
end

local function qemu_img(call)
  local result, why = try(tools.run, call)
  if result then return result end
  error(why, 0)
end

-- A qcow2 file that is cut short has clusters beyond its end, which would read as zeros.
local function check_qcow2(path)
  local call = { "qemu-img", "info", "--output=json", "-f", "qcow2", path, rlimits = LOOK }
  check_self_contained(path, json.decode(qemu_img(call).stdout))
  local result = tools.run { "qemu-img", "check", "-q", "-f", "qcow2", path, check = false }
  -- 3: clusters that nothing uses, which do no harm.
  if result.code == 0 or result.code == 3 then return end
  errors.raise {
    kind = "image", code = "truncated", message = ("`%s` is damaged or cut short"):format(path),
    hint = "fetch it again, and give its sha256 so that this is noticed at once",
    cause = errors.new {
      kind = "process", code = "exit", message = "`qemu-img check` said: "
        .. (result.stderr .. result.stdout):match "[^\n]*",
    },
  }
end

local function follow(output, progress)
  local line = ""
  for piece in function() return output:read() end do
    line = (line .. piece):match "[^\r\n]*$" or ""
    local part = (piece:match ".*%(([%d.]+)/100%%%)")
    if part then progress(tonumber(part)) end
  end
end

local function explain(stderr, to)
  local said = stderr:match "([^\n]*)\n*$"
  local full = said:find "No space left" ~= nil
  errors.raise {
    kind = "image", code = full and "ENOSPC" or "convert",
    message = ("the image could not be made a raw disk: %s"):format(said),
    hint = full and ("make room in `%s`; nothing has to be downloaded again"):format(
      fs.dirname(to)) or nil,
  }
end

local function run_convert(from, format, to, progress)
  local errors_file, guard <close> = fs.temp_file() -- luacheck: ignore guard
  local child <close> = process.spawn {
    tools.find "qemu-img", "convert", "-p", "-f", format, "-O", "raw", from, to, stdin = "null",
    stderr = { file = errors_file }, env = { LC_ALL = "C" },
  }
  follow(child, progress)
  if child:wait().code ~= 0 then explain(fs.read(errors_file), to) end
end

--- Makes a raw, sparse disk of an image.
-- @tparam string from qcow2 or raw
-- @tparam string to where the disk goes; what stands there is overwritten
-- @tparam[opt] function progress called with the part that is done, from 0 to 100
-- @treturn table {format, size}: what it was, and what the guest sees
-- @raise {kind="image"} "invalid", "truncated", "ENOSPC", "convert"
function M.to_raw(from, to, progress)
  local format = M.format(from)
  if format == "qcow2" then check_qcow2(from) end
  run_convert(from, format, to, progress or function() end)
  fs.chmod(to, "0644")
  fs.sync(to)
  return { format = format, size = fs.stat(to).size }
end

return M
