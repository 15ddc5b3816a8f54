--- Every function that C gives to scripts only reads, or asks the gate; one that is in neither list
-- fails this test, so that whoever adds it has to say which.
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local task = require "moonport.task"

local double = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/websocket_double.lua")
local qmp_double = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/qmp_double.lua")

local function words(text)
  local list = {}
  for word in text:gmatch "%S+" do list[word] = true end
  return list
end

-- What only reads, computes, talks to the person at the terminal, or is about our own tasks.
local READS = {
  ["moonport.core.agent"] = "bytes lines",
  ["moonport.core.cgroup"] = "list open",
  ["moonport.core.clock"] = "cpu monotonic now",
  ["moonport.core.crypto"] = "base64 equal hash hash_file hex hmac random unbase64 unhex uuid",
  ["moonport.core.errors"] = "is new raise",
  ["moonport.core.failpoint"] = "die", -- of builds with tests
  ["moonport.core.fs"] = [[absolute basename check_trusted cwd dirname exists expand extension join
    list normalize read read_at readlink realpath relative stat sync watch]],
  ["moonport.core.http"] = "redact timings values version",
  ["moonport.core.json"] = "array decode encode is_array is_number number object parser",
  ["moonport.core.kube"] = "config open",
  ["moonport.core.loader"] = "files leave_working_directory source",
  ["moonport.core.net"] = "source_address",
  ["moonport.core.nftables"] = "open monitor trace",
  ["moonport.core.netlink"] = "check_tap monitor namespaces open",
  ["moonport.core.process"] = "which",
  ["moonport.core.readline"] = "completer history read remember",
  ["moonport.core.secret"] = "digest is new reference scrub",
  ["moonport.core.session"] = "begin finish line tasks",
  ["moonport.core.store"] = "",
  ["moonport.core.sys"] = [[boot_id capabilities cgroup_mode check_kvm cpus disk egid euid gid
    has_capability hostname identity is_alive landlock memory page_size pid ppid signals uid
    uname uptime wait_gone]],
  ["moonport.core.task"] = "cancelled close_timeout current event sleep spawn",
  ["moonport.core.terminal"] = "columns cooked footer is_terminal raw read_line size truncate",
  ["moonport.core.user"] = "lookup",
  ["moonport.core.vm"] = "qmp",
  ["moonport.core.websocket"] = "",
  ["moonport.core.yaml"] = "decode decode_all encode encode_all",
  -- Our own state may be read and noted in during a plan; opening its file is what asks.
  ["moonport.store"] = "run row rows begin close transaction statements batch",
  ["moonport.store.tx"] = "run row rows commit rollback",
  ["moonport.cgroup"] = "name wait paths usage processes",
  ["moonport.event"] = "set clear is_set wait",
  ["moonport.fs.lock"] = "release",
  ["moonport.fs.watch"] = "close next",
  ["moonport.http.exchange"] = "close line read response timings",
  ["moonport.http.headers"] = "",
  ["moonport.http.response"] = "",
  ["moonport.http.download"] = "close wait",
  ["moonport.kube.client"] = "close",
  ["moonport.kube.config"] = "explain",
  ["moonport.nftables"] = "close list port",
  ["moonport.nftables.monitor"] = "close next",
  ["moonport.nftables.writer"] = "",
  ["moonport.net.listener"] = "accept close port",
  ["moonport.netlink"] = "addresses close link links neighbours routes",
  ["moonport.netlink.monitor"] = "close next poll",
  ["moonport.process"] = "read read_line read_all lines wait identity",
  ["moonport.signals"] = "close wait",
  ["moonport.stream"] = "read read_line read_all lines close",
  ["moonport.task"] = "await cancel status traceback",
  ["moonport.vm.qmp"] = "close greeting next_event",
  ["moonport.websocket"] = "close messages ping receive",
  io = "close flush input lines read type",
  os = "clock date difftime exit getenv setlocale time",
  package = "searchpath",
  ["FILE*"] = "close flush lines read seek setvbuf",
}

-- A build without a target has none of its modules and classes.
local function is_built(module) return (try(require, "moonport.core." .. module)) ~= nil end

local PARTS = {
  agent = { "moonport.core.agent" },
  failpoint = { "moonport.core.failpoint" },
  kube = { "moonport.core.kube", "moonport.kube.client", "moonport.kube.config" },
  netlink = { "moonport.core.netlink", "moonport.netlink", "moonport.netlink.monitor" },
  nftables = { "moonport.core.nftables", "moonport.nftables", "moonport.nftables.monitor",
    "moonport.nftables.writer" },
  vm = { "moonport.core.vm", "moonport.vm.qmp" },
}
local absent = {}
for module, names in pairs(PARTS) do
  for _, name in ipairs(is_built(module) and {} or names) do
    absent[name], READS[name] = true, nil
  end
end

local function stream_pair(path)
  local net = require "moonport.core.net"
  local listener = net.listen { unix = path }
  local stream = net.connect { unix = path }
  return listener, stream
end

describe("the effect gate covers", function()
  local dir, path, made

  -- Objects whose methods are called, made while the gate is open. A cgroup where we may make one.
  setup(function()
    for name in pairs(READS) do
      if name:find "^moonport%.core%." then require(name) end
    end
    require "moonport.store"
    dir = fs.temp_dir()
    path = fs.join(dir, "file")
    fs.write(path, "as it was")
    local core = require "moonport.core.process"
    made = {
      child = core.spawn { "sleep", "60", stdin = "pipe", stdout = "pipe" },
      terminal = core.spawn { "sleep", "60", pty = true },
      cgroup = try(require("moonport.core.cgroup").create, "moonport-gate-" .. dir:match("[^/]+$")),
      exchange = require("moonport.core.http").open {
        url = "http://127.0.0.1:9/", method = "POST", unix = fs.join(dir, "none") },
      signals = require("moonport.sys").signals { "SIGUSR1" },
      file = assert(io.open(path, "r+")),
      reader = assert(io.open(path)),
    }
    local kube = try(require, "moonport.core.kube")
    made.kube = kube and kube.open(kube.config {
      kubeconfig = "/dev/null", server = "http://127.0.0.1:9", namespace = "moon" })
    made.netlink = is_built "netlink" and require("moonport.core.netlink").open()
    made.nftables = is_built "nftables" and require("moonport.core.nftables").open()
    made.listener, made.stream = stream_pair(fs.join(dir, "socket"))
    made.qmp = is_built "vm" and qmp_double.open(fs.join(dir, "qmp"))
    made.echo = double.start()
    made.websocket = require("moonport.websocket").connect(made.echo.url)
  end)

  teardown(function()
    if made.cgroup then made.cgroup:remove() end
    made.child:close()
    made.terminal:close()
    made.exchange:close()
    for _, name in ipairs { "kube", "netlink", "nftables" } do
      if made[name] then made[name]:close() end
    end
    made.signals:close()
    made.stream:close()
    made.websocket:close()
    made.echo.close()
    if made.qmp then made.qmp.close() end
    made.listener:close()
    made.file:close()
    made.reader:close()
    fs.remove_tree(dir)
  end)

  local function writers()
    local core = setmetatable({}, {
      __index = function(_, name) return require("moonport.core." .. name) end })
    local other = fs.join(dir, "other")
    local me = core.sys.identity()
    return {
      ["moonport.core.cgroup"] = { create = function() core.cgroup.create "moonport-gate" end },
      ["moonport.core.fs"] = {
        append = function() core.fs.append(path, "x") end,
        chmod = function() core.fs.chmod(path, "0600") end,
        chown = function() core.fs.chown(path, 0, 0) end,
        copy = function() core.fs.copy(path, other) end,
        lock = function() core.fs.lock(other) end,
        mkdirs = function() core.fs.mkdirs(other) end,
        remove = function() core.fs.remove(path) end,
        remove_tree = function() core.fs.remove_tree(path) end,
        rename = function() core.fs.rename(path, other) end,
        sparse = function() core.fs.sparse(other, 1) end,
        symlink = function() core.fs.symlink(path, other) end,
        temp_dir = function() core.fs.temp_dir { parent = dir } end,
        temp_file = function() core.fs.temp_file { parent = dir } end,
        write = function() core.fs.write(path, "x") end,
      },
      ["moonport.core.http"] = {
        request = function() core.http.request { url = "http://127.0.0.1:9/", method = "POST" } end,
        open = function() core.http.open { url = "http://127.0.0.1:9/", method = "PUT" } end,
        download = function() core.http.download { url = "http://127.0.0.1:9/", path = other } end,
      },
      ["moonport.core.net"] = {
        connect = function() core.net.connect { host = "127.0.0.1", port = 9 } end,
        listen = function() core.net.listen { unix = other } end,
      },
      ["moonport.core.netlink"] = {
        create_namespace = function() core.netlink.create_namespace "mp-gate" end,
        delete_namespace = function() core.netlink.delete_namespace "mp-gate" end,
      },
      ["moonport.netlink"] = {
        add_link = function() made.netlink:add_link { name = "mp-gate", kind = "tap" } end,
        set_link = function() made.netlink:set_link("mp-gate", { up = true }) end,
        delete_links = function() made.netlink:delete_links { "mp-gate" } end,
        add_address = function() made.netlink:add_address("mp-gate", "10.0.0.1/24") end,
        delete_address = function() made.netlink:delete_address("mp-gate", "10.0.0.1/24") end,
        add_route = function() made.netlink:add_route { dst = "10.9.0.0/16", type = "throw" } end,
        replace_route = function()
          made.netlink:replace_route { dst = "10.9.0.0/16", type = "throw" }
        end,
        delete_route = function() made.netlink:delete_route { dst = "10.9.0.0/16" } end,
        add_neighbour = function()
          made.netlink:add_neighbour("mp-gate", "10.0.0.2", "02:00:5e:00:00:01")
        end,
        delete_neighbour = function() made.netlink:delete_neighbour("mp-gate", "10.0.0.2") end,
      },
      ["moonport.core.process"] = {
        run = function() core.process.run { "touch", other } end,
        spawn = function() core.process.spawn { "touch", other } end,
      },
      ["moonport.core.store"] = { open = function() core.store.open { path = other } end },
      ["moonport.core.terminal"] = {
        open = function() core.terminal.open "/dev/ptmx" end,
        resize = function() core.terminal.resize(made.stream, 10, 10) end,
      },
      ["moonport.core.sys"] = { signal = function() core.sys.signal(me, "SIGCONT") end },
      ["moonport.cgroup"] = made.cgroup and {
        set = function() made.cgroup:set { pids = 1000 } end,
        signal = function() made.cgroup:signal "SIGCONT" end,
        freeze = function() made.cgroup:freeze(false) end,
        remove = function() made.cgroup:remove() end,
      } or { set = false, signal = false, freeze = false, remove = false },
      ["moonport.http.exchange"] = {
        send = function() made.exchange:send "x" end,
        finish = function() made.exchange:finish() end,
      },
      ["moonport.kube.client"] = {
        websocket = function() made.kube:websocket { path = "/api/v1/x" } end,
        request = function() made.kube:request { path = "/api/v1/pods", method = "POST" } end,
      },
      ["moonport.nftables"] = {
        apply = function()
          made.nftables:apply { { kind = "table", action = "add", family = 1,
            name = "moonport-gate" } }
        end,
      },
      ["moonport.process"] = {
        write = function() made.child:write "x" end,
        close_stdin = function() made.child:close_stdin() end,
        stop = function() made.child:stop() end,
        kill = function() made.child:kill "SIGCONT" end,
        close = function() made.child:close() end,
        resize = function() made.terminal:resize(10, 10) end,
      },
      ["moonport.stream"] = {
        write = function() made.stream:write "x" end,
        shutdown = function() made.stream:shutdown() end,
      },
      ["moonport.core.websocket"] = {
        connect = function() core.websocket.connect({ url = "ws://127.0.0.1:9/" }, {}) end,
      },
      ["moonport.vm.qmp"] = { execute = function() made.qmp.qmp:execute "quit" end },
      ["moonport.websocket"] = { send = function() made.websocket:send "x" end },
      io = {
        open = function() io.open(path, "w") end,
        output = function() io.output(path) end,
        popen = function() io.popen("true") end,
        tmpfile = function() io.tmpfile() end,
        write = function()
          io.output(made.file)
          io.write("x")
        end,
      },
      os = {
        execute = function() os.execute("true") end,
        remove = function() os.remove(path) end,
        rename = function() os.rename(path, other) end,
        tmpname = function() os.tmpname() end,
      },
      package = { loadlib = function() package.loadlib("libc.so.6", "*") end },
      ["FILE*"] = { write = function() made.file:write("x") end },
    }
  end

  local function functions_of(name)
    local registry = debug.getregistry()
    local source = name == "FILE*" and registry[name].__index
      or name:find("^moonport%.core%.") and require(name)
      or _G[name] or assert(registry[name], name)
    if not name:find("^moonport%.core%.") and name:find("^moonport%.") then
      local index = source.__index
      if type(index) == "table" then source = index end
      local _, methods = nil, nil
      if type(index) == "function" then _, methods = debug.getupvalue(index, 1) end
      if type(methods) == "table" then source = methods end
    end
    local found = {}
    for key, value in pairs(source) do
      if type(key) == "string" and type(value) == "function" and not key:find("^__") then
        found[key] = true
      end
    end
    return found
  end

  it("every module that is in C", function()
    local known = assert(io.open(os.getenv("MP_SOURCE_DIR") .. "/lua/modules.c")):read("a")
    local count = 0
    for name in known:gmatch('{"([%w_]+)", luaopen_moonport') do
      name = "moonport.core." .. name
      assert.truthy(READS[name] or absent[name], name .. " is in no list")
      count = count + 1
    end
    assert.truthy(count > 15)
  end)

  it("every class that is in C", function()
    for name, metatable in pairs(debug.getregistry()) do
      local ours = type(name) == "string" and type(metatable) == "table"
        and name:find("^moonport%.")
      local plain = { ["moonport.wait"] = true, ["moonport.error"] = true,
        ["moonport.secret"] = true, ["moonport.fs.job"] = true }
      if ours and not plain[name] and not READS[name] then
        for method in pairs(functions_of(name)) do
          error(("%s:%s is in no list"):format(name, method))
        end
      end
    end
  end)

  it("every function: it reads, or it is refused by name and does nothing", function()
    local lists = writers()
    for name, reads in pairs(READS) do
      local known, writing = words(reads), lists[name] or {}
      for key in pairs(functions_of(name)) do
        assert.truthy(known[key] or writing[key] ~= nil, name .. "." .. key .. " is in no list")
      end
    end
    local before = fs.list(dir)
    for name, writing in pairs(lists) do
      for key, call in pairs(absent[name] and {} or writing) do
        local ok, err = true, "could not be tried"
        if call then
          ok, err = pcall(task.read_only, call)
          io.output(io.stdout)
        end
        local refused = not call or (not ok and errors.is(err, "gate", "refused"))
        assert.is_true(refused, name .. "." .. key .. ": " .. tostring(err))
      end
    end
    assert.same(#before, #fs.list(dir))
    assert.equal("as it was", fs.read(path))
    assert.is_nil(made.child.exited)
  end)

  it("tasks of any kind that are begun inside", function()
    local core = require "moonport.core.task"
    for _, options in ipairs { "", "c", "s", "cs", "b", "cb" } do
      local ok, err = pcall(task.read_only, function()
        core.spawn(options .. "c", os.remove, path):await()
      end)
      assert.is_false(ok)
      assert.equal("gate", err.kind, options)
    end
  end)

  it("what the debug library finds behind the stock functions", function()
    local guarded = { io.open, io.write, io.popen, os.remove, os.execute, made.file.write }
    for _, wrapper in ipairs(guarded) do
      assert.is_nil((debug.getupvalue(wrapper, 1)))
    end
  end)
end)
