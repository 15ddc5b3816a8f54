local apidoc = require "moonport.apidoc"
local loader = require "moonport.loader"

-- What is there as `mp.NAME`, written in Lua or in C. Modules further down are parts of these.
local function module_names()
  local names = {}
  for _, file in ipairs(loader.files "moonport/") do
    names[#names + 1] = file:match "^moonport/([%w_]+)%.lua$"
  end
  for name, entry in pairs(apidoc) do
    if entry.kind == "module" and entry.where:find "%.c:" then names[#names + 1] = name end
  end
  return names
end

describe("the documentation inside the binary", function()
  it("tells about every public function of every module", function()
    local missing = {}
    for _, name in ipairs(module_names()) do
      -- That a module loads is for its own spec to show.
      local loaded, module = pcall(require, "moonport." .. name)
      for key, value in pairs(loaded and type(module) == "table" and module or {}) do
        local documented = apidoc[name .. "." .. tostring(key)]
        if type(value) == "function" and not tostring(key):find "^_" and not documented then
          missing[#missing + 1] = name .. "." .. key
        end
      end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)

  it("says of each function what it is called with", function()
    for name, entry in pairs(apidoc) do
      if entry.kind == "function" then
        assert.is_truthy(entry.signature:find(name:match "[^.:]+$", 1, true), name)
        assert.is_truthy(entry.signature:find "%(.*%)$", name)
      end
    end
  end)

  it("tells parameters, results, errors and the place, of Lua and of C alike", function()
    local size = apidoc["units.size"]
    assert.equal("units.size(value)", size.signature)
    assert.equal("Reads a size.", size.summary)
    assert.same({ "value", "string|number" }, { size.params[1].name, size.params[1].type })
    assert.equal("?integer", size.returns[1].type)
    assert.is_truthy(size.where:find "^stdlib/moonport/units.lua:%d+$")

    local is = apidoc["errors.is"]
    assert.equal("errors.is(value[, kind][, code])", is.signature)
    assert.is_true(is.params[2].optional)
    assert.is_truthy(is.where:find "^lua/errors.c:%d+$")
    assert.same({ "always" }, apidoc["errors.raise"].raises)
  end)

  it("tells about modules", function()
    assert.equal("module", apidoc.units.kind)
    assert.is_truthy(apidoc.units.text:find "powers of")
  end)
end)
