local errors = require "moonport.errors"
local net = require "moonport.net"
local task = require "moonport.task"

--- Both ends of a connection.
local function pair()
  local listener <close> = net.listen { host = "127.0.0.1", port = 0 }
  local ends = task.all {
    function() return listener:accept() end,
    function() return net.connect { host = "localhost", port = listener:port() } end,
  }
  return ends[1], ends[2]
end

describe("a connection", function()
  it("carries lines, blocks and ends both ways", function()
    local server, client = pair()
    local a <close> = server
    local b <close> = client
    b:write "HEAD\r\nbody\nrest"
    b:shutdown()
    assert.equal("HEAD", a:read_line())
    assert.equal("bo", a:read(2))
    local lines = {}
    for line in a:lines() do lines[#lines + 1] = line end
    assert.same({ "dy", "rest" }, lines)
    a:write("answer")
    a:close()
    assert.equal("answer", b:read_all())
    assert.is_nil(b:read())
  end)

  it("slows a writer down to its reader and loses nothing", function()
    local server, client = pair()
    local a <close> = server
    local b <close> = client
    local block, count = ("x"):rep(100000), 100
    local total = 0
    task.all {
      function()
        for _ = 1, count do b:write(block) end
        b:shutdown()
      end,
      function()
        while true do
          local bytes = a:read()
          if not bytes then break end
          total = total + #bytes
        end
      end,
    }
    assert.equal(#block * count, total)
  end)

  it("raises on a line over the limit", function()
    local server, client = pair()
    local a <close> = server
    local b <close> = client
    b:write("1234567890\n")
    local _, err = try(a.read_line, a, 5)
    assert.is_true(errors.is(err, "net", "limit"))
    assert.equal("1234567890", a:read_line())
  end)

  it("can be cancelled and timed out while it reads", function()
    local server, client = pair()
    local a <close> = server
    local b <close> = client
    local ok, err = pcall(task.timeout, 0.01, a.read, a)
    assert.is_false(ok)
    assert.equal("timeout", err.code)
    b:write "later"
    assert.equal("later", a:read())
  end)

  it("is of no use once closed", function()
    local server, client = pair()
    server:close()
    client:close()
    client:close()
    local _, err = try(client.read, client)
    assert.is_true(errors.is(err, "net", "closed"))
  end)
end)

describe("net.connect", function()
  it("reaches Unix sockets, whose file goes with the listener", function()
    local path = os.tmpname()
    os.remove(path)
    do
      local listener <close> = net.listen { unix = path }
      local ends = task.all {
        function() return listener:accept() end,
        function() return net.connect { unix = path } end,
      }
      ends[1]:write "hello\n"
      assert.equal("hello", ends[2]:read_line())
      ends[1]:close()
      ends[2]:close()
    end
    assert.is_nil(io.open(path))
  end)

  it("says what it could not reach", function()
    local _, err = try(net.connect, { host = "127.0.0.1", port = 1 })
    assert.is_true(errors.is(err, "net", "ECONNREFUSED"))
    assert.truthy(err.message:find("`127.0.0.1` port 1", 1, true))
    _, err = try(net.connect, { unix = "/nonexistent" })
    assert.is_true(errors.is(err, "net", "ENOENT"))
    _, err = try(net.connect, { unix = "/" .. ("x"):rep(108) })
    assert.is_true(errors.is(err, "net", "ENAMETOOLONG"))
    assert.truthy(err.hint)
  end)

  it("refuses an address that is none", function()
    for _, address in ipairs { {}, { host = "x", unix = "/x" }, { host = "x", port = 70000 },
      { host = "x", port = 1, tls = true }, { unix = "a\0b" } } do
      local _, err = try(net.connect, address)
      assert.is_true(errors.is(err, "argument", "invalid"))
    end
  end)
end)

describe("behind a shut gate", function()
  it("only a probe may connect", function()
    local listener <close> = net.listen { host = "127.0.0.1", port = 0 }
    local address = { host = "127.0.0.1", port = listener:port() }
    local ok, err = pcall(task.read_only, net.connect, address)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "gate", "refused"))
    address.probe = true
    assert.is_true(task.read_only(net.connect, address))
    ok, err = pcall(task.read_only, net.listen, { host = "127.0.0.1" })
    assert.is_false(ok)
    assert.is_true(errors.is(err, "gate", "refused"))
  end)
end)

describe("the address of this machine", function()
  it("is told of a connection that was probed", function()
    local listener <close> = net.listen { host = "127.0.0.1", port = 0 }
    local address = { host = "localhost", port = listener:port(), probe = true }
    assert.same({ true, "127.0.0.1" }, { net.connect(address) })
  end)

  it("is known for another address before anything is sent there", function()
    assert.equal("127.0.0.1", net.source_address "127.0.0.1")
    assert.equal("127.0.0.1", net.source_address "127.8.9.10")
    local _, why = try(net.source_address, "localhost")
    assert.is_true(errors.is(why, "net", "invalid"))
  end)
end)
