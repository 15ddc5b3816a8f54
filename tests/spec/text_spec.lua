local text = require "moonport.text"

describe("text", function()
  it("makes visible what could drive a terminal", function()
    assert.equal("\\x1b[2Jhi\\n", text.visible("\27[2Jhi\n"))
    assert.equal("a\\x00b\\x7f", text.visible("a\0b\127"))
    assert.equal("csi \\u{9b}31m", text.visible("csi \u{9b}31m"))
    assert.equal("\\u{202e}gpj.exe", text.visible("\u{202e}gpj.exe"))
  end)

  it("keeps the control characters that the caller wants", function()
    assert.equal("a\n\tb\\r", text.visible("a\n\tb\r", "\n\t"))
  end)

  it("leaves other text as it is", function()
    assert.equal("Grüße, 日本, 🚀", text.visible("Grüße, 日本, 🚀"))
  end)

  it("shows bytes that are no UTF-8", function()
    assert.equal("é\\xff\\xc3", text.visible("é\xff\xc3"))
    assert.equal("\\xed\\xa0\\x80", text.visible("\xed\xa0\x80")) -- a surrogate
  end)

  it("quotes so that Lua reads the same string", function()
    local all = {}
    for byte = 0, 255 do all[#all + 1] = string.char(byte) end
    local everything = table.concat(all) .. 'é"\\\u{202e}'
    assert.equal(everything, load("return " .. text.quote(everything))())
  end)

  it("cuts between characters", function()
    assert.equal("aé", text.cut("aéé", 4))
    assert.equal("aéé", text.cut("aéé", 5))
    assert.equal("", text.cut("🚀", 3))
  end)

  it("writes durations as people do", function()
    local seconds = { 1e-5, 0.5, 0.9999, 59.9, 59.97, 3599.9, 90000, -1 }
    local shown = {}
    for i, duration in ipairs(seconds) do shown[i] = text.duration(duration) end
    assert.same(
      { "10 us", "500 ms", "1.0 s", "59.9 s", "1 m 0 s", "1 h 0 m", "1 d 1 h", "-1.0 s" }, shown)
  end)
end)
