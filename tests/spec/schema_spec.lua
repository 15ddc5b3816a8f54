local schema = require "moonport.schema"

local function holds(text, part)
  assert.truthy(text:find(part, 1, true), ("`%s` is not in: %s"):format(part, text))
end

local fields = schema.record {
  name = schema.string { required = true, doc = "the name" },
  policy = schema.enum { "no", "on-failure", "always", default = "no" },
  limits = schema.record({
    memory = schema.size { min = 1024 },
    cpus = schema.number { min = 0.01 },
    grace = schema.duration { default = 10 },
  }, { default = {} }),
  extra = schema.record { wait = schema.duration { default = 1 } },
  command = schema.list(schema.string {}, { min = 1 }),
  env = schema.map(schema.secret {}),
  value = schema.one_of(
    { schema.boolean {}, schema.integer {} },
    { expected = "a flag or a count" }
  ),
  port = schema.integer {
    min = 1,
    max = 65535,
    check = function(value)
      return value == 22 and "is taken by ssh" or nil, "choose another"
    end,
  },
  where = schema.path {},
}

local function problems_of(value, options)
  local _, problems = schema.check(fields, value, options)
  return problems
end

local function only(value, options)
  local problems = problems_of(value, options)
  assert.equal(1, #problems)
  return problems[1]
end

describe("a schema", function()
  it("brings values to their normal form and leaves absent ones absent", function()
    local data, problems = schema.check(fields, {
      limits = { memory = "1KiB" },
      value = true,
      where = "./x/y",
    }, { base = "/etc" })
    assert.same({}, problems)
    assert.same({ limits = { memory = 1024 }, value = true, where = "/etc/x/y" }, data)
  end)

  it("fills defaults of the tables that are there or that have one", function()
    local data = schema.fill(fields, { name = "x" })
    assert.same({ name = "x", policy = "no", limits = { grace = 10 } }, data)
    data = schema.fill(fields, { name = "x", extra = {} })
    assert.equal(1, data.extra.wait)
  end)

  it("does not share defaults between values", function()
    local a, b = schema.fill(fields, { name = "a" }), schema.fill(fields, { name = "b" })
    a.limits.memory = 1
    assert.is_nil(b.limits.memory)
  end)

  it("tells all problems at once, with line and nearest name", function()
    local problems = problems_of({
      limits = { memroy = "1G", cpus = "two" },
      polcy = "no",
      command = "x",
      policy = "allways",
    }, {
      locate = function(path)
        return "m.lua", #path
      end,
    })
    local ok, failure = pcall(schema.refuse, problems, "manifest")
    assert.is_false(ok)
    assert.equal("schema", failure.kind)
    assert.equal("invalid", failure.code)
    assert.equal(5, #failure.problems)
    local text = failure.message
    holds(text,
      "m.lua:13: unknown field `limits.memroy` (did you mean `memory`?)")
    assert.truthy(text:find("m.lua:5: unknown field `polcy` (did you mean `policy`?)", 1, true))
    assert.truthy(text:find('`limits.cpus` must be a number of at least 0.01, not "two"', 1, true))
    assert.truthy(text:find('`command` must be a list, not "x"', 1, true))
    holds(text,
      "one of `no`, `on-failure`, `always`, not \"allways\" (did you mean `always`?)")
  end)

  it("names the value and the unit that does not read", function()
    assert.equal(
      '`limits.memory` must be a size such as "512MiB" of at least 1KiB, not "1XB": '
        .. "unknown unit `XB`",
      only({ limits = { memory = "1XB" } }).message
    )
    assert.truthy(only({ limits = { grace = "10" } }).message:find("the unit is missing", 1, true))
  end)

  it("refuses NUL bytes by name", function()
    assert.equal("`env.A` holds a NUL byte, at byte 2", only({ env = { A = "x\0y" } }).message)
    assert.equal(
      "`command[2]` holds a NUL byte, at byte 1",
      only({ command = { "x", "\0" } }).message
    )
  end)

  it("takes secrets by reference only in their exact form", function()
    local data, problems =
      schema.check(fields, { env = { K = { ["$secret"] = { file = "k" } } } }, { base = "/b" })
    assert.same({}, problems)
    assert.same({ K = { ["$secret"] = { file = "/b/k" } } }, data.env)
    for _, bad in ipairs {
      { ["$secret"] = {} },
      { ["$secret"] = { fil = "k" } },
      { ["$secret"] = { file = "k", env = "K" } },
      { ["$secret"] = { file = 3 } },
      { ["$secret"] = { command = "pass show" } },
      { ["$secret"] = { file = "k" }, other = 1 },
      { file = "k" },
    } do
      only { env = { K = bad } }
    end
  end)

  it("suggests quotes for a number where text is wanted", function()
    assert.equal('write it as text: "1"', only({ env = { A = 1 } }).hint)
  end)

  it("runs a field's own check, with its hint", function()
    local problem = only { port = 22 }
    assert.equal("`port` is taken by ssh", problem.message)
    assert.equal("choose another", problem.hint)
    assert.equal(
      "`port` must be a whole number from 1 to 65535, not 70000",
      only({ port = 70000 }).message
    )
  end)

  it("reports the alternatives of a choice", function()
    assert.equal('`value` must be a flag or a count, not "x"', only({ value = "x" }).message)
  end)

  it("reports what is required and absent", function()
    local _, problems = schema.fill(fields, {})
    assert.equal("`name` is missing", problems[1].message)
    assert.equal("it is the name", problems[1].hint)
  end)

  it("finds fields by path and knows the nearest", function()
    assert.equal("size", schema.find(fields, "limits.memory").type)
    assert.equal("string", schema.find(fields, "command[1]").type)
    assert.equal("secret", schema.find(fields, "env.X").type)
    local field, near = schema.find(fields, "limits.memroy")
    assert.is_nil(field)
    assert.equal("limits.memory", near)
  end)

  it("documents itself", function()
    local rows = schema.describe(fields)
    local by_path = {}
    for _, row in ipairs(rows) do
      by_path[row.path] = row
    end
    assert.equal("10s", by_path["limits.grace"].default)
    assert.equal("no | on-failure | always", by_path.policy.type)
    assert.equal("table of text or secret", by_path.env.type)
    assert.is_true(by_path.name.required)
  end)
end)
