-- The sessions of the container target's guide are run on a real cluster, and print what it says;
-- and the rights that it lists are enough.
local TOP = os.getenv "MP_SOURCE_DIR"
local document = dofile(TOP .. "/tests/spec/document.lua")
local chain = dofile(TOP .. "/tests/spec/chain_double.lua")
local fs = require "moonport.fs"
local net = require "moonport.net"
local process = require "moonport.process"
local sys = require "moonport.sys"
local task = require "moonport.task"

local MOONPORT, CLUSTER = os.getenv "MOONPORT", os.getenv "MP_CLUSTER"
local SQUARING = MOONPORT:gsub("[^/]+/[^/]+$", "examples/incredible-squaring")
local GUIDE = "docs/container.md"
local SPACE = ("mp-guide-%d"):format(sys.pid())
local IMAGE = "moonport-guide/squaring:1"
local WORDS = { "sh", "env" }

local function kubectl(...)
  local call = table.move({ ... }, 1, select("#", ...), 3, { CLUSTER, "kubectl" })
  call.check = false
  return process.run(call)
end

-- As the guide has it.
local function load_image(top)
  local root = top .. "/rootfs"
  fs.mkdirs(root .. "/bin")
  fs.copy(SQUARING, root .. "/incredible-squaring")
  fs.copy(process.which "busybox", root .. "/bin/busybox")
  for _, word in ipairs(WORDS) do fs.symlink("busybox", root .. "/bin/" .. word) end
  process.run {
    CLUSTER, "load", IMAGE, root, "--entrypoint", "/incredible-squaring", "--user", "1000",
  }
end

local function prepare(top, port, more)
  for _, name in ipairs { "srv", "state", "site" } do fs.mkdirs(top .. "/" .. name) end
  fs.chmod(top .. "/state", "0700")
  fs.mkdirs(top .. "/srv/keystore", "0700")
  fs.write(top .. "/srv/keystore/operator.json", '{"key":"0x1"}\n', { mode = "0600" })
  local programs = process.run({ CLUSTER, "build" }).stdout:match "[^\n]+"
  local session = document.session {
    dir = top .. "/srv", timeout = 180,
    env = {
      MOONPORT_STATE = top .. "/state", MOONPORT_SITE = top .. "/site",
      KUBECONFIG = os.getenv "KUBECONFIG", PATH = programs .. ":" .. os.getenv "PATH",
    },
    names = {
      { "/srv/squaring", top .. "/srv" },
      { "/var/lib/moonport", top .. "/state" },
      { "/etc/moonport", top .. "/site" },
      { "8545", tostring(port) },
      { "blueprints", SPACE },
      { "demo/squaring:1", IMAGE },
    },
  }
  table.move(more or {}, 1, #(more or {}), #session.names + 1, session.names)
  return session
end

local function moonport(session, ...)
  local call = table.move({ ... }, 1, select("#", ...), 2, { MOONPORT })
  call.env, call.cwd, call.check = session.env, session.dir, false
  return process.run(call)
end

local function remove_all(session)
  local names = {}
  for name in moonport(session, "ps", "-o", "names").stdout:gmatch "%S+" do
    names[#names + 1] = name
  end
  if #names > 0 then moonport(session, "rm", "--force", table.unpack(names)) end
  kubectl("delete", "namespace", SPACE, "--ignore-not-found")
end

-- Calls `act` with a session and a node for it to follow; nothing is left afterwards.
local function in_session(name, more, act)
  local top = ("%s/%s"):format(os.getenv "SANDBOX", name)
  local node <close> = net.listen { host = "0.0.0.0", port = 0 }
  local blocks = task.spawn(chain.serve, node)
  local session = prepare(top, node:port(), more)
  load_image(top)
  local ok, found = pcall(act, session, top)
  remove_all(session)
  blocks:cancel()
  fs.remove_tree(top)
  assert(ok, found)
  return found
end

describe("the container target's guide", function()
  for _, path in ipairs(document.list "container") do
    it("has sessions that print what it says: " .. path, function()
      local wrong = in_session("guide", {}, function(session) return session:replay(path) end)
      assert.equal("", table.concat(wrong, "\n\n"))
    end)
  end
end)

-- A kubeconfig of somebody who has no other rights than those that were granted.
local function kubeconfig_of(user, path)
  local crt, key = process.run({ CLUSTER, "cert", user }).stdout:match "(%S+)%s+(%S+)"
  local function set(...)
    process.run { CLUSTER, "kubectl", "--kubeconfig", path, "config", ... }
  end
  local whole = fs.read(os.getenv "KUBECONFIG")
  fs.write(path, whole, { mode = "0600" })
  set("set-credentials", user, "--client-certificate=" .. crt, "--client-key=" .. key)
  set("set-context", "moonport-test", "--user=" .. user)
end

local function need(result)
  assert.equal(0, result.code, result.stderr .. result.stdout)
  return result.stdout
end

describe("the rights that the guide lists", function()
  it("are all that a service's life takes", function()
    local role, user = SPACE .. "-operator", SPACE .. "-alice"
    local more = { { "moonport-operator", role }, { "alice", user } }
    in_session("rights", more, function(session, top)
      local _, blocks = document.read(GUIDE)
      for _, block in ipairs(blocks) do
        if block.file and not block.file:find "recipes" then session:write(block) end
      end
      need(kubectl("apply", "-f", top .. "/srv/rights.yaml"))
      local removed <close> = setmetatable({}, { -- luacheck: ignore removed
        __close = function()
          kubectl("delete", "clusterrole,clusterrolebinding", role, "--ignore-not-found")
        end,
      })
      session.env.KUBECONFIG = top .. "/kubeconfig"
      kubeconfig_of(user, session.env.KUBECONFIG)
      local doctor = need(moonport(session, "doctor"))
      assert.matches("cluster rights  ok", doctor)
      need(moonport(session, "deploy", "--quiet", "squaring.lua"))
      assert.matches("state: +running", need(moonport(session, "status", "squaring")))
      assert.matches("listening on", need(moonport(session, "logs", "squaring")))
      assert.matches("DATA_DIR", need(moonport(session, "exec", "squaring", "--", "env")))
      assert.matches("metrics", need(moonport(session, "run", "metrics.lua")))
      need(moonport(session, "deploy", "--quiet", "--set", "container.replicas=2", "squaring.lua"))
      need(moonport(session, "rm", "squaring"))
    end)
  end)
end)
