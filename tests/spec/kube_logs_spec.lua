local task = require "moonport.task"

local logs = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/kube_log_double.lua")

local failure = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

local function connect(server) return server:connect { on_wait = function() end } end

--- The next `count` rows in short: their text, marks in brackets.
local function take(log, count)
  local list = {}
  for index = 1, count do
    local row = log:next()
    list[index] = row and row.text or "END"
  end
  return list
end

--- All rows of a log that ends.
local function all(log)
  local list = {}
  for row in log do list[#list + 1] = row.text end
  return list
end

local function write(pod, from, to, container)
  for index = from, to do pod:write(container or "web", "line " .. index) end
end

local function lines(from, to)
  local list = {}
  for index = from, to do list[#list + 1] = "line " .. index end
  return list
end

--- Waits until somebody follows.
local function followed(server, pod)
  server:until_true(function() return pod.streams > 0 end)
end

describe("a log", function()
  it("is read line by line, with time, pod and container", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    write(pod, 1, 3)
    local cluster = connect(server)
    local rows = {}
    for row in cluster:logs "a" do rows[#rows + 1] = row end
    assert.equal(3, #rows)
    assert.same({ time = "2026-01-01T00:00:01.500000000Z", text = "line 1", pod = "a",
      container = "web" }, rows[1])
    assert.same({ "line 3" }, all((cluster:logs("a", { tail = 1 }))))
    assert.same({ "2026-01-01T00:00:03.500000000Z line 3" },
      all((cluster:logs("pods/a", { tail = 1, timestamps = true }))))
    assert.same(lines(2, 3), all((cluster:logs("a", { since_time = 1767225602 }))))
  end)

  it("as raw bytes is what was written", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    pod:write("web", "a\0b\xff\r")
    pod:write("web", "")
    local bytes = {}
    for chunk in connect(server):logs("a", { raw = true }) do bytes[#bytes + 1] = chunk end
    assert.equal("a\0b\xff\r\n\n", table.concat(bytes))
  end)

  it("of bytes that are no text comes unharmed", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    local every = {}
    for byte = 0, 255 do
      if byte ~= 10 then every[#every + 1] = string.char(byte) end
    end
    pod:write("web", table.concat(every))
    assert.same({ table.concat(every) }, all((connect(server):logs "a")))
  end)

  it("of several containers wants one, the default of the annotation, or all", function()
    local server <close> = logs.start()
    local pod = server:pod("a", { containers = { "web", "side" } })
    write(pod, 1, 1)
    pod:write("side", "of side")
    local cluster = connect(server)
    local err = failure("kube", "ambiguous", cluster.logs, cluster, "a")
    assert.truthy(err.hint:find("web, side", 1, true))
    err = failure("kube", "not_found", cluster.logs, cluster, "a", { container = "wep" })
    assert.truthy(err.hint:find("`web`", 1, true))
    assert.same({ "of side" }, all((cluster:logs("a", { container = "side" }))))
    assert.same({ "line 1", "of side" }, all((cluster:logs("a", { all_containers = true }))))
    pod.annotations = { ["kubectl.kubernetes.io/default-container"] = "side" }
    pod:restart("web", 0)
    assert.same({ "of side" }, all((cluster:logs "a")))
    assert.same({ "line 1" }, all((cluster:logs("a", { container = "web", previous = true }))))
  end)

  it("that is not there yet is an error, unless it is followed", function()
    local server <close> = logs.start()
    local pod = server:pod("a", { waiting = "ContainerCreating" })
    local cluster = connect(server)
    local log <close> = cluster:logs "a"
    failure("kube", "bad_request", log.next, log)
    failure("kube", "not_found", cluster.logs, cluster, "b", { follow = true })
    local followed_log <close> = cluster:logs("a", { follow = true })
    local reader = task.contained(take, followed_log, 2)
    server:until_watched()
    pod:wait("web", "ImagePullBackOff")
    pod.files.web.id, pod.files.web.state = "c://web.0", { running = {} }
    pod:write("web", "hello")
    pod:wait("web", "x")
    assert.same({ "[ImagePullBackOff]", "hello" }, reader:await())
  end)

  it("in the middle of which the connection is lost is read on", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    write(pod, 1, 50)
    local cut = false
    local answer = server.on_request
    server.on_request = function(request)
      if request.path:find "/log$" and not cut then
        cut = true
        request:begin()
        for index = 1, 20 do
          local line = pod.files.web.lines[index]
          request:send(line.time .. " " .. line.text .. "\n")
        end
        request:send(pod.files.web.lines[21].time .. " li")
        request:cut()
        return true
      end
      return answer(request)
    end
    assert.same(lines(1, 50), all((connect(server):logs "a")))
  end)

  it("takes a selector or a workload for its pods", function()
    local server <close> = logs.start()
    write(server:pod "a", 1, 1)
    write(server:pod "b", 2, 2)
    write(server:pod("c", { labels = { app = "db" } }), 3, 3)
    server:put("deployments", {
      metadata = { name = "web" }, spec = { selector = { matchLabels = { app = "web" } } },
    })
    local cluster = connect(server)
    assert.same(lines(1, 2), all((cluster:logs { labels = "app=web" })))
    assert.same(lines(1, 2), all((cluster:logs "deployments/web")))
    assert.same({ "line 3" }, all((cluster:logs { labels = { app = { "db" } } })))
    assert.same({ "line 3" }, all((cluster:logs(cluster:get("pods", "c")))))
    failure("argument", "invalid", cluster.logs, cluster, {})
    failure("argument", "invalid", cluster.logs, cluster, "a", { follow = true, previous = true })
  end)
end)

describe("following", function()
  it("gives what comes, until the pod has ended", function()
    local server <close> = logs.start()
    local pod = server:pod("a", { policy = "Never" })
    write(pod, 1, 2)
    local log <close> = connect(server):logs("a", { follow = true })
    assert.same(lines(1, 2), take(log, 2))
    write(pod, 3, 3)
    assert.same(lines(3, 3), take(log, 1))
    write(pod, 4, 4)
    pod:finish "Succeeded"
    assert.same({ "line 4", "END" }, take(log, 2))
  end)

  for _, how in ipairs { "finish", "cut" } do
    it(("goes on where a stream ends by `%s`, with no line lost or twice"):format(how), function()
      local server <close> = logs.start()
      local pod = server:pod "a"
      local log <close> = connect(server):logs("a", { follow = true })
      local at = 0
      for _ = 1, 4 do
        write(pod, at + 1, at + 10)
        assert.same(lines(at + 1, at + 10), take(log, 10))
        followed(server, pod)
        pod:disturb(how)
        at = at + 10
      end
      assert.equal(4, #pod.asked)
      assert.truthy(pod.asked[4].sinceTime)
    end)
  end

  it("knows lines of one time apart by their number", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    local log <close> = connect(server):logs("a", { follow = true })
    local time = "2026-01-01T00:00:05.000000001Z"
    pod:write("web", "same", time)
    pod:write("web", "same", time)
    assert.same({ "same", "same" }, take(log, 2))
    followed(server, pod)
    pod:disturb "cut"
    pod:write("web", "same", time)
    pod:write("web", "behind", "2026-01-01T00:00:04.999999999Z")
    pod:write("web", "new", "2026-01-01T00:00:05.000000002Z")
    assert.same({ "same", "new" }, take(log, 2))
  end)

  it("gives a line that stands behind one of a later time", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    local log <close> = connect(server):logs("a", { follow = true })
    pod:write("web", "1", "2026-01-01T00:00:05.000000001Z")
    pod:write("web", "3", "2026-01-01T00:00:05.000000003Z")
    assert.same({ "1", "3" }, take(log, 2))
    followed(server, pod)
    pod:disturb "cut"
    pod:write("web", "2", "2026-01-01T00:00:05.000000002Z")
    assert.same({ "2" }, take(log, 1))
  end)

  it("begins with nothing where asked, and then misses nothing", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    write(pod, 1, 5)
    local log <close> = connect(server):logs("a", { follow = true, tail = 0 })
    local reader = task.contained(take, log, 3)
    followed(server, pod)
    pod:disturb "cut"
    write(pod, 6, 8)
    assert.same(lines(6, 8), reader:await())
  end)

  it("marks that a log was rotated away while nobody read it", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    local log <close> = connect(server):logs("a", { follow = true })
    write(pod, 1, 2)
    assert.same(lines(1, 2), take(log, 2))
    followed(server, pod)
    pod:disturb "finish"
    pod:rotate "web"
    write(pod, 3, 4)
    assert.same({ "[the log was rotated; lines may be missing]", "line 3", "line 4" },
      take(log, 3))
  end)

  it("goes over to the next container, with what the one before left and why it ended", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    local log <close> = connect(server):logs("a", { follow = true })
    write(pod, 1, 2)
    assert.same(lines(1, 2), take(log, 2))
    followed(server, pod)
    pod:disturb "cut"
    write(pod, 3, 4)
    pod:restart("web", 137, "OOMKilled")
    write(pod, 5, 5)
    assert.same({ "line 3", "line 4", "[container restarted, exit 137 (OOMKilled)]", "line 5" },
      take(log, 4))
  end)

  it("says how many containers it has missed", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    local log <close> = connect(server):logs("a", { follow = true })
    write(pod, 1, 1)
    assert.same(lines(1, 1), take(log, 1))
    pod:exit("web", 1)
    for _ = 1, 3 do
      pod.previous.web = pod.files.web
      pod.files.web = {
        lines = {}, restarts = pod.files.web.restarts + 1, id = "c://" .. math.random(1e9),
        state = { running = {} }, last = { terminated = { exitCode = 2 } },
      }
    end
    pod:wait("web", "x")
    pod.files.web.state = { running = {} }
    write(pod, 2, 2)
    pod:wait("web", "y")
    assert.same({ "[container restarted, exit 2; the output of 2 before is lost]", "line 2" },
      take(log, 2))
  end)

  it("waits out a crash loop, and says so once for each container", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    local log <close> = connect(server):logs("a", { follow = true })
    write(pod, 1, 1)
    assert.same(lines(1, 1), take(log, 1))
    pod:exit("web", 1)
    pod:wait("web", "CrashLoopBackOff")
    assert.same({ "[CrashLoopBackOff]" }, take(log, 1))
    local reader = task.contained(take, log, 2)
    server:until_watched()
    pod:begin "web"
    write(pod, 2, 2)
    assert.same({ "[container restarted, exit 1]", "line 2" }, reader:await())
  end)

  it("ends when the pod is deleted", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    local log <close> = connect(server):logs("a", { follow = true })
    write(pod, 1, 1)
    assert.same(lines(1, 1), take(log, 1))
    pod:remove()
    assert.same({ "END" }, take(log, 1))
  end)

  it("goes over to the pod that its StatefulSet makes, and ends with that", function()
    local server <close> = logs.start()
    local owners = { { controller = true, kind = "StatefulSet", name = "web" } }
    local set = { metadata = { name = "web" }, spec = { replicas = 1 } }
    server:put("statefulsets", set)
    local pod = server:pod("web-0", { owners = owners })
    local log <close> = connect(server):logs("web-0", { follow = true })
    write(pod, 1, 1)
    assert.same(lines(1, 1), take(log, 1))
    pod:remove()
    local reader = task.contained(take, log, 2)
    server:until_true(function() return server.watches > 1 end)
    local second = server:pod("web-0", { owners = owners })
    write(second, 2, 2)
    assert.same({ "[pod replaced]", "line 2" }, reader:await())
    second:remove()
    reader = task.contained(take, log, 1)
    server:until_true(function() return server.watches > 3 end)
    set.spec.replicas = 0
    server:put("statefulsets", set)
    assert.same({ "END" }, reader:await())
  end)

  it("of a silent connection makes another", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    local log <close> = connect(server):logs("a", { follow = true, idle = 0.1 })
    write(pod, 1, 1)
    assert.same(lines(1, 1), take(log, 1))
    local reader = task.contained(take, log, 1)
    server:until_true(function() return #pod.asked > 1 end)
    write(pod, 2, 2)
    assert.same(lines(2, 2), reader:await())
  end)

  it("ends when it is closed, also for who waits in it, and frees its connections", function()
    for _, whose in ipairs { "a", { labels = "app=web" } } do
      local server <close> = logs.start()
      local pod = server:pod "a"
      local log <close> = connect(server):logs(whose, { follow = true })
      local reader = task.contained(log.next, log)
      followed(server, pod)
      log:close()
      assert.is_nil(reader:await())
      server:until_true(function() return server.connections == 0 end)
    end
  end)
end)

describe("following several pods", function()
  it("joins those that come, and tells of those that go", function()
    local server <close> = logs.start()
    local a = server:pod "a"
    write(a, 1, 3)
    local log <close> = connect(server):logs({ labels = "app=web" }, { follow = true, tail = 1 })
    assert.same({ "line 3" }, take(log, 1))
    local b = server:pod "b"
    write(b, 4, 5)
    assert.same({ "[pod started]", "line 4", "line 5" }, take(log, 3))
    server:pod("c", { labels = { app = "db" } }):write("web", "not ours")
    a:remove()
    assert.same({ "[pod deleted]" }, take(log, 1))
    b:restart("web", 1)
    write(b, 6, 6)
    assert.same({ "[container restarted, exit 1]", "line 6" }, take(log, 2))
  end)

  it("ends when all of them have ended for good", function()
    local server <close> = logs.start()
    local a, b = server:pod("a", { policy = "Never" }), server:pod("b", { policy = "Never" })
    local log <close> = connect(server):logs({ labels = "app=web" }, { follow = true })
    local reader = task.contained(take, log, 3)
    followed(server, a)
    followed(server, b)
    write(a, 1, 1)
    a:finish "Succeeded"
    server:until_true(function() return a.streams == 0 end)
    write(b, 2, 2)
    b:finish "Failed"
    local rows = reader:await()
    table.sort(rows)
    assert.same({ "END", "line 1", "line 2" }, rows)
  end)

  it("raises where one cannot be read", function()
    local server <close> = logs.start()
    server:pod("a", { containers = { "web", "side" } })
    local log <close> = connect(server):logs({ labels = "app=web" }, { follow = true })
    failure("kube", "ambiguous", log.next, log)
  end)
end)

describe("a long line", function()
  local lines_module = require "moonport.kube.logs.lines"
  local TIME = "2026-01-01T00:00:05.000000001Z"

  --- What is read when the bytes come in chunks of this size: text and how many rows.
  local function read(bytes, size)
    local reader, parts, rows = lines_module.new(), {}, 0
    local function add(row)
      rows = rows + 1
      assert.is_true(#row.text <= 1 << 20)
      parts[#parts + 1] = row.text .. (row.partial and "" or "|")
      assert.equal(TIME, row.time)
    end
    for from = 1, #bytes, size do
      reader:feed(bytes:sub(from, from + size - 1))
      for row in reader.next, reader do add(row) end
    end
    local last = reader:finish()
    if last then add(last) end
    return table.concat(parts), rows
  end

  it("is put together of its pieces without the times between them", function()
    local piece = ("0123456789abcdef"):rep(1024)
    local rest = "the end"
    local bytes = TIME .. " " .. piece .. TIME .. " " .. piece .. TIME .. " " .. rest .. "\n"
    for _, size in ipairs { 7, 4096, 16384, #bytes } do
      assert.equal(piece .. piece .. rest .. "|", (read(bytes, size)))
    end
    -- A time elsewhere in the text is text.
    local text = ("x"):rep(9000) .. TIME .. " y"
    assert.equal(text .. "|", (read(TIME .. " " .. text .. "\n", 1000)))
  end)

  it("of megabytes comes in several rows, with pieces or without", function()
    local whole = {}
    for index = 1, 200 do whole[index] = ("%08d"):format(index):rep(2048) end
    local text = table.concat(whole)
    local pieces = {}
    for index, piece in ipairs(whole) do pieces[index] = TIME .. " " .. piece end
    for _, bytes in ipairs { TIME .. " " .. text, table.concat(pieces) } do
      for _, size in ipairs { 10000, 65536, 1 << 20, #bytes + 1 } do
        local got, rows = read(bytes .. "\n", size)
        assert.is_true(got == text .. "|")
        assert.is_true(rows > 2)
        got = read(bytes, size) -- without a newline at the end
        assert.is_true(got == text .. "|")
      end
    end
  end)

  it("that was cut by the network is not begun again", function()
    local server <close> = logs.start()
    local pod = server:pod "a"
    local text = {}
    for index = 1, 400000 do text[index] = ("%06d"):format(index) end
    text = table.concat(text)
    pod:write("web", "before")
    pod:write("web", text)
    pod:write("web", "after")
    local cut, answer = false, server.on_request
    server.on_request = function(request)
      if cut or not request.path:find "/log$" then return answer(request) end
      cut = true
      request:begin()
      local stamped = {}
      for index, line in ipairs(pod.files.web.lines) do
        stamped[index] = line.time .. " " .. line.text .. "\n"
      end
      request:send(table.concat(stamped):sub(1, 1600000))
      request:cut()
      return true
    end
    local parts = {}
    for row in connect(server):logs "a" do
      parts[#parts + 1] = row.text .. (row.partial and "" or "\n")
    end
    assert.is_true(table.concat(parts) == "before\n" .. text .. "\nafter\n")
  end)
end)
