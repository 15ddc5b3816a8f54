--- FAT disks and layers of images, with the real programs; what was written is read back by a
-- reader of our own that shares nothing with them.
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fat = require "moonport.image.fat"
local fs = require "moonport.fs"
local json = require "moonport.json"
local layer = require "moonport.image.layer"
local process = require "moonport.process"
local secret = require "moonport.core.secret"
local tools = require "moonport.image.tools"

local disks = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/disks_helper.lua")
local read_fat, sha256 = disks.read_fat, disks.sha256

local MIB = 1 << 20

describe("a FAT disk", function()
  local dir, path

  before_each(function()
    dir = fs.temp_dir()
    path = fs.join(dir, "disk.img")
  end)

  after_each(function()
    fs.remove_tree(dir)
  end)

  local function write(entries, where)
    return fat.write(where or path, { label = "TEST", entries = entries })
  end

  it("holds files, texts and directories byte by byte", function()
    local large = crypto.random(MIB):rep(3) .. "end"
    fs.write(fs.join(dir, "program"), large)
    write {
      { name = "blueprint", file = fs.join(dir, "program") },
      { name = "keys/Ecdsa.Key", text = "one\n" }, { name = "keys/deep/er[1]/empty", text = "" },
      { name = "bare", directory = true }, { name = "UPPER", text = "u" },
      { name = "a name with spaces, and + [signs]", text = "x" }, { name = ".hidden", text = "h" },
    }
    assert.same({
      blueprint = sha256(large), keys = "dir", ["keys/Ecdsa.Key"] = sha256 "one\n",
      ["keys/deep"] = "dir", ["keys/deep/er[1]"] = "dir", ["keys/deep/er[1]/empty"] = sha256 "",
      bare = "dir", ["a name with spaces, and + [signs]"] = sha256 "x",
      UPPER = sha256 "u", [".hidden"] = sha256 "h",
    }, read_fat(path).paths)
    process.run { "/sbin/fsck.vfat", "-n", path }
  end)

  it("is the same, byte by byte, for the same contents", function()
    local entries = { { name = "b/two", text = "2" }, { name = "a", text = "1" } }
    write(entries)
    local second = fs.join(dir, "second.img")
    write({ entries[2], entries[1] }, second)
    assert.equal(crypto.hash_file("sha256", path), crypto.hash_file("sha256", second))
  end)

  it("can be read by us alone, and leaves nothing beside it", function()
    write { { name = "x", text = secret.new("token", {}) } }
    assert.equal(384, fs.stat(path).mode)
    assert.equal(sha256 "token", read_fat(path).paths.x)
    assert.same({ { name = "disk.img", type = "file" } }, fs.list(dir))
  end)

  it("holds as many files as a large keystore has", function()
    local entries = {}
    for number = 1, 1100 do
      local name = ("keystore/key-number-%04d.json"):format(number)
      entries[number] = { name = name, text = "k" .. number }
    end
    write(entries)
    local paths = read_fat(path).paths
    for number = 1, 1100 do
      assert.equal(sha256("k" .. number), paths[("keystore/key-number-%04d.json"):format(number)])
    end
  end)

  it("refuses names that FAT cannot hold, and names them", function()
    for name, why in pairs {
      ["a:b"] = "`a:b` cannot be put on a FAT disk: its name holds `:`",
      ['k/say "hi"'] = "its name holds",
      ["dot."] = "ends with a space or a dot", ["space "] = "ends with a space or a dot",
      ["schlüssel"] = "letters beyond ASCII", ["dir/con"] = "that of a device",
      ["two\nlines"] = "its name holds", [("x"):rep(256)] = "more than 255 letters",
    } do
      local _, err = try(write, { { name = name, text = "" } })
      assert.is_true(errors.is(err, "image", "name"), name)
      assert.truthy(err.message:find(why, 1, true), err.message)
    end
    assert.same({}, fs.list(dir))
  end)

  it("refuses two names that differ by case alone", function()
    local _, err = try(write, { { name = "k/Key", text = "1" }, { name = "k/key", text = "2" } })
    assert.equal("`k/key` cannot be put on a FAT disk: FAT does not tell it from `k/Key`",
      err.message)
  end)

  it("refuses a file that FAT has no length for", function()
    local big = fs.join(dir, "big")
    fs.sparse(big, 4 << 30)
    local _, err = try(write, { { name = "blueprint", file = big } })
    assert.truthy(err.message:find("`blueprint` cannot be put on a FAT disk: it has 4GiB", 1, true),
      err.message)
  end)

  it("stays as it was where the next one cannot be written", function()
    write { { name = "a", text = "first" } }
    local _, err = try(write, {
      { name = "a", text = "second" }, { name = "b", file = dir .. "/none" },
    })
    assert.is_true(errors.is(err, "fs", "ENOENT"))
    assert.equal(sha256 "first", read_fat(path).paths.a)
    assert.same({ { name = "disk.img", type = "file" } }, fs.list(dir))
  end)
end)

describe("a layer", function()
  local dir, base

  before_each(function()
    dir = fs.temp_dir()
    base = fs.join(dir, "base.raw")
    fs.write(base, "image" .. ("\0"):rep(4091))
    fs.sparse(base, 8 * MIB)
  end)

  after_each(function()
    fs.remove_tree(dir)
  end)

  local function make(options)
    options.base, options.path = base, options.path or fs.join(dir, "root.img")
    options.size = options.size or 20 << 30
    return layer.make(options), options.path
  end

  local function info(path, format)
    local call = { "qemu-img", "info", "--output=json", "-f", format, path }
    return json.decode(process.run(call).stdout)
  end

  -- The disk as a guest would see its beginning.
  local function first_bytes(path, format)
    local out = fs.join(dir, "out.raw")
    process.run { "qemu-img", "dd", "-f", format, "-O", "raw", "bs=4096", "count=1", "if=" .. path,
      "of=" .. out }
    return fs.read_at(out, 0, 5)
  end

  it("is made by the cheapest way that the host can, and says which, why and how long", function()
    local made = make {}
    assert.is_true(made.method == "reflink" or made.method == "overlay")
    if made.method == "overlay" then
      assert.same({ { method = "reflink", why = "the file system shares no blocks" } }, made.passed)
    end
    assert.equal("number", type(made.ms))
  end)

  it("over an image has the size asked for, and names its image and the format", function()
    local made, path = make { method = "overlay" }
    local found = info(path, "qcow2")
    assert.equal("qcow2", made.format)
    assert.equal(base, made.backing)
    assert.equal(20 << 30, found["virtual-size"])
    assert.equal(base, found["backing-filename"])
    assert.equal("raw", found["backing-filename-format"])
    assert.equal("image", first_bytes(path, "qcow2"))
    assert.equal(384, fs.stat(path).mode)
    assert.is_true(fs.stat(path).blocks * 512 < MIB)
  end)

  it("by copy holds the image's data, and holes for the rest", function()
    local made, path = make { method = "copy" }
    assert.equal("raw", made.format)
    assert.is_nil(made.backing)
    assert.equal(20 << 30, fs.stat(path).size)
    assert.is_true(fs.stat(path).blocks * 512 < MIB)
    assert.equal("image", fs.read_at(path, 0, 5))
    assert.equal(384, fs.stat(path).mode)
  end)

  it("is a copy where the VMM takes no overlay", function()
    local made = make { overlay = false }
    assert.is_true(made.method == "copy" or made.method == "reflink")
  end)

  it("that cannot be had raises, and leaves nothing", function()
    local _, err = try(make, { method = "overlay", overlay = false })
    assert.is_true(errors.is(err, "image", "unsupported"))
    assert.truthy(err.message:find("the VMM takes no overlay", 1, true))
    assert.same({ { name = "base.raw", type = "file" } }, fs.list(dir))
  end)

  it("smaller than its image is refused", function()
    local _, err = try(make, { size = MIB })
    assert.is_true(errors.is(err, "image", "size"))
    assert.truthy(err.message:find("needs a disk of 8MiB, and 1MiB is asked for", 1, true),
      err.message)
  end)

  it("that is there is kept, also when the step runs again", function()
    local made, path = make { method = "copy" }
    local file <close> = assert(io.open(path, "r+"))
    file:write "guest"
    file:flush()
    assert.same(made, (make { method = "overlay" }))
    assert.equal("guest", fs.read_at(path, 0, 5))
  end)

  it("of which a killed command left a part is made anew", function()
    local path = fs.join(dir, "root.img")
    fs.write(path .. ".part", "half")
    assert.is_nil(layer.describe(path))
    local made = make { path = path, method = "copy" }
    assert.equal("copy", made.method)
    assert.equal("image", fs.read_at(path, 0, 5))
    assert.is_false(fs.exists(path .. ".part"))
  end)

  it("keeps its format whatever the guest writes to its beginning", function()
    local _, path = make { method = "copy" }
    local file <close> = assert(io.open(path, "r+"))
    file:write "QFI\xfb\0\0\0\3"
    file:flush()
    assert.equal("raw", layer.describe(path).format)
  end)

  it("goes with all that belongs to it", function()
    local _, path = make { method = "overlay" }
    layer.remove(path)
    layer.remove(path)
    assert.same({ { name = "base.raw", type = "file" } }, fs.list(dir))
  end)

  it("costs the same however large its image is (row 21)", function()
    local made = make { method = "overlay" }
    local large = fs.join(dir, "large.raw")
    fs.write(large, crypto.random(MIB):rep(64), { sync = false })
    local path = fs.join(dir, "large.img")
    layer.make { base = large, path = path, size = 20 << 30, method = "overlay" }
    local blocks = fs.stat(path).blocks
    assert.equal(fs.stat(fs.join(dir, "root.img")).blocks, blocks)
    assert.is_true(blocks * 512 < MIB)
    assert.equal("overlay", made.method)
  end)
end)

describe("a program that disks are made with", function()
  it("is found also where only root looks, and gets no variable of ours", function()
    assert.truthy(tools.find "mkfs.vfat":find "/mkfs%.vfat$")
    local env = tools.run({ "env", env = { A = "b" } }).stdout
    assert.truthy(env:find("A=b\n", 1, true))
    assert.is_nil(env:find("HOME=", 1, true))
  end)

  it("that is missing is named with its package", function()
    local _, err = try(tools.find, "no-such-program")
    assert.is_true(errors.is(err, "image", "program"))
    assert.equal("there is no `no-such-program` on this host", err.message)
    assert.same({ { name = "no-such-program" } }, tools.missing { "mcopy", "no-such-program" })
  end)
end)
