local nearest = require "moonport.nearest"
local units = require "moonport.units"

describe("sizes", function()
  it("are powers of 1024 with a bare letter or an `i`, of 1000 with `B` alone", function()
    assert.equal(512 * 2 ^ 20, units.size "512MiB")
    assert.equal(512 * 2 ^ 20, units.size "512M")
    assert.equal(20 * 2 ^ 30, units.size "20GiB")
    assert.equal(2 ^ 30, units.size "1G")
    assert.equal(100 * 1024, units.size "100k")
    assert.equal(100 * 1024, units.size "100Ki")
    assert.equal(100000, units.size "100kB")
    assert.equal(2000000, units.size "2 MB")
    assert.equal(7, units.size "7")
    assert.equal(7, units.size "7B")
    assert.equal(7, units.size(7))
  end)

  it("are integers, also from fractions", function()
    assert.equal("integer", math.type(units.size "1.5GiB"))
    assert.equal(1610612736, units.size "1.5GiB")
    assert.equal(107374182, units.size "0.1GiB")
  end)

  it("with an unknown unit name it", function()
    for _, text in ipairs { "1GB1", "512mb", "1Q", "1 GiBs" } do
      local value, why = units.size(text)
      assert.is_nil(value)
      assert.truthy(why)
    end
    assert.equal("unknown unit `mb`", select(2, units.size "512mb"))
  end)

  it("that are no sizes are refused", function()
    local numbers = { "-1", "1.", "1.5", "1e3", "0x10", "1,5M", "9E", "16EiB" }
    for _, text in ipairs { "", "MiB", "1M\0", table.unpack(numbers) } do
      assert.is_nil((units.size(text)), text)
    end
    assert.is_nil((units.size(-1)))
    assert.is_nil((units.size(1.5)))
    assert.is_nil((units.size(0 / 0)))
    assert.is_nil((units.size {}))
  end)

  it("read back what was printed", function()
    for _, bytes in ipairs { 0, 1, 1023, 1024, 1025, 3 << 20, 1 << 62, 123456789 } do
      assert.equal(bytes, units.size(units.format_size(bytes)))
    end
    assert.equal("512MiB", units.format_size(512 << 20))
    assert.equal("1.46GiB", units.short_size(1567000000))
    assert.equal("512MiB", units.short_size(512 << 20))
    assert.equal("12B", units.short_size(12))
    assert.equal("0B", units.short_size(0))
    assert.same({ "1023B", "1KiB", "14.6KiB", "954MiB", "2GiB" }, {
      units.short_size(1023), units.short_size(1024), units.short_size(15000),
      units.short_size(1e9), units.short_size(2 ^ 31),
    })
  end)
end)

describe("durations", function()
  it("are sums of units in order", function()
    assert.equal(30, units.duration "30s")
    assert.equal(5400, units.duration "1h30m")
    assert.equal(0.5, units.duration "500ms")
    assert.equal(1.5, units.duration "1.5s")
    assert.equal(2 * 86400, units.duration "2d")
    assert.equal(3661, units.duration "1h 1m 1s")
    assert.equal(90, units.duration(90))
    assert.equal(0, units.duration "0s")
  end)

  it("without a unit, or with an unknown one, say so", function()
    assert.equal("the unit is missing", select(2, units.duration "30"))
    assert.equal("unknown unit `sec`", select(2, units.duration "30sec"))
    assert.equal("`h` is out of order", select(2, units.duration "30m1h"))
    assert.equal("`s` is out of order", select(2, units.duration "1s1s"))
  end)

  it("that are no durations are refused", function()
    for _, text in ipairs { "", "s", "-1s", "s1", "1h30", "99999d", "1e9s" } do
      assert.is_nil((units.duration(text)), text)
    end
    assert.is_nil((units.duration(-1)))
    assert.is_nil((units.duration(math.huge)))
    assert.is_nil((units.duration(true)))
  end)

  it("read back what was printed", function()
    for _, seconds in ipairs { 0, 0.25, 1, 59.5, 90, 3600, 86400, 90061.5 } do
      assert.equal(seconds, units.duration(units.format_duration(seconds)))
    end
    assert.equal("1h30m", units.format_duration(5400))
    assert.equal("340ms", units.short_duration(0.34))
    assert.equal("1.25s", units.short_duration(1.25))
    assert.equal("3d4h", units.short_duration(3 * 86400 + 4 * 3600 + 59))
  end)
end)

describe("the nearest name", function()
  it("is found through typing errors", function()
    local known = { "memory", "cpus", "pids", "storage", "nofile" }
    assert.equal("memory", nearest.find("memroy", known))
    assert.equal("cpus", nearest.find("cpu", known))
    assert.equal("nofile", nearest.find("no_file", known))
    assert.is_nil(nearest.find("banana", known))
  end)

  it("is asked for in the hint, and few names are listed", function()
    assert.equal("did you mean `step.after`?", nearest.hint("step.aftr", { ["step.after"] = true }))
    assert.equal("known: `a`, `b`", nearest.hint("zzzz", { "b", "a" }))
    assert.is_nil(nearest.hint("zzzz", {}))
  end)

  it("counts a swap of neighbours as one edit", function()
    assert.equal(1, nearest.distance("ab", "ba"))
    assert.equal(3, nearest.distance("kitten", "sitting"))
    assert.equal(3, nearest.distance("", "abc"))
  end)
end)
