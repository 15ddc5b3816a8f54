--- Cloud images: fetched from a publisher (tests/fixtures/image/publisher.py), verified, converted
-- by the real qemu-img, with kernels that the real debugfs takes out.
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local image = require "moonport.image"
local catalog = require "moonport.image.catalog"
local checksums = require "moonport.image.checksums"
local partitions = require "moonport.image.partitions"
local process = require "moonport.process"
local source = require "moonport.image.source"
local state_of = require "moonport.state"
local task = require "moonport.task"

local FIXTURES = os.getenv "MP_SOURCE_DIR" .. "/tests/fixtures/image"
local MOONPORT = os.getenv "MOONPORT"
local FILE = "debian-12-genericcloud-amd64.qcow2"
local UBUNTU = "ubuntu-24.04-server-cloudimg-amd64"

local images, publisher, port

local function start_publisher(dir)
  publisher = process.spawn { "python3", FIXTURES .. "/publisher.py", dir, stdin = "null" }
  port = publisher:read_line()
end

describe("images", function()
  local dir, site, state, env

  setup(function()
    images = fs.temp_dir()
    process.run { FIXTURES .. "/make.sh", images }
  end)

  teardown(function()
    fs.remove_tree(images)
  end)

  local function publish(name, from)
    local path = fs.join(site, name)
    fs.mkdirs(fs.dirname(path))
    fs.copy(fs.join(images, from), path)
    return path
  end

  local function write(name, text)
    fs.mkdirs(fs.dirname(fs.join(site, name)))
    fs.write(fs.join(site, name), text)
  end

  local function write_list(list, algorithm, ...)
    local lines = {}
    for _, name in ipairs { ... } do
      local path = fs.join(site, fs.dirname(list), name)
      lines[#lines + 1] = ("%s  %s\n"):format(crypto.hash_file(algorithm, path), name)
    end
    write(list, table.concat(lines))
  end

  local function publish_debian(from)
    publish("debian/bookworm/latest/" .. FILE, from or "disk.qcow2")
    write_list("debian/bookworm/latest/SHA512SUMS", "sha512", FILE)
  end

  local function requests(pattern)
    local path, list = fs.join(site, "requests"), {}
    for line in (fs.exists(path) and fs.read(path) or ""):gmatch "[^\n]+" do
      if not pattern or line:find(pattern, 1, true) then list[#list + 1] = line end
    end
    return list
  end

  local function mark(name, suffix, text)
    write(name .. suffix, text or "")
  end

  local function mirrors()
    local base = "http://127.0.0.1:" .. port
    return {
      ["cloud.debian.org/images/cloud"] = base .. "/debian",
      ["cloud-images.ubuntu.com"] = base .. "/ubuntu",
    }
  end

  before_each(function()
    dir = fs.temp_dir()
    site = fs.join(dir, "publisher")
    fs.mkdirs(site)
    start_publisher(site)
    state = state_of.open { dir = fs.join(dir, "state") }
    env = { state = state, config = { image = { mirrors = mirrors() } } }
  end)

  after_each(function()
    publisher:close()
    state:close()
    fs.remove_tree(dir)
  end)

  local function debian(changes)
    local wanted = { name = "debian:12", arch = "x86_64" }
    for name, value in pairs(changes or {}) do wanted[name] = value end
    return image.ensure(wanted, env)
  end

  local function first_line(path)
    return fs.read_at(path, 0, 40):match "^[^\n]*"
  end

  -- What a later command would take for an image.
  local function count() return #image.list(env) end

  local function kept()
    local list = {}
    for entry in fs.walk(fs.join(state.dir, "images")) do
      if entry.type == "file" and not entry.relative:find "^locks/" then
        list[#list + 1] = entry.relative
      end
    end
    return list
  end

  it("known by name come from their publisher, verified, and with a kernel out of the image",
    function()
      publish_debian()
      local got = debian()
      assert.equal("sha256:" .. crypto.hash_file("sha256", images .. "/disk.qcow2"), got.digest)
      assert.equal(crypto.hash_file("sha256", images .. "/disk.raw"),
        crypto.hash_file("sha256", got.path))
      assert.is_true(fs.stat(got.path).blocks * 512 < fs.stat(got.path).size)
      assert.equal("kernel 6.1.0-18-cloud", first_line(got.kernel))
      assert.equal("initrd 6.1.0-18-cloud", first_line(got.initrd))
      assert.equal("6.1.0-18-cloud", got.kernel_version)
      assert.equal("PARTUUID=11111111-2222-3333-4444-555555555555", got.root)
      assert.equal("debian:12", got.sources[1].label)
      assert.is_true(got.sources[1].verified)
      assert.is_true(got.fetched)
    end)

  it("are fetched and converted once (row 21)", function()
    publish_debian()
    local first = debian()
    local asked = #requests()
    local second = debian()
    assert.is_false(second.fetched or false)
    assert.equal(first.path, second.path)
    assert.equal(asked, #requests())
    assert.same({}, fs.list(fs.join(state.dir, "images", "downloads")))
  end)

  it("have the kernel that lies beside them, where their publisher unpacks it", function()
    local base = "ubuntu/releases/24.04/release/"
    publish(base .. UBUNTU .. ".img", "disk.qcow2")
    write_list(base .. "SHA256SUMS", "sha256", UBUNTU .. ".img")
    write(base .. "unpacked/" .. UBUNTU .. "-vmlinuz-generic", "kernel beside\n")
    write(base .. "unpacked/" .. UBUNTU .. "-initrd-generic", "initrd beside\n")
    write_list(base .. "unpacked/SHA256SUMS", "sha256", UBUNTU .. "-vmlinuz-generic",
      UBUNTU .. "-initrd-generic")
    local got = image.ensure({ name = "ubuntu-24.04", arch = "x86_64" }, env)
    assert.equal("kernel beside", first_line(got.kernel))
    assert.equal("initrd beside", first_line(got.initrd))
    assert.equal("PARTUUID=11111111-2222-3333-4444-555555555555", got.root)
    assert.truthy(got.kernel_from:find("unpacked/", 1, true))
  end)

  it("have the kernel out of the image, where none lies beside it", function()
    local base = "ubuntu/releases/24.04/release/"
    publish(base .. UBUNTU .. ".img", "disk.qcow2")
    write_list(base .. "SHA256SUMS", "sha256", UBUNTU .. ".img")
    local got = image.ensure({ name = "ubuntu:noble", arch = "x86_64" }, env)
    assert.equal("kernel 6.1.0-18-cloud", first_line(got.kernel))
    assert.equal("the image", got.kernel_from)
  end)

  it("whose kernel beside them is another than listed are refused", function()
    local base = "ubuntu/releases/24.04/release/"
    publish(base .. UBUNTU .. ".img", "disk.qcow2")
    write_list(base .. "SHA256SUMS", "sha256", UBUNTU .. ".img")
    write(base .. "unpacked/" .. UBUNTU .. "-vmlinuz-generic", "kernel beside\n")
    write_list(base .. "unpacked/SHA256SUMS", "sha256", UBUNTU .. "-vmlinuz-generic")
    write(base .. "unpacked/" .. UBUNTU .. "-vmlinuz-generic", "kernel of another\n")
    local _, err = try(image.ensure, { name = "ubuntu:24.04", arch = "x86_64" }, env)
    assert.is_true(errors.is(err, "image", "checksum"), tostring(err))
    assert.equal(0, count())
  end)

  it("that are not what the publisher's list says are refused, and nothing is kept", function()
    publish_debian()
    local path = publish("debian/bookworm/latest/" .. FILE, "plain.raw")
    local _, err = try(debian)
    assert.is_true(errors.is(err, "image", "checksum"), tostring(err))
    assert.truthy(err.message:find("SHA512SUMS` says", 1, true), err.message)
    assert.truthy(err.hint:find("nothing of it was kept", 1, true))
    assert.same({}, kept())
    assert.is_true(fs.exists(path))
  end)

  it("that their publisher replaces meanwhile are fetched as they are now", function()
    publish_debian()
    local list = fs.join(site, "debian/bookworm/latest/SHA512SUMS")
    local new = fs.read(list)
    fs.write(list, ("0"):rep(128) .. "  " .. FILE .. "\n")
    -- The new list appears while the image is on its way.
    mark("debian/bookworm/latest/" .. FILE, ".hold", "1000")
    local got = task.spawn(debian)
    while #requests(FILE) == 0 do task.sleep(0.01) end
    fs.write(list, new)
    fs.remove(fs.join(site, "debian/bookworm/latest/" .. FILE .. ".hold"))
    assert.equal("debian:12", got:await().sources[1].label)
  end)

  it("that the publisher's list does not have are refused", function()
    publish_debian()
    write("debian/bookworm/latest/SHA512SUMS", ("0"):rep(128) .. "  another.qcow2\n")
    local _, err = try(debian)
    assert.is_true(errors.is(err, "image", "checksum"))
    assert.truthy(err.message:find("has no checksum of `" .. FILE .. "`", 1, true), err.message)
    assert.same({}, requests(FILE))
  end)

  it("whose publisher has no list are refused", function()
    publish("debian/bookworm/latest/" .. FILE, "disk.qcow2")
    local _, err = try(debian)
    assert.is_true(errors.is(err, "http", "status"))
    assert.same({}, requests(FILE))
  end)

  it("go on where the connection was cut", function()
    publish_debian()
    mark("debian/bookworm/latest/" .. FILE, ".cut", "700000")
    local got = debian()
    assert.is_true(got.fetched)
    local asked = requests(FILE)
    assert.equal(2, #asked)
    assert.truthy(asked[2]:find("bytes=700000-", 1, true), asked[2])
  end)

  it("are asked for again where the server has trouble", function()
    publish_debian()
    mark("debian/bookworm/latest/" .. FILE, ".500")
    assert.is_true(debian().fetched)
    assert.equal(2, #requests("GET /debian/bookworm/latest/" .. FILE))
  end)

  local function pull(options, ...)
    local call = { MOONPORT, "image", "pull", "-o", "json", ... }
    call.env = { MOONPORT_STATE = state.dir, MOONPORT_SITE = fs.join(dir, "site") }
    for name, value in pairs(options) do call[name] = value end
    return call
  end

  local function write_site()
    fs.mkdirs(fs.join(dir, "site"))
    local text = "return { image = { mirrors = {\n"
    for from, to in pairs(mirrors()) do text = text .. ("  [%q] = %q,\n"):format(from, to) end
    fs.write(fs.join(dir, "site", "config.lua"), text .. "} } }\n")
  end

  it("that two commands want at once are fetched once", function()
    if catalog.host_arch() ~= "x86_64" then return pending "the images are for x86-64" end
    publish_debian()
    write_site()
    mark("debian/bookworm/latest/" .. FILE, ".hold", "1000")
    local first = process.spawn(pull({ stdin = "null" }, "debian:12"))
    while #requests(FILE) == 0 do task.sleep(0.01) end
    local second = process.spawn(pull({ stdin = "null", stderr = "null" }, "debian:12"))
    local waits = ("%%-> FLOCK +ADVISORY +WRITE +%d "):format(second.pid)
    while not fs.read("/proc/locks"):find(waits) do task.sleep(0.01) end
    fs.remove(fs.join(site, "debian/bookworm/latest/" .. FILE .. ".hold"))
    local outputs = { first:read_all(), second:read_all() }
    assert.equal(0, first:wait().code)
    assert.equal(0, second:wait().code)
    assert.truthy(outputs[1]:find '"fetched": true')
    assert.truthy(outputs[2]:find '"fetched": false')
    -- The publisher breaks the connection when it goes on, so that the first asks for the rest.
    assert.equal(2, #requests(FILE))
    assert.equal(1, count())
  end)

  it("whose fetching is killed leave nothing that counts as one, and are gone on with", function()
    if catalog.host_arch() ~= "x86_64" then return pending "the images are for x86-64" end
    publish_debian()
    write_site()
    mark("debian/bookworm/latest/" .. FILE, ".hold", "900000")
    local child = process.spawn(pull({ stdin = "null" }, "debian:12"))
    local downloads = fs.join(state.dir, "images", "downloads")
    local function arrived()
      for _, entry in ipairs(fs.exists(downloads) and fs.list(downloads) or {}) do
        if entry.name:find "%.part$" and fs.stat(fs.join(downloads, entry.name)).size >= 600000 then
          return true
        end
      end
    end
    while not arrived() do task.sleep(0.01) end
    child:kill "SIGKILL"
    child:wait()
    fs.remove(fs.join(site, "debian/bookworm/latest/" .. FILE .. ".hold"))
    assert.equal(0, count())
    assert.is_nil(image.store(env):find(source.resolve({ name = "debian:12" })))
    debian()
    local asked = requests(FILE)
    assert.truthy(asked[#asked]:find "bytes=[1-9]%d+%-", asked[#asked])
    assert.equal(1, count())
  end)

  it("whose conversion was killed are converted anew", function()
    publish_debian()
    local hash = crypto.hash_file("sha256", images .. "/disk.qcow2")
    local half = fs.join(state.dir, "images", ".new-" .. hash)
    fs.mkdirs(half)
    fs.write(half .. "/disk.raw", "half")
    assert.equal(0, count())
    local got = debian()
    assert.equal(fs.stat(images .. "/disk.raw").size, fs.stat(got.path).size)
    assert.is_false(fs.exists(half))
  end)

  it("come from any URL, verified by the list beside it", function()
    publish("any/my.img", "plain.raw")
    write_list("any/SHA256SUMS", "sha256", "my.img")
    local url = ("http://127.0.0.1:%s/any/my.img?x=1"):format(port)
    local got = image.ensure({ url = url }, env)
    assert.is_true(got.sources[1].verified)
    assert.truthy(got.sources[1].list:find("/any/SHA256SUMS", 1, true))
    assert.equal("raw", got.format)
    assert.truthy(got.root:find "^UUID=%x+%-")
  end)

  it("come from any URL with the checksum of the manifest", function()
    publish("any/my.img", "pc.raw")
    local url = ("http://127.0.0.1:%s/any/my.img"):format(port)
    local right = crypto.hash_file("sha256", images .. "/pc.raw")
    local _, err = try(image.ensure, { url = url, sha256 = ("0"):rep(64) }, env)
    assert.is_true(errors.is(err, "image", "checksum"), tostring(err))
    assert.same({}, kept())
    local got = image.ensure({ url = url, sha256 = right:upper() }, env)
    assert.equal("PARTUUID=12345678-01", got.root)
    -- It is known by its checksum, wherever it comes from.
    assert.equal(got.path, image.ensure({ url = url .. "2", sha256 = right }, env).path)
  end)

  it("without any checksum say so", function()
    publish("any/my.img", "plain.raw")
    local got = image.ensure({ url = ("http://127.0.0.1:%s/any/my.img"):format(port) }, env)
    assert.is_false(got.sources[1].verified)
  end)

  it("without any checksum are not taken from the open network", function()
    local found = source.resolve { url = "http://images.example/my.img" }
    assert.is_true(found.insecure)
    found.lists = {}
    local _, err = try(checksums.expected, found)
    assert.is_true(errors.is(err, "image", "checksum"))
    assert.is_false(source.resolve({ url = "https://images.example/my.img" }).insecure)
  end)

  it("come from files, and from a changed file anew", function()
    local path = fs.join(dir, "mine.raw")
    fs.copy(images .. "/split.raw", path)
    local got = image.ensure({ path = path }, env)
    assert.equal("PARTUUID=66666666-2222-3333-4444-555555555555", got.root)
    assert.equal("kernel 6.1.0-18-cloud", first_line(got.kernel))
    assert.equal(got.path, image.ensure({ path = path }, env).path)
    fs.copy(images .. "/disk.raw", path)
    assert.not_equal(got.digest, image.ensure({ path = path }, env).digest)
    local _, err = try(image.ensure, { path = path, sha256 = ("1"):rep(64) }, env)
    assert.is_true(errors.is(err, "image", "checksum"), tostring(err))
  end)

  it("that are cut short are recognised", function()
    for _, name in ipairs { "disk.qcow2", "disk.raw", "plain.raw", "pc.raw" } do
      local path = fs.join(dir, name)
      local whole = fs.read(fs.join(images, name))
      fs.write(path, whole:sub(1, #whole // 4 * 3))
      local _, err = try(image.ensure, { path = path }, env)
      assert.is_true(errors.is(err, "image", "truncated"), name .. ": " .. tostring(err))
    end
    assert.same({}, kept())
  end)

  it("that lead to other files of the host are refused", function()
    local path = fs.join(dir, "evil.qcow2")
    process.run { "qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw",
      path, "1M" }
    local _, err = try(image.ensure, { path = path }, env)
    assert.is_true(errors.is(err, "image", "invalid"))
    assert.truthy(err.message:find("leads to the file `/etc/shadow`", 1, true), err.message)
    process.run { "qemu-img", "create", "-q", "-f", "qcow2", "-o",
      "data_file=" .. dir .. "/other,data_file_raw=on", path, "1M" }
    _, err = try(image.ensure, { path = path }, env)
    assert.truthy(err.message:find("leads to the file `" .. dir .. "/other`", 1, true), err.message)
  end)

  it("that are something else say what", function()
    for text, what in pairs {
      ["\x1f\x8b\8"] = "is compressed by gzip, not a disk image",
      ["\xfd7zXZ\0"] = "is compressed by xz", ["<!DOCTYPE html>"] = "is a web page",
      ["nothing"] = "is no disk image", [""] = "is no disk image",
    } do
      local path = fs.join(dir, "file")
      fs.write(path, text)
      local _, err = try(image.ensure, { path = path }, env)
      assert.is_true(errors.is(err, "image", "invalid"), tostring(err))
      assert.truthy(err.message:find(what, 1, true), err.message)
    end
  end)

  it("have a kernel that is unpacked, where it is compressed as on arm64", function()
    local base = "ubuntu/releases/24.04/release/"
    publish(base .. UBUNTU .. ".img", "disk.qcow2")
    write_list(base .. "SHA256SUMS", "sha256", UBUNTU .. ".img")
    local name = UBUNTU .. "-vmlinuz-generic"
    write(base .. "unpacked/" .. name, "kernel for arm64\n")
    process.run { "gzip", fs.join(site, base, "unpacked", name) }
    fs.rename(fs.join(site, base, "unpacked", name .. ".gz"), fs.join(site, base, "unpacked", name))
    write(base .. "unpacked/" .. UBUNTU .. "-initrd-generic", "initrd\n")
    write_list(base .. "unpacked/SHA256SUMS", "sha256", name, UBUNTU .. "-initrd-generic")
    local got = image.ensure({ name = "ubuntu:24.04", arch = "x86_64" }, env)
    assert.equal("kernel for arm64", first_line(got.kernel))
  end)

  it("whose tables hold anything at all end in a list or in a clear error", function()
    local seed = tonumber(os.getenv "MP_SEED") or os.time()
    math.randomseed(seed)
    local path = fs.join(dir, "wild.raw")
    for _, name in ipairs { "disk.raw", "pc.raw", "plain.raw" } do
      local whole = fs.read(fs.join(images, name)):sub(1, 3 << 20)
      for round = 1, 60 do
        local at = math.random(1, 2048)
        local bytes = {}
        for index = 1, math.random(1, 24) do bytes[index] = string.char(math.random(0, 255)) end
        local wild = table.concat(bytes)
        fs.write(path, whole:sub(1, at - 1) .. wild .. whole:sub(at + #wild), { sync = false })
        fs.sparse(path, 32 << 20)
        local found, err = try(partitions.read, path)
        assert.is_true(found ~= nil or errors.is(err, "image", "truncated"),
          ("MP_SEED=%d, %s, round %d: %s"):format(seed, name, round, tostring(err)))
      end
    end
  end)

  it("without a kernel say why, and take one that is named", function()
    local path = fs.join(dir, "bare.raw")
    fs.mkdirs(dir .. "/tree/etc")
    process.run { "/sbin/mkfs.ext4", "-q", "-d", dir .. "/tree", path, "4M" }
    local _, err = try(image.ensure, { path = path }, env)
    assert.is_true(errors.is(err, "image", "kernel"))
    assert.truthy(err.message:find("there is no `vmlinuz-*` in /boot", 1, true), err.message)
    local got = image.ensure({ path = path, kernel = "/boot/mine" }, env)
    assert.equal("/boot/mine", got.kernel)
    assert.is_nil(got.initrd)
  end)

  it("that nobody knows are told with what is near", function()
    local _, err = try(image.ensure, { name = "debain:12" }, env)
    assert.is_true(errors.is(err, "image", "not_found"))
    assert.equal("did you mean `debian:12`?", err.hint)
    _, err = try(image.ensure, { name = "debian:12", arch = "riscv64" }, env)
    assert.equal("`debian:12` is not published for riscv64", err.message)
  end)

  it("are of the host's architecture, not always amd64", function()
    local function url(name, arch) return catalog.find(name, arch).url end
    assert.truthy(url("debian:12", "aarch64"):find("genericcloud-arm64.qcow2", 1, true))
    assert.truthy(url("ubuntu:24.04", "aarch64"):find("cloudimg-arm64.img", 1, true))
    assert.truthy(url("debian:12", "x86_64"):find("genericcloud-amd64.qcow2", 1, true))
    assert.equal(catalog.host_arch(), source.resolve({ name = "debian:12" }).arch)
  end)

  it("come from a site's mirrors, the most exact first", function()
    local given = {
      ["cloud.debian.org"] = "mirror.lan/deb",
      ["https://cloud.debian.org/images"] = "http://in.lan/i/",
    }
    local found = source.resolve({ name = "debian:12", arch = "x86_64" }, given)
    assert.equal("http://in.lan/i/cloud/bookworm/latest/" .. FILE, found.url)
    assert.equal("http://in.lan/i/cloud/bookworm/latest/SHA512SUMS", found.lists[1].url)
    given["https://cloud.debian.org/images"] = nil
    found = source.resolve({ name = "debian:12", arch = "x86_64" }, given)
    assert.equal("https://mirror.lan/deb/images/cloud/bookworm/latest/" .. FILE, found.url)
  end)

  it("are told in a plan, which changes nothing", function()
    publish_debian()
    local wanted = { name = "debian:12", arch = "x86_64" }
    local plan = task.read_only(image.plan, wanted, env)
    assert.is_false(plan.cached)
    assert.equal("debian:12", plan.name)
    assert.is_false(fs.exists(fs.join(state.dir, "images")))
    debian()
    plan = task.read_only(image.plan, wanted, env)
    assert.is_true(plan.cached)
    assert.equal(debian().digest, plan.digest)
  end)

  it("are fetched anew only where their publisher has a newer one", function()
    publish_debian()
    local first = debian()
    env.refresh = true
    assert.is_false(debian().fetched)
    assert.equal(1, #requests(FILE))
    publish_debian "plain.raw"
    local second = debian()
    assert.is_true(second.fetched)
    assert.not_equal(first.digest, second.digest)
    env.refresh = nil
    assert.equal(second.digest, debian().digest)
  end)

  local function use(name, digest)
    state.db:run("INSERT INTO deployments (id, name, target, phase, want, created, updated) "
      .. "VALUES (?, ?, 'hypervisor', 'active', 'running', 0, 0)", name, name)
    state.db:run("INSERT INTO resources (deployment, revision, step, kind, identity) "
      .. "VALUES (?, 1, 'image', 'image', ?)", name, ('{"digest":"%s"}'):format(digest))
  end

  it("that a deployment uses are neither pruned nor removed", function()
    publish_debian()
    local used = debian()
    local path = fs.join(dir, "mine.raw")
    fs.copy(images .. "/plain.raw", path)
    local unused = image.ensure({ path = path }, env)
    use("squaring", used.digest)
    write("any/part", "x")
    fs.write(fs.join(state.dir, "images/downloads/0123.part"), "left")

    local rows = image.prune(env, { dry = true })
    assert.equal(2, #rows)
    assert.equal("would be removed", rows[1].action)
    assert.equal(2, count())
    image.prune(env)
    assert.is_false(fs.exists(unused.path))
    assert.is_true(fs.exists(used.path))
    assert.same({}, fs.list(fs.join(state.dir, "images/downloads")))

    local _, err = try(image.remove, "debian:12", env)
    assert.is_true(errors.is(err, "image", "refused"))
    assert.truthy(err.message:find("is used by squaring", 1, true))
    state.db:run "DELETE FROM resources"
    assert.equal(used.digest, image.remove(used.digest:sub(8, 20), env)[1].digest)
    assert.equal(0, count())
    _, err = try(image.remove, "debian:12", env)
    assert.is_true(errors.is(err, "image", "not_found"))
  end)

  it("are listed with what they take, where from and who uses them", function()
    publish_debian()
    local got = debian()
    use("squaring", got.digest)
    local row = image.list(env)[1]
    assert.same({ "squaring" }, row.used_by)
    assert.is_true(row.bytes > 0 and row.bytes < row.size)
    assert.truthy(row.sources[1].url:find(FILE, 1, true))
    assert.truthy(row.sources[1].checksum:find "^sha512:")
  end)

  it("are offered to shells", function()
    local complete = require "moonport.cli.complete"
    publish_debian()
    debian()
    local offered = complete.offer { "--state", state.dir, "image", "rm", "" }
    assert.same({ "debian:12\tx86_64" }, offered)
    offered = table.concat(complete.offer { "image", "pull", "" }, "\n")
    assert.truthy(offered:find("ubuntu:24.04\tnoble", 1, true))
    assert.truthy(offered:find(":files", 1, true))
  end)

  it("can be read by a VMM under an account of its own", function()
    publish_debian()
    local got = debian()
    for _, path in ipairs { got.path, got.kernel, got.initrd } do
      assert.equal(420, fs.stat(path).mode)
    end
    assert.equal(493, fs.stat(got.dir).mode)
    assert.equal(457, fs.stat(fs.join(state.dir, "images")).mode)
  end)
end)

describe("a list of checksums", function()
  it("is read in the forms that people write", function()
    local sum = ("ab"):rep(32)
    local text = table.concat({
      sum .. "  plain.img", sum:upper() .. " *binary.img", sum .. "  ./dotted.img",
      "SHA256 (tagged.img) = " .. sum, "SHA512 (other.img) = " .. ("cd"):rep(64),
      "MD5 (x) = 0123", "# comment", "short  name", "-----BEGIN PGP SIGNED MESSAGE-----", "",
    }, "\r\n")
    assert.same({ ["plain.img"] = sum, ["binary.img"] = sum, ["dotted.img"] = sum,
      ["tagged.img"] = sum }, checksums.parse(text, "sha256"))
  end)
end)
