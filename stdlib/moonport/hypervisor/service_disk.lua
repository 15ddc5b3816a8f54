--- The disk that the service comes on: a FAT volume named SERVICEDISK, which the guest mounts for
-- root alone, and cannot write.
--
--    blueprint        the program
--    keystore/        the keystore as it is
--    moonport-shim    what runs it and speaks to the host
--    service.spec     how, as the records that the shim reads: data, never a script
-- @module moonport.hypervisor.service_disk

local errors = require "moonport.errors"
local fat = require "moonport.image.fat"
local fs = require "moonport.fs"

local M = {
  --- The volume's name, by which the guest finds it.
  LABEL = "SERVICEDISK",
}

local function refuse_entry(entry)
  local link = entry.type == "link"
  errors.raise {
    kind = "keystore", code = "refused",
    message = ("`%s` is a %s: a keystore on a disk holds files and directories"):format(entry.path,
      link and "symbolic link" or entry.type),
    hint = link and "put the file itself there" or "remove it",
  }
end

-- FAT has no owners and modes: the guest gives all of it to who may read the disk.
local function add_keystore(entries, path)
  entries[#entries + 1] = { name = "keystore", directory = true }
  for entry in fs.walk(path) do
    local name = "keystore/" .. entry.relative
    if entry.type == "directory" then
      entries[#entries + 1] = { name = name, directory = true }
    elseif entry.type == "file" then
      entries[#entries + 1] = { name = name, file = entry.path }
    else
      refuse_entry(entry)
    end
  end
end

local function entries_of(content)
  local entries = {}
  if content.binary then entries[1] = { name = "blueprint", file = content.binary } end
  if content.shim then entries[#entries + 1] = { name = "moonport-shim", file = content.shim } end
  if content.spec then entries[#entries + 1] = { name = "service.spec", text = content.spec } end
  for name, body in pairs(content.files or {}) do
    entries[#entries + 1] = { name = name, text = body }
  end
  if content.keystore then add_keystore(entries, content.keystore) end
  return entries
end

--- Checks that a keystore can be put on the disk, before anything is made.
-- @tparam string path
-- @raise {kind="keystore"} naming what is neither file nor directory; {kind="image", code="name"}
--   naming what FAT cannot hold
function M.check_keystore(path)
  local entries = {}
  add_keystore(entries, path)
  fat.check(entries)
end

--- Writes the disk, which only we can read.
-- @tparam string path
-- @tparam table content `binary`, `shim`: files; `keystore`: a directory; `spec`: a string or a
--   secret; `files`: further ones, name to text or secret
-- @treturn table {size}
-- @raise {kind="keystore"}, {kind="image", code="name"} for what cannot be put there
function M.write(path, content)
  return fat.write(path, { label = M.LABEL, entries = entries_of(content) })
end

return M
