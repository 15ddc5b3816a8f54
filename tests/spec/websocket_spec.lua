local errors = require "moonport.errors"
local http = require "moonport.http"
local secret = require "moonport.secret"
local task = require "moonport.task"
local websocket = require "moonport.websocket"

local double = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/websocket_double.lua")

describe("a websocket", function()
  local server

  before_each(function() server = double.start() end)
  after_each(function() server.close() end)

  it("carries messages of both kinds, also many at once", function()
    local ws <close> = websocket.connect(server.url, { ping = 10 })
    assert.is_nil(ws.protocol)
    assert.equal(server.url, ws.url)
    ws:send("\0\255 bytes"):send("grüße", "text"):send("")
    assert.same({ "\0\255 bytes", "binary" }, { ws:receive() })
    assert.same({ "grüße", "text" }, { ws:receive() })
    assert.same({ "", "binary" }, { ws:receive() })
    local block, count = ("x"):rep(100000), 200
    task.all {
      function()
        for _ = 1, count do ws:send(block) end
      end,
      function()
        for _ = 1, count do assert.equal(block, (ws:receive())) end
      end,
    }
    ws:ping()
    assert.is_true(ws:close(1000, "done"))
    assert.is_true(ws:close())
  end)

  it("ends its messages with the peer's close, and tells why", function()
    local ws <close> = websocket.connect(server.url)
    local seen = {}
    local reader = task.spawn(function()
      for message in ws:messages() do seen[#seen + 1] = message end
      return select(2, ws:receive())
    end)
    ws:send "a"
    ws:send "b"
    ws:ping()
    ws:close(4000, "enough")
    assert.equal(4000, reader:await())
    assert.same({ "a", "b" }, seen)
    local _, err = try(ws.send, ws, "late")
    assert.is_true(errors.is(err, "websocket", "closed"))
  end)

  it("reveals a secret to the peer alone", function()
    local ws <close> = websocket.connect(server.url)
    ws:send(secret.env "PATH")
    assert.equal(os.getenv "PATH", (ws:receive()))
    local _, err = try(ws.send, ws, {})
    assert.equal("argument", err.kind)
  end)

  it("can be cancelled while it waits, and used on", function()
    local ws <close> = websocket.connect(server.url)
    local _, err = try(task.timeout, 0.01, ws.receive, ws)
    assert.equal("timeout", err.code)
    ws:send "still here"
    assert.equal("still here", (ws:receive()))
    local first = task.spawn(function() return ws:receive() end)
    task.sleep(0)
    _, err = try(ws.receive, ws)
    assert.is_true(errors.is(err, "websocket", "busy"))
    first:cancel()
  end)

  it("tells a refusal with status and body, and a server that is none", function()
    local url = server.url .. "api/v1/namespaces/a/pods/b/exec?command=true"
    local _, err = try(websocket.connect, url, { protocols = { "v4.channel.k8s.io" } })
    assert.is_true(errors.is(err, "websocket", "refused"))
    assert.same({ 403, "" }, { err.status, err.body })
    assert.is_truthy(tostring(err):find "403 Forbidden")
    _, err = try(websocket.connect, "ws://127.0.0.1:1/")
    assert.is_true(errors.is(err, "http", "connect"))
  end)

  it("refuses what it does not know, and names what is near", function()
    local _, err = try(websocket.connect, server.url, { protocol = { "x" } })
    assert.equal("argument", err.kind)
    assert.is_truthy(err.hint:find "protocols")
    for _, options in ipairs {
      { protocols = "x" }, { ping = "often" }, { max_message = 0 }, { headers = 7 },
      { headers = { Upgrade = "h2c" } }, { protocols = { "a b" } }, { timeout = "soon" },
    } do
      _, err = try(websocket.connect, server.url, options)
      assert.is_true(err.code == "invalid", tostring(err))
    end
    _, err = try(websocket.connect, "gopher://host/")
    assert.equal("invalid", err.code)
  end)

  it("goes on beside requests, and is closed by its scope and by the collector", function()
    do
      local ws <close> = websocket.connect(server.url)
      ws:send "x"
      assert.equal("connect", select(2, try(http.get, "http://127.0.0.1:1/")).code)
      assert.equal("x", (ws:receive()))
    end
    local ws = websocket.connect(server.url)
    ws:send "y"
    ws = nil -- luacheck: ignore
    collectgarbage()
    local again <close> = websocket.connect(server.url)
    assert.is_truthy(tostring(again):find "127.0.0.1")
  end)
end)
