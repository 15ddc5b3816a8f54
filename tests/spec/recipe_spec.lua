local errors = require "moonport.errors"
local fs = require "moonport.fs"
local catalog = require "moonport.recipe.catalog"
local recipe = require "moonport.recipe"

local function holds(text, part)
  assert.truthy(tostring(text):find(part, 1, true), ("`%s` is not in: %s"):format(part, text))
end

local function refusal(fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  return failure
end

local function names(loaded)
  local list = {}
  for index, step in ipairs(loaded.steps) do
    list[index] = step.name
  end
  return table.concat(list, " ")
end

local function nothing() end

local function three()
  return recipe.define {
    name = "test",
    steps = {
      recipe.step("one", { apply = nothing, undo = nothing }),
      recipe.step("two", nothing),
      recipe.step("three", nothing),
    },
  }
end

-- A catalog of texts: { ["shipped:a.b"] = text, ["site:a.b"] = text }.
local function catalog_of(texts)
  local lib = {}
  function lib.source(_, role, name)
    local text = texts[role .. ":" .. name]
    return text, text and ("%s/%s.lua"):format(role, name:gsub("%.", "/"))
  end
  function lib.names(_, role)
    local list = {}
    for key in pairs(texts) do
      list[#list + 1] = key:match("^" .. role .. ":(.+)$")
    end
    return list
  end
  return lib
end

describe("a recipe", function()
  it("with an unknown field names the nearest", function()
    local failure = refusal(recipe.define, { name = "x", stats = nothing })
    assert.equal("recipe", failure.kind)
    assert.equal("recipe `x` has no field `stats`", failure.message)
    assert.equal("did you mean `status`?", failure.hint)
    holds(failure.where, "recipe_spec.lua:")
  end)

  it("with an ill-typed field says what it must be", function()
    for message, fields in pairs {
      ["must be a function, not a number"] = { name = "x", logs = 1 },
      ["was not made by recipe.step"] = { name = "x", steps = { {} } },
    } do
      holds(refusal(recipe.define, fields).message, message)
    end
    holds(refusal(recipe.define, {}).message, "needs a `name`")
  end)

  it("has no two steps of one name", function()
    local failure = refusal(recipe.define, {
      name = "x",
      steps = { recipe.step("a", nothing), recipe.step("a", nothing) },
    })
    holds(failure.message, "has two steps `a`")
  end)

  it("has steps that are checked", function()
    local failure = refusal(recipe.step, "a", { aply = nothing })
    assert.equal("did you mean `apply`?", failure.hint)
    holds(refusal(recipe.step, "A b", nothing).message, "cannot name a step")
    holds(refusal(recipe.step, "a", { plan = nothing }).message, "does nothing")
    holds(refusal(recipe.step, "a", { apply = nothing, scope = "revison" }).hint, "revision")
  end)
end)

describe("an override", function()
  it("replaces, inserts, removes and appends steps, and says who did it", function()
    local changed = three()
      :replace("two", nothing)
      :before("two", "zero", nothing)
      :after("three", recipe.step("four", nothing))
      :remove("one")
      :append("last", { apply = nothing })
    assert.equal("zero two three four last", names(changed))
    local rows = recipe.show(changed)
    assert.equal("zero", rows[1].step)
    assert.equal("before two", rows[1].changes[1].verb)
    assert.equal("replace", rows[2].changes[1].verb)
    holds(rows[2].changes[1].file, "recipe_spec.lua")
    assert.is_number(rows[2].changes[1].was.line)
    local removed = rows[#rows]
    assert.equal("one", removed.step)
    assert.is_number(removed.removed.line)
    assert.same({ "apply", "undo" }, removed.functions)
  end)

  it("wraps functions of a step around the originals", function()
    local calls = {}
    local base = recipe.define {
      name = "x",
      steps = {
        recipe.step("a", {
          apply = function(_, intent)
            calls[#calls + 1] = "inner " .. intent
            return "r"
          end,
        }),
      },
    }
    base:wrap("a", {
      apply = function(original, ctx, intent)
        calls[#calls + 1] = "before"
        return original(ctx, intent) .. "!"
      end,
      undo = function(original, ctx)
        original(ctx)
        calls[#calls + 1] = "undo"
      end,
    })
    assert.equal("r!", base:step("a").apply({}, "i"))
    base:step("a").undo {}
    assert.same({ "before", "inner i", "undo" }, calls)
    assert.equal("wrap", recipe.show(base)[1].changes[1].verb)
  end)

  it("wraps a verb", function()
    local base = three()
    base.status = function()
      return { state = "running" }
    end
    base:wrap_verb("status", function(original, ctx)
      local status = original(ctx)
      status.extra = true
      return status
    end)
    assert.same({ state = "running", extra = true }, base.status {})
  end)

  it("of a step that does not exist names the nearest", function()
    local failure = refusal(function()
      three():replace("tow", nothing)
    end)
    assert.equal("recipe `test` has no step `tow`", failure.message)
    assert.equal("did you mean `two`?", failure.hint)
    holds(failure.where, "recipe_spec.lua:")
  end)

  it("adds no second step of a name", function()
    holds(
      refusal(function()
        three():append("one", nothing)
      end).message,
      "has a step `one` already"
    )
  end)
end)

local SHIPPED = [[
local recipe = require "moonport.recipe"
return recipe.define {
  name = "targets.fake",
  summary = "A fake",
  steps = { recipe.step("a", function() return 1 end), recipe.step("b", function() end) },
}]]

describe("loading", function()
  it("prefers the site's recipe, which can start from the shipped one", function()
    local lib = catalog_of {
      ["shipped:targets.fake"] = SHIPPED,
      ["site:targets.fake"] = [[
        return recipe.shipped("targets.fake"):remove("b")]],
    }
    local loaded = catalog.load(lib, "targets.fake")
    assert.equal("a", names(loaded))
    assert.same({ "site", "shipped" }, { loaded.files[1].role, loaded.files[2].role })
    assert.equal("site/targets/fake.lua", recipe.show(loaded)[2].removed.file)
    assert.equal("shipped/targets/fake.lua", recipe.show(loaded)[1].file)
    assert.equal(5, recipe.show(loaded)[1].line)
    assert.equal("a b", names(catalog.load_shipped(lib, "targets.fake")))
  end)

  it("tells files that do not load by name and line", function()
    for text, part in pairs {
      ["local x = "] = "site/x.lua:1:",
      ["\nerror 'no'"] = "site/x.lua:2: no",
      ["return 1"] = "does not return a recipe",
      ["return recipe.define { name = 'y' }"] = "defines `y`, not `x`",
      ["x = 1"] = "sets the global `x`",
    } do
      local failure = refusal(catalog.load, catalog_of { ["site:x"] = text }, "x")
      assert.equal("recipe", failure.kind)
      holds(failure.message, part)
    end
  end)

  it("declares and cannot act", function()
    local text = "os.remove('/nonexistent/x') return recipe.define { name = 'x' }"
    local failure = refusal(catalog.load, catalog_of { ["shipped:x"] = text }, "x")
    assert.equal("broken", failure.code)
    assert.is_true(errors.is(failure.cause, "gate", "refused"))
  end)

  it("of an unknown recipe names the nearest", function()
    local lib = catalog_of { ["shipped:targets.fake"] = SHIPPED }
    local failure = refusal(catalog.load, lib, "targets.fale")
    assert.equal("not_found", failure.code)
    assert.equal("did you mean `targets.fake`?", failure.hint)
  end)

  it("never leads out of the recipes' directory", function()
    for _, name in ipairs { "..", "a..b", "../x", "a/b", "", ".a", "a.", "A", "a\0" } do
      assert.equal("usage", refusal(catalog.load, catalog_of {}, name).code, name)
    end
  end)

  it("gives each caller a recipe of its own", function()
    local lib = catalog_of { ["shipped:targets.fake"] = SHIPPED }
    catalog.load(lib, "targets.fake"):remove "a"
    assert.equal("a b", names(catalog.load(lib, "targets.fake")))
  end)

  it("lists recipes with where they come from, broken ones too", function()
    local rows = catalog.list(catalog_of {
      ["shipped:targets.fake"] = SHIPPED,
      ["site:targets.fake"] = "return recipe.shipped 'targets.fake'",
      ["site:own"] = "oops",
    })
    assert.equal("own", rows[1].name)
    assert.equal("site", rows[1].from)
    holds(rows[1].error, "site/own.lua:1:")
    assert.equal("site over shipped", rows[2].from)
    assert.equal("A fake", rows[2].summary)
  end)
end)

describe("ejecting", function()
  it("of a recipe that is not shipped fails by name", function()
    local dir = fs.temp_dir()
    local site = require("moonport.site").open { dir = dir }
    assert.equal("not_found", refusal(recipe.eject, "targets.nowhere", site).code)
    fs.remove_tree(dir)
  end)
end)
