local log = require "moonport.log"
local task = require "moonport.task"

local double = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/kube_double.lua")

local function map(name, labels, namespace)
  return { metadata = { name = name, labels = labels, namespace = namespace } }
end

local function names(objects)
  local list = {}
  for index, object in ipairs(objects) do list[index] = object.metadata.name end
  return table.concat(list, " ")
end

local failure = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/failure.lua")

--- Waits until the mirror has seen the server's newest change.
local function caught_up(server, mirror)
  while mirror.watch.resource_version ~= tostring(server.version) do mirror:changed() end
end

--- What the server and the mirror hold, as text.
local function both(server, mirror)
  local function text(objects)
    local lines = {}
    for _, object in pairs(objects) do
      lines[#lines + 1] = object.metadata.name .. "@" .. object.metadata.resourceVersion
    end
    table.sort(lines)
    return table.concat(lines, "\n")
  end
  return text(server.objects.configmaps), text(mirror:list())
end

describe("a mirror", function()
  it("holds what is there, and follows what changes", function()
    local server <close> = double.start()
    server:put("configmaps", map("a", { app = "web" }))
    server:put("configmaps", map "b")
    local mirror <close> = server:connect():mirror "configmaps"
    assert.equal(mirror, mirror:synced())
    assert.equal("a b", names(mirror:list()))
    assert.equal(2, mirror:count())
    assert.equal("web", mirror:get("a").metadata.labels.app)
    assert.is_nil(mirror:get("a", "other"))
    server:put("configmaps", map "c")
    server:remove("configmaps", "a")
    caught_up(server, mirror)
    assert.equal("b c", names(mirror:list()))
    assert.is_nil(mirror:get "a")
  end)

  it("finds by label and namespace, also after labels have changed", function()
    local server <close> = double.start()
    for index = 1, 6 do
      local labels = { app = index % 2 == 0 and "even" or "odd", n = tostring(index) }
      server:put("configmaps", map("m" .. index, labels, index > 4 and "other" or nil))
    end
    local mirror <close> = server:connect():mirror("configmaps", { all_namespaces = true })
    mirror:synced()
    assert.equal("m2 m4 m6", names(mirror:list { labels = "app=even" }))
    assert.equal("m6", names(mirror:list { labels = { app = "even" }, namespace = "other" }))
    assert.equal("m5 m6", names(mirror:list { namespace = "other" }))
    assert.equal("m1 m2", names(mirror:list { labels = "n<3" }))
    assert.equal("m1 m3 m5", names(mirror:list { labels = { app = { "odd", "x" } } }))
    assert.equal("", names(mirror:list { labels = "app=none" }))
    server:put("configmaps", map("m2", { app = "odd" }))
    server:put("configmaps", map("m3", {}))
    server:remove("configmaps", "other/m6")
    caught_up(server, mirror)
    assert.equal("m4", names(mirror:list { labels = "app=even" }))
    assert.equal("m1 m2 m5", names(mirror:list { labels = "app=odd" }))
    assert.equal("m3", names(mirror:list { labels = "!app" }))
    local seen = {}
    for object in mirror:each { namespace = "other" } do seen[#seen + 1] = object end
    assert.equal("m5", names(seen))
  end)

  it("equals the server's list after random changes, cuts and forgotten history", function()
    local server <close> = double.start()
    local mirror <close> = server:connect { on_wait = function() end }:mirror "configmaps"
    local lists = 0
    for index = 1, 1500 do
      local name = "m" .. math.random(40)
      if server.objects.configmaps["default/" .. name] and math.random(3) == 1 then
        server:remove("configmaps", name)
      else
        server:put("configmaps", map(name, { n = tostring(index % 3) }))
      end
      if index % 300 == 0 then
        server:cut()
        if index % 600 == 0 then server:forget() end
      end
      if index % 100 == 0 then task.sleep(0.01) end
    end
    caught_up(server, mirror)
    local theirs, ours = both(server, mirror)
    assert.equal(theirs, ours)
    for n = 0, 2 do lists = lists + #mirror:list { labels = { n = tostring(n) } } end
    assert.equal(mirror:count(), lists)
    assert.is_true(mirror.watch.relists > 0)
  end)

  it("keeps of an object only what it is told to", function()
    local server <close> = double.start()
    local object = map "a"
    object.metadata.managedFields = { {} }
    server:put("configmaps", object)
    local mirror <close> = server:connect():mirror("configmaps", {
      keep = function(found) found.metadata.managedFields = nil end,
    })
    assert.is_nil(mirror:synced():get("a").metadata.managedFields)
  end)

  it("raises what ended it, to who waits and who asks and in its task", function()
    local server <close> = double.start()
    local watching = task.contained(function()
      local cluster = server:connect { on_wait = function() end }
      local mirror <close> = cluster:mirror("configmaps")
      local waiting = task.contained(mirror.changed, mirror)
      server:until_watched()
      server.on_request = function(request)
        if request.query.watch or request.query.limit then
          request:refuse(400, "bad")
          return true
        end
      end
      server:cut()
      failure("kube", "bad_request", waiting.await, waiting)
      failure("kube", "bad_request", mirror.list, mirror)
      task.sleep(60)
    end)
    failure("kube", "bad_request", watching.await, watching)
  end)

  it("is of no use once closed, and its connection is free", function()
    local server <close> = double.start()
    local mirror = server:connect():mirror "configmaps"
    mirror:synced()
    server:until_watched()
    mirror:close()
    mirror:close()
    failure("kube", "closed", mirror.list, mirror)
    failure("kube", "closed", mirror.get, mirror, "a")
    server:until_true(function() return server.connections == 0 end)
  end)
end)

describe("a handler", function()
  it("is told in order what is there, and every change with the object before", function()
    local server <close> = double.start()
    server:put("configmaps", map("a", { v = "1" }))
    local mirror <close> = server:connect():mirror "configmaps"
    mirror:synced()
    local told, done = {}, task.event()
    mirror:on(function(event)
      local old = event.old and event.old.metadata.labels
      task.sleep(0)
      told[#told + 1] = ("%s %s %s"):format(event.type, event.object.metadata.name,
        old and old.v or "-")
      if #told == 4 then done:set() end
    end)
    server:put("configmaps", map("a", { v = "2" }))
    server:put("configmaps", map "b")
    server:remove("configmaps", "a")
    done:wait()
    assert.same({ "ADDED a -", "MODIFIED a 1", "ADDED b -", "DELETED a 2" }, told)
  end)

  it("gets the last known object of a deletion that was missed", function()
    local server <close> = double.start()
    server:put("configmaps", map("a", { v = "1" }))
    local mirror <close> = server:connect { on_wait = function() end }:mirror "configmaps"
    mirror:synced()
    local gone, done = nil, task.event()
    mirror:on(function(event)
      if event.type == "DELETED" then
        gone = event
        done:set()
      end
    end)
    server:until_watched()
    server:remove("configmaps", "a")
    server:forget()
    server:cut()
    done:wait()
    assert.is_true(gone.missed)
    assert.equal("1", gone.object.metadata.labels.v)
  end)

  it("that fails is logged and counted, and is called for the next change", function()
    local server <close> = double.start()
    local level = log.level "off"
    local _ <close> = setmetatable({}, { __close = function() log.level(level) end })
    local mirror <close> = server:connect():mirror "configmaps"
    local calls, done = 0, task.event()
    mirror:on(function()
      calls = calls + 1
      if calls == 1 then error "oops" end
      done:set()
    end)
    server:put("configmaps", map "a")
    server:put("configmaps", map "b")
    done:wait()
    assert.equal(1, mirror.failed_calls)
  end)

  it("that is slow holds up no other, and is called no more once closed", function()
    local server <close> = double.start()
    local mirror <close> = server:connect():mirror "configmaps"
    local slow, quick, done = 0, 0, task.event()
    local handle = mirror:on(function()
      slow = slow + 1
      task.sleep(60)
    end)
    mirror:on(function()
      quick = quick + 1
      if quick == 20 then done:set() end
    end)
    for index = 1, 20 do server:put("configmaps", map("m" .. index)) end
    done:wait()
    assert.equal(1, slow)
    handle:close()
    assert.equal(20, mirror:count())
  end)

  it("may close its own mirror", function()
    local server <close> = double.start()
    server:put("configmaps", map "a")
    local mirror = server:connect():mirror "configmaps"
    mirror:synced()
    local owner = mirror.owner
    mirror:on(function() mirror:close() end)
    pcall(owner.await, owner)
    failure("kube", "closed", mirror.count, mirror)
  end)
end)
