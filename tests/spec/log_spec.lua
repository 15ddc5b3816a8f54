local errors = require "moonport.errors"
local log = require "moonport.log"
local secret = require "moonport.core.secret"

local function lines_of(fn)
  local real, written = io.stderr, {}
  local function keep(_, ...) written[#written + 1] = table.concat { ... } end
  rawset(io, "stderr", { write = keep })
  local ok, err = pcall(fn)
  rawset(io, "stderr", real)
  if not ok then error(err, 0) end
  return written
end

local function line_of(fn)
  local lines = lines_of(fn)
  assert.equal(1, #lines)
  assert.equal("\n", lines[1]:sub(-1))
  return lines[1]:sub(1, -2)
end

describe("log", function()
  local level, format
  before_each(function() level, format = log.level("info"), log.format("text") end)
  after_each(function()
    log.level(level)
    log.format(format)
  end)

  it("writes time, level, message and fields in order", function()
    local line = line_of(function() log.info("up", { took = 1.5, name = "web", ok = true }) end)
    assert.truthy(line:match("^time=%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ "
      .. "level=info msg=up name=web ok=true took=1%.5$"))
  end)

  it("quotes what would be read as something else", function()
    local line = line_of(function()
      log.warn("two words", { a = 'say "x"', b = "k=v", c = "", d = "l1\nl2", e = "\27[0m" })
    end)
    assert.truthy(line:find(
      [[msg="two words" a="say \"x\"" b="k=v" c="" d="l1\nl2" e="\x1b[0m"]], 1, true))
  end)

  it("keeps a message on one line whatever it holds", function()
    local line = line_of(function() log.info("one\ntwo\r\0", { ["a b\n"] = "x\ny" }) end)
    assert.is_nil(line:find("[%c]"))
    assert.truthy(line:find('a_b_="x\\ny"', 1, true))
  end)

  it("keeps fields apart from its own", function()
    local line = line_of(function() log.info("m", { level = "fatal", time = 0 }) end)
    assert.truthy(line:find("level=info msg=m level_=fatal time_=0", 1, true))
  end)

  it("writes nothing below its level", function()
    assert.same({}, lines_of(function() log.debug("hidden") end))
    log.level("debug")
    assert.equal(1, #lines_of(function() log.debug("shown") end))
    log.level("off")
    assert.same({}, lines_of(function() log.error("hidden") end))
    assert.is_false(log.enabled("error"))
  end)

  it("names the levels when a wrong one is asked for", function()
    local _, err = try(log.level, "loud")
    assert.equal("invalid", err.code)
    assert.truthy(err.hint:find("error, warn, info, debug", 1, true))
  end)

  it("never writes a secret", function()
    local token = secret.new("log-s3cret-token", { file = "/x" })
    for _, form in ipairs { "text", "json" } do
      log.format(form)
      local line = line_of(function()
        log.info("with log-s3cret-token", { token = token, list = { token } })
      end)
      assert.is_nil(line:find("log-s3cret-token", 1, true))
      assert.truthy(line:find("<secret", 1, true))
      assert.truthy(line:find("***", 1, true))
    end
  end)

  it("writes JSON that a parser reads", function()
    log.format("json")
    local line = line_of(function()
      log.error("bad \"thing\"\n", {
        n = 1, f = 1.25, list = { 1, "two" }, map = { k = { true } }, bytes = "\xff", nan = 0 / 0,
        err = errors.new { kind = "a", code = "b", message = "why" }, fn = print,
      })
    end)
    local value = require "cjson".decode(line)
    assert.equal("error", value.level)
    assert.equal('bad "thing"\n', value.msg)
    assert.same({ 1, "two" }, value.list)
    assert.same({ k = { true } }, value.map)
    assert.equal("\\xff", value.bytes)
    assert.equal("nan", value.nan)
    assert.truthy(value.err:find("why", 1, true))
  end)

  it("adds a logger's fields to each message", function()
    local logger = log.with { service = "web" }.with { step = "start" }
    local line = line_of(function() logger.info("m", { n = 1 }) end)
    assert.truthy(line:find("msg=m n=1 service=web step=start", 1, true))
  end)

  it("writes a value with a cycle", function()
    local value = {}
    value.self = value
    for _, form in ipairs { "text", "json" } do
      log.format(form)
      assert.is_string(line_of(function() log.info("m", { value = value }) end))
    end
  end)
end)
