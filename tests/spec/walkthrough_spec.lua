-- The documents' sessions are run, and print what the documents say.
local document = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/document.lua")
local fs = require "moonport.fs"
local json = require "moonport.json"
local net = require "moonport.net"
local process = require "moonport.process"
local sys = require "moonport.sys"
local task = require "moonport.task"

local SQUARING = os.getenv("MOONPORT"):gsub("[^/]+/[^/]+$", "examples/incredible-squaring")

-- One request of the example blueprint, answered with the next block.
local function answer(connection, block)
  local length = 0
  while true do
    local line = connection:read_line()
    if not line then return false end
    if line == "" or line == "\r" then break end
    length = tonumber(line:lower():match "^content%-length: *(%d+)") or length
  end
  local request = json.decode(connection:read(length))
  local body =
    json.encode { jsonrpc = "2.0", id = request.id, result = ("0x%x"):format(block) }
  connection:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
  return true
end

-- Stands in for an Ethereum node: every question finds a new block.
local function serve_blocks(listener)
  local block = 40
  while true do
    local accepted = listener:accept()
    task.spawn(function()
      local connection <close> = accepted
      repeat block = block + 1 until not try(answer, connection, block)
    end)
  end
end

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
  for index, path in ipairs(document.list()) do
    it(path .. " print what it says", function()
      if sys.euid() ~= 0 then return pending "the documents' operator is root" end
      -- Short, since Lua cuts long names of files off.
      local top = ("%s/%d"):format(os.getenv "SANDBOX", index)
      local node <close> = net.listen { host = "127.0.0.1", port = 0 }
      local blocks = task.spawn(serve_blocks, node)
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
