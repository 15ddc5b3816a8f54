local fs = require "moonport.fs"
local manifest = require "moonport.manifest"
local schema = require "moonport.schema"

local top = os.getenv "MP_SOURCE_DIR"

-- The Lua examples of a document, each with the line it begins at.
local function examples(path)
  local found, block, number = {}, nil, 0
  for line in (fs.read(path) .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    if block and line == "```" then
      found[#found + 1], block = block, nil
    elseif block then
      block.text = block.text .. line .. "\n"
    elseif line == "```lua" then
      block = { line = number, text = "" }
    end
  end
  return found
end

describe("the documents' Lua examples", function()
  it("compile", function()
    for _, directory in ipairs { top, top .. "/docs" } do
      for _, entry in ipairs(fs.list(directory)) do
        if entry.name:find "%.md$" then
          for _, example in ipairs(examples(directory .. "/" .. entry.name)) do
            local place = entry.name .. ":" .. example.line
            local compiled, reason = load(example.text, "=" .. place)
            assert.is_truthy(compiled or load("return " .. example.text), reason)
          end
        end
      end
    end
  end)

  it("begin in the README with a manifest that is in order", function()
    local written = load(examples(top .. "/README.md")[1].text)()
    local data = schema.parse(manifest.schema(), written, { what = "manifest", base = top })
    assert.equal("incredible-squaring", data.name)
    assert.equal(64 << 20, data.limits.memory)
  end)
end)
