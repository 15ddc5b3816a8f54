-- The sessions of the hypervisor target's guide are run, and print what it says. The guest is the
-- tests' small one, published as Debian's image; see walkthrough.sh.
local TOP = os.getenv "MP_SOURCE_DIR"
local document = dofile(TOP .. "/tests/spec/document.lua")
local chain = dofile(TOP .. "/tests/spec/chain_double.lua")
local fs = require "moonport.fs"
local net = require "moonport.net"
local task = require "moonport.task"

local IMAGE = 'image = { name = "debian:12" },'
local STATE, SITE = os.getenv "MOONPORT_STATE", os.getenv "MOONPORT_SITE"

local function prepare(top, port)
  fs.mkdirs(top .. "/keystore", "0700")
  fs.write(top .. "/keystore/operator.json", '{"key":"0x1"}\n', { mode = "0600" })
  fs.copy(os.getenv "MP_EXAMPLE", top .. "/incredible-squaring")
  -- The guest's init mounts what cloud-init would.
  local cmdline = os.getenv "MP_GUEST_CMDLINE" .. " console=ttyS0 "
    .. "mp.net={mac},{address}/{prefix},{gateway} mp.fs=keystore,/mnt/keystore"
  local here = ('%s driver = "qemu", accel = "tcg", cmdline = "%s",'):format(IMAGE, cmdline)
  return document.session {
    dir = top, timeout = 180, env = { MOONPORT_STATE = STATE, MOONPORT_SITE = SITE },
    names = {
      { "/srv/squaring", top },
      { "/var/lib/moonport", STATE },
      { "/etc/moonport", SITE },
      { "8545", tostring(port) },
      { IMAGE, here },
      { "https://cloud.debian.org/images/cloud", os.getenv "MP_GUEST_MIRROR" },
    },
  }
end

describe("the hypervisor target's guide", function()
  for _, path in ipairs(document.list "hypervisor") do
    it("has sessions that print what it says: " .. path, function()
      local top = os.getenv "SANDBOX" .. "/srv"
      local node <close> = net.listen { host = "127.0.0.1", port = 0 }
      local blocks = task.spawn(chain.serve, node)
      local session = prepare(top, node:port())
      local ok, wrong = pcall(session.replay, session, path)
      blocks:cancel()
      assert(ok, wrong)
      assert.equal("", table.concat(wrong, "\n\n"))
    end)
  end
end)
