-- What the command line is made of, without running a command.
local cli = require "moonport.cli"
local help = require "moonport.cli.help"
local options = require "moonport.cli.options"
local times = require "moonport.cli.times"
local values = require "moonport.cli.values"

local function refusal(words)
  local ok, err = pcall(cli.main, words)
  assert.is_false(ok)
  return err
end

describe("words that cannot be understood", function()
  it("name the nearest command", function()
    local err = refusal { "deplo" }
    assert.equal("usage", err.code)
    assert.equal("there is no command `deplo`", err.message)
    assert.equal("did you mean `deploy`?", err.hint)
  end)

  it("name the nearest option", function()
    assert.equal("did you mean `--follow`?", refusal({ "logs", "web", "--folow" }).hint)
    assert.equal("did you mean `--state`?", refusal({ "--stat", "ps" }).hint)
  end)

  it("name the nearest subcommand", function()
    assert.equal("did you mean `show`?", refusal({ "recipe", "shwo" }).hint)
  end)

  it("say what is missing, and how the command is called", function()
    local err = refusal { "deploy" }
    assert.equal("`moonport deploy` wants a MANIFEST", err.message)
    assert.truthy(err.hint:find("usage: moonport deploy [OPTIONS] MANIFEST...", 1, true))
    assert.equal("`moonport recipe show` wants a NAME", refusal({ "recipe", "show" }).message)
    assert.equal("`moonport image rm` wants an IMAGE", refusal({ "image", "rm" }).message)
    assert.equal("`moonport stop` wants a NAME", refusal({ "stop" }).message)
    assert.equal("`--state` wants a directory", refusal({ "--state" }).message)
  end)

  it("have no line of moonport's own in them", function()
    assert.equal("there is no command `x`\n  hint: `moonport --help` lists the commands",
      tostring(refusal { "x" }))
  end)
end)

describe("words that other tools have taught", function()
  for _, words in ipairs {
    { "ps", "-a" }, { "exec", "-it", "web", "sh" }, { "image", "ls", "-q" },
    { "logs", "-f", "--tail", "5", "web" }, { "rm", "-f", "web" },
  } do
    it("are understood: " .. table.concat(words, " "), function()
      local name = words[1]
      local parser = cli.parser(name, cli.command(name))
      assert.is_true((parser:pparse(table.move(words, 2, #words, 1, {}))))
    end)
  end
end)

describe("every command", function()
  for _, name in ipairs(cli.COMMANDS) do
    it(name .. " has help with an example, in lines of at most 90 columns", function()
      local command = cli.command(name)
      local text = help.command("moonport " .. name, cli.parser(name, command), command.example,
        cli.GLOBAL_OPTIONS)
      assert.truthy(text:find("Usage: moonport " .. name, 1, true))
      assert.truthy(text:find("Examples?:\n  %S"))
      assert.truthy(text:find("--state DIR", 1, true))
      for line in text:gmatch("[^\n]+") do assert.truthy(#line <= 90, line) end
    end)
  end
end)

describe("exit_status", function()
  it("follows the code of an error, and of what a failed deployment was caused by", function()
    assert.equal(2, cli.exit_status { code = "usage" })
    assert.equal(3, cli.exit_status { code = "not_found" })
    assert.equal(4, cli.exit_status { code = "refused" })
    assert.equal(1, cli.exit_status { code = "timeout" })
    assert.equal(1, cli.exit_status "text")
    assert.equal(4, cli.exit_status { code = "failed", failure = {}, cause = { code = "refused" } })
    assert.equal(7, cli.exit_status { code = "usage", exit = 7 })
  end)
end)

describe("times", function()
  it("are RFC 3339 in UTC", function()
    assert.equal("1970-01-01T00:00:00.000Z", times.rfc3339(0))
    assert.equal("2026-11-24T06:46:50.125Z", times.rfc3339(1795502810.125))
    assert.equal("1970-01-01T00:00:02.000Z", times.rfc3339(1.9999))
    assert.is_nil(times.rfc3339(nil))
  end)

  it("are read from RFC 3339 with any zone, and with parts left out", function()
    assert.equal(1795502810.125, times.seconds("2026-11-24T06:46:50.125Z"))
    assert.equal(1795502810, times.seconds("2026-11-24T08:46:50+02:00"))
    assert.equal(1795502810, times.seconds("2026-11-24 01:16:50-0530"))
    assert.equal(1795502760, times.seconds("2026-11-24T06:46"))
    assert.equal(1795478400, times.seconds("2026-11-24"))
    assert.equal(951782400, times.seconds("2000-02-29"))
  end)

  it("are not read from anything else", function()
    for _, text in ipairs { "", "now", "2026-13-01", "2026-11-24T25:00", "2026-11-24T06:46:5x",
      "2026-11-24T06:46:50+2", "2026-11-24 junk" } do
      assert.is_nil(times.seconds(text), text)
    end
  end)

  it("are points, by how long ago they were", function()
    assert.equal(1000 - 600, times.point("10m", 1000))
    assert.equal(10000 - 5400, times.point("1h30m", 10000))
    assert.equal(1795502810, times.point("1795502810", 1))
    assert.equal(0, times.point("1970-01-01", 1))
    local point, why = times.point("1x", 1000)
    assert.is_nil(point)
    assert.truthy(why:find("how long ago", 1, true))
  end)

  it("are told by how long ago they were, in one unit", function()
    assert.equal("just now", times.ago(0.4))
    assert.equal("1 second ago", times.ago(1.2))
    assert.equal("90 seconds ago", times.ago(90))
    assert.equal("2 minutes ago", times.ago(150))
    assert.equal("3 hours ago", times.ago(3 * 3600 + 59))
    assert.equal("2 days ago", times.ago(2 * 86400))
    assert.equal("5 weeks ago", times.ago(35 * 86400))
  end)

  it("are lengths, with a unit or in seconds", function()
    assert.equal(5, options.duration("5"))
    assert.equal(0.5, options.duration("500ms"))
    assert.equal(90, options.duration("1m30s"))
    local length, why = options.duration("5 parsecs")
    assert.is_nil(length)
    assert.truthy(why:find("length of time", 1, true))
  end)
end)

describe("values", function()
  it("are shown as people write them", function()
    assert.equal("64MiB", values.show(64 << 20, "limits.memory"))
    assert.equal("1m30s", values.show(90, "stop.grace"))
    assert.equal("90", values.show(90, "blueprint_id"))
    assert.equal("(not set)", values.show(nil, "user"))
    assert.equal("true", values.show(true))
  end)

  it("never show a secret", function()
    assert.equal("<secret file:/etc/token>",
      values.show({ ["$secret"] = { file = "/etc/token" } }, "env.TOKEN"))
    assert.equal("<secret command:pass>",
      values.show({ ["$secret"] = { command = { "pass", "show", "x" } } }, "env.RPC"))
    assert.equal("(not shown)", values.show("hunter2", "env.API_TOKEN"))
    assert.equal("debug", values.show("debug", "env.RUST_LOG"))
    local plain = values.plain_changes { { path = "env.API_KEY", from = "a", to = "b" } }
    assert.equal("(not shown)", plain[1].from)
    assert.equal("(not shown)", plain[1].to)
  end)

  it("show an argv as a shell would take it", function()
    assert.equal("/bin/sh -c 'echo \"$HOME\"; exit'",
      values.show({ "/bin/sh", "-c", 'echo "$HOME"; exit' }, "command"))
    assert.equal([['it'\''s' $'two\nlines' '']],
      values.show({ "it's", "two\nlines", "" }, "command"))
  end)

  it("are cut where they would fill the screen", function()
    local shown = values.show(("x"):rep(1000), "description")
    assert.equal(100, #shown)
    assert.truthy(shown:find("%.%.%.$"))
  end)

  it("within tables are shown by their own fields", function()
    assert.equal("{ max_files = 5, max_size = 16MiB }",
      values.show({ max_size = 16 << 20, max_files = 5 }, "log"))
  end)
end)
