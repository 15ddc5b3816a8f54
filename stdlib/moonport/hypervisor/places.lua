--- Where the files of a virtual machine are on this host, and where things are inside it.
--
--    <deployment>/service/                the VMM's supervisor: its record, output and console
--    <deployment>/vm/<revision>/          a revision's disks: root.img, seed.img, service.img
--    <deployment>/data/data.img           the data disk, which revisions hand on
--    <state>/kept/<name>/data.img         the same where the manifest keeps it
--    <runtime>/shim.sock                  the supervisor's socket
--    <runtime>/r<revision>/               the VMM's sockets
-- @module moonport.hypervisor.places

local fs = require "moonport.fs"

local M = {
  --- The keystore, in the guest. It cannot be written.
  KEYSTORE = "/mnt/keystore",
  --- DATA_DIR, in the guest.
  DATA = "/mnt/data",
  --- The service disk, in the guest.
  SERVICE = "/run/moonport/service",
  --- The program, on the service disk.
  PROGRAM = "/run/moonport/service/blueprint",
  --- What a registration run writes, in the guest.
  REGISTRATION = "/mnt/data/registration.json",
  --- Where the service says that it is ready, in the guest.
  NOTIFY = "/run/moonport/notify",
}

-- The longest name that a VMM's socket has.
local LONGEST_SOCKET = "fs-" .. ("x"):rep(36)

--- The directory of the VMM's supervisor.
-- @tparam context ctx
-- @treturn string
function M.supervisor(ctx)
  return fs.join(ctx.dir, "service")
end

--- The directory of a revision's disks.
-- @tparam context ctx
-- @treturn string
function M.disks(ctx)
  return fs.join(ctx.dir, "vm", tostring(ctx.revision))
end

--- A disk of a revision.
-- @tparam context ctx
-- @tparam string id "root", "seed" or "service"
-- @treturn string
function M.disk(ctx, id)
  return fs.join(M.disks(ctx), id .. ".img")
end

--- The directory of the data disk.
-- @tparam context ctx
-- @treturn string
function M.data_dir(ctx)
  if ctx.manifest.hypervisor.data.keep then return fs.join(ctx.state.dir, "kept", ctx.name) end
  return fs.join(ctx.dir, "data")
end

--- The data disk.
-- @tparam context ctx
-- @treturn string
function M.data_disk(ctx)
  return fs.join(M.data_dir(ctx), "data.img")
end

--- The socket of the VMM's supervisor.
-- @tparam context ctx
-- @treturn string
-- @raise {kind="state", code="refused"} when the path is too long for a socket
function M.supervisor_socket(ctx)
  return ctx:runtime_path("shim.sock")
end

--- The directory of the VMM's sockets. The longest name in it is known to fit.
-- @tparam context ctx
-- @treturn string
-- @raise {kind="state", code="refused"} when a path in it would be too long for a socket
function M.sockets(ctx)
  local name = ("r%d"):format(ctx.revision)
  ctx:runtime_path(name .. "/" .. LONGEST_SOCKET)
  return ctx:runtime_path() .. "/" .. name
end

return M
