local errors = require "moonport.errors"
local json = require "moonport.json"
local task = require "moonport.task"

local double = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/kube_double.lua")

local function map(name, data)
  return { metadata = { name = name, labels = data and data.labels }, data = data }
end

--- "ADDED a", the event in short.
local function short(event)
  if event.type == "SYNC" then return "SYNC" end
  return event.type .. " " .. event.object.metadata.name .. (event.missed and " (missed)" or "")
end

--- The next `count` events in short.
local function take(watch, count)
  local list = {}
  for index = 1, count do list[index] = short(watch:next()) end
  return list
end

local function is_watch(request) return request.query.watch ~= nil end

--- Answers the first `count` watches by `fn`; the later ones are served.
local function first_watches(server, count, fn)
  server.on_request = function(request)
    if not is_watch(request) or count == 0 then return false end
    count = count - 1
    fn(request)
    return true
  end
end

--- Waits for as long as told, but not in earnest.
local function collector()
  local waits = {}
  return waits, function(wait) waits[#waits + 1] = wait end
end

local failure = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

describe("a watch", function()
  it("tells what is there and then what changes", function()
    local server <close> = double.start()
    server:put("configmaps", map "a")
    local watch <close> = server:connect():watch("configmaps", { sync = true })
    assert.same({ "ADDED a", "SYNC" }, take(watch, 2))
    server:put("configmaps", map "b")
    server:put("configmaps", map("a", { x = "1" }))
    server:remove("configmaps", "b")
    assert.same({ "ADDED b", "MODIFIED a", "DELETED b" }, take(watch, 3))
    assert.equal(tostring(server.version), watch.resource_version)
  end)

  it("is a loop that closes its connection when it is left", function()
    local server <close> = double.start()
    for _, name in ipairs { "a", "b", "c" } do server:put("configmaps", map(name)) end
    local names = {}
    for event in server:connect():watch("configmaps") do
      names[#names + 1] = event.object.metadata.name
      assert.equal("ConfigMap", event.object.kind)
      assert.equal("v1", event.object.apiVersion)
      if #names == 3 then server:put("configmaps", map "d") end
      if #names == 4 then break end
    end
    assert.same({ "a", "b", "c", "d" }, names)
    server:until_true(function() return server.connections == 0 end)
  end)

  it("ends at once when it is closed, also for who waits in it", function()
    local server <close> = double.start()
    local watch <close> = server:connect():watch("configmaps", { sync = true })
    assert.same({ "SYNC" }, take(watch, 1))
    local reader = task.contained(watch.next, watch)
    server:until_watched()
    watch:close()
    assert.is_nil(reader:await())
    assert.is_nil(watch:next())
    server:until_true(function() return server.connections == 0 end)
  end)

  it("goes on after a wait in it was cancelled", function()
    local server <close> = double.start()
    local watch <close> = server:connect():watch("configmaps", { sync = true })
    assert.same({ "SYNC" }, take(watch, 1))
    failure("task", "timeout", task.timeout, 0.05, watch.next, watch)
    server:put("configmaps", map "a")
    assert.same({ "ADDED a" }, take(watch, 1))
  end)

  it("selects by name, label and namespace", function()
    local server <close> = double.start()
    server:put("configmaps", map("a", { labels = { app = "web" } }))
    server:put("configmaps", map "b")
    local other = map "b"
    other.metadata.namespace = "other"
    server:put("configmaps", other)
    local cluster = server:connect()
    local function names(options)
      options.sync = true
      local list = {}
      for event in cluster:watch("configmaps", options) do
        if event.type == "SYNC" then break end
        local metadata = event.object.metadata
        list[#list + 1] = metadata.namespace .. "/" .. metadata.name
      end
      return list
    end
    assert.same({ "default/a", "default/b" }, names {})
    assert.same({ "default/a" }, names { labels = { app = "web" } })
    assert.same({ "other/b" }, names { name = "b", namespace = "other" })
    assert.same({ "default/a", "default/b", "other/b" }, names { all_namespaces = true })
  end)

  it("tells only of the future where asked, and still of missed deletions", function()
    local server <close> = double.start()
    server:put("configmaps", map "a")
    local cluster = server:connect { on_wait = function() end }
    local watch <close> = cluster:watch("configmaps", { initial = false })
    server:put("configmaps", map "b")
    assert.same({ "ADDED b" }, take(watch, 1))
    server:remove("configmaps", "a")
    server:forget()
    server:cut()
    assert.same({ "DELETED a (missed)" }, take(watch, 1))
  end)

  it("says which option it does not have", function()
    local server <close> = double.start()
    local cluster = server:connect()
    local err = failure("argument", "invalid", cluster.watch, cluster, "pods", { lables = "" })
    assert.equal("did you mean `labels`?", err.hint)
    failure("argument", "invalid", cluster.watch, cluster, "configmaps", { timeout = 1 })
  end)
end)

describe("a connection that ends", function()
  for how, wants_pause in pairs { finish = true, cut = true } do
    it(("by `%s` is followed by one that resumes from the last version"):format(how), function()
      local server <close> = double.start()
      local waits, on_wait = collector()
      local watch <close> = server:connect():watch("configmaps", { sync = true, on_wait = on_wait })
      assert.same({ "SYNC" }, take(watch, 1))
      server:put("configmaps", map "a")
      assert.same({ "ADDED a" }, take(watch, 1))
      server[how](server)
      server:put("configmaps", map "b")
      assert.same({ "ADDED b" }, take(watch, 1))
      assert.equal(1, watch.reconnects)
      assert.equal(0, watch.relists)
      assert.equal(1, server:count("configmaps", "resourceVersion", "101"))
      assert.equal(wants_pause and 1 or 0, #waits)
    end)
  end

  it("loses nothing and repeats nothing over thousands of changes", function()
    local server <close> = double.start()
    local cluster = server:connect { on_wait = function() end }
    local objects, seen = {}, {}
    local watch <close> = cluster:watch("configmaps")
    server:put("configmaps", map "start")
    take(watch, 1)
    local writer = task.contained(function()
      for index = 1, 3000 do
        local name = "m" .. math.random(50)
        if server.objects.configmaps["default/" .. name] and index % 3 == 0 then
          server:remove("configmaps", name)
        else
          server:put("configmaps", map(name, { index = tostring(index) }))
        end
        if index % 700 == 0 then server:cut() end
        if index % 800 == 0 then server:finish() end
        if index % 20 == 0 then task.sleep(0) end
      end
    end)
    local versions = {}
    for event in watch do
      local metadata = event.object.metadata
      local version = tonumber(metadata.resourceVersion)
      assert.is_nil(seen[version])
      seen[version] = true
      versions[#versions + 1] = version
      objects[metadata.name] = event.type ~= "DELETED" and event.object or nil
      if #versions == 3000 then break end
    end
    writer:await()
    for index = 2, #versions do assert.equal(versions[index - 1] + 1, versions[index]) end
    for key, object in pairs(server.objects.configmaps) do
      local name = key:match "/(.*)"
      if name ~= "start" then
        assert.equal(object.metadata.resourceVersion, objects[name].metadata.resourceVersion)
        objects[name] = nil
      end
    end
    assert.is_nil(next(objects))
  end)

  it("is left alone longer each time while the server ends them at once", function()
    local server <close> = double.start()
    local waits, on_wait = collector()
    first_watches(server, 3, function(request)
      request:begin()
      request:finish()
    end)
    local watch <close> = server:connect():watch("configmaps", { sync = true, on_wait = on_wait })
    assert.same({ "SYNC" }, take(watch, 1))
    server:put("configmaps", map "a")
    assert.same({ "ADDED a" }, take(watch, 1))
    assert.equal(3, #waits)
    assert.is_true(waits[1].seconds <= 0.25 and waits[3].seconds >= 0.5)
    assert.truthy(waits[1].why:find("at once", 1, true))
  end)

  it("in the middle of an event brings that event again, whole", function()
    local server <close> = double.start()
    first_watches(server, 1, function(request)
      local object = server:put("configmaps", map("a", { text = ("x"):rep(100) }))
      local text = json.encode { type = "ADDED", object = object }
      request:begin()
      request:send(text:sub(1, #text // 2))
      request:cut()
    end)
    local watch <close> = server:connect { on_wait = function() end }:watch("configmaps")
    assert.same({ "ADDED a" }, take(watch, 1))
    assert.equal(1, watch.reconnects)
  end)

  it("that was silent for too long is given up for another", function()
    local server <close> = double.start()
    first_watches(server, 1, function(request)
      request:begin()
      server:until_watched()
    end)
    local cluster = server:connect { on_wait = function() end }
    local watch <close> = cluster:watch("configmaps", { sync = true, idle = 0.1 })
    assert.same({ "SYNC" }, take(watch, 1))
    server:put("configmaps", map "a")
    assert.same({ "ADDED a" }, take(watch, 1))
    assert.equal(1, watch.reconnects)
  end)

  it("is no reason to end where the server is away for a while", function()
    local server <close> = double.start()
    local refused = 0
    local waits, on_wait = collector()
    local watch <close> = server:connect():watch("configmaps", { sync = true, on_wait = on_wait })
    assert.same({ "SYNC" }, take(watch, 1))
    server:put("configmaps", map "a")
    assert.same({ "ADDED a" }, take(watch, 1))
    first_watches(server, 3, function(request)
      refused = refused + 1
      if refused == 1 then return request:refuse(503, "busy", { ["Retry-After"] = "1" }) end
      if refused == 2 then return request:cut() end
      request:refuse(429)
    end)
    server:cut()
    server:put("configmaps", map "b")
    assert.same({ "ADDED b" }, take(watch, 1))
    assert.equal(3, refused)
    assert.is_true(waits[2].seconds >= 1)
    assert.truthy(waits[2].why:find("busy", 1, true))
  end)
end)

describe("an event", function()
  it("may be cut anywhere by the network", function()
    local server <close> = double.start()
    first_watches(server, 1, function(request)
      local text = {}
      for index = 1, 3 do
        local object = server:put("configmaps", map("m" .. index, { text = '{"}\\é\n' }))
        text[index] = json.encode { type = "ADDED", object = object } .. "\n"
      end
      request:begin()
      for char in table.concat(text):gmatch "." do
        request:send(char)
        if char == "}" then task.sleep(0) end
      end
      request:finish()
    end)
    local watch <close> = server:connect { on_wait = function() end }:watch("configmaps")
    for index = 1, 3 do
      local event = watch:next()
      assert.equal("ADDED m" .. index, short(event))
      assert.equal('{"}\\é\n', event.object.data.text)
    end
  end)

  for what, bytes in pairs {
    ["what is no JSON"] = '{"type":"ADDED",oops}\n',
    ["a kind of event that does not exist"] =
      '{"type":"CHANGED","object":{"metadata":{"name":"a","resourceVersion":"7"}}}',
    ["no object"] = '{"type":"ADDED","object":null}',
    ["an object without a version"] = '{"type":"ADDED","object":{"metadata":{"name":"a"}}}',
    ["a list"] = '[1,2]',
  } do
    it(("that is %s ends the watch with an error that shows it"):format(what), function()
      local server <close> = double.start()
      first_watches(server, 1, function(request)
        request:begin()
        request:send(bytes)
      end)
      local watch <close> = server:connect():watch("configmaps", { sync = true })
      assert.same({ "SYNC" }, take(watch, 1))
      local err = failure("kube", "protocol", watch.next, watch)
      assert.truthy(err.message:find("`configmaps`", 1, true))
      assert.is_nil(watch:next())
      server:until_true(function() return server.connections == 0 end)
    end)
  end
end)

describe("a version that the server has forgotten", function()
  for within, title in pairs { [false] = "by its status", [true] = "within the stream" } do
    it(("and refuses %s leads to a new list and the differences"):format(title), function()
      local server <close> = double.start()
      server.forgets_within = within
      for _, name in ipairs { "kept", "changed", "gone", "again" } do
        server:put("configmaps", map(name))
      end
      local cluster = server:connect { on_wait = function() end }
      local watch <close> = cluster:watch("configmaps", { sync = true })
      take(watch, 5)
      server:put("configmaps", map "marker")
      assert.same({ "ADDED marker" }, take(watch, 1))
      server:cut()
      server:put("configmaps", map("changed", { x = "1" }))
      local gone = server:remove("configmaps", "gone")
      server:remove("configmaps", "again")
      server:put("configmaps", map "again")
      server:put("configmaps", map "new")
      server:forget()
      local events, by_name = {}, {}
      for index = 1, 6 do
        events[index] = watch:next()
        if events[index].missed then by_name[events[index].object.metadata.name] = events[index] end
      end
      local list = {}
      for index, event in ipairs(events) do list[index] = short(event) end
      assert.same({ "DELETED again (missed)", "ADDED again", "MODIFIED changed", "ADDED new",
        "DELETED gone (missed)", "SYNC" }, list)
      assert.equal(gone.metadata.uid, by_name.gone.object.metadata.uid)
      assert.equal("default", by_name.gone.object.metadata.namespace)
      assert.equal("ConfigMap", by_name.gone.object.kind)
      assert.equal(1, watch.relists)
      server:put("configmaps", map "after")
      assert.same({ "ADDED after" }, take(watch, 1))
    end)
  end

  it("is not asked for where bookmarks have told of a newer one", function()
    local server <close> = double.start()
    local cluster = server:connect { on_wait = function() end }
    local watch <close> = cluster:watch("configmaps", { sync = true, labels = "app=web" })
    assert.same({ "SYNC" }, take(watch, 1))
    local reader = task.contained(watch.next, watch)
    server:until_true(function() return next(server.open) ~= nil end)
    for index = 1, 5 do server:put("configmaps", map("other" .. index)) end
    server:bookmark()
    server:until_true(function() return watch.resource_version == tostring(server.version) end)
    server:forget()
    server:cut()
    server:put("configmaps", map("a", { labels = { app = "web" } }))
    assert.equal("ADDED a", short(reader:await()))
    assert.equal(0, watch.relists)
    assert.equal(1, watch.reconnects)
  end)

  it("again and again is asked for ever more slowly", function()
    local server <close> = double.start()
    local waits, on_wait = collector()
    first_watches(server, 4, function(request) request:refuse(410) end)
    server:put("configmaps", map "a")
    local watch <close> = server:connect():watch("configmaps", { sync = true, on_wait = on_wait })
    assert.same({ "ADDED a", "SYNC", "SYNC", "SYNC", "SYNC", "SYNC" }, take(watch, 6))
    server:put("configmaps", map "b")
    assert.same({ "ADDED b" }, take(watch, 1))
    assert.equal(4, #waits)
    assert.is_true(waits[4].seconds > waits[1].seconds)
    assert.equal(4, watch.relists)
  end)

  it("is an error for a watch that was to start there", function()
    local server <close> = double.start()
    server:put("configmaps", map "a")
    local cluster = server:connect()
    local watch <close> = cluster:watch("configmaps", { resource_version = "100" })
    assert.same({ "ADDED a" }, take(watch, 1))
    assert.equal(0, server:count("configmaps", "limit", "500"))
    server:forget()
    local late <close> = cluster:watch("configmaps", { resource_version = "100" })
    local err = failure("kube", "expired", late.next, late)
    assert.truthy(err.hint:find("resource_version", 1, true))
  end)

  it("while a list is read page by page begins that list again, and tells nothing twice", function()
    local server <close> = double.start()
    server.page = 2
    for index = 1, 6 do server:put("configmaps", map("m" .. index)) end
    local lists = 0
    server.on_request = function(request)
      if request.query.limit then
        lists = lists + 1
        if lists == 2 then
          server:remove("configmaps", "m1")
          server:put("configmaps", map "m7")
          server:forget()
        end
      end
      return false
    end
    local watch <close> = server:connect():watch("configmaps", { sync = true })
    assert.same({ "ADDED m1", "ADDED m2", "ADDED m3", "ADDED m4", "ADDED m5", "ADDED m6",
      "ADDED m7", "DELETED m1 (missed)", "SYNC" }, take(watch, 9))
  end)
end)

describe("a refusal", function()
  it("at the first request is raised at once", function()
    local server <close> = double.start()
    server.on_request = function(request)
      if request.path:find "configmaps" then
        request:refuse(403, "no")
        return true
      end
    end
    local cluster = server:connect()
    failure("kube", "forbidden", cluster.watch, cluster, "configmaps")
  end)

  it("of the watch alone is raised at once too", function()
    local server <close> = double.start()
    first_watches(server, 1, function(request) request:refuse(403, "no") end)
    local watch <close> = server:connect():watch("configmaps", { sync = true })
    assert.same({ "SYNC" }, take(watch, 1))
    local err = failure("kube", "forbidden", watch.next, watch)
    assert.truthy(err.message:find("cannot watch the configmaps in namespace `default`", 1, true),
      err.message)
  end)

  it("of a running watch is borne for a while, as a server that starts needs it", function()
    local server <close> = double.start()
    local watch <close> = server:connect { on_wait = function() end }:watch "configmaps"
    server:put("configmaps", map "a")
    assert.same({ "ADDED a" }, take(watch, 1))
    local codes = { 403, 404, 401 }
    first_watches(server, 3, function(request) request:refuse(table.remove(codes)) end)
    server:cut()
    server:put("configmaps", map "b")
    assert.same({ "ADDED b" }, take(watch, 1))
  end)

  it("of a credential plugin is borne by a running watch, not by one that begins", function()
    local server <close> = double.start()
    local waits, on_wait = collector()
    local cluster = server:connect { on_wait = on_wait }
    local watch <close> = cluster:watch("configmaps", { sync = true })
    assert.same({ "SYNC" }, take(watch, 1))
    server:put("configmaps", map "a")
    assert.same({ "ADDED a" }, take(watch, 1))
    local request, failures = cluster.client.request, 0
    cluster.client.request = function(...)
      failures = failures + 1
      if failures > 2 then return request(...) end
      errors.raise { kind = "kube", code = "credentials", message = "the plugin failed" }
    end
    failure("kube", "credentials", cluster.watch, cluster, "configmaps")
    server:cut()
    server:put("configmaps", map "b")
    assert.same({ "ADDED b" }, take(watch, 1))
    assert.equal("the plugin failed", waits[#waits].why)
  end)

  it("of a running watch ends it when it stays", function()
    local server <close> = double.start()
    local cluster = server:connect { on_wait = function() end }
    local watch <close> = cluster:watch("configmaps", { patience = 0.1 })
    server:put("configmaps", map "a")
    assert.same({ "ADDED a" }, take(watch, 1))
    first_watches(server, 100, function(request) request:refuse(403, "no more") end)
    server:cut()
    failure("kube", "forbidden", watch.next, watch)
    assert.is_nil(watch:next())
  end)

  it("within the stream counts as an answer", function()
    local server <close> = double.start()
    first_watches(server, 1, function(request)
      request:begin()
      request:event("ERROR", double.status(500, "etcd is away"))
    end)
    local waits, on_wait = collector()
    local watch <close> = server:connect():watch("configmaps", { on_wait = on_wait })
    local reader = task.contained(watch.next, watch)
    server:until_true(function() return #waits == 1 end)
    server:put("configmaps", map "a")
    assert.equal("ADDED a", short(reader:await()))
    assert.truthy(waits[1].why:find("etcd is away", 1, true))
  end)
end)
