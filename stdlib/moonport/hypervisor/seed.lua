--- The disk that cloud-init reads: NoCloud's, a FAT volume named CIDATA.
-- @module moonport.hypervisor.seed

local fat = require "moonport.image.fat"

local M = {
  --- The volume's name, by which cloud-init finds it.
  LABEL = "CIDATA",
}

--- Writes the disk, which only we can read.
-- @tparam string path
-- @tparam table built as `cloudinit.build` gives it
-- @treturn table {size}
function M.write(path, built)
  return fat.write(path, {
    label = M.LABEL,
    entries = {
      { name = "meta-data", text = built.meta_data },
      { name = "network-config", text = built.network_config },
      { name = "user-data", text = built.user_data },
    },
  })
end

return M
