local errors = require "moonport.errors"
local fs = require "moonport.fs"
local net = require "moonport.net"
local ready = require "moonport.ready"
local task = require "moonport.task"

describe("a service counts as ready", function()
  local dir, service

  before_each(function()
    dir = fs.temp_dir()
    service = {
      data_dir = dir,
      run = function(argv)
        return { code = tonumber(argv[2]), stdout = "", stderr = "not yet\n" }
      end,
      follow_log = function()
        local lines = { { text = "starting" }, { text = "listening on 80" } }
        local index = 0
        return function()
          index = index + 1
          if not lines[index] then task.sleep(60) end
          return lines[index]
        end
      end,
      wait_end = function() task.sleep(60) end,
    }
  end)

  after_each(function() fs.remove_tree(dir) end)

  local function wait(probes)
    probes.timeout, probes.interval = probes.timeout or 10, 0.01
    return try(ready.wait, probes, service)
  end

  local function reason(probes)
    probes.timeout = 0.2
    local _, err = wait(probes)
    assert.is_true(errors.is(err, "ready", "timeout"))
    return err.message
  end

  -- Answers every connection with this status until the test ends.
  local function http_server(status)
    local listener = net.listen { host = "127.0.0.1", port = 0 }
    local server = task.contained(function()
      while true do
        local connection <close> = listener:accept()
        repeat local line = connection:read_line() until not line or line:find "^%\r?$"
        connection:write(("HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
          :format(status))
      end
    end)
    return ("http://127.0.0.1:%d/"):format(listener:port()), function()
      server:cancel()
      listener:close()
    end
  end

  local function free_port()
    local listener <close> = net.listen { host = "127.0.0.1", port = 0 }
    return listener:port()
  end

  it("when it accepts a connection", function()
    local listener <close> = net.listen { host = "127.0.0.1", port = 0 }
    assert.is_nil(select(2, wait { tcp = ("127.0.0.1:%d"):format(listener:port()) }))
    assert.is_nil(select(2, wait { tcp = ("localhost:%d"):format(listener:port()) }))
    assert.truthy(reason { tcp = ("127.0.0.1:%d"):format(free_port()) }:find("refused", 1, true))
  end)

  it("when it answers with a status from 200 to 399", function()
    for status, fine in pairs { [200] = true, [302] = true, [404] = false, [503] = false } do
      local url, stop = http_server(status)
      if fine then
        assert.is_nil(select(2, wait { http = url }))
      else
        assert.truthy(reason { http = url }:find(("status %d"):format(status), 1, true))
      end
      stop()
    end
  end)

  it("when a command exits with 0", function()
    assert.is_nil(select(2, wait { exec = { "probe", "0" } }))
    assert.truthy(reason { exec = { "probe", "3" } }:find("exited with 3: not yet", 1, true))
  end)

  it("when a line of output matches", function()
    assert.is_nil(select(2, wait { log = "^listening on %d+" }))
    assert.truthy(reason { log = "never" }:find("no line of output matched `never`", 1, true))
  end)

  it("when a file exists", function()
    local message = reason { file = "up" }
    assert.truthy(message:find("does not exist", 1, true))
    fs.write(dir .. "/up", "")
    assert.is_nil(select(2, wait { file = "up" }))
  end)

  it("when it says so itself, and what it says until then is told", function()
    service.wait_notified = function(note)
      note("it has not said that it is ready (it says: at block 7)")
      task.sleep(60)
    end
    assert.truthy(reason({ notify = true }):find("notify: it has not said .*at block 7"))
    service.wait_notified = function() end
    assert.is_nil(select(2, wait { notify = true }))
  end)

  it("when all that is given holds", function()
    local message = reason { log = "listening", file = "never" }
    assert.truthy(message:find("file: ", 1, true))
    assert.is_nil(message:find("log: ", 1, true))
  end)

  it("and not when it has ended", function()
    service.wait_end = function() return "exited with 1" end
    local _, err = wait { file = "never" }
    assert.is_true(errors.is(err, "ready", "ended"))
    assert.truthy(err.message:find("exited with 1", 1, true))
  end)
end)
