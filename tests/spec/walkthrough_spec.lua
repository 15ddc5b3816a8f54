-- The documents' sessions are run, and print what the documents say.
local document = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/document.lua")
local chain = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/chain_double.lua")
local fs = require "moonport.fs"
local net = require "moonport.net"
local process = require "moonport.process"
local sys = require "moonport.sys"
local task = require "moonport.task"

local SQUARING = os.getenv("MOONPORT"):gsub("[^/]+/[^/]+$", "examples/incredible-squaring")

local function free_port()
  local listener <close> = net.listen { host = "127.0.0.1", port = 0 }
  return tostring(listener:port())
end

local function prepare(top, node_port)
  for _, name in ipairs { "srv", "state", "site", "home" } do fs.mkdirs(top .. "/" .. name) end
  fs.chmod(top .. "/state", "0700")
  local keystore = top .. "/srv/keystore"
  fs.copy(SQUARING, top .. "/srv/incredible-squaring")
  fs.mkdirs(keystore, "0700")
  local nobody = sys.user "nobody"
  fs.chown(keystore, nobody.uid, nobody.gid)
  return document.session {
    dir = top .. "/srv",
    env = { MOONPORT_STATE = top .. "/state", MOONPORT_SITE = top .. "/site" },
    names = {
      { "/srv/squaring", top .. "/srv" },
      { "/var/lib/moonport", top .. "/state" },
      { "/etc/moonport", top .. "/site" },
      { "8545", tostring(node_port) },
      { "9464", free_port() },
      { 'user = "squaring"', 'user = "nobody"' },
    },
  }
end

local function remove_all(session)
  local call = { os.getenv "MOONPORT", env = session.env }
  local function moonport(...)
    return process.run(table.move({ ... }, 1, select("#", ...), 2, call)).stdout
  end
  local names = {}
  for name in moonport("ps", "-o", "names"):gmatch "%S+" do names[#names + 1] = name end
  if #names > 0 then moonport("rm", "--force", table.unpack(names)) end
end

describe("the sessions in", function()
  for index, path in ipairs(document.list "native") do
    it(path .. " print what it says", function()
      if sys.euid() ~= 0 then return pending "the documents' operator is root" end
      -- Short, since Lua cuts long names of files off.
      local top = ("%s/%d"):format(os.getenv "SANDBOX", index)
      local node <close> = net.listen { host = "127.0.0.1", port = 0 }
      local blocks = task.spawn(chain.serve, node)
      local session = prepare(top, node:port())
      local ok, wrong = pcall(session.replay, session, path)
      remove_all(session)
      blocks:cancel()
      fs.remove_tree(top)
      assert(ok, wrong)
      assert.equal("", table.concat(wrong, "\n\n"))
    end)
  end
end)
