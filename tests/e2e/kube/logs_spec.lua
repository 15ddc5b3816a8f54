-- Logs, mirrors and waiting on a real cluster: what a kubelet does with its files, and what
-- controllers do with pods.
package.path = os.getenv "MP_SOURCE_DIR" .. "/tests/e2e/kube/?.lua;" .. package.path
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local helper = require "helper"
local kube = require "moonport.kube"
local task = require "moonport.task"

local IMAGE = "moonport-test/base:1"
local MIB = 1 << 20

local cluster

setup(function()
  cluster = helper.connect "logs"
  cluster:wait("serviceaccounts", "default", "create", 30)
end)

teardown(function() helper.remove(cluster) end)

local function spec_of(script, more)
  local spec = {
    terminationGracePeriodSeconds = 0, automountServiceAccountToken = false,
    containers = { { name = "main", image = IMAGE, command = { "sh", "-c", script } } },
  }
  for name, value in pairs(more or {}) do spec[name] = value end
  return spec
end

local function pod(name, script, more)
  return cluster:create {
    apiVersion = "v1", kind = "Pod", metadata = { name = name, labels = { app = name } },
    spec = spec_of(script, more),
  }
end

local function workload(kind, name, script, replicas)
  return {
    apiVersion = "apps/v1", kind = kind, metadata = { name = name },
    spec = {
      replicas = replicas, serviceName = name, selector = { matchLabels = { app = name } },
      template = { metadata = { labels = { app = name } }, spec = spec_of(script) },
    },
  }
end

local function texts(rows)
  local list = {}
  for index, row in ipairs(rows) do list[index] = row.text end
  return list
end

local function read(...)
  local rows = {}
  for row in cluster:logs(...) do rows[#rows + 1] = row end
  return rows
end

--- The next `count` rows.
local function take(log, count)
  local rows = {}
  for index = 1, count do rows[index] = log:next() end
  return rows
end

describe("a pod's log", function()
  it("is read with tail, since and times, and ends with the pod", function()
    pod("plain", "for i in 1 2 3 4; do echo line $i; sleep 0.3; done", { restartPolicy = "Never" })
    local followed = read("plain", { follow = true })
    assert.same({ "line 1", "line 2", "line 3", "line 4" }, texts(followed))
    assert.same(followed, read "plain")
    assert.same({ "line 4" }, texts(read("plain", { tail = 1 })))
    assert.same({ "line 4" }, texts(read({ labels = "app=plain" }, { tail = 1 })))
    local stamped = read("plain", { tail = 1, timestamps = true })
    assert.equal(followed[4].time .. " line 4", stamped[1].text)
    assert.equal("main", followed[1].container)
    local _, object = cluster:wait("pods", "plain", "jsonpath={.status.phase}=Succeeded", 30)
    assert.equal("plain", object.metadata.name)
  end)

  it("has lines of any length, in one piece", function()
    pod("long", [[x=$(head -c 40000 /dev/zero | tr '\0' x); echo "$x"; echo short
      head -c 3000000 /dev/zero | tr '\0' y; echo; echo end]], { restartPolicy = "Never" })
    local lines, parts, partial = {}, {}, 0
    for row in cluster:logs("long", { follow = true }) do
      parts[#parts + 1] = row.text
      if row.partial then
        partial = partial + 1
      else
        lines[#lines + 1] = table.concat(parts)
        parts = {}
      end
    end
    assert.equal(4, #lines)
    assert.is_true(lines[1] == ("x"):rep(40000))
    assert.is_true(lines[3] == ("y"):rep(3000000))
    assert.equal("end", lines[4])
    assert.is_true(partial >= 2)
  end)

  it("is followed over restarts of its container, whose exit it tells", function()
    pod("again", [[
      echo start
      i=0; while [ $i -lt 3 ]; do i=$((i + 1)); echo line $i; sleep 0.1; done
      sleep 3 # or a busy node has removed the first one before anybody reads it
      exit 7]])
    local log <close> = cluster:logs("again", { follow = true })
    local expected = { "start", "line 1", "line 2", "line 3" }
    assert.same(expected, texts(take(log, 4)))
    local rows = take(log, 5)
    assert.equal("container restarted, exit 7", rows[1].reason)
    assert.same(expected, texts { table.unpack(rows, 2) })
    rows = take(log, 6) -- the node has it wait now
    assert.matches("^CrashLoopBackOff", rows[1].reason)
    assert.equal("container restarted, exit 7", rows[2].reason)
    assert.same(expected, texts { table.unpack(rows, 3) })
    assert.same(expected, texts(read("again", { previous = true })))
  end)

  it("is followed to the pod that takes its place", function()
    cluster:create(workload("StatefulSet", "set", "echo I am $HOSTNAME; sleep 1000", 1))
    cluster:wait("statefulsets", "set", kube.ready, 60)
    local log <close> = cluster:logs("set-0", { follow = true })
    assert.same({ "I am set-0" }, texts(take(log, 1)))
    cluster:delete("pods", "set-0")
    assert.same({ "[pod replaced]", "I am set-0" }, texts(take(log, 2)))
    local reader = task.contained(log.next, log)
    cluster:delete("statefulsets", "set")
    assert.is_nil(reader:await())
  end)

  it("of a deployment is followed over a rollout", function()
    local object = workload("Deployment", "web", "echo one; sleep 1000", 2)
    object.spec.serviceName = nil
    cluster:create(object)
    cluster:wait("deployments", "web", "condition=Available", 60)
    cluster:wait("pods", { labels = "app=web" }, kube.ready, 60)
    local log <close> = cluster:logs("deployments/web", { follow = true })
    assert.same({ "one", "one" }, texts(take(log, 2)))
    object.spec.template.spec = spec_of "echo two; sleep 1000"
    cluster:apply(object, { force = true })
    local two, seen = 0, {}
    while two < 2 do
      local row = log:next()
      if row.text == "two" then two = two + 1 end
      seen[row.text] = true
    end
    assert.is_true(seen["[pod started]"])
    cluster:wait("deployments", "web", kube.ready, 60)
    cluster:delete("deployments", "web")
  end)

  it("of 100 MiB of any bytes comes unharmed, in bounded memory", function()
    pod("large", nil, {
      restartPolicy = "Never",
      volumes = { { name = "data", emptyDir = {} } },
      containers = { {
        name = "main", image = IMAGE, volumeMounts = { { name = "data", mountPath = "/data" } },
        command = { "sh", "-c", [[
          { tr -d '\r' </dev/urandom | head -c 104857599; printf .; } >/data/bytes
          sha256sum </data/bytes | cut -c 1-64 | tr -d '\n' >/dev/termination-log
          cat /data/bytes]] },
      } },
    })
    -- But for carriage returns, of which containerd drops those at the end of a line.
    local most = 0
    local path, guard <close> = fs.temp_file() -- luacheck: ignore guard
    local file = assert(io.open(path, "wb"))
    local parts, ended = {}, false
    -- Smaller than what this node rotates: a kubelet of 1.20 may break a line where it rotates
    -- the file that it reads.
    for row in cluster:logs("large", { follow = true }) do
      assert.is_nil(row.gap, row.reason)
      if ended then parts[#parts + 1] = "\n" end -- the last line has no end
      parts[#parts + 1], ended = row.text, not row.partial
      if #parts > 1000 then
        file:write(table.concat(parts))
        parts = {}
        most = math.max(most, collectgarbage "count")
      end
    end
    file:write(table.concat(parts))
    file:close()
    local _, object = cluster:wait("pods", "large", "jsonpath={.status.phase}=Succeeded", 60)
    local expected = object.status.containerStatuses[1].state.terminated.message
    assert.equal(100 * MIB, fs.stat(path).size)
    assert.equal(expected, crypto.hash_file("sha256", path))
    assert.is_true(most < 64 * 1024, most .. " KiB")
    local growth = helper.growth(cluster, [[
      for _ in cluster:logs("large", { raw = true }) do slowly() end]])
    assert.is_true(growth < 48 * 1024, growth .. " KiB")
    -- The same as bytes, which nobody takes apart.
    local longest
    most, longest = 0, 0
    file = assert(io.open(path, "wb"))
    for bytes in cluster:logs("large", { raw = true }) do
      file:write(bytes)
      most, longest = math.max(most, collectgarbage "count"), math.max(longest, #bytes)
    end
    file:close()
    assert.equal(100 * MIB, fs.stat(path).size)
    assert.equal(expected, crypto.hash_file("sha256", path))
    assert.is_true(most < 64 * 1024 and longest <= MIB,
      ("%.0f KiB, %d bytes"):format(most, longest))
  end)
end)

describe("a kubelet that rotates the file", function()
  it("does not end following, and no line is lost or comes twice", function()
    -- 150 MiB: the kubelet looks every 10 s, and rotates from 120 MiB on.
    pod("rotated", [[
      line=$(head -c 10000 /dev/zero | tr '\0' x)
      i=0
      while [ $i -lt 400 ]; do
        i=$((i + 1))
        j=0; while [ $j -lt 40 ]; do j=$((j + 1)); echo "$i.$j $line"; done
        sleep 0.05
      done
      sleep 12
      echo end]], { restartPolicy = "Never" })
    local count, expected = 0, { 1, 1 }
    for row in cluster:logs("rotated", { follow = true }) do
      if row.gap then -- nobody can tell whether a file that is gone was read to its end
        assert.equal("the log was rotated; lines may be missing", row.reason)
      elseif row.text ~= "end" then
        local i, j = row.text:match "^(%d+)%.(%d+) x+$"
        assert.equal(expected[1] .. "." .. expected[2], i .. "." .. j)
        count = count + 1
        expected = expected[2] == 40 and { expected[1] + 1, 1 } or { expected[1], expected[2] + 1 }
      end
    end
    assert.equal(16000, count)
    -- That it did rotate: the file of now has not all of them.
    local left = 0
    for _ in cluster:logs "rotated" do left = left + 1 end
    assert.is_true(left < 16001)
  end)
end)

describe("a mirror of a real cluster", function()
  it("equals the list after random changes", function()
    local mirror <close> = cluster:mirror("configmaps", { labels = "of=mirror" })
    mirror:synced()
    local names = {}
    for index = 1, 200 do names[index] = "m" .. index % 20 end
    task.map(names, 4, function(name)
      if math.random(3) == 1 then
        cluster:delete("configmaps", name, { missing_ok = true })
      else
        cluster:apply {
          apiVersion = "v1", kind = "ConfigMap",
          metadata = { name = name, labels = { of = "mirror" } },
          data = { at = tostring(math.random(1e9)) },
        }
      end
    end)
    local list = cluster:list("configmaps", { labels = "of=mirror" })
    local function text(objects)
      local parts = {}
      for index, object in ipairs(objects) do
        parts[index] = object.metadata.name .. "@" .. object.metadata.resourceVersion
      end
      table.sort(parts)
      return table.concat(parts, " ")
    end
    task.timeout(10, function()
      while text(mirror:list()) ~= text(list.items) do mirror:changed() end
    end)
  end)
end)

describe("waiting", function()
  it("tells why a pod is not ready", function()
    pod("stuck", "true", { nodeSelector = { nowhere = "yes" } })
    local ok, err = pcall(cluster.wait, cluster, "pods", "stuck", kube.ready, 3)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "kube", "timeout"))
    assert.matches("pod `stuck` in namespace `", err.message, 1, true)
    cluster:delete("pods", "stuck")
    assert.is_true((cluster:wait("pods", "stuck", "delete", 30)))
  end)
end)
